package linger

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// watched says whether it was closed.
type watched struct {
	io.Reader
	closed chan struct{}
}

func (w *watched) Close() error {
	close(w.closed)
	return nil
}

// What is closed gives nothing more, and what stands behind it stays open.
func TestClosedStaysOpenBehind(t *testing.T) {
	from := &watched{strings.NewReader("abcdef"), make(chan struct{})}
	b := Hold(from)
	if n, err := b.Read(make([]byte, 2)); n != 2 || err != nil {
		t.Fatal(n, err)
	}
	_ = b.Close()
	if n, err := b.Read(make([]byte, 2)); n != 0 || !errors.Is(err, http.ErrBodyReadAfterClose) {
		t.Error(n, err)
	}
	select {
	case <-from.closed:
		t.Error("it was closed")
	default:
	}
}

// waits is a body whose reads wait until it is closed.
type waits struct{ began, closed chan struct{} }

func (w *waits) Read([]byte) (int, error) {
	close(w.began)
	<-w.closed
	return 0, io.ErrClosedPipe
}

func (w *waits) Close() error {
	close(w.closed)
	return nil
}

// A read that waits is woken.
func TestCloseWakes(t *testing.T) {
	from := &waits{make(chan struct{}), make(chan struct{})}
	b := Hold(from)
	done := make(chan error)
	go func() {
		_, err := b.Read(nil)
		done <- err
	}()
	<-from.began
	_ = b.Close()
	select {
	case err := <-done:
		if !errors.Is(err, io.ErrClosedPipe) {
			t.Error(err)
		}
	case <-time.After(5 * time.Second):
		t.Error("it still waits")
	}
}

// Of HTTP/1.1 nothing is read, and nobody waits.
func TestHTTP1IsLeftAlone(t *testing.T) {
	r := httptest.NewRequest("POST", "/", strings.NewReader("abc"))
	w := httptest.NewRecorder()
	After(w, r)
	if left, _ := io.ReadAll(r.Body); string(left) != "abc" || w.Flushed {
		t.Errorf("%q, %v", left, w.Flushed)
	}
}
