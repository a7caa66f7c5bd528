package supervise_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"bottle/internal/supervise"
)

// BenchmarkCall is one call of a tool, from the socket and back.
func BenchmarkCall(b *testing.B) {
	s := serve(b, &desk{}, time.Second)
	body := tool("check-egress", map[string]any{"method": "GET", "url": "https://api.example.com/v1"})
	for b.Loop() {
		if code, text := s.post(b, strings.NewReader(body)); code != http.StatusOK {
			b.Fatal(code, text)
		}
	}
}

// BenchmarkMake is what a gateway pays at its start, and what the first call pays.
func BenchmarkMake(b *testing.B) {
	b.Run("start", func(b *testing.B) {
		for b.Loop() {
			if _, err := supervise.New(supervise.Config{Desk: &desk{}, Repos: []string{"app"}}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("first", func(b *testing.B) {
		for b.Loop() {
			s, err := supervise.New(supervise.Config{Desk: &desk{}, Repos: []string{"app"}})
			if err != nil {
				b.Fatal(err)
			}
			s.Begin()
		}
	})
}
