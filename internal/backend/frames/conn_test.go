package frames

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
)

func TestConnCarriesFrames(t *testing.T) {
	var wire bytes.Buffer
	c := NewConn(&wire, &wire, MaxOut)
	long := strings.Repeat("x", MaxData*2+1) // its room is not kept
	for _, text := range []string{"short", long, ""} {
		if err := c.Send(Output, []byte(text)); err != nil {
			t.Fatal(err)
		}
		kind, body, err := c.Receive()
		if err != nil || kind != Output || string(body) != text {
			t.Fatalf("a frame %c of %d bytes, %v", kind, len(body), err)
		}
	}
	if _, _, err := c.Receive(); !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %v", err)
	}
}

// A frame that is too long is refused before anything is made for it.
func TestConnBoundsFrames(t *testing.T) {
	c := NewConn(strings.NewReader("o\xff\xff\xff\xff"), io.Discard, MaxOut)
	if _, _, err := c.Receive(); err == nil || !strings.Contains(err.Error(), "more than") {
		t.Errorf("a frame of 4 GiB: %v", err)
	}
	for _, cut := range []string{"o\x00\x00\x00\x05abc", "o\x00\x00\x00\x05", "o\x00"} {
		c = NewConn(strings.NewReader(cut), io.Discard, MaxOut)
		if _, _, err := c.Receive(); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("a frame that is cut: %v", err)
		}
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
