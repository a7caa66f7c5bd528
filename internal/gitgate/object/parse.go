package object

import (
	"bytes"
	"errors"
	"strconv"

	"bottle/internal/gitgate/ref"
)

// The modes of entries of a tree, in git's octal.
const (
	ModeTree   = 0o040000
	ModeFile   = 0o100000
	ModeLink   = 0o120000
	ModeModule = 0o160000
	modeKind   = 0o170000
)

// Kind is the part of a mode that says what an entry is: one of the modes here.
func Kind(mode uint32) uint32 { return mode & modeKind }

// ErrMalformed says that an object is not in the form that git writes.
var ErrMalformed = errors.New("the object is not in the form that git writes")

// Entry is one line of a tree. Name and ID point into the tree's raw form.
type Entry struct {
	Mode uint32
	Name []byte
	ID   []byte // raw, not hex
}

// Entries reads the raw form of a tree whose ids have size bytes (20 or 32), and gives
// each entry to each, whose error ends it. It allocates nothing. A tree that is cut, or
// has an odd mode or an empty name, is [ErrMalformed].
func Entries(raw []byte, size int, each func(Entry) error) error {
	for len(raw) > 0 {
		sp := bytes.IndexByte(raw, ' ')
		if sp < 1 || sp > 6 {
			return ErrMalformed
		}
		var mode uint32
		for _, c := range raw[:sp] {
			if c < '0' || c > '7' {
				return ErrMalformed
			}
			mode = mode<<3 | uint32(c-'0')
		}
		switch Kind(mode) {
		case ModeTree, ModeFile, ModeLink, ModeModule:
		default:
			return ErrMalformed
		}
		raw = raw[sp+1:]
		nul := bytes.IndexByte(raw, 0)
		if nul < 1 || len(raw) < nul+1+size {
			return ErrMalformed
		}
		if err := each(Entry{mode, raw[:nul], raw[nul+1 : nul+1+size]}); err != nil {
			return err
		}
		raw = raw[nul+1+size:]
	}
	return nil
}

// Signature is who wrote something, as in "Name <email> 1700000000 +0100".
type Signature struct{ Name, Email string }

// Commit is what is read of a commit.
type Commit struct {
	Tree      string
	Parents   int
	Author    Signature
	Committer Signature
	Rest      int // offset in the raw form behind the ids of the tree and the parents
	Message   int // offset of the message; the length where there is none
}

// ParseCommit reads the raw form of a commit. All that is not an id of another object
// stands from Rest on, unknown headers too.
func ParseCommit(raw []byte) (Commit, error) {
	var c Commit
	tree, rest, ok := field(raw, "tree ")
	if !ok || !ref.ID(tree) {
		return c, ErrMalformed
	}
	c.Tree = string(tree)
	for {
		parent, next, ok := field(rest, "parent ")
		if !ok {
			break
		}
		if !ref.ID(parent) || len(parent) != len(tree) {
			return c, ErrMalformed
		}
		c.Parents++
		rest = next
	}
	c.Rest = len(raw) - len(rest)
	author, rest, ok := field(rest, "author ")
	if !ok || !c.Author.parse(author) {
		return c, ErrMalformed
	}
	committer, rest, ok := field(rest, "committer ")
	if !ok || !c.Committer.parse(committer) {
		return c, ErrMalformed
	}
	c.Message = message(raw, len(raw)-len(rest))
	return c, nil
}

// Tag is what is read of an annotated tag.
type Tag struct {
	Object, Type, Name string
	Tagger             Signature // zero where there is none: old tags have none
	Rest               int       // offset in the raw form behind the id and the type of what is tagged
	Message            int       // offset of the message
}

// ParseTag reads the raw form of a tag.
func ParseTag(raw []byte) (Tag, error) {
	var t Tag
	id, rest, ok := field(raw, "object ")
	if !ok || !ref.ID(id) {
		return t, ErrMalformed
	}
	kind, rest, ok := field(rest, "type ")
	if !ok {
		return t, ErrMalformed
	}
	switch string(kind) {
	case "commit", "tree", "blob", "tag":
	default:
		return t, ErrMalformed
	}
	t.Rest = len(raw) - len(rest)
	name, rest, ok := field(rest, "tag ")
	if !ok || len(name) == 0 {
		return t, ErrMalformed
	}
	t.Object, t.Type, t.Name = string(id), string(kind), string(name)
	if tagger, next, ok := field(rest, "tagger "); ok {
		if !t.Tagger.parse(tagger) {
			return t, ErrMalformed
		}
		rest = next
	}
	t.Message = message(raw, len(raw)-len(rest))
	return t, nil
}

// field takes the line that begins with name.
func field(raw []byte, name string) (value, rest []byte, ok bool) {
	if !bytes.HasPrefix(raw, []byte(name)) {
		return nil, raw, false
	}
	end := bytes.IndexByte(raw, '\n')
	if end < 0 || bytes.IndexByte(raw[:end], 0) >= 0 {
		return nil, raw, false
	}
	return raw[len(name):end], raw[end+1:], true
}

// message finds the empty line behind the headers that begin at from.
func message(raw []byte, from int) int {
	if from < len(raw) && raw[from] == '\n' {
		return from + 1
	}
	if i := bytes.Index(raw[from:], []byte("\n\n")); i >= 0 {
		return from + i + 2
	}
	return len(raw)
}

func (s *Signature) parse(b []byte) bool {
	lt, gt := bytes.IndexByte(b, '<'), bytes.LastIndexByte(b, '>')
	if lt < 0 || gt < lt {
		return false
	}
	when, _, _ := bytes.Cut(bytes.TrimLeft(b[gt+1:], " "), []byte(" "))
	if _, err := strconv.ParseInt(string(when), 10, 64); err != nil {
		return false
	}
	s.Name, s.Email = string(bytes.TrimSpace(b[:lt])), string(b[lt+1:gt])
	return true
}
