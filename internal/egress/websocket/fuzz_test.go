package websocket

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

// Whatever a side says: no panic; what goes on is legal and says the same as what
// came, up to the first thing that is not legal; and that is found out, however
// the bytes are cut.
func FuzzFrames(f *testing.F) {
	for _, frames := range [][]frame{
		{{0x81, "text"}, {0x82, "\xff"}, {0x89, "ping"}, {0x88, code(1000, "bye")}},
		{{0x01, "\xe2\x82"}, {0x8a, ""}, {0x80, "\xac"}},
		{{0x02, strings.Repeat("x", 126)}, {0x00, strings.Repeat("y", piece+999)}, {0x80, ""}},
		{{0x88, code(1005, "")}}, {{0x80, "x"}}, {{0xc1, "x"}}, {{0x81, "\xff"}},
	} {
		f.Add(wire(Agent, frames...), true, false)
		f.Add(wire(Upstream, frames...), false, true)
	}
	unfinished := wire(Agent, frame{0x88, ""}, frame{0x88, "\x03\xe8"})
	f.Add(unfinished[:len(unfinished)-1], true, false) // a second close frame, known by its head
	f.Fuzz(func(t *testing.T, in []byte, fromAgent, slowly bool) {
		var src io.Reader = bytes.NewReader(in)
		if slowly {
			src = iotest.OneByteReader(src)
		}
		side, out, err := Upstream, []byte(nil), error(nil)
		o := Options{FromAgent: hesitant(5), FromUpstream: hesitant(2)}
		if fromAgent {
			side = Agent
			_, out, err = relayed(t, src, nil, o)
		} else {
			out, _, err = relayed(t, nil, src, o)
		}
		_, got := heard(t, out, side)
		frames, wrong := plainly(in, side)
		said, breach := meant(frames)
		if breach == nil {
			breach = wrong
		}
		var fault *Fault
		if errors.As(err, &fault) {
			// Only a text may be found out before its end.
			if breach == nil && fault.Code != invalidText {
				t.Fatalf("refused what is legal: %v", err)
			}
			if last := len(got) - 1; last >= 0 && got[last].op == Close && (len(said) == 0 || said[len(said)-1].op != Close) {
				got = got[:last] // our own
			}
		} else if breach != nil {
			t.Fatalf("let through: %v (%v)", breach, err)
		}
		messages := func(e event) bool { return e.op.Control() }
		a, b := slices.DeleteFunc(slices.Clone(said), messages), slices.DeleteFunc(slices.Clone(got), messages)
		if fault == nil && errors.Is(err, io.ErrUnexpectedEOF) {
			a = a[:min(len(a), len(b))]
		}
		if !slices.Equal(a, b) {
			t.Fatalf("said %s, arrived %s, %v", short(a), short(b), err)
		}
	})
}

// plainly parses what a side said as far as it can be read, and finds what only
// the bytes show: the mask of the wrong side, lengths.
func plainly(in []byte, from Side) (frames []frame, wrong error) {
	for len(in) >= 2 {
		if in[0]&0x70 != 0 || in[0]&8 != 0 && (in[0]&0x80 == 0 || in[1]&0x7f > 125) {
			return append(frames, frame{first: in[0], payload: strings.Repeat("x", int(in[1]&0x7f))}), errors.New("head")
		}
		if op := in[0] & 15; op > 2 && op < 8 || op > 10 {
			return frames, errors.New("opcode")
		}
		n := map[byte]int{126: 4, 127: 10}[in[1]&0x7f]
		if n > len(in) || in[1]&0x80 != 0 && max(n, 2)+4 > len(in) {
			return frames, nil
		}
		switch {
		case n == 4 && in[2] == 0 && in[3] < 126, n == 10 && bytes.Equal(in[2:8], make([]byte, 6)):
			return frames, errors.New("length")
		case n == 10 && in[2]&0x80 != 0:
			return frames, errors.New("length")
		case (in[1]&0x80 != 0) != (from == Agent):
			return frames, errors.New("mask")
		}
		f, size, _ := parseOne(in, from)
		if size == 0 {
			// What an unfinished frame begins is found out from its head. Whether its
			// payload is as it must be, nobody knows.
			begun := frame{first: in[0]}
			if in[0]&8 == 0 {
				begun.first &^= 0x80
			}
			_, err := meant(append(slices.Clone(frames), begun))
			return frames, err
		}
		frames, in = append(frames, f), in[size:]
	}
	return frames, nil
}

// endless says the same frames again and again, n times.
type endless struct {
	text []byte
	at   int
	n    int
}

func (e *endless) Read(b []byte) (int, error) {
	if e.n == 0 {
		return 0, io.EOF
	}
	n := copy(b, e.text[e.at:])
	if e.at += n; e.at == len(e.text) {
		e.at, e.n = 0, e.n-1
	}
	return n, nil
}

type nowhere struct{ io.Reader }

func (nowhere) Write(b []byte) (int, error) { return len(b), nil }
func (nowhere) Close() error                { return nil }
func (nowhere) CloseWrite() error           { return nil }

// Messages through a relay, to the side that is masked for and from it.
func BenchmarkRelay(b *testing.B) {
	for name, size := range map[string]int{"100B": 100, "4KiB": 4 << 10, "1MiB": 1 << 20} {
		for _, op := range []byte{0x81, 0x82} {
			kind := map[byte]string{0x81: "text", 0x82: "binary"}[op]
			one := frame{op, strings.Repeat("x", size)}
			for _, from := range []Side{Agent, Upstream} {
				b.Run(name+"/"+kind+"/"+strings.ReplaceAll(from.String(), " ", "-"), func(b *testing.B) {
					b.SetBytes(int64(size))
					b.ReportAllocs()
					sides := map[Side]io.Reader{Agent: strings.NewReader(""), Upstream: strings.NewReader("")}
					sides[from] = &endless{text: one.bytes(from), n: b.N}
					b.ResetTimer()
					if _, err := Relay(context.Background(), nowhere{sides[Agent]}, nowhere{sides[Upstream]}, Options{}); err != nil {
						b.Fatal(err)
					}
				})
			}
		}
	}
}
