package dlp

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"bottle/internal/dlp/once"
)

const token = "ghp_x9K2mQ7rT4vW8yB1nD5fG3hJ6kL0pS2zA4cE"

// spelled writes each byte of s with a format.
func spelled(s, format string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		fmt.Fprintf(&b, format, c)
	}
	return b.String()
}

// wide are spellings of a secret over more than a chunk.
func wide() map[string]string {
	const unicode, percent, zeros = `\u%04x`, "%%%02x", "&#x00000000000000000000%02x;"
	out := map[string]string{}
	for name, secret := range map[string]string{"known": secretValue, "token": token} {
		thrice := spelled(spelled(spelled(secret, unicode), unicode), unicode)
		out[name+" in escapes of escapes of escapes"] = thrice
		out[name+" in zeros, percent and escapes"] = spelled(spelled(spelled(secret, zeros), percent), unicode)
		for _, n := range []int{10, 300, 1000} {
			out[fmt.Sprint(name, " with ", n, " invisible characters between")] = strings.Join(strings.Split(secret, ""), strings.Repeat("\u200b", n))
			out[fmt.Sprint(name, " with ", n, " soft breaks between")] = strings.Join(strings.Split(secret, ""), strings.Repeat("=\n", n))
		}
	}
	out["known in four layers of escapes"] = spelled(out["known in escapes of escapes of escapes"], unicode)
	return out
}

// However wide a secret is spelled, it is found in a conversation that grows, in a body
// whose sender pauses, and across the border of the window.
func TestSpelledWide(t *testing.T) {
	before := filler(9000, 21)
	for name, x := range wide() {
		body := []byte(string(before) + " " + x + " end\n")
		if len(engine(t).Scan(body, nil)) == 0 {
			t.Fatalf("%s: not found at once", name)
		}
		step := max(1500, len(x)/24)
		e := engine(t)
		var found []Finding
		for n := len(before); n < len(body) && found == nil; n += step {
			_, found = send(e, body[:n], nil, false)
		}
		if found == nil {
			_, found = send(e, body, nil, false)
		}
		if found == nil {
			t.Errorf("%s: not found as it grows", name)
		}
		cuts := []int{len(before)}
		for range len(x)/step + 1 {
			cuts = append(cuts, step)
		}
		if _, found = send(engine(t), body, cuts, true); found == nil {
			t.Errorf("%s: not found where the sender pauses", name)
		}
		for i := range 4 {
			large := bytes.Join([][]byte{filler(Window-i*len(x)/4, 22), []byte(x), filler(Window, 23)}, []byte(" "))
			if _, found = send(engine(t), large, []int{Window}, false); found == nil {
				t.Errorf("%s: not found at the window's border (%d/4)", name, i)
			}
		}
	}
}

// knows gives how much of a text is known to be clean.
func (e *Engine) knows(text []byte) (at int) {
	for prev := e.clean.Clean(once.Chunk{}, text); prev.Size > 0; prev = e.clean.Clean(prev, text[at:]) {
		at += prev.Size
	}
	return at
}

// A conversation that was sent is known when it is sent again, although code in it is
// full of escapes, and a few of them hide something.
func TestAConversationIsStillKnown(t *testing.T) {
	e := engine(t)
	text := conversation(t, 1<<20)
	for range 2 {
		b := e.Body()
		b.JSON = true
		for at := 0; at < len(text); at += Window {
			b.Write(text[at:min(at+Window, len(text))])
			if found := b.Scan(at+Window >= len(text)); found != nil {
				t.Fatal(found)
			}
			b.Ready()
		}
		b.Release()
	}
	if n := e.knows(text); n < len(text)-once.Longest {
		t.Errorf("of %d bytes %d are known", len(text), n)
	}
}
