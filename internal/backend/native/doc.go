// Package native puts a bottle's walls up with Linux namespaces, nftables, an
// overlay, seccomp and Landlock, as an ordinary user or as root, with no daemon.
// The work inside is done by the package jail, in a program of its own; this
// package prepares its Spec, starts it and the gateway, and speaks with both.
package native
