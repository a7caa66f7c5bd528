// Package agent looks after an agent that runs behind walls, from the start's side: it waits
// for its end and passes on what happens meanwhile, and, where a stream is all that leads to
// the bottle (see frames), carries what it reads and writes.
package agent
