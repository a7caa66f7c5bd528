package inspect

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"sync"
	"testing"

	"bottle/internal/policy"
)

// The weakness: a decoder of zstd or brotli keeps megabytes while its sender says
// nothing. The attack: many such requests at once. This proves that together they take
// what there is and no more, that the others get theirs in turn or are refused when they
// go away, and that all of it comes back.
func TestDecodersShareTheirMemory(t *testing.T) {
	l := look(t)
	about := func(ctx context.Context) About {
		return About{Context: ctx, Header: http.Header{"Content-Encoding": {"zstd"}}, Length: -1, Stop: func(no *Refusal) error { return no }}
	}
	packed := pack("zstd", incompressible(300_000))
	var held []*Body
	var ends []*io.PipeWriter
	for range maxMemory / zstdRoom {
		pr, pw := io.Pipe()
		go func() { _, _ = pw.Write(packed[:200_000]) }()
		b := l.Body(pr, about(t.Context()))
		b.coded.prime()
		if err := b.coded.open(); err != nil {
			t.Fatal(err)
		}
		held, ends = append(held, b), append(ends, pw)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	late := l.Body(io.NopCloser(bytes.NewReader(packed)), about(ctx))
	if _, err := io.ReadAll(late); refusal(t, err) != policy.NotScannable {
		t.Errorf("one more ended with %v", err)
	}
	_ = late.Close()
	var wg sync.WaitGroup
	for range 60 { // so few that a slow machine is through before patience ends
		wg.Go(func() {
			b := l.Body(io.NopCloser(bytes.NewReader(packed)), about(t.Context()))
			defer b.Close()
			if out, err := io.ReadAll(b); err != nil || !bytes.Equal(out, packed) {
				t.Errorf("%d bytes, %v", len(out), err)
			}
		})
	}
	for i, b := range held {
		_ = ends[i].Close()
		_ = b.Close()
	}
	wg.Wait()
	if !l.i.ration.Try(maxMemory) {
		t.Error("some of it is lost")
	}
}
