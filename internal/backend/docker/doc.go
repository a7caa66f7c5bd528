// Package docker puts up bottles as containers, through the Engine API.
//
//	network none                              network of its own, egress
//	┌──────────────────────────┐              ┌──────────────────────────┐
//	│ agent's container        │   sockets    │ bundle                   │
//	│ lo, firewall, no eth0    │ ◀──────────▶ │ bottle-gateway           │ ──▶ the listed upstreams
//	└──────────────────────────┘              └──────────────────────────┘
//	        ▲ made by a short-lived helper in the agent's network namespace
//
// A socket stays in the network namespace where it was made: the helper opens the
// gateway's listeners in the agent's and hands them to the bundle. So the agent has
// no interface but its own lo, and there is no network that it shares with anybody.
package docker
