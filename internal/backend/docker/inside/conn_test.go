package inside

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
)

func TestConnCarriesFrames(t *testing.T) {
	var wire bytes.Buffer
	c := NewConn(&wire, &wire, MaxReply)
	long := strings.Repeat("x", MaxData*2+1)
	if _, err := io.WriteString(c.Sender(Output), long); err != nil {
		t.Fatal(err)
	}
	if err := c.Send(Credit, nil); err != nil {
		t.Fatal(err)
	}
	got := ""
	for {
		kind, body, err := c.Receive()
		if err != nil {
			t.Fatal(err)
		}
		if kind == Credit {
			break
		}
		if kind != Output || len(body) > MaxData {
			t.Fatalf("a frame %c of %d bytes", kind, len(body))
		}
		got += string(body)
	}
	if got != long {
		t.Errorf("%d bytes of %d came through", len(got), len(long))
	}
	if _, _, err := c.Receive(); !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %v", err)
	}
}

// A frame that is too long is refused before anything is made for it.
func TestConnBoundsFrames(t *testing.T) {
	c := NewConn(strings.NewReader("o\xff\xff\xff\xff"), io.Discard, MaxReply)
	if _, _, err := c.Receive(); err == nil || !strings.Contains(err.Error(), "more than") {
		t.Errorf("a frame of 4 GiB: %v", err)
	}
	c = NewConn(strings.NewReader("o\x00\x00\x00\x05abc"), io.Discard, MaxReply)
	if _, _, err := c.Receive(); err == nil || errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
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
