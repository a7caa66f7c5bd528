package fields

import (
	"net/http"
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
