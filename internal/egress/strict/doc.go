// Package strict stands between a connection and net/http's server, and lets only
// such HTTP/1 requests pass as can be read in one way. It reads no meaning out of a
// request; it holds the bytes to the grammar of RFC 9112 without any of the
// leniencies that the RFC allows and that servers use differently: request
// smuggling lives in those. What passes, net/http then reads.
//
// A request that breaks the grammar is replaced by one that only asks for the
// refusal, so that the answers to what came before it (pipelining) are sent first
// and in order; after it the connection says nothing more.
package strict
