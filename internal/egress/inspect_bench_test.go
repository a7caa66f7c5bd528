package egress

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"

	"bottle/internal/dlp"
	"bottle/internal/dlp/known"
)

// talk is a conversation with a model, of about that many bytes.
func talk(size int) []byte {
	type message struct {
		Role    string `json:"role"`
		Content string `json:"content"`
	}
	var all []message
	for i := 0; i*1000 < size; i++ {
		all = append(all, message{"user", fmt.Sprintf("Message %d. ", i) + words(960)})
	}
	b, _ := json.Marshal(map[string]any{"model": "some-model-1", "messages": all})
	return b
}

// words is a text of about that many bytes, as people write it.
func words(size int) string {
	r := rand.New(rand.NewPCG(uint64(size), 7))
	var b strings.Builder
	for b.Len() < size {
		for range 2 + r.IntN(8) {
			_ = b.WriteByte("etaoinshrdlucmfwypvbgk"[r.IntN(22)])
		}
		_ = b.WriteByte(' ')
	}
	return b.String()
}

// BenchmarkScannedRequest is what looking for secrets adds to a request: the same one
// unscanned, seen for the first time, and with its conversation seen before.
func BenchmarkScannedRequest(b *testing.B) {
	addr, ca, _ := upstream(b, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, "ok")
	}), apiHost)
	rules, err := dlp.DefaultRules()
	if err != nil {
		b.Fatal(err)
	}
	first, err := dlp.New(dlp.Config{Rules: rules, Known: []known.Secret{{Name: "A", Value: []byte(watched), Certain: true}}})
	if err != nil {
		b.Fatal(err)
	}
	for _, size := range []int{0, 1 << 10, 100 << 10} {
		for name, c := range map[string]struct {
			action string
			engine func() *dlp.Engine
		}{
			"off": {"off", nothing}, "first": {"block", func() *dlp.Engine { return first }}, "again": {"block", scanner(b, map[string]string{"A": watched})},
		} {
			b.Run(fmt.Sprintf("%s/%d", name, size), func(b *testing.B) {
				r := route(apiHost, addr, ca)
				r.DLP = c.action
				w := newWorld(b, func(cfg *Config) {
					cfg.Record = func(Record) error { return nil }
					cfg.DLP = c.engine
				}, r)
				client, body := w.client(), talk(size)
				b.ReportAllocs()
				for b.Loop() {
					req, _ := http.NewRequest("POST", "https://"+apiHost+"/v1/messages", bytes.NewReader(body))
					if size == 0 {
						req, _ = http.NewRequest("GET", "https://"+apiHost+"/v1/messages", nil)
					}
					req.Header.Set("Content-Type", "application/json")
					res, err := client.Do(req)
					if err != nil {
						b.Fatal(err)
					}
					got, _ := io.ReadAll(res.Body)
					_ = res.Body.Close()
					if string(got) != "ok" {
						b.Fatalf("%s", got)
					}
				}
			})
		}
	}
}
