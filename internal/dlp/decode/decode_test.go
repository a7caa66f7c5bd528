package decode

import (
	"bytes"
	"encoding/base32"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"unicode/utf16"
)

const secret = "sk_live_4eC39HqLyjWDarjtT1zdp7dc"

func enc16(s string, big bool) string {
	var b []byte
	for _, u := range utf16.Encode([]rune(s)) {
		if big {
			b = append(b, byte(u>>8), byte(u))
		} else {
			b = append(b, byte(u), byte(u>>8))
		}
	}
	return string(b)
}

func each(s string, f func(i int, r rune) string) string {
	var b strings.Builder
	for i, r := range s {
		b.WriteString(f(i, r))
	}
	return b.String()
}

func lines(s string, n int, sep string) string {
	var out []string
	for len(s) > n {
		out, s = append(out, s[:n]), s[n:]
	}
	return strings.Join(append(out, s), sep)
}

// encodings are the ways in which a sender can write a secret; base64 and the like
// of a longer text are in the property test.
func encodings(s string) map[string]struct {
	kind Kind
	text string
} {
	type e = struct {
		kind Kind
		text string
	}
	b64 := base64.StdEncoding.EncodeToString([]byte(s))
	hexed := hex.EncodeToString([]byte(s))
	m := map[string]e{
		"base64":            {Base64, b64},
		"base64 raw":        {Base64, base64.RawStdEncoding.EncodeToString([]byte(s))},
		"base64 url":        {Base64, base64.URLEncoding.EncodeToString([]byte(s))},
		"base64 lines":      {Base64, lines(b64, 20, "\n")},
		"base64 crlf":       {Base64, lines(b64, 16, "\r\n")},
		"base64 json":       {Base64, lines(b64, 16, `\n`)},
		"base64 json crlf":  {Base64, lines(b64, 16, `\r\n`)},
		"base64 json twice": {Base64, lines(b64, 17, `\\n`)},
		"base64 yaml":       {Base64, lines(b64, 16, "\n    ")},
		"base64 utf-16":     {Base64, base64.StdEncoding.EncodeToString([]byte(enc16(s, false)))},
		"base64 utf-16be":   {Base64, base64.StdEncoding.EncodeToString([]byte(enc16(s, true)))},
		"base32":            {Base32, base32.StdEncoding.EncodeToString([]byte(s))},
		"base32 lower":      {Base32, strings.ToLower(base32.StdEncoding.EncodeToString([]byte(s)))},
		"base32 lines":      {Base32, lines(base32.StdEncoding.EncodeToString([]byte(s)), 24, "\n")},
		"hex":               {Hex, hexed},
		"hex upper":         {Hex, strings.ToUpper(hexed)},
		"hex lines":         {Hex, lines(hexed, 20, "\n")},
		"hex colons":        {Hex, lines(hexed, 2, ":")},
		"hex blanks":        {Hex, lines(strings.ToUpper(hexed), 2, " ")},
		"hex words":         {Hex, lines(hexed, 4, " ")},
		"hex c":             {Hex, "0x" + lines(hexed, 2, ", 0x")},
		"hex go":            {Hex, "[]byte{0x" + lines(hexed, 2, ",0x") + "}"},
		"percent":           {Percent, each(s, func(_ int, r rune) string { return fmt.Sprintf("%%%02X", r) })},
		"percent partly":    {Percent, strings.Replace(s, "_", "%5f", 1)},
		"percent u":         {Percent, each(s, func(_ int, r rune) string { return fmt.Sprintf("%%u%04x", r) })},
		"form":              {Percent, url.QueryEscape(s+"/+") + "%2f"},
		"escape u":          {Escape, each(s, func(_ int, r rune) string { return fmt.Sprintf(`\u%04X`, r) })},
		"escape braces":     {Escape, each(s, func(_ int, r rune) string { return fmt.Sprintf(`\u{%x}`, r) })},
		"escape x":          {Escape, each(s, func(_ int, r rune) string { return fmt.Sprintf(`\x%02x`, r) })},
		"escape U":          {Escape, each(s, func(_ int, r rune) string { return fmt.Sprintf(`\U%08x`, r) })},
		"escape octal":      {Escape, each(s, func(_ int, r rune) string { return fmt.Sprintf(`\%o`, r) })},
		"escape one":        {Escape, strings.Replace(s, "4", `\u0034`, 1)},
		"escape markdown":   {Escape, strings.ReplaceAll(s, "_", `\_`)},
		"escape line":       {Escape, s[:9] + "\\\n" + s[9:]},
		"entity":            {Entity, each(s, func(_ int, r rune) string { return fmt.Sprintf("&#%d;", r) })},
		"entity hex":        {Entity, each(s, func(_ int, r rune) string { return fmt.Sprintf("&#x%x;", r) })},
		"entity bare":       {Entity, strings.ReplaceAll(s, "l", "&#0108")},
		"entity named":      {Entity, strings.ReplaceAll(s, "_", "&lowbar;")},
		"quoted":            {Quoted, each(s, func(_ int, r rune) string { return fmt.Sprintf("=%02X", r) })},
		"quoted one":        {Quoted, strings.Replace(s, "l", "=6C", 1)},
		"quoted soft":       {Quoted, s[:12] + "=\r\n" + s[12:]},
		"utf-16le":          {UTF16LE, enc16(s, false)},
		"utf-16be":          {UTF16BE, enc16(s, true)},
		"cyrillic":          {Confusable, strings.NewReplacer("e", "е", "a", "а", "C", "С").Replace(s)},
		"fullwidth":         {Confusable, each(s, func(_ int, r rune) string { return string(r - '!' + '！') })},
		"accents":           {Confusable, strings.NewReplacer("e", "é", "a", "å").Replace(s)},
		"combining":         {Invisible, each(s, func(_ int, r rune) string { return string(r) + "\u0301" })},
		"variation bytes":   {Invisible, each(s, func(_ int, r rune) string { return string(rune(0xe0100 + r - 16)) })},
		"tags":              {Invisible, each(s, func(_ int, r rune) string { return string(0xe0000 + r) })},
		"mathematical": {Confusable, each(s, func(_ int, r rune) string {
			switch {
			case r >= 'a' && r <= 'z':
				return string(0x1d41a + r - 'a')
			case r >= 'A' && r <= 'Z':
				return string(0x1d400 + r - 'A')
			}
			return string(r)
		})},
	}
	for _, r := range []rune{0x200b, 0x200c, 0x200d, 0x200e, 0x200f, 0x2060, 0x2064, 0xfeff, 0xad, 0x34f, 0x180e, 0xfe0f, 0xe0101, 0x3164} {
		m[fmt.Sprintf("invisible %U", r)] = e{Invisible, each(s, func(_ int, c rune) string { return string(c) + string(r) })}
		m[fmt.Sprintf("invisible one %U", r)] = e{Invisible, s[:11] + string(r) + s[11:]}
	}
	return m
}

