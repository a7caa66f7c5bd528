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
