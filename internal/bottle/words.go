package bottle

import (
	"errors"
	"strings"
)

// Words splits the command line of a helper into its words, as a POSIX shell does
// with quotes (IEEE Std 1003.1, Shell & Utilities, section 2.2): single quotes keep
// everything, double quotes all but a backslash before " \ $ and `, a backslash
// keeps the next character. No shell ever runs: what only a shell could do (pipes,
// redirections, variables, substitutions, several commands) is an error and not a
// word. The first word is a name to look up on PATH, an absolute path, or ~/ and a
// path: a relative one would be another program in each folder. No error repeats
// any of the line.
func Words(line string) ([]string, error) {
	s := splitter{rest: line}
	for s.rest != "" {
		if err := s.step(); err != nil {
			return nil, err
		}
	}
	s.end()
	if len(s.words) == 0 || s.words[0] == "" {
		return nil, errors.New("it names no program")
	}
	if p := s.words[0]; strings.Contains(p, "/") && !strings.HasPrefix(p, "/") && !strings.HasPrefix(p, "~/") {
		return nil, errors.New("its program has a relative path: write an absolute one, ~/ and a path, or a name on PATH")
	}
	return s.words, nil
}

// splitter is one line under way.
type splitter struct {
	rest  string
	word  []byte
	open  bool // a word has begun; it may be empty, as "" is
	words []string
}

func (s *splitter) end() {
	if s.open {
		s.words = append(s.words, string(s.word))
	}
	s.word, s.open = nil, false
}

func (s *splitter) take(n int) {
	s.word, s.rest, s.open = append(s.word, s.rest[:n]...), s.rest[n:], true
}

func (s *splitter) step() error {
	switch c := s.rest[0]; {
	case c == ' ' || c == '\t':
		s.rest = s.rest[1:]
		s.end()
	case c < ' ' || c == 0x7f:
		return errors.New("it holds a line break or another control character")
	case c == '\'':
		return s.single()
	case c == '"':
		return s.double()
	case c == '\\':
		if len(s.rest) < 2 {
			return errors.New("it ends with a backslash")
		}
		s.rest = s.rest[1:]
		s.take(1)
	case strings.IndexByte("|&;<>()$`*?[", c) >= 0 || c == '#' && !s.open:
		return shellOnly(c)
	default:
		s.take(1)
	}
	return nil
}

func (s *splitter) single() error {
	end := strings.IndexByte(s.rest[1:], '\'')
	if end < 0 {
		return errors.New("a single quote is not closed")
	}
	s.rest = s.rest[1:]
	s.take(end)
	s.rest = s.rest[1:]
	return nil
}

func (s *splitter) double() error {
	s.rest, s.open = s.rest[1:], true
	for s.rest != "" {
		switch c := s.rest[0]; {
		case c == '"':
			s.rest = s.rest[1:]
			return nil
		case c == '$' || c == '`':
			return shellOnly(c)
		case c == '\\' && len(s.rest) > 1 && strings.IndexByte("\"\\$`", s.rest[1]) >= 0:
			s.rest = s.rest[1:]
		}
		s.take(1)
	}
	return errors.New("a double quote is not closed")
}

func shellOnly(c byte) error {
	return errors.New("it holds an unquoted " + string(rune(c)) + ", and no shell runs it: quote that, or put the command into a script")
}

// Keyring splits service/account, at the last slash: a service may be a URL. ok is
// false if one of the two is missing.
func Keyring(place string) (service, account string, ok bool) {
	cut := strings.LastIndexByte(place, '/')
	if cut < 1 || cut == len(place)-1 {
		return "", "", false
	}
	return place[:cut], place[cut+1:], true
}
