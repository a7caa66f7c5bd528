package share

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// DefaultKeys is what detaches, unless another is asked for: programs leave Ctrl-] alone, as
// telnet(1) has had it since 1983.
const DefaultKeys = "ctrl-]"

// mostDetach is how many keys may be needed.
const mostDetach = 4

// Keys are those that detach, pressed one after the other. The zero value is none.
type Keys struct {
	text  string
	codes []byte // as a terminal writes them that was told nothing
}

// ParseKeys reads what an operator writes: letters or ctrl-letters with commas between, as
// in "ctrl-p,ctrl-q"; "none" is none.
func ParseKeys(text string) (Keys, error) {
	if text == "none" {
		return Keys{text: text}, nil
	}
	k := Keys{text: text}
	words := strings.Split(text, ",")
	if len(words) > mostDetach {
		return Keys{}, fmt.Errorf("%d keys to detach are more than %d", len(words), mostDetach)
	}
	for i, word := range words {
		rest, ctrl := strings.CutPrefix(strings.ToLower(word), "ctrl-")
		switch {
		case ctrl && len(rest) == 1 && rest[0] >= 'a' && rest[0] <= 'z', ctrl && len(rest) == 1 && strings.ContainsAny(rest, `\]^_`):
			k.codes = append(k.codes, rest[0]&0x1f)
		case i > 0 && len(word) == 1 && word[0] > ' ' && word[0] < 0x7f:
			k.codes = append(k.codes, word[0])
		default: // a letter as the first would leave nothing to type
			return Keys{}, errors.New("the keys to detach are not like ctrl-] or ctrl-p,ctrl-q or ctrl-a,d; the first is one with ctrl")
		}
	}
	if len(k.codes) == 1 && bytes.IndexByte([]byte("\r\n\t"), k.codes[0]) >= 0 {
		return Keys{}, fmt.Errorf("%s is a key of its own on every keyboard (Enter, Tab): it cannot detach", text)
	}
	return k, nil
}

// String says them to a person; empty: there are none.
func (k Keys) String() string {
	if len(k.codes) == 0 {
		return ""
	}
	words := strings.Split(k.text, ",")
	for i, w := range words {
		if rest, ok := strings.CutPrefix(strings.ToLower(w), "ctrl-"); ok {
			words[i] = "Ctrl-" + strings.ToUpper(rest)
		}
	}
	return strings.Join(words, " ")
}

// watch finds the keys in what a terminal sends.
type watch struct {
	keys  Keys
	found int    // so many of them were pressed
	held  []byte // as they came: the agent's, if another key follows
}

// see gives what of b is the agent's, and whether the keys were pressed; then the rest of b
// is nobody's. The text is valid until the next call.
func (w *watch) see(b []byte) (out []byte, detach bool) {
	if len(w.keys.codes) == 0 {
		return b, false
	}
	if w.found == 0 && bytes.IndexByte(b, w.keys.codes[0]) < 0 && bytes.IndexByte(b, 0x1b) < 0 {
		return b, false
	}
	for len(b) > 0 {
		n := 1
		code, size := coded(b)
		switch {
		case size > 0 && code < 0: // a key that is let go, or a lone modifier: no other key
			w.held, b = append(w.held, b[:size]...), b[size:]
			if w.found == 0 {
				out, w.held = append(out, w.held...), nil
			}
			continue
		case size > 0:
			n = size
		default:
			code = int(b[0])
		}
		if code != int(w.keys.codes[w.found]) && w.found > 0 { // it may be the first again
			out, w.held, w.found = append(out, w.held...), nil, 0
		}
		if code == int(w.keys.codes[w.found]) {
			w.held = append(w.held, b[:n]...)
			if w.found++; w.found == len(w.keys.codes) {
				return out, true
			}
		} else {
			out = append(out, b[:n]...)
		}
		b = b[n:]
	}
	return out, false
}

// coded is the key at the beginning of b, where an agent had the terminal write keys in
// another way: kitty's (ESC [ code ; modifiers u) or xterm's modifyOtherKeys
// (ESC [ 27 ; modifiers ; code ~). size 0: it is none of those; code -1: one that says nothing.
func coded(b []byte) (code, size int) {
	if len(b) < 4 || b[0] != 0x1b || b[1] != '[' {
		return 0, 0
	}
	end := bytes.IndexFunc(b[2:min(len(b), 48)], func(r rune) bool { return (r < '0' || r > '9') && r != ';' && r != ':' })
	if end < 0 {
		return 0, 0
	}
	size = 2 + end + 1
	fields := strings.Split(string(b[2:2+end]), ";")
	number := func(i, j int) int {
		if i >= len(fields) {
			return 1
		}
		parts := strings.Split(fields[i], ":")
		if j >= len(parts) || parts[j] == "" {
			return 1
		}
		n, err := strconv.Atoi(parts[j])
		if err != nil {
			return 0
		}
		return n
	}
	mods, event := number(1, 0), 1
	switch {
	case b[size-1] == 'u':
		code, event = number(0, 0), number(1, 1)
	case b[size-1] == '~' && fields[0] == "27" && len(fields) == 3:
		code = number(2, 0)
	default:
		return 0, 0
	}
	if event == 3 || code >= 57358 && code <= 57454 { // let go; or Shift, Ctrl, a lock alone
		return -1, size
	}
	const ctrl, locks = 4, 64 | 128
	switch mods = (mods - 1) &^ locks; {
	case mods == ctrl && code >= '@' && code < 0x7f:
		return code & 0x1f, size
	case mods == 0 && code > ' ' && code < 0x7f:
		return code, size
	}
	return 0, size // another key: 0 is none that may be asked for
}
