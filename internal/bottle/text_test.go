package bottle

import "testing"

func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{
		"plain words, ünïcödé 世界":     "plain words, ünïcödé 世界",
		`kept: "quotes" and \slashes`: `kept: "quotes" and \slashes`,
		"\x1b[2J":                     `\x1b[2J`,
		"a\r\nb\tc":                   `a\r\nb\tc`,
		"\u202egnp.exe":               `\u202egnp.exe`, // CVE-2021-42574
		"zero\u200bwidth":             `zero\u200bwidth`,
		"\u0085":                      `\u0085`, // NEL: C1, a line feed to some terminals
		"bad\xff":                     `bad\xff`,
		"\ufffd":                      "\ufffd",
		"no\u00a0break":               `no\u00a0break`,
		"":                            "",
	} {
		got := Printable(in)
		if got != want {
			t.Errorf("Printable(%q) = %q, want %q", in, got, want)
		}
		if again := Printable(got); again != got {
			t.Errorf("Printable(%q) changes on a second reading: %q", got, again)
		}
	}
}

func TestSpellSize(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 1000: "1000", 1536: "1536", 100 << 20: "100MiB", 10 << 30: "10GiB", 16 << 40: "16TiB", 16 << 50: "16384TiB"} {
		if got := SpellSize(n); got != want {
			t.Errorf("%d is spelt %s, want %s", n, got, want)
		}
	}
}
