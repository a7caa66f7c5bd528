package pktline

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func TestLinesComeBackAsWritten(t *testing.T) {
	var out bytes.Buffer
	w := NewWriter(&out)
	long := bytes.Repeat([]byte{'x'}, MaxData)
	for _, err := range []error{w.Text("want 1"), w.Line(nil), w.Flush(), w.Delim(), w.Line(long), w.End()} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Line(append(long, 'x')); !errors.Is(err, ErrFormat) {
		t.Errorf("a line too long: %v", err)
	}
	out.WriteString("PACK and more")
	r := NewReader(iotest.OneByteReader(&out))
	for i, want := range []struct {
		line string
		kind Kind
	}{{"want 1\n", Data}, {"", Data}, {"", Flush}, {"", Delim}, {string(long), Data}, {"", End}} {
		line, kind, err := r.Next()
		if err != nil || string(line) != want.line || kind != want.kind {
			t.Fatalf("line %d: %.20q %d %v", i, line, kind, err)
		}
	}
	if rest, err := io.ReadAll(r.Rest()); err != nil || string(rest) != "PACK and more" {
		t.Errorf("rest %q %v", rest, err)
	}
	if _, _, err := r.Next(); err != io.EOF {
		t.Errorf("at the end: %v", err)
	}
}

func TestWhatIsNoPktLine(t *testing.T) {
	for text, want := range map[string]error{
		"0003": ErrFormat, "zzzz": ErrFormat, "fff1" + strings.Repeat("x", 65533): ErrFormat, "-001": ErrFormat, "HTTP": ErrFormat,
		"00": io.ErrUnexpectedEOF, "0010abc": io.ErrUnexpectedEOF, "": io.EOF,
	} {
		if _, _, err := NewReader(strings.NewReader(text)).Next(); !errors.Is(err, want) {
			t.Errorf("%.10q: %v, want %v", text, err, want)
		}
	}
}

func TestBandsComeApart(t *testing.T) {
	var out, words bytes.Buffer
	w := NewWriter(&out)
	pack := bytes.Repeat([]byte("0123456789"), 20_000)
	if _, err := w.Band(Main, SideBand64K).Write(pack); err != nil {
		t.Fatal(err)
	}
	_ = w.Band(Main, SideBand64K).KeepAlive()
	_, _ = w.Band(Progress, SideBand).Write([]byte(strings.Repeat("counting ", 300)))
	_, _ = w.Band(Main, SideBand).Write(pack[:3000])
	_ = w.Flush()
	whole := bytes.Clone(out.Bytes())
	got, err := io.ReadAll(NewDemux(NewReader(&out), &words, 1000))
	if err != nil || !bytes.Equal(got, append(bytes.Clone(pack), pack[:3000]...)) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if words.Len() != 1000 {
		t.Errorf("%d bytes of progress, the bound is 1000", words.Len())
	}
	var copied bytes.Buffer
	if _, err := NewDemux(NewReader(bytes.NewReader(whole)), nil, 0).WriteTo(&copied); err != nil || !bytes.Equal(copied.Bytes(), got) {
		t.Errorf("WriteTo: %v", err)
	}
	if _, err := io.ReadAll(NewDemux(NewReader(bytes.NewReader(whole[:len(whole)-4])), nil, 0)); err != io.ErrUnexpectedEOF {
		t.Errorf("cut off: %v", err)
	}
}

func TestLastWordsEndTheStream(t *testing.T) {
	var out bytes.Buffer
	w := NewWriter(&out)
	_, _ = w.Band(Fatal, SideBand64K).Write([]byte("out of disk" + strings.Repeat("!", 5000) + "\n"))
	_, err := io.ReadAll(NewDemux(NewReader(&out), nil, 0))
	var fatal *FatalError
	if !errors.As(err, &fatal) || !strings.HasPrefix(fatal.Words, "out of disk") || len(fatal.Words) > maxFatal {
		t.Errorf("%v", err)
	}
	for _, text := range []string{"0004", "0006\x09x", "0001"} {
		if _, err := io.ReadAll(NewDemux(NewReader(strings.NewReader(text)), nil, 0)); !errors.Is(err, ErrFormat) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestNothingIsAllocatedPerLine(t *testing.T) {
	line := []byte("4b825dc642cb6eb9a060e54bf8d69288fbee4904 refs/heads/main\n")
	w := NewWriter(io.Discard)
	_ = w.Line(line)
	if n := testing.AllocsPerRun(100, func() { _ = w.Line(line); _ = w.Flush() }); n > 0 {
		t.Errorf("writing allocates %v", n)
	}
	var out bytes.Buffer
	to := NewWriter(&out)
	for range 2000 {
		_ = to.Line(line)
	}
	r := NewReader(&out)
	if n := testing.AllocsPerRun(1000, func() {
		if _, _, err := r.Next(); err != nil {
			t.Fatal(err)
		}
	}); n > 0 {
		t.Errorf("reading allocates %v", n)
	}
}

func FuzzNext(f *testing.F) {
	for _, s := range []string{"0000", "0009hello0001", "000bwant 1\n0000PACK", "0006\x01a0007\x02bc0000", "0003", "fff0"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		r := NewReader(bytes.NewReader(in))
		var again bytes.Buffer
		w := NewWriter(&again)
		for {
			line, kind, err := r.Next()
			if err != nil {
				break
			}
			switch kind {
			case Data:
				_ = w.Line(line)
			case Flush:
				_ = w.Flush()
			case Delim:
				_ = w.Delim()
			case End:
				_ = w.End()
			}
		}
		if !bytes.EqualFold(in[:min(len(in), again.Len())], again.Bytes()) { // the length may be in capitals
			t.Errorf("%q was read as %q", in, again.Bytes())
		}
	})
}

func FuzzDemux(f *testing.F) {
	f.Add([]byte("0006\x01a0007\x02bc0000"))
	f.Add([]byte("0008\x03bye"))
	f.Fuzz(func(t *testing.T, in []byte) {
		var words bytes.Buffer
		got, err := io.ReadAll(NewDemux(NewReader(bytes.NewReader(in)), &words, 100))
		var sum bytes.Buffer
		_, err2 := NewDemux(NewReader(bytes.NewReader(in)), nil, 0).WriteTo(&sum)
		if !bytes.Equal(got, sum.Bytes()) || (err == nil) != (err2 == nil) || words.Len() > 100 || len(got) > len(in) {
			t.Errorf("%q: %q %v, %q %v", in, got, err, sum.Bytes(), err2)
		}
	})
}
