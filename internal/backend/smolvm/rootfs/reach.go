package rootfs

import (
	"errors"
	"fmt"
	"path"
	"strings"

	"bottle/internal/bottle"
)

const (
	maxSteps = 64 << 20 // parts of paths that are followed for one image
	maxOther = 256      // links that layers have at one name
)

// reach is where what is put into an image lands. A layer may replace what one before it
// holds, and nobody says here in which order they are unpacked: so each link counts that any
// layer has at a name, and that there is none at it, too.
type reach struct {
	links   map[string][]string // the symbolic links at a name
	hards   map[string][]string // what hard links at a name lead to
	parents map[string]bool     // folders in which something is put
	been    map[[2]string]bool  // places that links led to; true: all that is there was followed
	steps   int
	failed  error
}

func newReach() reach {
	return reach{links: map[string][]string{}, hards: map[string][]string{}, parents: map[string]bool{}, been: map[[2]string]bool{}}
}

// fold is a name as it is kept where capital and small letters are one (APFS).
func fold(name string) string { return strings.ToLower(name) }

func (r *reach) put(name string) { r.parents[path.Dir(name)] = true }

func (r *reach) symbolic(name, to string) { r.add(r.links, fold(name), to) }

// hard notes a hard link: what is linked is opened, too.
func (r *reach) hard(name, to string) {
	r.put(to)
	r.add(r.hards, fold(name), fold(to))
}

func (r *reach) add(m map[string][]string, name, to string) {
	for _, k := range m[name] {
		if k == to {
			return
		}
	}
	if m[name] = append(m[name], to); len(m[name]) > maxOther && r.failed == nil {
		r.failed = fmt.Errorf("%q is more than %d links", bottle.Printable(name), maxOther)
	}
}

// through wants no folder, in which something is put, to be reached by a link that leads
// out of the root. Whoever unpacks and follows it would write to the host.
func (r *reach) through() error {
	for turn, more := 0, true; more && r.failed == nil; turn++ {
		more = r.same()
		if turn > maxHops {
			return errors.New("a hard link leads to hard links without an end")
		}
	}
	if r.failed != nil {
		return r.failed
	}
	for dir := range r.parents {
		if dir == "." {
			continue
		}
		if err := r.walk("", dir, 0); err != nil {
			return fmt.Errorf("what is put into %q %w", bottle.Printable(dir), err)
		}
	}
	return nil
}

// same makes a hard link to a symbolic one what it is: that one, at another place. It
// reports whether there was one that it did not know.
func (r *reach) same() (more bool) {
	for name, all := range r.hards {
		n := len(r.links[name])
		for _, to := range all {
			for _, l := range r.links[to] {
				r.add(r.links, name, l)
			}
		}
		more = more || len(r.links[name]) > n
	}
	return more
}

// walk follows rest from the folder at.
func (r *reach) walk(at, rest string, hops int) error {
	if hops > 0 {
		place := [2]string{at, rest}
		if done, met := r.been[place]; met && !done {
			return fmt.Errorf("goes through the link %q in a circle", bottle.Printable(rest))
		} else if done {
			return nil
		}
		r.been[place] = false
		defer func() { r.been[place] = true }()
	}
	for rest != "" && rest != "." {
		if r.steps++; r.steps > maxSteps {
			return errors.New("goes through too many links")
		}
		var part string
		part, rest, _ = strings.Cut(rest, "/")
		from := at
		if at = path.Join(at, part); at == ".." || strings.HasPrefix(at, "../") {
			return errors.New("would land outside of the image, by a link")
		}
		for _, to := range r.links[fold(at)] {
			if hops+1 > maxHops || path.IsAbs(to) {
				return fmt.Errorf("goes through the link %q to %q", bottle.Printable(at), bottle.Printable(to))
			}
			if err := r.walk(from, strings.Trim(to+"/"+rest, "/"), hops+1); err != nil {
				return err
			}
		}
	}
	return nil
}
