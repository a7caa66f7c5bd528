package place

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

type message struct {
	compressed bool
	data       string
}

func TestMessagesInAnyPieces(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var want, got []message
		var text []byte
		for range rapid.IntRange(0, 5).Draw(t, "n") {
			m := message{rapid.Bool().Draw(t, "compressed"), strings.Repeat("x\x00", rapid.IntRange(0, 300).Draw(t, "size"))}
			want = append(want, m)
			flag := byte(0)
			if m.compressed {
				flag = 1
			}
			text = append(binary.BigEndian.AppendUint32(append(text, flag), uint32(len(m.data))), m.data...)
		}
		var m Messages
		last := true
		for _, p := range pieces(t, text) {
			err := m.Feed(p, func(f Frame, data []byte) {
				if f.First {
					got = append(got, message{compressed: f.Compressed})
				}
				if f.First != last || f.Index != len(got)-1 || int(f.Length) != len(want[f.Index].data) {
					t.Fatalf("%+v behind message %d", f, len(got))
				}
				last = f.Last
				got[f.Index].data += string(data)
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		if !m.Whole() || !last || !reflect.DeepEqual(got, want) {
			t.Fatalf("got %v, want %v", got, want)
		}
	})
}

func TestMessagesRefuseOtherFlags(t *testing.T) {
	var m Messages
	n := 0
	each := func(Frame, []byte) { n++ }
	if err := m.Feed([]byte("\x00\x00\x00\x00\x01a"), each); err != nil || n != 1 {
		t.Fatal(err)
	}
	for _, p := range []string{"\x02", "\x00\x00\x00\x00\x01a"} {
		if err := m.Feed([]byte(p), each); !errors.Is(err, ErrFraming) || n != 1 || m.Whole() {
			t.Errorf("%q: %v, %d messages", p, err, n)
		}
	}
}

func TestMessagesCutOff(t *testing.T) {
	for _, p := range []string{"\x00", "\x00\x00\x00\x00\x01", "\x01\xff\xff\xff\xffabc"} {
		var m Messages
		if err := m.Feed([]byte(p), func(f Frame, _ []byte) {
			if f.Last {
				t.Errorf("%q: ended", p)
			}
		}); err != nil || m.Whole() {
			t.Errorf("%q: %v", p, err)
		}
	}
}

// field appends one field in wire format.
func field(b []byte, number int, value string) []byte {
	b = binary.AppendUvarint(b, uint64(number)<<3|2)
	b = binary.AppendUvarint(b, uint64(len(value)))
	return append(b, value...)
}

func protoStrings(b []byte) (all []string) {
	ProtoStrings(b, func(f, v []byte) bool { all = append(all, fmt.Sprintf("%s=%s", f, v)); return true })
	return all
}

func TestProtoStrings(t *testing.T) {
	inner := field([]byte("\x08\x96\x01"), 2, "secret \xff") // 1: 150, 2: bytes
	var b []byte
	b = append(b, "\x09"+"12345678"+"\x15"+"1234"+"\x18\x01"...) // 1: fixed64, 2: fixed32, 3: varint
	b = field(b, 4, "hello world")
	b = field(b, 5, string(inner))
	b = append(b, 6<<3|3)
	b = field(b, 7, "in a group")
	b = append(b, 6<<3|4)
	b = field(b, 100, "\xff\xfe")
	b = field(b, 9, "")
	if got, want := protoStrings(b), []string{"4=hello world", "5.2=secret \xff", "6.7=in a group", "100=\xff\xfe", "9="}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// A text can be a message too, and a message a text: then both are given.
func TestProtoStringsOfWhatMayBeEither(t *testing.T) {
	inner := string(field(nil, 2, "abc"))
	if got, want := protoStrings(field(nil, 1, inner)), []string{"1=" + inner, "1.2=abc"}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestProtoStringsOfBrokenMessages(t *testing.T) {
	for name, c := range map[string]struct{ in, want string }{
		"cut off":                  {string(field(nil, 1, "secret")[:5]), "1=sec"},
		"field 0":                  {"\x02\x03abc", "=\x02\x03abc"},
		"wire type 7":              {"\x0fabc", "=\x0fabc"},
		"cut fixed64":              {"\x09abc", "=\x09abc"},
		"end without start":        {"\x0cabc", "=\x0cabc"},
		"length of 2^64":           {"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01abc", "1=abc"},
		"groups that do not match": {string(field(nil, 1, "\x0b\x12\x01\xff\x14")), "1=\x0b\x12\x01\xff\x14"},
		"endless varint":           {strings.Repeat("\xff", 20), "=" + strings.Repeat("\xff", 20)},
		"rest behind a good":       {string(field(nil, 1, "a.b.c")) + "\x07rest", "1=a.b.c|=\x07rest"},
	} {
		if got := strings.Join(protoStrings([]byte(c.in)), "|"); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestProtoStringsIsBounded(t *testing.T) {
	b := []byte("\xffsecret")
	for range 40 {
		b = field(nil, 536870911, string(b))
	}
	all := protoStrings(b)
	if last := all[len(all)-1]; strings.Count(last, "536870911") != maxProtoDepth || !strings.Contains(last, "secret") {
		t.Errorf("%d: %q", len(all), last)
	}
	groups := bytes.Repeat([]byte{1<<3 | 3}, 100)
	if all := protoStrings(append(groups, "secret"...)); !strings.Contains(all[len(all)-1], "secret") {
		t.Errorf("%q", all)
	}
	both := string(bytes.Repeat([]byte{1<<3 | 3}, 10)) + string(field(nil, 1, "secret"))
	both += strings.Repeat("\x0c", 10)
	for range 10 {
		both = string(field(nil, 1, both))
	}
	for _, s := range protoStrings([]byte(both)) {
		if strings.Count(s, ".") >= maxProtoDepth {
			t.Errorf("%q", s)
		}
	}
	n := 0
	ProtoStrings(field(field(nil, 1, "a.b"), 2, "c.d"), func(_, _ []byte) bool { n++; return false })
	if n != 1 {
		t.Errorf("called %d times after false", n)
	}
}

// Nothing that could hold a text is left out: every text that was put in is given,
// at its path or within the bytes of a field that holds it.
func TestProtoStringsGivesEveryText(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var build func(depth int, path string) []byte
		want := map[string]string{}
		build = func(depth int, path string) (b []byte) {
			for i := range rapid.IntRange(1, 3).Draw(t, "n") {
				p := fmt.Sprintf("%s%d", path, i+1)
				if depth > 0 && rapid.Bool().Draw(t, "message") {
					b = field(b, i+1, string(build(depth-1, p+".")))
					continue
				}
				want[p] = "<" + rapid.StringOfN(rapid.RuneFrom([]rune("abc é")), 0, 20, -1).Draw(t, "text") + ">"
				b = field(b, i+1, want[p])
			}
			return b
		}
		b := build(5, "")
		got := map[string][]string{}
		ProtoStrings(b, func(f, v []byte) bool { got[string(f)] = append(got[string(f)], string(v)); return true })
		for p, v := range want {
			if found := got[p]; len(found) == 0 || found[0] != v {
				t.Fatalf("%q: %s is %q, want %q", b, p, found, v)
			}
		}
	})
}

func FuzzProtoStrings(f *testing.F) {
	f.Add(field(field(nil, 1, "abc"), 2, "\x0a\x01a"))
	f.Add([]byte("\x0b\x12\x01a\x0c"))
	f.Fuzz(func(t *testing.T, b []byte) {
		total := 0
		ProtoStrings(b, func(f, v []byte) bool {
			total += len(v)
			if bytes.Count(f, []byte(".")) >= maxProtoDepth {
				t.Fatalf("%q: %s", b, f)
			}
			return true
		})
		if total > (maxProtoDepth+1)*len(b) {
			t.Fatalf("%q: gives %d bytes of %d", b, total, len(b))
		}
	})
}

func FuzzMessages(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x00\x01a\x01\x00\x00\x00\x00"), uint8(2))
	f.Fuzz(func(t *testing.T, b []byte, n uint8) {
		read := func(size int) (s string) {
			var m Messages
			for _, p := range chop(string(b), size) {
				if err := m.Feed(p, func(f Frame, data []byte) {
					if f.First {
						s += fmt.Sprintf("%d %v %d:", f.Index, f.Compressed, f.Length)
					}
					s += string(data)
				}); err != nil {
					return s + err.Error()
				}
			}
			return s
		}
		if whole, split := read(len(b)+1), read(int(n)+1); whole != split {
			t.Fatalf("%q: %q, in pieces %q", b, whole, split)
		}
	})
}

func BenchmarkProtoStrings(b *testing.B) {
	var text []byte
	for len(text) < 1<<20 {
		text = field(text, 1, string(field(field(nil, 1, "user"), 3, strings.Repeat("some text of a message. ", 20))))
	}
	hostile := bytes.Repeat([]byte("\x0a\x00"), 1<<19)
	for range 15 {
		hostile = field(nil, 1, string(hostile))
	}
	for name, text := range map[string][]byte{"text": text, "hostile": hostile} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				ProtoStrings(text, func(_, _ []byte) bool { return true })
			}
		})
	}
}
