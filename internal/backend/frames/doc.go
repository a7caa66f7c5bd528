// Package frames is the one stream over which a start talks with a bottle that stands on
// another kernel, or behind an engine: requests to the jail and its replies, what the agent
// reads and writes, the size of its terminal. Conn is either end's; Inner is the bottle's,
// beside the jail, and has the descriptors that on native the start has itself.
package frames
