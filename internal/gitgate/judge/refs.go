package judge

import (
	"cmp"
	"strings"
	"unicode/utf8"

	"bottle/internal/bottle"
	"bottle/internal/gitgate/ref"
	"bottle/internal/policy"
)

// Policy is what may be pushed to one repository. The zero Policy lets any branch be
// created and moved forward, and nothing else.
type Policy struct {
	Branches  []string // globs of names below refs/heads/, with * (also over /) and ?; empty: any
	Force     string   // "own": commits may be lost that this bottle pushed; "any": all may; else none
	Tags      bool
	Notes     bool
	Protected []string                // globs of paths: ** goes over /, * and ? do not; letter case does not matter
	MaxFile   int64                   // bytes of one file; 0: no limit
	Declared  func(url string) bool   // whether a submodule may lead there; nil: anywhere
	Own       func(url string) string // the upstream's URL of the repository that the gate has at url; empty, or nil: none
	Committer *bottle.GitUser         // whose name and email commits and tags have, as far as they are set; nil: anyone's
}

// For is what a manifest's rules come to.
func For(may bottle.Push) Policy {
	return Policy{Branches: may.Branches, Force: may.Force, Tags: may.Tags, Notes: true, Protected: may.Protected, MaxFile: cmp.Or(max(may.MaxFile, 0), bottle.DefaultMaxFile)}
}

func (p Policy) own(url string) string {
	if p.Own == nil {
		return ""
	}
	return p.Own(url)
}

// Update is one command of a push. An id of zeros, or none, is no object.
type Update struct {
	Ref, Old, New string
	Forced        bool // Old is not reached by New, or that is not known
	Own           bool // all commits that would be lost were pushed by this bottle
}

// Created reports whether the ref is new.
func (u Update) Created() bool { return ref.Zero(u.Old) }

// Deleted reports whether the ref would go.
func (u Update) Deleted() bool { return ref.Zero(u.New) }

// MaxUpdates is how many refs one push may change.
const MaxUpdates = 1000

// Refs judges the refs of a push by their names and by what would be lost. Names are
// told as they are: Judge.Refs masks secrets in them.
func (p Policy) Refs(updates []Update) []Failure {
	var out []Failure
	if len(updates) > MaxUpdates {
		return []Failure{{Reason: policy.RefNotListed, Words: "one push may change 1,000 refs: push fewer at once"}}
	}
	seen := map[string]bool{}
	for _, u := range updates {
		f := p.ref(u)
		if seen[u.Ref] {
			f = &Failure{Reason: policy.BadRef, Words: "one push changes this ref twice"}
		}
		seen[u.Ref] = true
		if f != nil {
			f.Ref = u.Ref
			out = append(out, *f)
		}
	}
	return out
}

func (p Policy) ref(u Update) *Failure {
	if !refName(u.Ref) {
		return &Failure{Reason: policy.BadRef, Words: policy.BadRef.Text()}
	}
	if u.Created() && u.Deleted() {
		return &Failure{Reason: policy.BadRef, Words: "there is nothing to delete: fetch first"}
	}
	kind, name, _ := strings.Cut(strings.TrimPrefix(u.Ref, "refs/"), "/")
	switch kind {
	case "heads":
		if name == "HEAD" || strings.HasPrefix(name, "-") || strings.HasPrefix(name, "refs/") {
			return &Failure{Reason: policy.BadRef, Words: "git would take a branch of this name for something else"}
		}
		if !p.branch(name) {
			return &Failure{Reason: policy.RefNotListed, Words: "the bottle may push only these branches: " + strings.Join(p.Branches, ", ")}
		}
	case "tags":
		if !p.Tags {
			return &Failure{Reason: policy.TagPush, Words: policy.TagPush.Text()}
		}
		if strings.HasPrefix(name, "-") {
			return &Failure{Reason: policy.BadRef, Words: "git would take a tag of this name for an option"}
		}
	case "notes":
		if !p.Notes {
			return &Failure{Reason: policy.RefNotListed, Words: "the bottle may not push notes"}
		}
	default:
		return &Failure{Reason: policy.RefNotListed, Words: "only branches, notes and, where the bottle may, tags can be pushed: refs below refs/heads/, refs/notes/ and refs/tags/"}
	}
	return p.loss(u, kind == "tags")
}

// loss judges what would no longer be reached. A tag that moves is a loss always.
func (p Policy) loss(u Update, tag bool) *Failure {
	if u.Created() || !u.Deleted() && !u.Forced && !tag {
		return nil
	}
	if p.Force == "any" || p.Force == "own" && u.Own {
		return nil
	}
	words := "the push would drop commits that upstream has: fetch and rebase or merge first"
	switch {
	case u.Deleted():
		words = "the bottle may not delete this ref"
	case tag:
		words = "the bottle may not move a tag that upstream has"
	case p.Force == "own":
		words = "the push would drop commits that are not this bottle's own: fetch and rebase or merge first"
	}
	return &Failure{Reason: policy.ForcePush, Words: words}
}

func (p Policy) branch(name string) bool {
	if len(p.Branches) == 0 {
		return true
	}
	for _, b := range p.Branches {
		if matches(b, name) {
			return true
		}
	}
	return false
}

// refName reports whether git allows a ref of this full name, and it is of valid text
// without control characters, below a folder such as refs/heads/.
func refName(name string) bool {
	return ref.Valid(name) && utf8.ValidString(name) && strings.Count(name, "/") > 1 &&
		!strings.ContainsFunc(name, func(r rune) bool { return r >= 0x80 && r < 0xa0 })
}

// matches matches a glob in which * is any run of bytes, and ? any one. It takes time
// by the product of the lengths at most.
func matches(glob, s string) bool {
	g, i, star, back := 0, 0, -1, 0
	for i < len(s) {
		switch {
		case g < len(glob) && glob[g] == '*':
			star, back = g, i
			g++
		case g < len(glob) && (glob[g] == '?' || glob[g] == s[i]):
			g++
			i++
		case star >= 0:
			back++
			g, i = star+1, back
		default:
			return false
		}
	}
	return strings.Trim(glob[g:], "*") == ""
}

// alias reports whether name may be the 8.3 name that Windows gives a file called long, such
// as github~1 for .github. Which letters it takes depends on what else is there.
func alias(name, long string) bool {
	head, tail, ok := strings.Cut(name, "~")
	long = strings.TrimLeft(long, ".")
	return ok && len(head) >= 2 && len(long) >= 2 && head[:2] == long[:2] && tail != "" && tail[0] >= '0' && tail[0] <= '9'
}

// path matches a glob of whole components, where ** is any number of them. Below a
// folder that a glob names everything matches.
func matchesPath(glob, path []string) bool {
	if len(glob) == 0 {
		return true
	}
	g, i, star, back := 0, 0, -1, 0
	for i < len(path) {
		switch {
		case g == len(glob):
			return true // it names a folder that the path is in
		case glob[g] == "**":
			star, back = g, i
			g++
		case matches(glob[g], path[i]) || alias(path[i], glob[g]):
			g++
			i++
		case star >= 0:
			back++
			g, i = star+1, back
		default:
			return false
		}
	}
	for g < len(glob) && glob[g] == "**" {
		g++
	}
	return g == len(glob)
}
