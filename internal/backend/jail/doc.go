// Package jail is what runs inside bottle-jail: the launcher that makes the
// namespaces, the init that builds the bottle from inside and confines itself,
// and the probe that tries to get out.
//
//	bottle                     bottle-jail launch            bottle-jail init (pid 1)
//	  │ fd 3: control socket          │                             │
//	  │ fd 4: socket to the gateway   │                             │
//	  ├── Spec ──────────────────────▶│ (root: stage the mounts)    │
//	  │                               ├── clone + Spec ────────────▶│ root fs, lo, nftables
//	  │                               │          the gateway's sockets ──▶ bottle-gateway
//	  │◀── Up ────────────────────────┼─────────────────────────────┤
//	  ├── Place files ────────────────┼────────────────────────────▶│
//	  ├── Verify ─────────────────────┼────────────────────────────▶│ confine itself for good,
//	  │◀── results ───────────────────┼─────────────────────────────┤ start the probe
//	  ├── Run (three pipes or a PTY) ─┼────────────────────────────▶│ start the agent
//	  │◀── Stopped, Exited ───────────┼─────────────────────────────┤
//
// The end of the control socket ends the bottle: a start that was killed leaves
// nothing behind. It links little, because everything here is start-up time and
// stands beside the agent.
package jail
