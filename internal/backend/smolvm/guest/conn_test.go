package guest

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
)

func TestConnCarriesFrames(t *testing.T) {
	var wire bytes.Buffer
	c := NewConn(&wire, &wire, MaxAnswer)
	if err := c.Send(Output, []byte("one")); err != nil {
		t.Fatal(err)
	}
	if err := c.SendJSON(Message{Begin: &Begin{Identity: "a-abcde"}}); err != nil {
		t.Fatal(err)
	}
	if err := c.Send(Credit, nil); err != nil {
		t.Fatal(err)
	}
	for _, want := range []struct {
		kind Kind
		text string
	}{{Output, "one"}, {Control, "a-abcde"}, {Credit, ""}} {
		kind, body, err := c.Receive()
		if err != nil || kind != want.kind || !strings.Contains(string(body), want.text) {
			t.Errorf("%c %q %v, want %c", kind, body, err, want.kind)
		}
	}
	if _, _, err := c.Receive(); !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %v", err)
	}
}

// A frame that is too long is refused before anything is made for it, and one that is
// cut is no end.
func TestConnBoundsFrames(t *testing.T) {
	c := NewConn(strings.NewReader("o\xff\xff\xff\xff"), io.Discard, MaxAnswer)
	if _, _, err := c.Receive(); err == nil || !strings.Contains(err.Error(), "more than") {
		t.Errorf("a frame of 4 GiB: %v", err)
	}
	c = NewConn(strings.NewReader("o\x00\x00\x00\x05abc"), io.Discard, MaxAnswer)
	if _, _, err := c.Receive(); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("a frame that is cut: %v", err)
	}
}

func FuzzConn(f *testing.F) {
	f.Add([]byte("c\x00\x00\x00\x02{}k\x00\x00\x00\x00"))
	f.Add([]byte("o\x00\x00\x10\x00short"))
	f.Fuzz(func(t *testing.T, b []byte) {
		c := NewConn(bytes.NewReader(b), io.Discard, 1<<10)
		total := 0
		for {
			_, body, err := c.Receive()
			if err != nil {
				return
			}
			if total += 5 + len(body); len(body) > 1<<10 || total > len(b) {
				t.Fatalf("%d bytes out of %d", total, len(b))
			}
		}
	})
}
