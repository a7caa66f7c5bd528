//go:build !linux

package redirect

import (
	"errors"
	"net"
	"net/netip"
)

// Original is an error here: only Linux redirects connections to us.
func Original(net.Conn) (netip.AddrPort, error) {
	return netip.AddrPort{}, errors.New("find original destination: only Linux can")
}
