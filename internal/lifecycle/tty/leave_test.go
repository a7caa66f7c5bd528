package tty

import (
	"io"
	"os"
	"strings"
	"testing"
	"time"
)

// TestModesAreSeenHoweverTheyAreSpelt: an agent's output decides what is taken
// back at its end, so a mode must not hide in a cut or disguised sequence.
func TestModesAreSeenHoweverTheyAreSpelt(t *testing.T) {
	const none = ""
	for _, c := range []struct{ wrote, want, never string }{
		{"plain text, ünïcode\r\n\x07", none, "\x1b"},
		{"\x1b[31mred", "\x1b[0m", "?1049l"},
		{"\x1b[31mred", "\x1b[?2004l", "\x1b[?6l"},
		{"\x1b[?1049h", "\x1b[?1049l", "<99u"},
		{"\x1b[?25;1049h", "\x1b[?1049l", "<99u"},
		{"\x1b[?001049h", "\x1b[?1049l", "<99u"},
		{"\x1b[?10\n49h", "\x1b[?1049l", "<99u"}, // a control character inside is obeyed, and the rest goes on
		{"\x9b?1047h", "\x1b[?1049l", "<99u"},
		{"\u009b?47h", "\x1b[?1049l", "<99u"},
		{"\x1b[?10\x1849h", "\x1b[0m", "?1049l"}, // CAN ends it
		{"\x1b[?1049h text \x1b[?1049l", "\x1b[0m", "?1049l"},
		{"\x1b[?6h", "\x1b[?6l", "<99u"},
		{"\x1b[>1u", "\x1b[<99u", "?1049l"},
		{"\x1b[>4;2m", "\x1b[>4m", "?1049l"},
		{"\x1b]2;never ended", "\x18", "?1049l"},
		{"\x0e", "\x0f", "?1049l"},
	} {
		for cut := 0; cut <= len(c.wrote); cut++ {
			var m modes
			m.see([]byte(c.wrote[:cut]))
			m.see([]byte(c.wrote[cut:]))
			undo := m.undo()
			if c.want == none && undo != "" || !strings.Contains(undo, c.want) || strings.Contains(undo, c.never) {
				t.Errorf("%q cut at %d is undone by %q: want %q in it, %q never", c.wrote, cut, undo, c.want, c.never)
			}
		}
	}
}

// TestKeysEnd: a plain read would sit on the terminal after the agent's end, and
// take the first keys that are meant for the shell.
func TestKeysEnd(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	k, err := newKeys(r)
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan string)
	go func() {
		body, _ := io.ReadAll(k)
		got <- string(body)
	}()
	if _, err := w.WriteString("for the agent"); err != nil {
		t.Fatal(err)
	}
	time.Sleep(20 * time.Millisecond)
	k.close()
	k.close()
	if _, err := w.WriteString("for the shell"); err != nil {
		t.Fatal(err)
	}
	if s := <-got; s != "for the agent" {
		t.Errorf("the agent was given %q", s)
	}
	b := make([]byte, 64)
	if n, err := r.Read(b); err != nil || string(b[:n]) != "for the shell" {
		t.Errorf("left for the shell: %q, %v", b[:n], err)
	}
}
