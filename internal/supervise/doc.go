// Package supervise is where an agent asks for more: an MCP server inside the bottle,
// at http://supervise.bottle/mcp (Model Context Protocol, Streamable HTTP).
//
//	agent                     supervise                       desk              operator
//	  │ POST /mcp tools/call    │                               │                  │
//	  ├────────────────────────▶│ one message, in bounds        │                  │
//	  │                         ├─ Ask: checked, folded ───────▶│ queued ─────────▶│
//	  │                         │                               │◀─────── decides ─┤
//	  │                         │◀─ decided, and in force ──────┤                  │
//	  │◀── what came of it ─────┤  or after 30 s: still pending │                  │
//
// The client is the attacker. Nothing here decides or changes anything: it turns calls
// into proposals and gives them to a Desk. There are no sessions to fill up: each POST
// stands alone, the server never calls back, and GET and DELETE are refused.
package supervise
