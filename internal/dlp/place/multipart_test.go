package place

import (
	"bytes"
	"cmp"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/textproto"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

type got struct {
	Part
	data string
}

// parts reads a body in the given pieces.
func parts(boundary string, split [][]byte) (all []got, m *Multipart, err error) {
	if m, err = NewMultipart(boundary); err != nil {
		return nil, nil, err
	}
	for _, p := range split {
		fed := m.Feed(p, func(p *Part, data []byte) {
			if data == nil {
				all = append(all, got{Part: *p})
			}
			if data != nil && len(data) == 0 {
				err = errors.New("called for no data")
			}
			all[len(all)-1].data += string(data)
		})
		if err = cmp.Or(err, fed); err != nil {
			return all, m, err
		}
	}
	return all, m, nil
}

func TestPartsAreThoseOfMimeMultipart(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const boundary = "b-1"
		var body bytes.Buffer
		out := multipart.NewWriter(&body)
		out.SetBoundary(boundary)
		data := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "\r", "\n", "\r\n", "-", "--", "--b-", "\r\n--b", "\r\n-", "b-1", "\x00", "long text"}), 0, 8)
		for range rapid.IntRange(1, 4).Draw(t, "parts") {
			h := textproto.MIMEHeader{}
			if name := rapid.SampledFrom([]string{"", "a", "odd \"name\"", "é"}).Draw(t, "name"); name != "" {
				h.Set("Content-Disposition", multipart.FileContentDisposition(name, "f.txt"))
			}
			if rapid.Bool().Draw(t, "type") {
				h.Set("Content-Type", "text/plain; charset=utf-8")
				h.Set("Content-Transfer-Encoding", "Base64")
			}
			w, _ := out.CreatePart(h)
			// The start of the data is the start of a line too.
			io.WriteString(w, strings.ReplaceAll("\r\n"+strings.Join(data.Draw(t, "data"), ""), "\r\n--b-1", "\r\nboundary")[2:])
		}
		if rapid.Bool().Draw(t, "close") {
			out.Close()
		} else {
			body.WriteString("\r\n--b-1--")
		}
		text := body.Bytes()
		all, m, err := parts(boundary, pieces(t, text))
		if err != nil || !m.Whole() {
			t.Fatalf("%q: %v, whole %v", text, err, m.Whole())
		}
		in := multipart.NewReader(bytes.NewReader(text), boundary)
		for n, p := range all {
			want, err := in.NextRawPart()
			if err != nil {
				t.Fatalf("%q: part %d: %v", text, n, err)
			}
			data, _ := io.ReadAll(want)
			_, params, _ := mime.ParseMediaType(want.Header.Get("Content-Disposition"))
			if p.Number != n+1 || p.data != string(data) || p.Name != params["name"] || p.Filename != params["filename"] ||
				p.ContentType != want.Header.Get("Content-Type") || p.Encoding != strings.ToLower(want.Header.Get("Content-Transfer-Encoding")) {
				t.Fatalf("%q: part %+v\nwant %q %q", text, p, want.Header, data)
			}
		}
		if _, err := in.NextRawPart(); err != io.EOF {
			t.Fatalf("%q: %d parts, want more: %v", text, len(all), err)
		}
	})
}

func TestMultipartPlaces(t *testing.T) {
	body := "--b\r\nContent-Disposition: form-data; name=\"plain\"\r\n\r\n1\r\n" +
		"--b\r\nContent-Type: text/plain\r\n\r\n2\r\n" +
		"--b\r\nContent-Disposition: form-data; name=\"sk-3\"\r\n\r\n4\r\n" +
		"--b\r\nContent-Disposition: form-data; name=\"" + strings.Repeat("n", 65) + "\"\r\n\r\n5\r\n--b--\r\n"
	m, _ := NewMultipart("b")
	want := map[byte]string{'1': "multipart:plain", '2': "multipart:#2", '3': "multipart:#3.<header>", '4': "multipart:#3", '5': "multipart:<long key>"}
	fed := 0
	for i := range len(body) {
		if want[body[i]] == "" {
			continue
		}
		m.Feed([]byte(body[fed:i]), func(*Part, []byte) {})
		fed = i
		if got := m.Place(); got != want[body[i]] {
			t.Errorf("%c: %s, want %s", body[i], got, want[body[i]])
		}
	}
	if m.Feed([]byte(body[fed:]), func(*Part, []byte) {}); m.Place() != "multipart:<boundary>" {
		t.Error(m.Place())
	}
}

