//go:build !linux

package egress

import (
	"errors"
	"net"
	"net/netip"
)

// originalDst is an error here: only Linux redirects connections to us.
func originalDst(net.Conn) (netip.AddrPort, error) {
	return netip.AddrPort{}, errors.New("find original destination: only Linux can")
}
