package ration

import (
	"context"
	"runtime"
	"sync"
	"testing"
)

// However many want some, no more is out than there is, and all of it comes back.
func TestRation(t *testing.T) {
	r := New(10)
	var mu sync.Mutex
	var wg sync.WaitGroup
	out, most := 0, 0
	for i := range 200 {
		wg.Go(func() {
			size := i%7 + 1
			if !r.Take(t.Context(), size) {
				t.Error("it did not come")
				return
			}
			mu.Lock()
			out += size
			most = max(most, out)
			mu.Unlock()
			runtime.Gosched()
			mu.Lock()
			out -= size
			mu.Unlock()
			r.Give(size)
		})
	}
	wg.Wait()
	if most > 10 || !r.Try(10) || r.Try(1) {
		t.Errorf("%d were out", most)
	}
	ctx, cancel := context.WithCancel(t.Context())
	got := make(chan bool)
	go func() { got <- r.Take(ctx, 8) }()
	cancel()
	if <-got {
		t.Error("more came than there is")
	}
	r.Give(10)
	if !r.Try(10) {
		t.Error("who went away holds some")
	}
}
