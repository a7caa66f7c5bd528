// Package image makes the image of the bundle without an engine, or tells one how to: the gateway and
// the jail's program on a base that has git and CA certificates.
package image
