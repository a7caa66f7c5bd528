// Package ours is what the gateway answers by itself: its health check, and what is
// for one of its services.
package ours

import (
	"crypto/tls"
	"encoding/json"
	"net"
	"net/http"
	"strconv"
	"strings"

	"bottle/internal/bottle"
	"bottle/internal/plan"
	"bottle/internal/policy"
)

// Service is a part of the gateway that answers requests of the bottle itself, as the
// egress sees it: the git gate, and the server by which an agent asks for more.
type Service interface {
	// Serve answers a request for this host and port, and records it if anything was
	// decided, if it is the service's; false: it is not, and nothing was done.
	Serve(w http.ResponseWriter, r *http.Request, host bottle.Host, port uint16) bool
	// Takes reports whether Serve would answer the request.
	Takes(r *http.Request, host bottle.Host, port uint16) bool
	// Near reports whether a connection there may be opened for the service's sake.
	// Port 0 is any.
	Near(host bottle.Host, port uint16) bool
}

// Services are all of a gateway's, the first that answers wins. The zero value is none.
type Services []Service

// For is the service that takes a request; nil: none does.
func (s Services) For(r *http.Request, host bottle.Host, port uint16) Service {
	for _, one := range s {
		if one.Takes(r, host, port) {
			return one
		}
	}
	return nil
}

// Near is whether it is near to one of them, as Service.Near is.
func (s Services) Near(host bottle.Host, port uint16) bool {
	for _, one := range s {
		if one.Near(host, port) {
			return true
		}
	}
	return false
}

// Pushes reports whether r begins or is a push by git's smart HTTP protocol
// (gitprotocol-http(5)). Servers differ in what they take for the service's name in a
// path: some drop what follows a semicolon, and letter case.
func Pushes(r *http.Request) bool {
	const service = "git-receive-pack"
	if strings.HasPrefix(strings.ToLower(strings.TrimSpace(r.Header.Get("Content-Type"))), "application/x-"+service) {
		return true
	}
	asks := false
	for part := range strings.SplitSeq(r.URL.Path, "/") {
		name, _, _ := strings.Cut(part, ";")
		if strings.EqualFold(name, service) {
			return true
		}
		asks = asks || strings.EqualFold(name, "refs")
	}
	if !asks || !strings.Contains(r.URL.RawQuery, "=") {
		return false
	}
	for _, values := range r.URL.Query() {
		for _, v := range values {
			if strings.EqualFold(v, service) {
				return true
			}
		}
	}
	return false
}

// Undeclared is what an agent is told that pushes past the gate.
const Undeclared = "a push goes to a repository of the bottle's manifest only: http://" + policy.GitHost + "/ lists them, and an operator adds others under `git`"

// Health reports whether r is for the gateway itself. Its name resolves
// nowhere else, so it can hide no other host.
func Health(r *http.Request) bool {
	host, port, err := bottle.ParseHostPort(r.Host, 80)
	if err != nil || host != plan.GatewayHost || r.URL.Path != "/" {
		return false
	}
	if r.URL.IsAbs() {
		return r.URL.Scheme == "http" && r.URL.User == nil && (port == 80 || port == plan.EgressPort)
	}
	return true
}

// ServeHealth answers the health check.
func ServeHealth(w http.ResponseWriter, r *http.Request, identity, policy string) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	body, _ := json.Marshal(struct {
		OK       bool   `json:"ok"`
		Identity string `json:"identity"`
		Policy   string `json:"policy"`
	}{true, identity, policy})
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)+1))
	_, _ = w.Write(append(body, '\n'))
}

// Name is the name by which a client of the explicit port knows the gateway.
func Name(h *tls.ClientHelloInfo) string {
	if name, err := bottle.ParseHost(h.ServerName); err == nil && (name == plan.GatewayHost || name == "localhost") {
		return string(name)
	}
	if a, ok := h.Conn.LocalAddr().(*net.TCPAddr); ok && h.ServerName == "" {
		return a.AddrPort().Addr().Unmap().String()
	}
	return plan.GatewayHost
}