// Each of these is read in different ways by different readers.
func TestMultipartIsStrict(t *testing.T) {
	const ok = "--b\r\nA: b\r\n\r\ndata\r\n--b--"
	for name, body := range map[string]string{
		"text before the first boundary": "preamble\r\n" + ok,
		"dashes before the first":        "--\r\n" + ok,
		"no boundary":                    "xx",
		"bare LF behind the boundary":    "--b\nA: b\r\n\r\ndata\r\n--b--",
		"boundary goes on":               "--b\r\n\r\ndata\r\n--bX\r\n\r\n",
		"one dash behind":                "--b\r\n\r\ndata\r\n--b-\r\n",
		"white space then dashes":        "--b\r\n\r\ndata\r\n--b --\r\n",
		"much white space":               "--b" + strings.Repeat(" ", 17) + "\r\n\r\n",
		"text behind the last":           ok + "X",
		"a part behind the last":         ok + "\r\n--b\r\n\r\nmore",
		"bare LF in headers":             "--b\r\nA: b\nC: d\r\n\r\n",
		"bare CR in headers":             "--b\r\nA: b\rC: d\r\n\r\n",
		"NUL in headers":                 "--b\r\nA: b\x00\r\n\r\n",
		"no colon":                       "--b\r\nA\r\n\r\n",
		"white space before the colon":   "--b\r\nA : b\r\n\r\n",
		"two types":                      "--b\r\nContent-Type: a/b\r\ncontent-type: c/d\r\n\r\n",
		"two types, the first empty":     "--b\r\nContent-Type:\r\ncontent-type: c/d\r\n\r\n",
		"two names":                      "--b\r\nContent-Disposition: form-data; name=a\r\nContent-Disposition: form-data; name=b\r\n\r\n",
		"long headers":                   "--b\r\nA: " + strings.Repeat("a", maxPartHeader) + "\r\n\r\n",
		"many headers":                   "--b\r\n" + strings.Repeat("A: b\r\n", maxPartHeader),
		"a flood of parts":               strings.Repeat("--b\r\n\r\n\r\n", maxParts+1),
		"first line is no header":        "--b\r\n : folded\r\n\r\n",
	} {
		for _, size := range []int{len(body), 1, 7} {
			if _, m, err := parts("b", chop(body, size)); !errors.Is(err, ErrMultipart) || m.Whole() || m.Place() != "multipart:<broken>" {
				t.Errorf("%s, in pieces of %d: %v", name, size, err)
			}
		}
	}
	for _, body := range []string{ok, "\r\n" + ok, ok + "\r\n", ok + " \r\n\r\n", "--b \t\r\nA: b\r\n c\r\n\r\ndata\r\n--b--"} {
		if all, m, err := parts("b", chop(body, 1)); err != nil || !m.Whole() || len(all) != 1 || all[0].data != "data" {
			t.Errorf("%q: %+v, %v", body, all, err)
		}
	}
	if _, m, _ := parts("b", chop("--b\r\n\r\nda", 3)); m.Whole() {
		t.Error("half a body is whole")
	}
}

func TestBoundaryGrammar(t *testing.T) {
	for boundary, ok := range map[string]bool{
		"a": true, "----WebKitFormBoundary7MA4YWxkTrZu0gW": true, "a b": true, "'()+_,-./:=?": true, strings.Repeat("a", 70): true,
		"": false, "a ": false, strings.Repeat("a", 71): false, "a\r\nb": false, "é": false, `a"b`: false, "a;b": false,
	} {
		if _, err := NewMultipart(boundary); (err == nil) != ok {
			t.Errorf("%q: %v", boundary, err)
		}
	}
}

func chop(s string, size int) (out [][]byte) {
	for ; len(s) > 0; s = s[min(size, len(s)):] {
		out = append(out, []byte(s[:min(size, len(s))]))
	}
	return out
}

func FuzzMultipart(f *testing.F) {
	f.Add("--b\r\nContent-Disposition: form-data; name=a\r\n\r\ndata\r\n--b\r\n\r\n\r\n--b--\r\n", uint8(3))
	f.Fuzz(func(t *testing.T, body string, n uint8) {
		whole, m, err := parts("b", [][]byte{[]byte(body)})
		split, m2, err2 := parts("b", chop(body, int(n)+1))
		if (err == nil) != (err2 == nil) || m.Place() != m2.Place() || len(whole) != len(split) {
			t.Fatalf("%q: %v %s, in pieces %v %s", body, err, m.Place(), err2, m2.Place())
		}
		for i := range whole {
			// An error ends the last part early or late.
			if whole[i].Part != split[i].Part || whole[i].data != split[i].data && (err == nil || i < len(whole)-1) {
				t.Fatalf("%q: %+v, in pieces %+v", body, whole[i], split[i])
			}
		}
		if err != nil || !m.Whole() {
			return
		}
		in := multipart.NewReader(strings.NewReader(body), "b")
		for i, p := range whole {
			want, err := in.NextRawPart()
			if err != nil {
				return // it is stricter about headers
			}
			if data, err := io.ReadAll(want); string(data) != p.data || err != nil {
				t.Fatalf("%q: part %d is %q, want %q (%v)", body, i, p.data, data, err)
			}
		}
	})
}

func BenchmarkMultipart(b *testing.B) {
	for name, line := range map[string]string{"lines": "a line of a text file, sixty bytes or so, that ends in CRLF\r\n", "hostile": "\r\n--"} {
		b.Run(name, func(b *testing.B) {
			text := []byte("--b\r\n\r\n" + strings.Repeat(line, 1<<20/len(line)))
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				m, _ := NewMultipart("b")
				if err := m.Feed(text, func(*Part, []byte) {}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
