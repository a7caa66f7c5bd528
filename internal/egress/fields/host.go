package fields

import (
	"net/http"
	"net/netip"
	"strconv"
	"strings"

	"bottle/internal/bottle"
)

// HostPort is the authority of a URL: an IPv6 address stands in brackets.
func HostPort(h bottle.Host, port uint16) string {
	if a, ok := h.Addr(); ok {
		return netip.AddrPortFrom(a, port).String()
	}
	return string(h) + ":" + strconv.Itoa(int(port))
}

// Host is the value of a request's Host. It leaves the scheme's own port out, as
// browsers do: some servers know their name without it only.
func Host(scheme string, h bottle.Host, port uint16) string {
	if scheme == "https" && port == 443 || scheme == "http" && port == 80 {
		if strings.Contains(string(h), ":") {
			return "[" + string(h) + "]"
		}
		return string(h)
	}
	return HostPort(h, port)
}

// Ended is what came behind a body, of the trailers that may go on.
func Ended(announced, came http.Header) http.Header {
	h := http.Header{}
	for name := range announced {
		if values := came[name]; values != nil {
			h[name] = values
		}
	}
	return h
}
