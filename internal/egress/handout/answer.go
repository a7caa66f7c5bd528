package handout

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/textproto"
	"net/url"
	"strings"
)

// Bounds of what is read of an answer's body, in bytes.
const (
	mostRead    = 64 << 10
	mostDecoded = 256 << 10 // of what was compressed
)

// Header remembers what the head of an answer hands out. target is what was asked for.
func (p Party) Header(h http.Header, target string) {
	if p.m == nil {
		return
	}
	l := learner{p, mostOfOne}
	for name, lines := range h {
		for _, v := range lines {
			switch name {
			case "Set-Cookie":
				pair, _, _ := strings.Cut(v, ";")
				_, v, _ = strings.Cut(pair, "=")
				l.value(strings.Trim(textproto.TrimString(v), `"`))
			case "Location", "Content-Location":
				if base, err := url.Parse("https://" + string(p.host) + target); err == nil {
					l.url(v, base)
				}
			default:
				if presented(name) {
					l.value(v)
				}
			}
		}
	}
}

// Body gives the body of an answer, and remembers what its beginning hands out, before
// its end is given on. decoder takes the answer's coding off; nil: it has none. Only
// JSON, forms, and a text that is one token are looked into.
func (p Party) Body(res *http.Response, decoder func(io.Reader) (io.ReadCloser, error)) io.ReadCloser {
	media, _, err := mime.ParseMediaType(res.Header.Get("Content-Type"))
	var learn func(*learner, []byte)
	switch {
	case p.m == nil || err != nil || res.Body == nil || res.Body == http.NoBody:
	case media == "application/json" || strings.HasSuffix(media, "+json"):
		learn = (*learner).json
	case media == "application/x-www-form-urlencoded":
		learn = (*learner).form
	case media == "text/plain" && res.ContentLength > 0 && res.ContentLength <= longest:
		learn = func(l *learner, text []byte) { l.value(strings.TrimSpace(string(text))) }
	}
	if learn == nil {
		return res.Body
	}
	return &answer{ReadCloser: res.Body, left: res.ContentLength, learn: func(text []byte) {
		if decoder != nil {
			text = decoded(text, decoder)
		}
		learn(&learner{p, mostOfOne}, text)
	}}
}

// answer is a body that is looked into.
type answer struct {
	io.ReadCloser
	left  int64 // bytes to come; negative: not known
	text  []byte
	learn func([]byte) // nil: it has been
}

func (a *answer) Read(p []byte) (int, error) {
	n, err := a.ReadCloser.Read(p)
	if a.learn == nil {
		return n, err
	}
	if a.text == nil && n > 0 {
		a.text = make([]byte, 0, min(max(a.left, 4<<10), mostRead))
	}
	a.text = append(a.text, p[:min(n, mostRead-len(a.text))]...)
	if a.left > 0 {
		a.left = max(a.left-int64(n), 0)
	}
	switch {
	case errors.Is(err, io.EOF), a.left == 0, len(a.text) == mostRead:
		a.learn(a.text)
		a.learn, a.text = nil, nil
	case err != nil:
		a.learn, a.text = nil, nil
	}
	return n, err
}

// decoded is the beginning of what was compressed, as far as it can be read.
func decoded(text []byte, decoder func(io.Reader) (io.ReadCloser, error)) []byte {
	r, err := decoder(strings.NewReader(string(text)))
	if err != nil {
		return nil
	}
	defer r.Close()
	out, _ := io.ReadAll(io.LimitReader(r, mostDecoded))
	return out
}

// json remembers whole strings of a JSON text, or of its beginning: URLs, and those
// whose name says what they are. Not parts of strings: those are texts of somebody.
func (l *learner) json(text []byte) {
	texts(text, func(name []byte, start, end int) bool {
		raw := text[start:end]
		switch {
		case len(raw)-2 < shortest || len(raw) > 2*longest:
		case bytes.HasPrefix(raw, []byte(`"https:`)):
			l.url(unquoted(raw), nil)
		case presented(name):
			l.value(unquoted(raw))
		}
		return l.left > 0
	})
}

// texts tells each string of a JSON text that is a value: the last name before it, and
// where it stands with its quotes. It ends where each gives false.
func texts(text []byte, each func(name []byte, start, end int) bool) {
	var name []byte
	for i := 0; i < len(text); {
		next := bytes.IndexByte(text[i:], '"')
		if next < 0 {
			return
		}
		start := i + next
		end := start + 1
		for end < len(text) && text[end] != '"' {
			if text[end] == '\\' {
				end++
			}
			end++
		}
		if i = end + 1; i > len(text) {
			return // the beginning of a string is none
		}
		if at := space(text, i); at < len(text) && text[at] == ':' {
			name, i = text[start+1:end], at+1
		} else if !each(name, start, i) {
			return
		}
	}
}

// form remembers the values of a form whose names say what they are.
func (l *learner) form(text []byte) {
	for field := range strings.SplitSeq(string(text), "&") {
		name, v, _ := strings.Cut(field, "=")
		if presented(name) {
			l.value(unescaped(v))
		}
	}
}

// unquoted is a JSON string's text.
func unquoted(raw []byte) string {
	if bytes.IndexByte(raw, '\\') < 0 {
		return string(raw[1 : len(raw)-1])
	}
	var s string
	_ = json.Unmarshal(raw, &s) // what is none stays empty
	return s
}

// space is the first place at or behind i that is no white space of JSON.
func space(text []byte, i int) int {
	for i < len(text) && (text[i] == ' ' || text[i] == '\n' || text[i] == '\r' || text[i] == '\t') {
		i++
	}
	return i
}
