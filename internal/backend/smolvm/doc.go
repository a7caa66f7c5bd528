// Package smolvm puts a bottle into a micro-VM by the program smolvm: on macOS with
// its Hypervisor.framework, on Linux with KVM. The gateway is a process of the host and
// listens on a loopback address that the bottle has for itself (package loopback); that
// address is all that the VM may reach. Inside, the jail of the native backend stands
// around the agent (package guest).
//
// What smolvm says that it enforces is believed only after a try: before the agent runs,
// the VM's own root tries to get out, and the start fails if it does.
package smolvm
