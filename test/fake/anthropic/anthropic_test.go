package anthropic_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"strings"
	"testing"

	"bottle/test/fake/anthropic"
)

// post sends one request over verified TLS and returns the status and the body.
func post(t *testing.T, s *anthropic.Server, header, value, body string) (int, string) {
	t.Helper()
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(s.CA()) {
		t.Fatal("the fake's CA is no certificate")
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "api.anthropic.com"}, DisableKeepAlives: true}}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+s.Addr()+"/v1/messages?beta=true", bytes.NewBufferString(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set(header, value)
	answer, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(text)
}

// The canaries lean on this: only the one real key gets an answer, and what came
// is recorded.
func TestOnlyTheRealKeyIsAnswered(t *testing.T) {
	const ask = `{"model":"m","stream":true,"tools":[{"name":"Bash"}],"messages":[{"role":"user","content":"hi"}]}`
	const ran = `{"model":"m","stream":true,"tools":[{"name":"Bash"}],"messages":[{"role":"user","content":[{"type":"tool_result","content":"A=1"}]}]}`
	const reminded = `{"model":"m","stream":true,"tools":[{"name":"Bash"}],"messages":[{"role":"user","content":[{"type":"tool_result","content":"A=1"}]},{"role":"system","content":"a reminder"},{"role":"user","content":[{"type":"text","text":"another"}]}]}`
	const again = `{"model":"m","stream":true,"tools":[{"name":"Bash"}],"messages":[{"role":"user","content":[{"type":"tool_result","content":"A=1"}]},{"role":"assistant","content":"hello"},{"role":"user","content":"once more"}]}`
	s, err := anthropic.Start(anthropic.Options{Key: "real", Answer: "hello there", Command: "env"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, tc := range []struct {
		header, value, body string
		status              int
		says                string
	}{
		{"X-Api-Key", "placeholder", ask, 401, "authentication_error"},
		{"Authorization", "Bearer placeholder", ask, 401, "authentication_error"},
		{"Cookie", "real", ask, 401, "authentication_error"},
		{"X-Api-Key", "real", `{}`, 400, "at least one message"},
		{"X-Api-Key", "real", ask, 200, `"name":"Bash"`},
		{"Authorization", "Bearer real", ran, 200, `"text":"there"`},
		{"X-Api-Key", "real", reminded, 200, `"text":"there"`},
		{"X-Api-Key", "real", again, 200, `"name":"Bash"`},
	} {
		status, text := post(t, s, tc.header, tc.value, tc.body)
		if status != tc.status || !strings.Contains(text, tc.says) {
			t.Errorf("%s: %s: %d %s, want %d with %s in it", tc.header, tc.value, status, text, tc.status, tc.says)
		}
		if status == 200 && !strings.HasSuffix(text, "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n") {
			t.Errorf("the stream does not end with message_stop: %s", text)
		}
	}
	if got := s.ToolResults(); len(got) != 2 || got[0] != "A=1" {
		t.Errorf("tool results = %q", got)
	}
	if got := s.Requests(); len(got) != 8 || got[0].Header.Get("X-Api-Key") != "placeholder" || got[0].Path != "/v1/messages?beta=true" {
		t.Errorf("%d requests recorded", len(got))
	}
}

// A fake that was given no key accepts none.
func TestZeroOptionsRefuse(t *testing.T) {
	s, err := anthropic.Start(anthropic.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if status, _ := post(t, s, "X-Api-Key", "", "{}"); status != 401 {
		t.Errorf("status %d", status)
	}
}
