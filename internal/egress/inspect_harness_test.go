package egress

import (
	"io"
	"sync"
	"testing"
	"time"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"

	"bottle/internal/bottle"
	"bottle/internal/dlp"
	"bottle/internal/dlp/known"
	"bottle/internal/dlp/once"
	"bottle/internal/egress/approval"
)

// allRules are compiled once for all tests.
var allRules = sync.OnceValues(dlp.DefaultRules)

// scanner makes an engine that also knows these values, by their references.
func scanner(t testing.TB, values map[string]string) func() *dlp.Engine {
	t.Helper()
	rules, err := allRules()
	if err != nil {
		t.Fatal(err)
	}
	c := dlp.Config{Rules: rules, Key: [32]byte{1}, Clean: once.New(make([]byte, once.KeySize), 1<<12)}
	for name, v := range values {
		c.Known = append(c.Known, known.Secret{Name: name, Value: []byte(v), Certain: true})
	}
	e, err := dlp.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return func() *dlp.Engine { return e }
}

// Admit lets a value pass.
func (p *Proxy) Admit(print string, host bottle.Host, until time.Time) {
	p.Approved().Add(approval.Approval{Print: print, Host: host, Until: until})
}

func nothing() *dlp.Engine { return nil }

// packer compresses by what the standard library has not.
func packer(how string, to io.Writer) io.WriteCloser {
	if how == "br" {
		return brotli.NewWriter(to)
	}
	z, err := zstd.NewWriter(to)
	if err != nil {
		panic(err)
	}
	return z
}
