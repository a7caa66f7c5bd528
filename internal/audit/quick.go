package audit

import (
	"bytes"
	"time"
)

// quick reads a line in exactly the form in which JSON writes most: no findings, nothing
// escaped, printable ASCII alone. It is ten times as fast as encoding/json, which reads all
// others; where both can read a line they read the same (FuzzQuick). What is the same as in
// the last record is that record's string. The check is not looked at.
func quick(line []byte, last *Record) (r Record, ok bool) {
	s := scan{rest: line}
	r.Seq = s.number(`{"seq":`, 1<<63)
	r.Prev = s.text(`,"prev":"`, "")
	r.Time = s.time(`,"time":"`)
	r.Kind = s.text(`,"kind":"`, last.Kind)
	r.Method = s.text(`,"method":"`, last.Method)
	r.Host = s.text(`,"host":"`, last.Host)
	r.Port = uint16(s.number(`,"port":`, 1<<16-1))
	r.Path = s.text(`,"path":"`, last.Path)
	r.Verdict = s.text(`,"verdict":"`, last.Verdict)
	r.Rule = s.text(`,"rule":"`, last.Rule)
	r.Reason = s.text(`,"reason":"`, last.Reason)
	r.Policy = s.text(`,"policy":"`, last.Policy)
	if s.next(`,"status":`) {
		r.Status = int(s.number(`,"status":`, 1<<31-1))
	}
	r.BytesOut = int64(s.number(`,"bytes_out":`, 1<<62))
	r.BytesIn = int64(s.number(`,"bytes_in":`, 1<<62))
	r.Micros = int64(s.number(`,"duration_us":`, 1<<62))
	r.Credential = s.text(`,"credential":"`, last.Credential)
	if s.next(`,"count":`) {
		r.Count = s.number(`,"count":`, 1<<63)
	}
	if s.next(`,"note":"`) {
		r.Note = s.text(`,"note":"`, last.Note)
	}
	r.Check = s.text(checkKey, "")
	return r, !s.bad && string(s.rest) == "}"
}

// scan is the rest of a line that quick reads.
type scan struct {
	rest []byte
	bad  bool
}

func (s *scan) next(key string) bool {
	return len(s.rest) > len(key) && string(s.rest[:len(key)]) == key
}

// key goes past a key that must stand here.
func (s *scan) key(key string) bool {
	if s.bad = s.bad || !s.next(key); !s.bad {
		s.rest = s.rest[len(key):]
	}
	return !s.bad
}

// text reads a string behind key, whose last byte is the opening quote.
func (s *scan) text(key, last string) string {
	if !s.key(key) {
		return ""
	}
	n := bytes.IndexByte(s.rest, '"')
	if s.bad = n < 0; s.bad {
		return ""
	}
	word := s.rest[:n]
	s.rest = s.rest[n+1:]
	for _, c := range word { // first: the last record's words may have come out of escapes
		if c < ' ' || c >= 0x7f || c == '\\' {
			s.bad = true
			return ""
		}
	}
	if string(word) == last {
		return last
	}
	return string(word)
}

// number reads a number behind key, of at most 18 digits.
func (s *scan) number(key string, most uint64) (v uint64) {
	if !s.key(key) {
		return 0
	}
	n := 0
	for n < len(s.rest) && s.rest[n] >= '0' && s.rest[n] <= '9' && n <= 18 {
		v = v*10 + uint64(s.rest[n]-'0')
		n++
	}
	s.bad = n == 0 || n > 18 || n > 1 && s.rest[0] == '0' || v > most
	s.rest = s.rest[n:]
	return v
}

// time reads a time behind key, whose last byte is the opening quote.
func (s *scan) time(key string) (t time.Time) {
	if !s.key(key) {
		return t
	}
	n := len(timeForm)
	s.bad = len(s.rest) <= n || s.rest[n] != '"' || t.UnmarshalText(s.rest[:min(n, len(s.rest))]) != nil
	if !s.bad {
		s.rest = s.rest[n+1:]
	}
	return t
}
