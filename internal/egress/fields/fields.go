// Package fields removes from a request's header what must not go on: what ends
// at this hop, what the agent says about who it is, and what would make another
// request of the one that was decided on. It only ever takes away.
package fields

import (
	"net/http"
	"net/textproto"
	"slices"
	"strings"

	"bottle/internal/bottle"
)

// isCredentialHeader names what servers take a caller's identity from. On a
// route that injects a credential all of them go, not only the injected one:
// else an agent adds its own account beside ours and sends data to that.
func isCredentialHeader(name string) bool {
	switch name {
	case "Authorization", "Proxy-Authorization", "Cookie", "Cookie2",
		"Api-Key", "Apikey", "X-Auth-Key", "X-Auth-Email", "X-Rapidapi-Key", "X-Jfrog-Art-Api", "X-Honeycomb-Team", "X-Apitoken",
		"Remote-User", "X-Remote-User", "X-Webauth-User", "X-Auth-Request-User", "X-Client-Cert", "X-Ssl-Client-Cert":
		return true
	}
	return named(name)
}

// named knows a credential by how such headers are called everywhere. A token against
// forged forms, of a page or of a repeated request is none.
func named(name string) bool {
	for _, end := range []string{"-Token", "-Api-Key", "-Apikey", "-Assertion", "-Client-Secret", "-Subscription-Key", "-Functions-Key", "-Auth"} {
		if strings.HasSuffix(name, end) {
			return !slices.ContainsFunc([]string{"Csrf-Token", "Xsrf-Token", "Continuation-Token", "Idempotency-Token"}, func(not string) bool { return strings.HasSuffix(name, not) })
		}
	}
	return false
}

// isHopByHop lists the fields that end at this hop (RFC 9110 section 7.6.1,
// RFC 9112, and the de facto Proxy-Connection).
func isHopByHop(name string) bool {
	switch name {
	case "Connection", "Proxy-Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization",
		"Proxy-Authentication-Info", "Te", "Trailer", "Transfer-Encoding", "Upgrade", "Http2-Settings":
		return true
	}
	return false
}

// Size is how many bytes the head of a request is, about: its target, and its
// header as HTTP/1.1 writes it.
func Size(r *http.Request) int64 {
	n := len(r.Method) + len(r.RequestURI) + len(r.Host)
	for name := range r.Trailer { // they are announced in the head
		n += len(name) + len(", ")
	}
	return int64(n) + HeaderSize(r.Header)
}

// HeaderSize is how many bytes the fields of h are, as HTTP/1.1 writes them.
func HeaderSize(h http.Header) int64 {
	n := 0
	for name, values := range h {
		for _, v := range values {
			n += len(name) + len(v) + len(": \r\n")
		}
	}
	return int64(n)
}

// StripHopByHop removes what must not go on, and what Connection lists.
func StripHopByHop(h http.Header) {
	for _, line := range h["Connection"] {
		for name := range strings.SplitSeq(line, ",") {
			h.Del(textproto.TrimString(name))
		}
	}
	for name := range h {
		if isHopByHop(cgiAlike(name)) {
			delete(h, name)
		}
	}
}

// StripCredentials removes what the agent says about who it is, the header that
// will be injected, and every header that carries a placeholder: it is worth
// nothing and would only confuse.
func StripCredentials(h http.Header, injected string, placeholders map[string]string) {
	injected = cgiAlike(injected)
	for name, values := range h {
		as := cgiAlike(name)
		if as == injected || isCredentialHeader(as) || holdsAny(values, placeholders) {
			delete(h, name)
		}
	}
}

// StripForwarding removes what only a proxy may say of those before it: here it
// would be the agent's word about where it is, and whom it asked for.
func StripForwarding(h http.Header) {
	for name := range h {
		if forwarding(cgiAlike(name)) {
			delete(h, name)
		}
	}
}

func forwarding(name string) bool {
	switch name {
	case "Via", "Forwarded", "X-Forwarded", "X-Url-Scheme", "Front-End-Https",
		"X-Real-Ip", "X-Client-Ip", "True-Client-Ip", "Cluster-Client-Ip", "X-Cluster-Client-Ip", "X-Remote-Ip", "X-Remote-Addr",
		"X-Originating-Ip", "Cf-Connecting-Ip", "Fastly-Client-Ip", "X-Azure-Clientip", "X-Envoy-External-Address",
		"X-Host", "X-Original-Host", "X-Http-Host-Override":
		return true
	}
	return strings.HasPrefix(name, "X-Forwarded-")
}

