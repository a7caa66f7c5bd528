package judge

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"hash/maphash"
	"slices"
	"strings"

	"golang.org/x/text/unicode/norm"

	"bottle/internal/bottle"
	"bottle/internal/dlp"
	"bottle/internal/gitgate/object"
	"bottle/internal/policy"
)

// Judge judges one push. It is an object.Visitor, and not safe for many goroutines.
type Judge struct {
	policy    Policy
	protected [][]string
	scanner   scanner
	failures  []Failure
	more      bool
	told      map[key]bool
	seed      maphash.Seed
	clean     map[uint64]bool // paths that were looked at
	pointers  string          // where the first LFS pointer is
	passed    []Failure
	asks      []string
	links     links
	commits   int
	objects   int
}

// key is what makes two failures one.
type key struct {
	reason      policy.Reason
	ref, commit string
	file, what  string
}

var _ object.Visitor = (*Judge)(nil)

// New begins to judge a push. pass lets the findings through that the operator
// approved; nothing in a file does, such as a comment of gitleaks:allow. pass may be nil.
func New(p Policy, e *dlp.Engine, pass dlp.Pass) *Judge {
	j := &Judge{policy: p, scanner: scanner{engine: e, pass: pass}, told: map[key]bool{}, clean: map[uint64]bool{}, seed: maphash.MakeSeed()}
	for _, g := range p.Protected {
		j.protected = append(j.protected, strings.Split(strings.Trim(strings.ToLower(norm.NFC.String(g)), "/"), "/"))
	}
	return j
}

// Refs judges the refs of the push, and looks for secrets in their names.
func (j *Judge) Refs(updates []Update) {
	for _, f := range j.policy.Refs(updates) {
		f.Words = j.scanner.shown(f.Words)
		j.add(f, "")
	}
	for _, u := range updates[:min(len(updates), MaxUpdates)] {
		for _, h := range j.text([]byte(u.Ref)) {
			j.secret(Failure{Ref: u.Ref}, h, "the ref's name")
		}
	}
}

// Extra looks for secrets in what else goes upstream with a push, such as its options or its
// certificate, in each part and in all of them one behind the other. what says which it is.
func (j *Judge) Extra(what string, parts ...string) {
	if len(parts) > 1 {
		parts = append(slices.Clone(parts), strings.Join(parts, ""))
	}
	for _, text := range parts {
		for _, h := range j.text([]byte(text)) {
			j.secret(Failure{}, h, what)
		}
	}
}

// Done gives all failures, in the order in which they were met.
func (j *Judge) Done() []Failure {
	j.submodules()
	if !j.more {
		return j.failures
	}
	return append(j.failures[:len(j.failures):len(j.failures)],
		Failure{Reason: policy.TooManyFailures, Words: policy.TooManyFailures.Text()})
}

// Passed are findings that the operator let through, for the records: some, if there
// are many.
func (j *Judge) Passed() []Failure { return j.passed }

// Asks are the paths of failures that the operator may let through, as they are written in
// the repository: at most MaxFailures, for git and not for a terminal.
func (j *Judge) Asks() []string { return j.asks }

// Seen is how many new commits the judge was shown, and how many objects with them.
func (j *Judge) Seen() (commits, objects int) { return j.commits, j.objects }

// Hint is something that a person should know about a push that is not refused, or
// nothing.
func (j *Judge) Hint() string {
	if j.pointers == "" {
		return ""
	}
	return j.scanner.shown(j.pointers) + " is a pointer of Git LFS: the pointer is pushed, the file itself is not, for LFS does not go through the gate"
}

// full reports whether nothing is looked at any more.
func (j *Judge) full() bool { return j.more }

