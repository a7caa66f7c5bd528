// Package share lets several terminals have one agent: the terminal of `bottle start`,
// if it has one, and those of `bottle attach`. The process of the start owns the agent's
// own terminal and listens on a unix socket in the bottle's state folder; whoever attaches
// gets what the agent wrote lately, in the modes that it had set then, and from there on
// what it writes.
//
// It shows an agent's bytes to terminals, as a start does, and keeps no screen of its own:
// what a program draws is drawn by the terminal that knows how, and a size that changes
// for a moment makes the program draw all of it anew. What an agent asks of its terminal
// is put to one terminal only, since each would answer, and an answer is input.
package share
