package backend

import "bottle/internal/plan"

// Proved names, on each result of the jail's probe, the wall that it proves, by the
// names that every backend gives them.
func Proved(results []plan.ProbeResult) []plan.ProbeResult {
	for i := range results {
		results[i].Wall = wallOf(results[i].Name)
	}
	return results
}

// wallOf is the wall that one attempt from inside tries. An attempt
// that it does not know proves no wall.
func wallOf(probe string) string {
	switch probe {
	case "tcp-direct", "tcp-dns", "tcp6-direct", "udp-direct", "metadata", "host-loopback", "host-abstract-socket", "interfaces", "gateway":
		return "network"
	case "denied-name":
		return "dns"
	case "write-usr", "write-root", "write-sysctl", "mount", "remount", "unmount":
		return "files"
	case "other-processes", "init-root", "init-memory", "init-ptrace":
		return "processes"
	case "capabilities":
		return "privileges"
	case "user-namespace", "packet-socket", "raw-socket", "vsock", "mptcp", "io-uring", "bpf", "keyring":
		return "seccomp"
	case "descriptors":
		return "descriptors"
	}
	return ""
}
