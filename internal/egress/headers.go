package egress

import (
	"net/http"
	"net/textproto"
	"strings"

	"bottle/internal/bottle"
)

// isCredentialHeader names what servers take a caller's identity from. On a
// route that injects a credential all of them go, not only the injected one:
// else an agent adds its own account beside ours and sends data to that.
func isCredentialHeader(name string) bool {
	switch name {
	case "Authorization", "Proxy-Authorization", "Cookie", "Cookie2",
		"X-Api-Key", "Api-Key", "Apikey", "X-Apikey", "X-Goog-Api-Key", "X-Auth-Token", "X-Auth-Key", "X-Auth-Email",
		"X-Access-Token", "X-Token", "Private-Token", "Job-Token", "Deploy-Token", "X-Gitlab-Token",
		"X-Vault-Token", "X-Amz-Security-Token", "X-Forwarded-User", "X-Remote-User":
		return true
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

// stripHopByHop removes what must not go on, and what Connection lists.
func stripHopByHop(h http.Header) {
	for _, line := range h["Connection"] {
		for name := range strings.SplitSeq(line, ",") {
			h.Del(textproto.TrimString(name))
		}
	}
	for name := range h {
		if isHopByHop(name) {
			delete(h, name)
		}
	}
}

// stripCredentials removes what the agent says about who it is, and every
// header that carries a placeholder: it is worth nothing and would only confuse.
func stripCredentials(h http.Header, auth *bottle.Auth, placeholders map[string]string) {
	injected := cgiAlike(injectedHeader(auth))
	for name, values := range h {
		as := cgiAlike(name)
		if as == injected || isCredentialHeader(as) || holdsAny(values, placeholders) {
			delete(h, name)
		}
	}
}

// stripOverrides removes the headers by which some frameworks let a request claim
// to be another one (Rails and Symfony for the method, IIS and Symfony for the
// path): what was decided on is what the upstream shall do. A route that takes
// any method and any path has decided on nothing that they could change.
func stripOverrides(h http.Header, route *bottle.Route) {
	for name := range h {
		switch cgiAlike(name) {
		case "X-Http-Method-Override", "X-Http-Method", "X-Method-Override":
			if len(route.Methods) > 0 {
				delete(h, name)
			}
		case "X-Original-Url", "X-Rewrite-Url", "X-Forwarded-Prefix":
			if len(route.Paths) > 0 {
				delete(h, name)
			}
		}
	}
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

// wantsUpgrade reports the protocol that the client wants to switch to, lower
// case; empty: none. Upgrade without Connection: upgrade is ignored (RFC 9110
// section 7.8).
func wantsUpgrade(h http.Header) string {
	for _, line := range h["Connection"] {
		for token := range strings.SplitSeq(line, ",") {
			if strings.EqualFold(textproto.TrimString(token), "upgrade") {
				return strings.ToLower(strings.Join(h["Upgrade"], ","))
			}
		}
	}
	return ""
}
