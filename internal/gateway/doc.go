// Package gateway is the process that has a bottle's network and credentials. It
// joins the wires: it reads what it is told from its standard input, makes the
// bottle's CA, takes the sockets that were made inside the bottle, serves them,
// and writes one record for each decision. When it can't record, it denies.
//
//	caller                                   bottle-gateway serve
//	  │ stdin: plan.Gateway, plan.Secrets (a line each) │
//	  ├────────────────────────────────────────────────▶│ CA key, in memory only
//	  │◀────────────────────────────────────────────────┤ stdout: plan.Hello
//	  │ fd 3: the bottle's sockets, by SCM_RIGHTS       │
//	  ├────────────────────────────────────────────────▶│ serve
//	  │◀────────────────────────────────────────────────┤ stdout: plan.Ready
//	  │ stdin ends                                      │
//	  ├────────────────────────────────────────────────▶│ finish within 2 seconds, exit 0
package gateway
