package fields

import (
	"net/http"
	"net/textproto"
	"testing"
)

const heldKey = "placeholder-0123456789"

func TestStripping(t *testing.T) {
	h := http.Header{"Connection": {"close, X-One", "x-two"}, "X-One": {"1"}, "X-Two": {"2"}, "Keep-Alive": {"5"},
		"Te": {"gzip"}, "Transfer-Encoding": {"chunked"}, "Upgrade": {"h2c"}, "Proxy-Authorization": {"x"}, "Accept": {"*/*"}}
	StripHopByHop(h)
	if len(h) != 1 || h.Get("Accept") == "" {
		t.Errorf("left %v", h)
	}
	h = http.Header{"Authorization": {"a"}, "X_api_key": {"b"}, "x-api-KEY": {"c"}, "X-My_key": {"d"}, "X-Note": {"has " + heldKey}, "Accept": {"*/*"}}
	StripCredentials(h, "X-My-Key", map[string]string{"API_TOKEN": heldKey, "EMPTY": ""})
	if len(h) != 1 || h.Get("Accept") == "" {
		t.Errorf("left %v", h)
	}
}

// What servers and front ends take for a caller's identity or place, by name or by how
// such names end, spelt either way; and what only looks like it.
func TestNamesOfIdentityAndPlace(t *testing.T) {
	for _, name := range []string{"X-Api-Key", "Xi-Api-Key", "Dd-Api-Key", "X_Api_Key", "X-Auth-Token", "Private-Token", "Job-Token", "X-Vault-Token", "X-Amz-Security-Token",
		"X-Forwarded-Access-Token", "Ocp-Apim-Subscription-Key", "X-Goog-Iap-Jwt-Assertion", "Cf-Access-Client-Secret", "Remote-User", "X-Client-Cert"} {
		h := http.Header{textproto.CanonicalMIMEHeaderKey(name): {"agents"}}
		if StripCredentials(h, "Authorization", nil); len(h) > 0 {
			t.Errorf("%s stays", name)
		}
	}
	for _, name := range []string{"Via", "X-Forwarded-For", "X-Forwarded-Client-Cert", "X_Forwarded_Host", "Cf-Connecting-Ip", "X-Remote-Addr"} {
		h := http.Header{textproto.CanonicalMIMEHeaderKey(name): {"agents"}}
		if StripForwarding(h); len(h) > 0 {
			t.Errorf("%s stays", name)
		}
	}
	h := http.Header{"X-Csrf-Token": {"1"}, "Idempotency-Key": {"1"}, "X-Ms-Continuation-Token": {"1"}, "Openai-Organization": {"1"}, "Content-Type": {"1"}}
	StripCredentials(h, "Authorization", nil)
	if StripForwarding(h); len(h) != 5 {
		t.Errorf("only %v stays", h)
	}
}
