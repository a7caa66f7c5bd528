package known

import (
	"bytes"
	"slices"
	"strings"
)

// class is the alphabet of a value: it says how much one byte tells.
type class byte

const (
	mixed class = iota
	hexadecimal
	digits
)

func classOf(b []byte) class {
	n, x := 0, 0
	for _, c := range b {
		switch {
		case isDigit(c):
			n++
		case 'a' <= lower(c) && lower(c) <= 'f':
			x++
		case c != '-':
			return mixed
		}
	}
	if x == 0 {
		return digits
	}
	return hexadecimal
}

// judge says why a value is no secret ("" if it is one), and whether only the whole
// of it counts. The rule stands in the package's documentation.
func judge(v []byte, name string, certain bool) (why string, wholeOnly bool) {
	letters, numbers, other := count(v)
	words, prose := readsAsWords(v)
	chosen := named(name) && !says(string(v)) // a word that a person chose; password and api-key stand everywhere
	switch {
	case len(v) < shortest:
		return "shorter than 8 bytes", false
	case fewerThan4(v):
		return "fewer than 4 different bytes", false
	case letters == 0 && other == 0 && numbers < 10:
		return "a plain number", false
	case !chosen && prose && (words < 3 || len(v) < partial):
		return "plain words", false
	case !chosen && wordAndDigits(v):
		return "a word with digits", false
	}
	random := looksRandom(v)
	switch {
	case !random && isPath(v) && (wordy(v) || v[0] == '~' || v[0] == '.'):
		return "a path", false
	case !random && isHost(v) && wordy(v):
		return "a host name", false
	case certain || chosen:
		return "", prose
	case !random:
		return "nothing in it looks random", false
	case isCommit(v, name):
		return "a commit or checksum by its name", false
	}
	return "", prose
}

// says reports whether a name says that its value is a secret.
func says(name string) bool {
	name = strings.ToLower(name)
	for w := range strings.FieldsSeq("key token secret passw passphrase passwd _pass pwd credential private bearer cookie session signature dsn jwt oauth") {
		if strings.Contains(name, w) {
			return true
		}
	}
	return name == "auth" || name == "pass" || strings.HasSuffix(name, "_auth")
}

// named reports whether a name is that of a secret, not only of what belongs to one:
// DB_PASSWORD, also with a number behind, but not TOKEN_TYPE. What a file's path says
// does not count.
func named(name string) bool {
	name = strings.ToLower(name[strings.LastIndexByte(name, ':')+1:])
	for field := range strings.FieldsSeq(name) {
		field = strings.TrimRight(field, "_0123456789")
		for w := range strings.FieldsSeq("password passwd passphrase secret token salt key license licence") {
			if strings.HasSuffix(field, w) {
				return true
			}
		}
	}
	return false
}

// isCommit: build systems put such values into the environment, and ordinary traffic
// holds them.
func isCommit(v []byte, name string) bool {
	if classOf(v) != hexadecimal {
		return false
	}
	name = strings.ToLower(name)
	for w := range strings.FieldsSeq("commit sha digest revision checksum etag hash") {
		if strings.Contains(name, w) {
			return true
		}
	}
	return false
}

// count returns letters, digits with the marks of numbers, dates and versions, and
// all else.
func count(v []byte) (letters, numbers, other int) {
	for _, c := range v {
		switch {
		case isLetter(c):
			letters++
		case isDigit(c):
			numbers++
		case strings.IndexByte(".,:-+/ _", c) < 0:
			other++
		}
	}
	return letters, numbers, other
}

func fewerThan4(v []byte) bool {
	var seen [3]byte
	n := 0
next:
	for _, c := range v {
		c = lower(c)
		for _, s := range seen[:n] {
			if s == c {
				continue next
			}
		}
		if n == len(seen) {
			return false
		}
		seen[n] = c
		n++
	}
	return true
}

// wordAndDigits: production2, Password123.
func wordAndDigits(v []byte) bool {
	word := bytes.TrimRight(v, "0123456789!.")
	if len(word) < 4 || len(v)-len(word) > 3 || len(v) > 14 {
		return false
	}
	n, ok := readsAsWords(word)
	return ok && n == 1
}

// wordy: words, if its digits are taken away.
func wordy(v []byte) bool {
	letters := make([]byte, 0, len(v))
	for _, c := range v {
		if !isDigit(c) {
			letters = append(letters, c)
		}
	}
	_, prose := readsAsWords(letters)
	return prose
}

func isPath(v []byte) bool {
	return bytes.IndexByte(v, '/') >= 0 && (strings.IndexByte("/.~$", v[0]) >= 0 || bytes.Count(v, []byte("/")) > 1) ||
		len(v) > 2 && v[1] == ':' && v[2] == '\\'
}

func isHost(v []byte) bool {
	dot := bytes.LastIndexByte(v, '.')
	if dot < 0 || len(v)-dot < 3 || len(v)-dot > 14 {
		return false
	}
	for i, c := range v {
		if !isLetter(c) && (i > dot || !isDigit(c) && c != '-' && c != '.') {
			return false
		}
	}
	return true
}