// add tells of a failure once. what tells failures of one file apart.
func (j *Judge) add(f Failure, what string) {
	k := key{f.Reason, f.Ref, f.Commit, f.File, what}
	if f.File != "" || what != "" { // told where it first appears
		k.commit = ""
	}
	if j.told[k] {
		return
	}
	if len(j.failures) >= MaxFailures {
		j.more = true
		return
	}
	j.told[k] = true
	if f.Ask {
		j.asks = append(j.asks, f.File) // as it is written: masked, nothing would be found by it
	}
	f.File, f.Ref = j.scanner.shown(f.File), j.scanner.shown(f.Ref)
	j.failures = append(j.failures, f)
}

// secret tells of a finding. where says what it stands in, if that is no file.
func (j *Judge) secret(f Failure, h hit, where string) {
	finding := h.Finding
	f.Finding, f.Line = &finding, max(f.Line, h.line)
	f.Reason = policy.SecretFound
	switch {
	case h.Rule == dlp.Undecodable:
		f.Reason, f.Words = policy.NotScannable, "something is encoded deeper, more often or larger than is looked into"
	case h.Known():
		f.Words = "a secret that the gateway keeps (" + h.Name + ")"
	default:
		f.Words = "a secret (" + h.Rule + ")"
	}
	if where != "" {
		f.Words += " in " + where
	}
	if h.Print != "" {
		f.Words += ", fingerprint " + h.Print
	}
	if h.passes {
		if len(j.passed) < MaxFailures {
			f.File, f.Ref = j.scanner.shown(f.File), j.scanner.shown(f.Ref)
			j.passed = append(j.passed, f)
		}
		return
	}
	what := h.Rule + " " + h.Print + " " + where
	if h.Print == "" {
		what += fmt.Sprint(f.Line)
	}
	j.add(f, what)
}

func (j *Judge) text(text []byte) []hit {
	hits, _ := j.scanner.read(bytes.NewReader(text))
	return hits
}

// Commit implements object.Visitor.
func (j *Judge) Commit(id string, raw []byte) error {
	j.commits++
	j.objects++
	if j.full() {
		return nil
	}
	c, err := object.ParseCommit(raw)
	if err != nil {
		j.add(Failure{Reason: policy.BadObject, Commit: id, Words: policy.BadObject.Text()}, "")
		j.head(id, raw, 0, len(raw))
		return nil
	}
	j.signature(id, committer, c.Committer)
	j.head(id, raw, c.Rest, c.Message)
	return nil
}

// Tag implements object.Visitor.
func (j *Judge) Tag(id string, raw []byte) error {
	j.objects++
	if j.full() {
		return nil
	}
	t, err := object.ParseTag(raw)
	if err != nil {
		j.add(Failure{Reason: policy.BadObject, Commit: id, Words: policy.BadObject.Text()}, "")
		j.head(id, raw, 0, len(raw))
		return nil
	}
	if t.Tagger != (object.Signature{}) {
		j.signature(id, tagger, t.Tagger)
	}
	j.head(id, raw, t.Rest, t.Message)
	return nil
}

// head looks at the text of a commit or tag from rest on. What stands before it are ids.
func (j *Judge) head(id string, raw []byte, rest, message int) {
	for _, h := range j.text(raw[rest:]) {
		where := ""
		if at := rest + int(h.at); at >= message {
			where = "the message"
			h.line = 1 + bytes.Count(raw[message:min(at, len(raw))], []byte{'\n'})
		} else {
			h.line, where = 0, header(raw[rest:], int(h.at))
		}
		j.secret(Failure{Commit: id}, h, where)
	}
}

// header says what of a commit's or tag's headers stands at an offset. A header's own name
// is said where it is one of a person: others may hold anything.
func header(text []byte, at int) string {
	line := text[bytes.LastIndexByte(text[:min(max(at, 0), len(text))], '\n')+1:]
	for _, who := range []string{"author", committer, tagger} {
		if bytes.HasPrefix(line, []byte(who+" ")) {
			return "the " + who + "'s name or address"
		}
	}
	return "the headers"
}