// Uncoded makes h ask for an answer that can be read as it is. Also the fields by
// which gRPC and Connect ask for compressed messages go, and RFC 3229's for parts.
func Uncoded(h http.Header) {
	for name := range h {
		if as := cgiAlike(name); strings.HasSuffix(as, "Accept-Encoding") || as == "A-Im" {
			delete(h, name)
		}
	}
	h["Accept-Encoding"] = []string{"identity"}
}

// Frames reports whether a field of h would frame or route the request for a server
// that reads _ as -, and is a mere field to others.
func Frames(h http.Header) bool {
	for name := range h {
		if !strings.Contains(name, "_") {
			continue
		}
		switch cgiAlike(name) {
		case "Content-Length", "Transfer-Encoding", "Host":
			return true
		}
	}
	return false
}

// StripOverrides removes the headers by which some servers and frameworks let a
// request claim to be another one: what was decided on is what the upstream shall
// do. A route that takes any method and any path has decided on nothing that they
// could change.
func StripOverrides(h http.Header, route *bottle.Route) {
	for name := range h {
		as := cgiAlike(name)
		if len(route.Methods) > 0 && claimsMethod(as) || len(route.Paths) > 0 && claimsPath(as) {
			delete(h, name)
		}
	}
}

// claimsMethod: Rails, Symfony, Laravel, Google's APIs; Traefik and Envoy when
// they ask another server who may pass.
func claimsMethod(name string) bool {
	switch name {
	case "X-Http-Method-Override", "X-Http-Method", "X-Method-Override", "X-Method",
		"X-Original-Method", "X-Forwarded-Method", "X-Envoy-Original-Method":
		return true
	}
	return false
}

// claimsPath: IIS and Symfony (X-Original-URL), nginx and ingresses (X-Original-URI),
// Envoy, Traefik (X-Forwarded-Uri, X-Replaced-Path), and older spellings. The
// Destination of WebDAV (RFC 4918 section 10.3) is a second path that nobody
// decided on.
func claimsPath(name string) bool {
	switch name {
	case "X-Original-Url", "X-Original-Uri", "X-Original-Path", "X-Original-Request-Uri",
		"X-Rewrite-Url", "X-Rewrite-Uri", "X-Rewrite-Path", "X-Override-Url", "X-Override-Uri", "X-Override-Path",
		"X-Forwarded-Prefix", "X-Forwarded-Uri", "X-Forwarded-Url", "X-Forwarded-Path", "X-Forwarded-Request-Uri",
		"X-Envoy-Original-Path", "X-Envoy-Decorator-Operation", "X-Replaced-Path", "X-Proxy-Url", "X-Request-Uri", "X-Request-Url",
		"X-Http-Destinationurl", "X-Http-Path-Override", "X-Path-Override", "X-Script-Name", "X-Original-Query", "X-Waf-Uri", "X-Waf-Url",
		"Request-Uri", "Base-Url", "Destination":
		return true
	}
	return false
}

// cgiAlike reads a name as a server that makes CGI variables of headers does:
// there X_Api_Key and X-Api-Key are one, and which of them wins is chance.
func cgiAlike(name string) string {
	return textproto.CanonicalMIMEHeaderKey(strings.ReplaceAll(name, "_", "-"))
}

func holdsAny(values []string, placeholders map[string]string) bool {
	for _, held := range placeholders {
		if held == "" {
			continue
		}
		for _, v := range values {
			if strings.Contains(v, held) {
				return true
			}
		}
	}
	return false
}

// WantsUpgrade reports the protocol that the client wants to switch to, lower
// case; empty: none. Upgrade without Connection: upgrade is ignored (RFC 9110
// section 7.8).
func WantsUpgrade(h http.Header) string {
	for _, line := range h["Connection"] {
		for token := range strings.SplitSeq(line, ",") {
			if strings.EqualFold(textproto.TrimString(token), "upgrade") {
				return strings.ToLower(strings.Join(h["Upgrade"], ","))
			}
		}
	}
	return ""
}

// Trailers gives the announced trailers that may go on, without values: they come
// when the body has ended. What frames, routes or authenticates a request has no
// place there (RFC 9110 section 6.5.1), and neither has the injected header's name.
func Trailers(announced http.Header, injected string) http.Header {
	var out http.Header
	injected = cgiAlike(injected)
	for name := range announced {
		as := cgiAlike(name)
		if as == injected || isHopByHop(as) || isCredentialHeader(as) || forwarding(as) || claimsMethod(as) || claimsPath(as) || as == "Host" || as == "Content-Length" {
			continue
		}
		if out == nil {
			out = http.Header{}
		}
		out[name] = nil
	}
	return out
}
