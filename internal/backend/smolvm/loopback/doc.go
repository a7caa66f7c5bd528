// Package loopback gives each bottle in a micro-VM a loopback address of its own.
//
// The VM's allow-list knows addresses and no ports. Was the gateway on 127.0.0.1, the
// VM could reach every service of the host that listens there. So the gateway listens
// on an address where nothing else does, and that one is all that the VM may reach.
//
// No file says which addresses are taken. The kernel does: an address is taken while
// somebody listens on its reservation port, and that listener is the gateway's own.
// Binding is atomic between processes, and any kind of death lets go.
package loopback
