package manifest

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"

	"bottle/internal/bottle"
)

// at is a place in a file: line and column from 1, the column in bytes. The
// zero at means that the thing was not written.
type at struct{ line, col int }

func (a at) set() bool { return a.line > 0 }

// source is one file while it is read: its name as the operator knows it, its
// text for positions, and the list that its problems go to.
type source struct {
	file  string
	front []byte
	lines []int // offset of each line of front
	count int   // problems so far
	probs *bottle.Problems
}

// maxProblems of one file are told; a hostile file shall not fill a screen.
const maxProblems = 50

func (s *source) errorf(a at, hint, format string, args ...any) {
	s.add(bottle.Problem{Line: a.line, Column: a.col, Message: fmt.Sprintf(format, args...), Hint: hint})
}

func (s *source) warnf(a at, hint, format string, args ...any) {
	s.add(bottle.Problem{
		Line: a.line, Column: a.col, Message: fmt.Sprintf(format, args...), Hint: hint, Severity: bottle.Warning,
	})
}

func (s *source) add(p bottle.Problem) {
	s.count++
	if s.count > maxProblems+1 {
		return
	}
	if s.count > maxProblems {
		p = bottle.Problem{Message: "there are more problems than are shown here"}
	}
	p.File = s.file
	*s.probs = append(*s.probs, p)
}

// setFront keeps the frontmatter for positions.
func (s *source) setFront(front []byte) {
	s.front, s.lines = front, []int{0}
	for i, b := range front {
		if b == '\n' {
			s.lines = append(s.lines, i+1)
		}
	}
}

// rule is how a place is named in verdicts and records.
func (s *source) rule(a at) string { return s.file + ":" + strconv.Itoa(a.line) }

func (s *source) at(n *yaml.Node) at { return s.place(n.Line, n.Column) }

// place turns a position of the YAML library (in the frontmatter, columns in
// characters) into one of the file (columns in bytes).
func (s *source) place(line, col int) at {
	if line < 1 || line > len(s.lines) {
		return at{line + 1, col}
	}
	text := s.front[s.lines[line-1]:]
	b := 0
	for i := 1; i < col && b < len(text) && text[b] != '\n'; i++ {
		_, n := utf8.DecodeRune(text[b:])
		b += n
	}
	return at{line + 1, b + 1}
}

// quote shows a value of the file in a message: escaped and not too long.
func quote(v string) string {
	if len(v) > 60 {
		cut := 57
		for cut > 0 && !utf8.RuneStart(v[cut]) {
			cut--
		}
		v = v[:cut] + "…"
	}
	return strconv.Quote(v)
}

// quoteKey shows a key: as code when it is a plain word, else escaped.
func quoteKey(k string) string {
	if len(k) <= 40 && k != "" && strings.Trim(k, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.") == "" {
		return "`" + k + "`"
	}
	return quote(k)
}

// orList joins words for a person: "a", "a or b", "a, b or c".
func orList(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " or " + words[len(words)-1]
}
