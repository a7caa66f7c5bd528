// Package http1 carries HTTP/1.1 on both legs of a gateway with one goroutine and
// four system calls for an ordinary exchange. It parses nothing by itself: requests
// and answers are read and framed by net/http's own readers and writers. What it has
// of its own is the order of things: a server's loop and a client's pool, where
// net/http's, made for every use, hand each exchange from goroutine to goroutine.
package http1
