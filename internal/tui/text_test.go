package tui

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/charmbracelet/x/ansi"
)

// hostile are texts that would be drawn otherwise than they are counted, or obeyed.
func hostile() []string {
	return []string{
		"\x1b[2J\x1b[H\x1b]0;root\a\x9b5n\u009b5n", "\x1b]8;;http://evil\x1b\\link", "a\rb\nc\x00\x7f\u0085\u2028\u2029", "\u202edlo\u2066x\u200f\u061c",
		"👨‍👩‍👧‍👦 👍🏽 🇩🇪🇫 ❤️ ☎︎ 1️⃣", "한국어 ᄒ\u1161\u11ab \u1161\u1161 각", "日本語 全角ＡＢＣ ｶﾅ", "e\u0301\u0301\u0301\u0301\u0301\u0301\u0301 \u0301", "हिन्दी स्ते நி", "ไทย ก็ ํ", "שלום مرحبا ﷽",
		"\u3164\u115f\u2800\u00ad\u200b\ufeff\u034f", "\xff\xfe\xed\xa0\x80", "\U000e0041\U000e0042", "𒐫𒈙꧅⸻", "┌─┐│█▓◢", "é… — → α Я",
		strings.Repeat("界", 300), strings.Repeat("x", 3000), strings.Repeat("a ", 500), strings.Repeat("\t", 40) + "x",
	}
}

func harmless(t *testing.T, s string) {
	t.Helper()
	if !utf8.ValidString(s) || ansi.Strip(s) != s {
		t.Errorf("a terminal obeys %q", s)
	}
	for _, r := range s {
		if !unicode.IsPrint(r) {
			t.Errorf("%q holds %U", s, r)
		}
	}
	if a, b := ansi.StringWidth(s), ansi.StringWidthWc(s); a != b || a > room(s) {
		t.Errorf("%q is %d, %d or at most %d cells wide", s, a, b, room(s))
	}
}

// TestTextIsOfOneWidth: however a terminal counts, and never more than the room for it.
func TestTextIsOfOneWidth(t *testing.T) {
	for _, s := range hostile() {
		harmless(t, clean(s))
		for width := 4; width < 50; width++ {
			if got := fit(clean(s), width); room(got) > width {
				t.Errorf("%q is wider than %d", got, width)
			}
		}
	}
	for in, want := range map[string]string{"日本語": "日本語", "é e\u0301": "é e\u0301", "שלום": "שלום", "Привет → мир": "Привет → мир",
		"👍🏽": `\u{1f44d}\u{1f3fd}`, "🇩🇪": `\u{1f1e9}\u{1f1ea}`, "👍": "👍", "ᄒ\u1162": `\u{1112}\u{1162}`} {
		if got := clean(in); got != want {
			t.Errorf("%q is shown as %q, want %q", in, got, want)
		}
	}
}

// TestLinesLoseNothing: what is broken into lines has every character of it.
func TestLinesLoseNothing(t *testing.T) {
	for _, s := range hostile() {
		s = clean(s)
		for width := 10; width < 60; width += 7 {
			lines := wrap(s, width)
			for _, l := range lines {
				if room(l) > width {
					t.Errorf("%q is wider than %d", l, width)
				}
			}
			if got := strings.ReplaceAll(strings.Join(lines, ""), " ", ""); got != strings.ReplaceAll(s, " ", "") {
				t.Errorf("%d: %q became %q", width, s, got)
			}
		}
		var all strings.Builder
		for _, l := range broken(0, s, 40) {
			if room(l.text) > 40 {
				t.Errorf("%q is wider than 40", l.text)
			}
			all.WriteString(strings.TrimSuffix(strings.TrimPrefix(l.text, "  "), ` \`))
		}
		if all.String() != s {
			t.Errorf("%q became %q", s, all.String())
		}
	}
}

// FuzzText: no text of an agent's leaves its line, its width or the alphabet of what is
// drawn, nor the notification that it is in.
func FuzzText(f *testing.F) {
	for _, s := range hostile() {
		f.Add(s, 20)
	}
	f.Fuzz(func(t *testing.T, s string, width int) {
		width = 10 + (width&0xff+0x100)%0xff
		harmless(t, clean(s))
		if got := fit(clean(s), width); room(got) > width {
			t.Errorf("%q is wider than %d", got, width)
		}
		for _, l := range wrap(clean(s), width) {
			if room(l) > width {
				t.Errorf("%q is wider than %d", l, width)
			}
		}
		for _, l := range difference(s, width+8) {
			harmless(t, l.text)
			if room(l.text) > width+8 {
				t.Errorf("%q is wider than %d", l.text, width+8)
			}
		}
		told := ring(s)
		if strings.Count(told, "\a") != 3 || strings.Count(told, "\x1b") != 2 || strings.Count(told, ";") != 4 || !ascii(told) || len(told) > 500 {
			t.Errorf("%q", told)
		}
	})
}
