// Package front cuts a manifest's text into its frontmatter and its body, and refuses
// characters that a person would not see there.
package front

import (
	"bytes"
	"fmt"
	"unicode/utf8"

	"bottle/internal/manifest/rules"
)

// Fault is what is wrong with the text as such, where, and what to do about it.
type Fault struct {
	Line, Col     int // from 1, the column in bytes
	Message, Hint string
}

// Split gives the frontmatter, which starts on line 2 of the file, and the body. There
// is either a frontmatter or a fault.
func Split(data []byte) (front, body []byte, fault *Fault) {
	data = bytes.TrimPrefix(data, []byte("\ufeff")) // a BOM, as some editors write
	if f := plain(data); f != nil {
		return nil, nil, f
	}
	first, rest, _ := bytes.Cut(data, []byte("\n"))
	if !marker(first) {
		return nil, nil, &Fault{1, 1, "the file does not start with a frontmatter", "put the keys between two lines `---`, the first of them on line 1"}
	}
	for end := 0; end < len(rest); {
		line, _, more := bytes.Cut(rest[end:], []byte("\n"))
		next := end + len(line)
		if more {
			next++
		}
		if marker(line) {
			return rest[:end:end], rest[next:], nil
		}
		end = next
	}
	return nil, nil, &Fault{1, 1, "the frontmatter has no end", "add a line `---` after the last key"}
}

func marker(line []byte) bool {
	return string(bytes.TrimRight(line, " \t\r")) == "---"
}

// plain refuses what is not UTF-8 anywhere, and inside the frontmatter every
// invisible control: a NEL or a LINE SEPARATOR is a line break to YAML but not
// to an editor, and bidirectional overrides show a person other rules than the
// program reads (CVE-2021-42574).
func plain(data []byte) *Fault {
	line, start, fronted := 1, 0, true
	for i := 0; i < len(data); {
		r, n := utf8.DecodeRune(data[i:])
		if r == utf8.RuneError && n <= 1 {
			return &Fault{line, i - start + 1, fmt.Sprintf("the byte 0x%02x is not UTF-8", data[i]), "save the file as UTF-8"}
		}
		if fronted && rules.Hidden(r) && !bytes.HasPrefix(data[i:], []byte("\r\n")) {
			return &Fault{line, i - start + 1, fmt.Sprintf("the frontmatter holds the invisible character %U", r), "remove it"}
		}
		i += n
		if r == '\n' {
			fronted = fronted && (line == 1 || !marker(data[start:i-1]))
			line, start = line+1, i
		}
	}
	return nil
}

// Keyless reports whether a frontmatter has nothing but blank lines and comments.
func Keyless(front []byte) bool {
	for line := range bytes.Lines(front) {
		line = bytes.TrimSpace(line)
		if len(line) > 0 && line[0] != '#' {
			return false
		}
	}
	return true
}
