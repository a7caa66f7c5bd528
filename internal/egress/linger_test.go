package egress

import (
	"bytes"
	"net/http"
	"strconv"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"bottle/internal/policy"
)

// answered reads one stream's answer up to its declared length, and says whether the
// stream was ended by then.
func (r *raw2) answered(id uint32) (status string, body []byte, ended bool) {
	_ = r.c.SetReadDeadline(time.Now().Add(10 * time.Second))
	length := -1
	for length < 0 || len(body) < length {
		f, err := r.fr.ReadFrame()
		if err != nil {
			r.t.Fatalf("%s, %q of %d bytes: %v", status, body, length, err)
		}
		if f.Header().StreamID != id {
			continue
		}
		switch f := f.(type) {
		case *http2.MetaHeadersFrame:
			status = f.PseudoValue("status")
			for _, h := range f.RegularFields() {
				if h.Name == "content-length" {
					length, _ = strconv.Atoi(h.Value)
				}
			}
		case *http2.DataFrame:
			body, ended = append(body, f.Data()...), f.StreamEnded()
		case *http2.RSTStreamFrame:
			r.t.Fatalf("%s, %q of %d bytes, then %v", status, body, length, f.ErrCode)
		}
	}
	return status, body, ended
}

// reset says whether the stream is reset before a ping is answered.
func (r *raw2) reset(id uint32) bool {
	_ = r.fr.WritePing(false, [8]byte{1})
	for {
		f, err := r.fr.ReadFrame()
		if err != nil {
			r.t.Fatal(err)
		}
		switch f := f.(type) {
		case *http2.RSTStreamFrame:
			if f.StreamID == id {
				return true
			}
		case *http2.PingFrame:
			return false
		}
	}
}

// The weakness: a client that still sends when the denial comes may drop the denial when
// its stream is reset (curl 7.88: "transfer closed with 354 bytes remaining"). This proves
// that the stream is not reset while the client goes on, over a body that is cut in its
// middle and one that was never read.
func TestDenialByHTTP2ArrivesWhole(t *testing.T) {
	w, _ := guarded(t, "block", nil)
	cut := append(noisy(300<<10), watched...)
	cut = append(cut, noisy(100<<10)...)
	for name, c := range map[string]struct {
		header string
		body   []byte
	}{
		"cut":    {"harmless", cut},
		"unread": {watched, noisy(100 << 10)},
	} {
		t.Run(name, func(t *testing.T) {
			r := w.raw2()
			r.t = t
			defer r.c.Close()
			_ = r.headers(1, false, ":method", "POST", ":scheme", "https", ":authority", apiHost, ":path", "/x", "x-a", c.header,
				"content-length", strconv.Itoa(len(c.body)+2000))
			for rest := c.body; len(rest) > 0; {
				n := min(len(rest), 16<<10)
				_ = r.fr.WriteData(1, false, rest[:n])
				rest = rest[n:]
			}
			status, body, ended := r.answered(1)
			if status != "403" || !bytes.Contains(body, []byte(`"reason":"`+string(policy.SecretFound)+`"`)) || ended {
				t.Fatalf("%s %s, ended %v", status, body, ended)
			}
			_ = r.fr.WriteData(1, false, make([]byte, 1000))
			if r.reset(1) {
				t.Error("the stream is reset while its client still sends")
			}
			_ = r.fr.WriteData(1, true, make([]byte, 1000))
			for {
				f, err := r.fr.ReadFrame()
				if err != nil {
					t.Fatal(err)
				}
				if d, ok := f.(*http2.DataFrame); ok && d.StreamEnded() {
					break
				} else if _, ok := f.(*http2.RSTStreamFrame); ok {
					t.Fatal("reset")
				}
			}
			if r.reset(1) {
				t.Error("the stream is reset after both ends")
			}
		})
	}
}

// A client that hears the denial and neither goes on nor hangs up can't hold the stream.
func TestDenialByHTTP2EndsInTime(t *testing.T) {
	w, _ := guarded(t, "block", nil)
	r := w.raw2()
	began := time.Now()
	_ = r.headers(1, false, ":method", "POST", ":scheme", "https", ":authority", apiHost, ":path", "/x", "x-a", watched)
	if _, _, ended := r.answered(1); ended {
		t.Fatal("it ended at once")
	}
	for {
		f, err := r.fr.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		if d, ok := f.(*http2.DataFrame); ok && d.StreamEnded() {
			break
		}
	}
	if d := time.Since(began); d > 5*time.Second {
		t.Errorf("it took %v", d)
	}
	began = time.Now()
	for range 5 {
		req, _ := http.NewRequest("POST", "https://"+apiHost+"/x", bytes.NewReader(noisy(1000)))
		req.Header.Set("X-A", watched)
		res, err := w.client2().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		denied(t, res, 403, policy.SecretFound)
	}
	if d := time.Since(began); d > time.Second {
		t.Errorf("five small ones took %v", d)
	}
}
