// Package guest is what runs in a micro-VM beside the agent, from bottle-jail, as the
// VM's root: it puts the same jail up as the native backend does, around the agent, and
// leads what comes out of it to the gateway's door on the host.
//
//	bottle (smolvm)          smolvm machine exec          guest                 jail
//	  ├── Begin ──────────────── stdin, frames ──────────▶ │ find the shares     │
//	  │                                                    ├── Spec ────────────▶│ namespaces, root, lo, firewall
//	  │                                                    │◀─ its sockets ──────┤
//	  │◀── Up ─────────────────── stdout, frames ──────────┤ relay: each connection knocks at the door
//	  ├── Reach ──────────────────────────────────────────▶│ try, as root, outside the jail
//	  ├── Place, Verify, Run ─────────────────────────────▶├────────────────────▶│ the agent
//	  │◀── output, Exited ─────────────────────────────────┤
//
// The end of the stream ends the bottle inside. Nothing secret is on an argv, in the
// environment or in a file: the token of the door and the agent's environment come over
// the stream. The agent is walled twice; the VM's kernel is its own, and on it stand the
// walls that stand on the host elsewhere.
package guest
