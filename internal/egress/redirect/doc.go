// Package redirect asks the kernel where a connection was going before its firewall
// sent it to the gateway.
package redirect