// Whom a signature may name.
const (
	committer = "committer"
	tagger    = "tagger"
)

func (j *Judge) signature(id, who string, s object.Signature) {
	want := j.policy.Committer
	if want == nil || (want.Name == "" || want.Name == s.Name) && (want.Email == "" || want.Email == s.Email) {
		return
	}
	words := "the " + who + " is not " + Person(*want)
	if who != committer {
		words += ": make the tag anew (git tag -f)"
	}
	j.add(Failure{Reason: policy.WrongCommitter, Commit: id, Words: words}, "")
}

// Person spells whom commits have to be by: Name <email>, or the one that is set.
func Person(u bottle.GitUser) string {
	if u.Email == "" {
		return u.Name
	}
	return strings.TrimSpace(u.Name + " <" + u.Email + ">")
}

// Tree implements object.Visitor. What stands in a tree comes as changes; here are what
// git shows as none, and what only the entries beside tell.
func (j *Judge) Tree(at object.At, raw []byte) error {
	j.objects++
	if j.full() {
		return nil
	}
	if at.Commit == "" {
		j.add(Failure{Reason: policy.BadObject, Commit: at.ID, Words: "a ref or tag names a folder instead of a commit"}, "")
	}
	links := false
	err := object.Entries(raw, len(at.ID)/2, func(e object.Entry) error {
		switch object.Kind(e.Mode) {
		case object.ModeLink:
			links = true
		case object.ModeModule:
			links = true
			if !j.links.add(e.ID, at.Commit) {
				j.add(Failure{Reason: policy.NotScannable, Commit: at.Commit, File: under(at.Path, e.Name), Words: "the push has more ids of submodules than are looked at"}, "links")
			}
		case object.ModeTree:
			if hex.EncodeToString(e.ID) == emptyTree(len(e.ID)) {
				j.add(Failure{Reason: policy.BadObject, Commit: at.Commit, File: under(at.Path, e.Name), Words: "git writes no empty folders"}, "")
			}
		}
		if bytes.IndexByte(e.Name, '/') >= 0 {
			j.add(Failure{Reason: policy.UnsafePath, Commit: at.Commit, File: under(at.Path, e.Name), Words: "a name holds a slash"}, "")
		}
		return nil
	})
	if err != nil {
		j.add(Failure{Reason: policy.BadObject, Commit: at.Commit, File: at.Path, Words: "the folder is not in the form that git writes"}, "")
	}
	if links {
		j.collisions(at, raw)
	}
	return nil
}

// collisions refuses a symlink or submodule beside a name that is the same where letter
// case does not count: the one would be written through the other (CVE-2021-21300,
// CVE-2024-32002).
func (j *Judge) collisions(at object.At, raw []byte) {
	first := map[string]uint32{}
	object.Entries(raw, len(at.ID)/2, func(e object.Entry) error {
		name, kind := folded(e.Name), object.Kind(e.Mode)
		before, ok := first[name]
		if ok && (linked(before) || linked(kind)) {
			j.add(Failure{Reason: policy.UnsafeLink, Commit: at.Commit, File: under(at.Path, e.Name),
				Words: "a symlink or submodule has the name of something else but for letter case"}, "case")
		}
		if !ok || linked(kind) {
			first[name] = kind
		}
		return nil
	})
}

func linked(kind uint32) bool { return kind == object.ModeLink || kind == object.ModeModule }

func emptyTree(size int) string {
	if size == 32 {
		return "6ef19b41225c5369f1c104d45d8d85efa9b057b53b14b4b9b939dd74decc5321"
	}
	return "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
}

func under(dir string, name []byte) string {
	if dir == "" {
		return string(name)
	}
	return dir + "/" + string(name)
}

// Hidden implements object.Visitor.
func (j *Judge) Hidden(id string) error {
	j.add(Failure{Reason: policy.HiddenObject, Commit: id, Words: policy.HiddenObject.Text()}, "")
	return nil
}