// looksRandom reports whether a run of letters and digits in v looks random.
func looksRandom(v []byte) bool {
	if len(v) == 36 && classOf(v) == hexadecimal && v[8] == '-' && v[13] == '-' && v[18] == '-' && v[23] == '-' {
		return true // a UUID
	}
	for i := 0; i < len(v); {
		end := i
		for end < len(v) && (isLetter(v[end]) || isDigit(v[end]) || v[end] >= 0x80) {
			end++
		}
		if randomRun(v[i:end]) {
			return true
		}
		i = end + 1
	}
	return false
}

func randomRun(v []byte) bool {
	if len(v) < shortest || fewerThan4(v) {
		return false
	}
	turns := 0
	letters := make([]byte, 0, len(v))
	for i, c := range v {
		if !isDigit(c) {
			letters = append(letters, c)
		}
		if i > 0 && isDigit(c) != isDigit(v[i-1]) {
			turns++
		}
	}
	_, prose := readsAsWords(letters)
	switch {
	case len(letters) == 0:
		return len(v) >= 16
	case len(letters) >= 12 && !prose:
		return true
	case len(v) >= 16:
		return turns >= 2
	}
	return turns >= 3
}

// goodWindows counts the windows of 16 that are not dull: out[i] is how many begin
// before i.
func goodWindows(v []byte) []int32 {
	out := make([]int32, len(v)-partial+2)
	for i := range len(v) - partial + 1 {
		out[i+1] = out[i]
		if !dull(v[i : i+partial]) {
			out[i+1]++
		}
	}
	return out
}

// dull reports whether a window is found in texts by chance.
func dull(w []byte) bool {
	if fewerThan4(w) {
		return true
	}
	steps, last := 0, lower(w[0])
	for _, c := range w[1:] {
		c = lower(c)
		if c-last+1 <= 2 { // one up, one down or the same; bytes wrap around
			steps++
		}
		last = c
	}
	if steps >= len(w)-3 {
		return true
	}
	_, prose := readsAsWords(w)
	return prose
}

// bland reports whether a block would be hit often.
func bland(w []byte) bool {
	_, prose := readsAsWords(w)
	return prose || fewerThan4(w)
}

// readsAsWords counts the words of v and reports whether v is nothing but words of
// one case each, with marks between: NODE_ENV, next-generation, camelCase. A word is
// taken for one if nearly all pairs of letters are usual in English: random letters
// of one case pass once in 1,500 times for 16 of them.
func readsAsWords(v []byte) (words int, prose bool) {
	if slices.ContainsFunc(v, isDigit) {
		return 0, false // most values: before any letter is weighed
	}
	letters, pairs, odd, vowels := 0, 0, 0, 0
	for i, c := range v {
		switch {
		case c >= 0x80:
			return 0, false
		case !isLetter(c):
			continue
		}
		letters++
		if strings.IndexByte("aeiouy", lower(c)) >= 0 {
			vowels++
		}
		if i == 0 || !isLetter(v[i-1]) || isUpper(c) && !isUpper(v[i-1]) {
			words++
			continue
		}
		pairs++
		if strings.IndexByte(usualAfter(lower(v[i-1])), lower(c)) < 0 {
			odd++
		}
	}
	return words, letters*2 > len(v) && letters >= 3*words && letters <= 18*words && 100*odd <= 15*pairs && vowels*6 >= letters
}

// usualAfter returns the letters that often stand after c in English words and names
// of programs.
func usualAfter(c byte) string {
	switch c {
	case 'a':
		return "bcdgiklmnprstuvwy"
	case 'b':
		return "aeilorsuy"
	case 'c':
		return "acehikloqrstu"
	case 'd':
		return "adeiorsuy"
	case 'e':
		return "abcdefglmnopqrstvwxy"
	case 'f':
		return "aefilorutu"
	case 'g':
		return "aeghilnorus"
	case 'h':
		return "aeiortuy"
	case 'i':
		return "abcdefglmnoprstvzk"
	case 'j':
		return "aeou"
	case 'k':
		return "eilnosya"
	case 'l':
		return "adefikloptsuyv"
	case 'm':
		return "abeimopsuy"
	case 'n':
		return "acdefgikostuvyn"
	case 'o':
		return "abcdfgiklmnoprstuvwx"
	case 'p':
		return "aehiloprstuy"
	case 'q':
		return "u"
	case 'r':
		return "acdeghiklmnorstuvy"
	case 's':
		return "acehiklmnopqstuwy"
	case 't':
		return "aeghilorstuwy"
	case 'u':
		return "abcdegilmnprst"
	case 'v':
		return "aeio"
	case 'w':
		return "aehinors"
	case 'x':
		return "aceipt"
	case 'y':
		return "aelmnopst"
	}
	return "aeiouz"
}

func isDigit(c byte) bool  { return c-'0' < 10 }
func isUpper(c byte) bool  { return c-'A' < 26 }
func isLetter(c byte) bool { return (c|0x20)-'a' < 26 }
