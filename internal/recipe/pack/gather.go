package pack

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"
	"unicode/utf8"

	"github.com/moby/patternmatcher"

	"bottle/internal/bottle"
	"bottle/internal/recipe"
)

// nonblock: a pipe that takes a file's place would hold an open up for ever.
const nonblock = os.O_RDONLY | syscall.O_NONBLOCK | syscall.O_NOFOLLOW

// maxProblems is how many findings are told.
const maxProblems = 20

// Gather looks at dir, absolute and without links, and gives what copies takes out of
// it. file is the name of the Dockerfile in it, whose text was read by another way and must be
// that; it stays out. What may not be copied is a bottle.Problems.
func Gather(ctx context.Context, dir, file, text string, copies []recipe.Copy, l Limits) (*Folder, error) {
	root, err := at(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	l = l.usual()
	shown := bottle.Printable(path.Join(dir, file))
	ctx, cancel := context.WithTimeoutCause(ctx, l.Time, bottle.Problems{{File: shown, Message: fmt.Sprintf("to look at what the recipe copies takes longer than %s", l.Time), Hint: "COPY only what is needed, and write short patterns into .dockerignore"}})
	defer cancel()
	w := &walk{ctx: ctx, limits: l, file: file, shown: shown, out: &Folder{Dir: dir}}
	if w.out.is, err = root.Stat("."); err != nil {
		return nil, err
	}
	body, err := small(root, file, int64(len(text)))
	if err != nil || string(body) != text {
		return nil, bottle.Problems{{Message: "the Dockerfile " + bottle.Printable(file) + " is no plain file of the folder out of which it copies", Hint: "name the file itself, not a link to it"}}
	}
	if w.ignored, err = ignores(root, file); err != nil {
		return nil, err
	}
	for _, c := range copies {
		for _, s := range c.Sources {
			w.sources = append(w.sources, &wanted{Source: s, line: c.Line})
		}
	}
	if err := w.folder(root, "", patternmatcher.MatchInfo{}); err != nil {
		return nil, err
	}
	w.unmatched()
	if len(w.problems) > 0 {
		return nil, w.problems
	}
	w.out.seal()
	return w.out, nil
}

// wanted is a source, and what became of it.
type wanted struct {
	recipe.Source
	line    int
	matched bool
	why     string // what it names is left out, and why
	refused bool
}

type walk struct {
	ctx      context.Context
	limits   Limits
	file     string // the name of the Dockerfile
	shown    string // what findings call it: its whole path
	sources  []*wanted
	ignored  *patternmatcher.PatternMatcher
	seen     int
	out      *Folder
	problems bottle.Problems
}

func (w *walk) refuse(line int, why, hint string) {
	if len(w.problems) < maxProblems {
		w.problems = append(w.problems, bottle.Problem{File: w.shown, Line: line, Message: why, Hint: hint})
	}
}

// folder walks one folder, at path at, by its own descriptor: no name of more than one
// part is ever looked up, so no link on the way is followed.
func (w *walk) folder(r *os.Root, at string, above patternmatcher.MatchInfo) error {
	names, err := w.names(r)
	if err != nil {
		return unreadable(at, err)
	}
	for _, name := range names {
		if w.ctx.Err() != nil {
			return context.Cause(w.ctx)
		}
		p := path.Join(at, name)
		takes, toward := w.asks(p)
		if !takes && !toward {
			continue
		}
		is, err := r.Lstat(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue // it is gone
		}
		if err != nil {
			return unreadable(p, err)
		}
		if err := w.one(r, name, p, is, takes, above); err != nil {
			return err
		}
	}
	return nil
}

// names are the names in a folder, in order.
func (w *walk) names(r *os.Root) ([]string, error) {
	d, err := r.Open(".")
	if err != nil {
		return nil, err
	}
	defer d.Close()
	var names []string
	for {
		some, err := d.Readdirnames(1000)
		names = append(names, some...)
		if w.seen += len(some); w.seen > w.limits.Seen {
			return nil, bottle.Problems{{File: w.shown, Message: fmt.Sprintf("more than %d names have to be looked at for what the recipe copies", w.limits.Seen), Hint: "write the large folders into .dockerignore, or COPY only what is needed"}}
		}
		if errors.Is(err, io.EOF) {
			slices.Sort(names)
			return names, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// asks tells whether p is copied, and whether something below it may be.
func (w *walk) asks(p string) (takes, toward bool) {
	for _, s := range w.sources {
		takes, toward = takes || s.Takes(p), toward || s.Toward(p)
	}
	return takes, toward
}

// one decides about one name.
func (w *walk) one(r *os.Root, name, p string, is os.FileInfo, takes bool, above patternmatcher.MatchInfo) error {
	if w.ours(p) {
		w.leave(p, "it is a file of the making itself, and stays out")
		return nil
	}
	ignored, info, err := w.ignored.MatchesUsingParentResults(p, above)
	if err != nil {
		return fmt.Errorf("match %s: %w", bottle.Printable(p), err)
	}
	if ignored && (!is.IsDir() || !w.ignored.Exclusions()) {
		w.leave(p, ".dockerignore leaves it out")
		return nil
	}
	if secretName(p, is.IsDir()) {
		w.secret(p)
		return nil
	}
	if takes && !utf8.ValidString(p) || strings.ContainsFunc(p, func(c rune) bool { return c < ' ' || c == 0x7f }) {
		w.refuse(0, "the name "+bottle.Printable(p)+" has characters that nobody can see", "rename it, or write it into .dockerignore")
		return nil
	}
	switch {
	case is.IsDir():
		if takes && !ignored && !w.add(p, entry{mode: fs.ModeDir | is.Mode().Perm()}) {
			return nil
		}
		return w.below(r, name, p, is, info)
	case is.Mode()&fs.ModeSymlink != 0:
		return w.link(r, name, p, takes)
	case !takes:
		return nil // nothing is below a file
	case !is.Mode().IsRegular():
		w.refuse(w.lineOf(p), "COPY takes "+bottle.Printable(p)+", which is neither a file nor a folder", "write it into .dockerignore")
		return nil
	}
	return w.regular(r, name, p, is)
}

// below goes into a folder, if that is still the one that was looked at.
func (w *walk) below(r *os.Root, name, p string, is os.FileInfo, info patternmatcher.MatchInfo) error {
	if strings.Count(p, "/") > 100 {
		return bottle.Problems{{File: w.shown, Message: "the folders are more than 100 deep at " + bottle.Printable(p[:80]) + "…", Hint: "write them into .dockerignore"}}
	}
	sub, err := r.OpenRoot(name)
	if err != nil {
		return unreadable(p, err)
	}
	defer sub.Close()
	if now, err := sub.Stat("."); err != nil || !os.SameFile(now, is) {
		return changed(path.Join(w.out.Dir, p))
	}
	return w.folder(sub, p, info)
}

// link takes a link as a link. Nobody follows it but the engine, in what it was sent.
func (w *walk) link(r *os.Root, name, p string, takes bool) error {
	target, err := r.Readlink(name)
	if err != nil {
		return unreadable(p, err)
	}
	shown := bottle.Printable(p) + ", a link to " + bottle.Printable(target)
	for _, s := range w.sources {
		if s.Pattern() && s.Toward(p) { // no pattern goes through links
			s.why = "it would go by " + shown
			continue
		}
		if s.Names(p) || s.Toward(p) { // it would have to be followed
			w.refuse(s.line, "COPY goes by "+shown, "name what it leads to, if that is below the Dockerfile")
			s.matched = true
			return nil
		}
	}
	if !takes {
		return nil
	}
	if !inside(p, target) {
		w.refuse(w.lineOf(p), "COPY takes "+shown+": it leads out of the folder of the Dockerfile", "write it into .dockerignore, or have a copy of what is needed there instead of the link")
		return nil
	}
	w.add(p, entry{mode: fs.ModeSymlink, target: target})
	return nil
}

// regular takes a file.
func (w *walk) regular(r *os.Root, name, p string, is os.FileInfo) error {
	f, err := r.OpenFile(name, nonblock, 0)
	if err != nil {
		return unreadable(p, err)
	}
	defer f.Close()
	now, err := f.Stat()
	if err != nil || !now.Mode().IsRegular() || !os.SameFile(now, is) {
		return changed(path.Join(w.out.Dir, p))
	}
	if now.Size() > w.limits.File {
		w.refuse(w.lineOf(p), fmt.Sprintf("COPY takes %s, which is larger than %d MiB", bottle.Printable(p), w.limits.File>>20), "fetch it by RUN, or write it into .dockerignore")
		return nil
	}
	if w.out.Bytes += now.Size(); w.out.Bytes > w.limits.Bytes {
		return bottle.Problems{{File: w.shown, Message: fmt.Sprintf("the recipe copies more than %d MiB", w.limits.Bytes>>20), Hint: "write into .dockerignore what the image does not need"}}
	}
	body, err := io.ReadAll(io.LimitReader(f, now.Size()+1))
	if err != nil {
		return unreadable(p, err)
	}
	if int64(len(body)) != now.Size() {
		return changed(path.Join(w.out.Dir, p))
	}
	if secretBody(p, body) {
		w.out.Bytes -= now.Size()
		w.secret(p)
		return nil
	}
	w.add(p, entry{mode: now.Mode().Perm(), size: now.Size(), sum: sha256.Sum256(body)})
	return nil
}

// add keeps an entry, and tells whether there was room.
func (w *walk) add(p string, e entry) bool {
	for _, s := range w.sources {
		s.matched = s.matched || s.Takes(p)
	}
	if len(w.out.entries) == w.limits.Entries {
		more := fmt.Sprintf("the recipe copies more than %d files and folders", w.limits.Entries)
		if !slices.ContainsFunc(w.problems, func(b bottle.Problem) bool { return b.Message == more }) {
			w.refuse(0, more, "write into .dockerignore what the image does not need, such as node_modules and .git")
		}
		return false
	}
	e.path = p
	w.out.entries = append(w.out.entries, e)
	return true
}

// leave remembers why what a source names stays out.
func (w *walk) leave(p, why string) {
	for _, s := range w.sources {
		if s.Takes(p) && s.Names(p) || s.Toward(p) {
			s.why = why
		}
	}
}

// secret leaves out what looks like one: told where a folder or a pattern would have taken
// it, refused where it is named. A recipe's word is not its operator's.
func (w *walk) secret(p string) {
	for _, s := range w.sources {
		if !s.Pattern() && (s.Names(p) || s.Toward(p)) {
			w.refuse(s.line, "COPY "+bottle.Printable(string(s.Source))+": "+bottle.Printable(p)+" looks like a secret, and an image is no place for one", "have the gateway inject it (`auth` of a route), or give it by `env`; if it is none, give the file another name")
			s.refused = true
			return
		}
	}
	if len(w.out.LeftOut) < 20 {
		w.out.LeftOut = append(w.out.LeftOut, p)
	} else {
		w.out.More++
	}
	for _, s := range w.sources {
		if s.Takes(p) {
			s.why = "all that it takes looks like a secret"
		}
	}
}

func (w *walk) lineOf(p string) int {
	for _, s := range w.sources {
		if s.Takes(p) {
			return s.line
		}
	}
	return 0
}

// unmatched tells of sources that take nothing: the engine's word for it would come late.
func (w *walk) unmatched() {
	if len(w.problems) > 0 {
		return // they say why
	}
	for _, s := range w.sources {
		if s.matched || s.refused || s.Source == "" {
			continue
		}
		why := s.why
		if why == "" {
			why = "there is no such file in " + bottle.Printable(w.out.Dir)
		}
		w.refuse(s.line, "COPY "+bottle.Printable(string(s.Source))+": "+why, "name a file by its path from the folder of the Dockerfile")
	}
}

// ours are the files of the making, which nobody copies.
func (w *walk) ours(p string) bool {
	return p == w.file || p == w.file+ignoreName || p == ignoreName || p == podmanIgnoreName || strings.HasPrefix(p, recipeName)
}

func unreadable(p string, err error) error {
	if _, ok := errors.AsType[bottle.Problems](err); ok {
		return err
	}
	return fmt.Errorf("read what the recipe copies, %s: %w", bottle.Printable(p), err)
}

// small reads a plain file of at most most bytes.
func small(r *os.Root, name string, most int64) ([]byte, error) {
	is, err := r.Lstat(name)
	if err != nil {
		return nil, err
	}
	if !is.Mode().IsRegular() {
		return nil, errors.New("it is no plain file")
	}
	f, err := r.OpenFile(name, nonblock, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if now, err := f.Stat(); err != nil || !os.SameFile(now, is) {
		return nil, changed(name)
	}
	body, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(body)) > most {
		err = fmt.Errorf("it is larger than %d bytes", most)
	}
	return body, err
}
