//go:build !linux

package redirect

import (
	"errors"
	"net"
	"net/netip"
)

// Original is where c says itself that it was going, since the kernel of a micro-VM
// redirected it; else an error: only Linux redirects connections to us.
func Original(c net.Conn) (netip.AddrPort, error) {
	if r, ok := c.(interface{ OriginalDst() netip.AddrPort }); ok {
		return r.OriginalDst(), nil
	}
	return netip.AddrPort{}, errors.New("find original destination: only Linux can")
}
