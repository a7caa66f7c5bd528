// Package fence makes a bottle's network from inside its namespace: a loopback,
// the firewall that leads everything to the gateway or refuses it, and the
// sockets that the gateway serves from outside.
package fence
