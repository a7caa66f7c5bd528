// Package gitgate is the only way from a bottle to its git repositories. The agent
// clones, fetches and pushes as always and holds no key. What it reads comes from the
// gate's own mirror, refreshed first; what it pushes is received, judged as a whole,
// and only then sent upstream with the gateway's credentials. Upstream is the truth:
// the mirror changes only after upstream has accepted.
//
// git itself runs behind the wall of room confined; the network is spoken by room
// upstream, over connections that egress has dialled.
package gitgate