func TestEntityNames(t *testing.T) {
	for name, want := range map[string]string{"Tab": "\t", "NewLine": "\n", "lowbar": "_", "rbrace": "}", "bsol": "\\", "grave": "`", "amp": "&", "sol": "/", "shy": ""} {
		v, n := readEntity([]byte("&" + name + ";"))
		if got := string(v.append(nil)); got != want || n != len(name)+2 {
			t.Errorf("%s is %q, %d bytes", name, got, n)
		}
	}
	for _, name := range []string{"nothing", "Ta", "brace", "eacute"} {
		if v, n := readEntity([]byte("&" + name + ";")); n != 0 {
			t.Errorf("%s is %v", name, v)
		}
	}
}

// found tells whether one view of a text holds want.
func found(d *Decoder, text []byte, kind Kind, want string) bool {
	spans, _ := d.Find(nil, text, true)
	for _, s := range spans {
		if s.Kind != kind && (s.Kind != Confusable || kind != Invisible) { // one letter with a mark beside makes it so
			continue
		}
		out, _, err := d.Decode(nil, text, s, 1<<20)
		if kind == Base64 && bytes.Contains(out, []byte{0}) {
			out = bytes.ReplaceAll(out, []byte{0}, nil)
		}
		if err == nil && bytes.Contains(out, []byte(want)) {
			return true
		}
	}
	return false
}

func TestEncodings(t *testing.T) {
	d := New()
	for name, e := range encodings(secret) {
		for _, around := range [][2]string{{"", ""}, {"key = ", " and more"}, {`{"a":"`, `"}`}, {"Bearer\n", "\n"}, {"https://x.y/?q=", "&r=1"}} {
			text := around[0] + e.text + around[1]
			if !found(d, []byte(text), e.kind, secret) {
				spans, _ := d.Find(nil, []byte(text), true)
				t.Errorf("%s: not found in %q: %v", name, text, spans)
			}
		}
	}
}
