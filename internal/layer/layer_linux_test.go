package layer

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"bottle/test/require"
)

// bed is an upper layer and a folder made by hand.
type bed struct {
	t              *testing.T
	dir, up, low   string
	started        time.Time
	trusted, force bool
}

func newBed(t *testing.T) *bed {
	t.Helper()
	dir := t.TempDir()
	b := &bed{t: t, dir: dir, up: filepath.Join(dir, "upper"), low: filepath.Join(dir, "work"), started: time.Now().Add(time.Hour)}
	b.ok(os.Mkdir(b.up, 0o700), os.Mkdir(b.low, 0o755))
	return b
}

func (b *bed) ok(errs ...error) {
	b.t.Helper()
	if err := errors.Join(errs...); err != nil {
		b.t.Fatal(err)
	}
}

// put writes files: a name that ends with a slash is a folder.
func (b *bed) put(root string, files map[string]string) {
	b.t.Helper()
	for name, text := range files {
		p := filepath.Join(root, name)
		if strings.HasSuffix(name, "/") {
			b.ok(os.MkdirAll(p, 0o755))
			continue
		}
		b.ok(os.MkdirAll(filepath.Dir(p), 0o755), os.WriteFile(p, []byte(text), 0o644))
	}
}

func (b *bed) whiteout(name string) {
	b.t.Helper()
	b.ok(os.MkdirAll(filepath.Dir(filepath.Join(b.up, name)), 0o755), unix.Mknod(filepath.Join(b.up, name), unix.S_IFCHR, 0))
}

func (b *bed) mark(name, attr string) {
	b.t.Helper()
	b.ok(unix.Lsetxattr(filepath.Join(b.up, name), attr, []byte("y"), 0))
}

func (b *bed) view() *View {
	b.t.Helper()
	v, err := Open(b.up, b.low, Options{Trusted: b.trusted, Started: b.started})
	b.ok(err)
	b.t.Cleanup(func() { v.Close() })
	return v
}

func (b *bed) changes() []Change {
	b.t.Helper()
	l, err := b.view().Changes(b.t.Context())
	b.ok(err)
	if l.Partial {
		b.t.Error("the list is partial")
	}
	return l.Changes
}

// told is a change in a short form: A path, M path (was), and a verdict.
func told(c Change) string {
	s := strings.ToUpper(string(c.Op[:1])) + " " + c.Path
	if c.Kind == Folder {
		s += "/"
	}
	if c.Was != None && c.Was != c.Kind {
		s += " was " + string(c.Was)
	}
	if c.Op == Modified && c.Kind == c.Was && c.Mode != c.WasMode {
		s += " " + c.WasMode.String() + ">" + c.Mode.String()
	}
	for head, why := range map[string]string{" refused: ": c.Refused, " conflict: ": c.Conflict, " failed: ": c.Failed} {
		if why != "" {
			s += head + why
		}
	}
	return s
}

func (b *bed) wants(want ...string) {
	b.t.Helper()
	b.match(b.changes(), want)
}

func (b *bed) match(list []Change, want []string) {
	b.t.Helper()
	var got []string
	for _, c := range list {
		got = append(got, told(c))
	}
	fits := len(got) == len(want)
	for i := range min(len(got), len(want)) {
		fits = fits && strings.HasPrefix(got[i], want[i]) && (len(got[i]) == len(want[i]) || strings.HasSuffix(want[i], ": ") || strings.Contains(want[i], ": "))
	}
	if !fits {
		b.t.Errorf("got\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}

// apply takes what there is.
func (b *bed) apply() []Change {
	b.t.Helper()
	v := b.view()
	l, err := v.Changes(b.t.Context())
	b.ok(err)
	l, err = v.Apply(b.t.Context(), l, b.force)
	b.ok(err)
	return l.Changes
}

// tree is all of a folder: names, modes, contents, targets.
func (b *bed) tree(root string) map[string]string {
	b.t.Helper()
	out := map[string]string{}
	b.ok(filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil || p == root {
			return err
		}
		rel, _ := filepath.Rel(root, p)
		fi, err := d.Info()
		if err != nil {
			return err
		}
		switch {
		case d.IsDir():
			out[rel+"/"] = fmt.Sprintf("%04o", fi.Mode().Perm())
		case d.Type()&fs.ModeSymlink != 0:
			out[rel], err = os.Readlink(p)
			out[rel] = "-> " + out[rel]
		case d.Type().IsRegular():
			text, readErr := os.ReadFile(p)
			out[rel], err = fmt.Sprintf("%04o %s", fi.Mode().Perm(), text), readErr
		default:
			out[rel] = fi.Mode().String()
		}
		return err
	}))
	return out
}

func (b *bed) holds(want map[string]string) {
	b.t.Helper()
	if got := b.tree(b.low); !maps.Equal(got, want) {
		b.t.Errorf("the folder holds\n%v\nwant\n%v", got, want)
	}
}

func TestListAndTake(t *testing.T) {
	b := newBed(t)
	b.put(b.low, map[string]string{"same": "x", "edit": "old", "mode": "#!", "gone": "g", "tree/a": "1", "tree/b/c": "2", "keep/k": "k", "swap/x": "x", "turn": "file"})
	b.ok(os.Symlink("edit", b.low+"/link"), os.Symlink("keep", b.low+"/samelink"))
	b.put(b.up, map[string]string{"same": "x", "edit": "new!", "mode": "#!", "new/deep/f": "f", "empty/": "", "swap": "now a file", "turn/in": "side"})
	b.whiteout("gone")
	b.whiteout("tree")
	b.whiteout("never-was")
	b.ok(os.Chmod(b.up+"/mode", 0o755), os.Symlink("new/deep/f", b.up+"/link"), os.Symlink("keep", b.up+"/samelink"), os.Chmod(b.up+"/new/deep", 0o500))
	t.Cleanup(func() { b.ok(os.Chmod(b.up+"/new/deep", 0o700), os.Chmod(b.low+"/new/deep", 0o700)) })
	want := []string{"M edit", "A empty/", "D gone", "M link", "M mode 0644>0755", "A new/", "A new/deep/", "A new/deep/f", "M swap was folder", "D swap/x",
		"D tree/", "D tree/a", "D tree/b/", "D tree/b/c", "M turn/ was file", "A turn/in"}
	before := b.tree(b.low)
	b.wants(want...)
	b.holds(before) // a look changes nothing
	if n := Count(b.up, 1000); n != 11 {
		t.Errorf("counted %d", n)
	}
	if n := Count(b.up, 2); n != 2 {
		t.Errorf("counted %d, the limit is 2", n)
	}
	for _, c := range b.apply() {
		if !c.Taken {
			t.Errorf("not taken: %s", told(c))
		}
	}
	b.holds(map[string]string{"same": "0644 x", "edit": "0644 new!", "mode": "0755 #!", "keep/": "0755", "keep/k": "0644 k", "samelink": "-> keep", "link": "-> new/deep/f",
		"new/": "0755", "new/deep/": "0500", "new/deep/f": "0644 f", "empty/": "0755", "swap": "0644 now a file", "turn/": "0755", "turn/in": "0644 side"})
	b.wants() // the folder is what the agent saw
}

// TestMarks: both forms of a deletion, opaque folders, and what a kernel may keep
// elsewhere. As root the marks are trusted.*, and an agent's user.* count nothing.
func TestMarks(t *testing.T) {
	for _, prefix := range []string{"user.overlay.", "trusted.overlay."} {
		t.Run(prefix, func(t *testing.T) {
			b := newBed(t)
			if b.trusted = prefix == "trusted.overlay."; b.trusted {
				require.Root(t)
			}
			b.put(b.low, map[string]string{"a": "a", "dir/one": "1", "dir/two/x": "2", "dir/sub/s": "s", "moved/m": "m", "open/o": "o"})
			b.put(b.up, map[string]string{"a": "", "dir/three": "3", "dir/sub/new": "n", "moved/": "", "open/": ""})
			b.mark("a", prefix+"whiteout")
			b.mark("dir", prefix+"opaque")
			b.mark("moved", prefix+"redirect")
			other := map[bool]string{true: "user.overlay.opaque", false: "user.other"}[b.trusted]
			b.mark("open", other)
			b.wants("D a", "D dir/one", "A dir/sub/new", "D dir/sub/s", "A dir/three", "D dir/two/", "D dir/two/x", "M moved/ refused: a renamed")
			b.apply()
			b.holds(map[string]string{"dir/": "0755", "dir/three": "0644 3", "dir/sub/": "0755", "dir/sub/new": "0644 n", "moved/": "0755", "moved/m": "0644 m", "open/": "0755", "open/o": "0644 o"})
		})
	}
}

// TestLinksThatLeave: targets that lead out by text, by a name that counts from
// elsewhere, and by a link of the operator's own.
func TestLinksThatLeave(t *testing.T) {
	b := newBed(t)
	b.put(b.low, map[string]string{"a/b/c/f": "f"})
	b.ok(os.Symlink(b.dir, b.low+"/mine"), os.Symlink("../..", b.low+"/a/b/top"))
	for name, target := range map[string]string{
		"out-abs": "/etc/passwd", "out-up": "../x", "d/out-up": "../../x", "out-late": "a/../../x", "out-mine": "mine/upper", "out-back": "a/b/top/../..",
		"loop": "loop", "in": "a/b/c/f", "d/in": "../a/b", "in-none": "not/yet", "in-self": ".", "in-top": "a/b/top",
	} {
		b.ok(os.MkdirAll(filepath.Dir(filepath.Join(b.up, name)), 0o755), os.Symlink(target, filepath.Join(b.up, name)))
	}
	for _, c := range b.apply() {
		if c.Kind != Link {
			continue
		}
		out := strings.HasPrefix(filepath.Base(c.Path), "out")
		if out != (c.Refused != "") || c.Taken == (c.Refused != "") {
			t.Errorf("%s -> %s: refused %q, taken %v, failed %q", c.Path, c.Target, c.Refused, c.Taken, c.Failed)
		}
	}
	for p, text := range b.tree(b.low) {
		if strings.Contains(p, "out-") {
			t.Errorf("%s %s is in the folder", p, text)
		}
	}
}

// TestOddThingsAreRefused: pipes, sockets, devices, setuid bits, endless files,
// endless depth, names that a terminal would obey.
func TestOddThingsAreRefused(t *testing.T) {
	b := newBed(t)
	b.put(b.up, map[string]string{"suid": "x", "sgid": "x", "huge": "", "nl\nname": "1", "\x1b[2Jesc": "2", "\xff": "3", "-rf": "4", "...": "5", "bad\nname/": ""})
	b.ok(unix.Mkfifo(b.up+"/pipe", 0o644), unix.Mknod(b.up+"/sock", unix.S_IFSOCK|0o644, 0), os.Truncate(b.up+"/huge", maxTake+1),
		os.Chmod(b.up+"/suid", 0o755|fs.ModeSetuid), os.Chmod(b.up+"/sgid", 0o755|fs.ModeSetgid))
	want := []string{"A \x1b[2Jesc", "A -rf", "A ...", "A bad\nname/", "A huge refused: larger", "A nl\nname", "A pipe refused: a pipe", "A sgid refused: it would",
		"A sock refused: a pipe", "A suid refused: it would", "A \xff"}
	b.wants(want...)
	b.match(b.apply(), want)
	b.holds(map[string]string{"\x1b[2Jesc": "0644 2", "-rf": "0644 4", "...": "0644 5", "bad\nname/": "0755", "nl\nname": "0644 1", "\xff": "0644 3"})
}

func TestDevicesAreRefused(t *testing.T) {
	require.Root(t)
	b := newBed(t)
	b.ok(unix.Mknod(b.up+"/null", unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))), unix.Mknod(b.up+"/disk", unix.S_IFBLK|0o666, int(unix.Mkdev(7, 0))),
		unix.Mknod(b.up+"/zero", unix.S_IFBLK, 0))
	b.wants("A disk refused: ", "A null refused: ", "A zero refused: ")
	b.apply()
	b.holds(map[string]string{})
}

// TestFolderSwappedForALink: the agent turns a folder into a link to /etc, and a
// folder of the host's turns into a link before the changes are taken.
func TestFolderSwappedForALink(t *testing.T) {
	b := newBed(t)
	outside := filepath.Join(b.dir, "outside")
	b.put(b.dir, map[string]string{"outside/": ""})
	b.put(b.low, map[string]string{"a/f": "f", "b/g": "g", "c/": "", "real/": ""})
	b.ok(os.Symlink("/etc", b.up+"/a"))
	b.put(b.up, map[string]string{"b/new": "n", "c/new": "n"})
	b.wants("M a was folder refused: it leads", "D a/f", "A b/new", "A c/new")
	v := b.view()
	l, err := v.Changes(t.Context())
	b.ok(err, os.RemoveAll(b.low+"/b"), os.Symlink(outside, b.low+"/b"), os.RemoveAll(b.low+"/c"), os.Symlink("real", b.low+"/c"))
	l, err = v.Apply(t.Context(), l, true)
	b.ok(err)
	for _, c := range l.Changes {
		if c.Path != "a/f" && (c.Taken || c.Refused == "" && c.Failed == "") {
			t.Errorf("%+v", c)
		}
	}
	if got := b.tree(outside); len(got) != 0 {
		t.Errorf("written outside: %v", got)
	}
	if got := b.tree(b.low + "/real"); len(got) != 0 {
		t.Errorf("a link inside was followed: %v", got)
	}
}

// TestLowerLinkIsReplacedNotFollowed: a file of the view has the name of a link
// of the operator's that leads out.
func TestLowerLinkIsReplacedNotFollowed(t *testing.T) {
	b := newBed(t)
	b.put(b.dir, map[string]string{"precious": "p", "house/": ""})
	b.ok(os.Symlink("../precious", b.low+"/f"), os.Symlink("../house", b.low+"/d"), os.Link(b.dir+"/precious", b.low+"/hard"))
	b.put(b.up, map[string]string{"f": "agent", "d/x": "agent", "hard": "agent"})
	for _, c := range b.apply() {
		if !c.Taken {
			t.Errorf("%s", told(c))
		}
	}
	b.holds(map[string]string{"f": "0644 agent", "d/": "0755", "d/x": "0644 agent", "hard": "0644 agent"})
	if text, err := os.ReadFile(b.dir + "/precious"); err != nil || string(text) != "p" || len(b.tree(b.dir+"/house")) != 0 {
		t.Errorf("outside: %q, %v, %v", text, err, b.tree(b.dir+"/house"))
	}
}

// TestConflicts: what the operator changed meanwhile stays, but by force.
func TestConflicts(t *testing.T) {
	b := newBed(t)
	b.put(b.low, map[string]string{"mine": "old", "dead": "old", "tree/old": "1", "quiet": "q", "retimed": "r"})
	b.put(b.up, map[string]string{"mine": "agent", "both": "agent", "quiet": "agent", "retimed": "agent"})
	b.whiteout("dead")
	b.whiteout("tree")
	time.Sleep(20 * time.Millisecond) // the kernel's clock for files ticks coarsely
	b.started = time.Now()
	time.Sleep(20 * time.Millisecond)
	past := time.Unix(1, 0)
	b.put(b.low, map[string]string{"mine": "operator", "dead": "operator", "tree/new": "operator", "both": "operator"})
	b.ok(os.WriteFile(b.low+"/retimed", []byte("operator"), 0o644), os.Chtimes(b.low+"/retimed", past, past))
	const why = " conflict: changed in the folder"
	b.wants("M both"+why, "D dead"+why, "M mine"+why, "M quiet", "M retimed"+why, "D tree/", "D tree/new"+why, "D tree/old")
	b.apply()
	b.holds(map[string]string{"mine": "0644 operator", "dead": "0644 operator", "both": "0644 operator", "quiet": "0644 agent", "retimed": "0644 operator",
		"tree/": "0755", "tree/new": "0644 operator"})
	b.force = true
	b.apply()
	b.holds(map[string]string{"mine": "0644 agent", "both": "0644 agent", "quiet": "0644 agent", "retimed": "0644 agent"})
}

// TestChangedAfterTheList: neither side may differ from what the operator saw.
func TestChangedAfterTheList(t *testing.T) {
	b := newBed(t)
	b.put(b.low, map[string]string{"f": "old", "g": "old", "h": "old", "gone": "old"})
	b.put(b.up, map[string]string{"f": "new", "g": "new", "h": "new", "n": "new", "m": "new"})
	b.whiteout("gone")
	v := b.view()
	l, err := v.Changes(t.Context())
	b.ok(err)
	time.Sleep(20 * time.Millisecond)
	b.put(b.low, map[string]string{"f": "other", "n": "other", "gone": "other"})
	b.put(b.up, map[string]string{"g": "evil"})
	b.ok(os.Remove(b.up+"/m"), os.Symlink("/etc/passwd", b.up+"/m"))
	l, err = v.Apply(t.Context(), l, true)
	b.ok(err)
	for _, c := range l.Changes {
		if c.Taken != (c.Path == "h") {
			t.Errorf("%s: taken %v", told(c), c.Taken)
		}
	}
	b.holds(map[string]string{"f": "0644 other", "g": "0644 old", "h": "0644 new", "n": "0644 other", "gone": "0644 other"})
}

// TestSeveralNames: a file of two names in the folder; taking one away changes the
// time of the other.
func TestSeveralNames(t *testing.T) {
	b := newBed(t)
	b.put(b.low, map[string]string{"one": "x", "two": "x"})
	b.ok(os.Remove(b.low+"/two"), os.Link(b.low+"/one", b.low+"/two"))
	b.whiteout("one")
	b.whiteout("two")
	v := b.view()
	l, err := v.Changes(t.Context())
	b.ok(err)
	time.Sleep(20 * time.Millisecond)
	_, err = v.Apply(t.Context(), l, false)
	b.ok(err)
	b.holds(map[string]string{})
}

// TestMountsBelow: an overlay shows what is under a mount; the agent that deletes
// the empty folder it sees must not delete what the operator mounted on it.
func TestMountsBelow(t *testing.T) {
	require.Root(t)
	b := newBed(t)
	b.put(b.low, map[string]string{"a/m/": "", "b/": "", "c/": ""})
	for _, at := range []string{"a/m", "b", "c"} {
		at := filepath.Join(b.low, at)
		b.ok(unix.Mount("bottle-test", at, "tmpfs", 0, "size=64k,mode=755"))
		t.Cleanup(func() { b.ok(unix.Unmount(at, unix.MNT_DETACH)) })
	}
	b.put(b.low, map[string]string{"a/m/precious": "p", "b/precious": "p", "c/precious": "p"})
	b.whiteout("a")
	b.whiteout("b")
	b.put(b.up, map[string]string{"c/precious": "evil"})
	b.wants("D a/", "D a/m/ refused: something", "D b/ refused: something", "M c/ refused: something")
	b.force = true
	b.apply()
	for _, p := range []string{"a/m", "b", "c"} {
		if text, err := os.ReadFile(filepath.Join(b.low, p, "precious")); err != nil || string(text) != "p" {
			t.Errorf("%s: %q, %v", p, text, err)
		}
	}
}

// TestNoLayer: a start removes the layer when nothing is in it.
func TestNoLayer(t *testing.T) {
	b := newBed(t)
	b.ok(os.Remove(b.up), os.Remove(b.low))
	b.wants()
	if got := b.apply(); len(got) != 0 {
		t.Errorf("%v", got)
	}
}

// TestOwner: what root takes belongs to the folder's owner.
func TestOwner(t *testing.T) {
	require.Root(t)
	b := newBed(t)
	b.put(b.up, map[string]string{"d/f": "x"})
	b.ok(os.Symlink("f", b.up+"/d/l"), os.Chown(b.low, 4242, 4343))
	for _, p := range []string{"d", "d/f", "d/l"} {
		b.ok(os.Lchown(filepath.Join(b.up, p), 1891833021, 1891833021))
	}
	b.apply()
	for _, p := range []string{"d", "d/f", "d/l"} {
		fi, err := os.Lstat(filepath.Join(b.low, p))
		b.ok(err)
		if st := fi.Sys().(*syscall.Stat_t); st.Uid != 4242 || st.Gid != 4343 {
			t.Errorf("%s belongs to %d:%d", p, st.Uid, st.Gid)
		}
	}
}

// TestClosedFolders: modes that keep their owner out are told, not forced.
func TestClosedFolders(t *testing.T) {
	require.User(t)
	b := newBed(t)
	b.put(b.low, map[string]string{"readonly/old": "o"})
	b.put(b.up, map[string]string{"closed/f": "x", "file": "x", "readonly/f": "x"})
	b.ok(os.Chmod(b.up+"/closed", 0), os.Chmod(b.up+"/file", 0), os.Chmod(b.low+"/readonly", 0o555), os.Chmod(b.up+"/readonly", 0o555))
	t.Cleanup(func() {
		b.ok(os.Chmod(b.up+"/closed", 0o700), os.Chmod(b.up+"/readonly", 0o700), os.Chmod(b.low+"/readonly", 0o700))
	})
	b.wants("A closed/ refused: its mode", "A file", "A readonly/f")
	b.match(b.apply(), []string{"A closed/ refused: its mode", "A file failed: permission", "A readonly/f failed: permission"})
}

// TestBounds: depth and number end, and what is listed in part is not taken.
func TestBounds(t *testing.T) {
	b := newBed(t)
	deep := strings.Repeat("d/", maxDepth+5)
	b.put(b.up, map[string]string{deep: ""})
	list := b.changes()
	if last := list[len(list)-1]; len(list) != maxDepth+1 || !strings.Contains(last.Refused, "deep") {
		t.Errorf("%d changes, the last %.40q refused %q", len(list), last.Path, last.Refused)
	}
	s := scan{View: b.view(), ctx: t.Context(), found: make([]Change, maxChanges)}
	if err := s.add(Change{}); !errors.Is(err, errFull) {
		t.Errorf("one more than there may be: %v", err)
	}
	if _, err := b.view().Apply(t.Context(), List{Partial: true}, true); !errors.Is(err, ErrPartial) {
		t.Errorf("a partial list: %v", err)
	}
	b.ok(os.Remove(b.low))
	b.ok(os.Symlink("nowhere", b.low))
	if v, err := Open(b.up, b.low, Options{}); err == nil {
		t.Errorf("no folder: %v", v)
	}
	b.ok(os.Symlink(b.dir, b.dir+"/upperlink"))
	if v, err := Open(b.dir+"/upperlink", b.dir, Options{}); err == nil {
		t.Errorf("a link for a layer: %v", v)
	}
}

func TestRuns(t *testing.T) {
	for p, want := range map[string]bool{
		".git/hooks/pre-commit": true, ".git/config": true, "sub/.GIT/Config": true, ".git/modules/x/config": true, ".git": true,
		".git/objects/ab/cd": false, ".git/HEAD": false, ".git/index": false, ".git/refs/heads/main": false, ".git/info/attributes": true,
		".vscode/tasks.json": true, ".idea/x.xml": true, ".envrc": true, "Makefile": true, "sub/GNUmakefile": true, "package.json": true,
		".github/workflows/ci.yml": true, "Dockerfile": true, "Dockerfile.dev": true, ".husky/pre-push": true, ".gitlab-ci.yml": true,
		"README.md": false, "src/main.go": false, "make.txt": false, "vite.config.ts": true, ".bot-bottle/agents/x.md": true, "CLAUDE.md": true,
	} {
		if got := Runs(Change{Path: p, Op: Added, Kind: File, Mode: 0o644}); (got != "") != want {
			t.Errorf("%s: %q", p, got)
		}
	}
	for _, c := range []struct {
		c    Change
		want bool
	}{
		{Change{Path: "x.sh", Op: Added, Kind: File, Mode: 0o755}, true},
		{Change{Path: "x.sh", Op: Added, Kind: File, Mode: 0o644}, false},
		{Change{Path: "x.sh", Op: Modified, Kind: File, Was: File, Mode: 0o755, WasMode: 0o644}, true},
		{Change{Path: "x.sh", Op: Modified, Kind: File, Was: File, Mode: 0o700, WasMode: 0o755}, false},
		{Change{Path: "Makefile", Op: Deleted, Kind: File}, false},
		{Change{Path: ".git", Op: Added, Kind: Folder, Mode: 0o755}, false},
		{Change{Path: ".git/hooks", Op: Added, Kind: Link}, true},
		{Change{Path: "sub/.vscode", Op: Added, Kind: Link, Target: "x"}, true},
		{Change{Path: "notes", Op: Added, Kind: Link, Target: "x"}, false},
	} {
		if got := Runs(c.c); (got != "") != c.want {
			t.Errorf("%+v: %q", c.c, got)
		}
	}
}

func TestDiffBounds(t *testing.T) {
	bed := newBed(t)
	bed.put(bed.up, map[string]string{"bin": "a\x00b", "latin": "\xe9", "long": strings.Repeat("x", maxText+1), "text": "one\ntwo"})
	v := bed.view()
	l, err := v.Changes(t.Context())
	bed.ok(err)
	for _, c := range l.Changes {
		got := v.Diff(c)
		if (c.Path == "text") != (got == "@@ -0,0 +1,2 @@\n+one\n+two\n\\ No newline at end of file\n") || c.Path != "text" && !strings.HasPrefix(got, "[not shown") {
			t.Errorf("%s: %q", c.Path, got)
		}
	}
}

// TestInterruptedLeavesNoHalf: the end of ctx, and a disk that is full.
func TestInterruptedLeavesNoHalf(t *testing.T) {
	b := newBed(t)
	b.put(b.low, map[string]string{"f": "old"})
	b.put(b.up, map[string]string{"f": string(bytes.Repeat([]byte("new"), 1000))})
	v := b.view()
	l, err := v.Changes(t.Context())
	b.ok(err)
	var lim syscall.Rlimit
	b.ok(syscall.Getrlimit(syscall.RLIMIT_FSIZE, &lim))
	small := lim
	small.Cur = 16 // bytes; it stands for a full disk
	b.ok(syscall.Setrlimit(syscall.RLIMIT_FSIZE, &small))
	full, err := v.Apply(t.Context(), l, false)
	b.ok(syscall.Setrlimit(syscall.RLIMIT_FSIZE, &lim), err)
	if full.Changes[0].Taken || full.Changes[0].Failed == "" {
		t.Errorf("a full disk: %+v", full.Changes[0])
	}
	b.holds(map[string]string{"f": "0644 old"})
}

// TestSwapWhileTaking: another bottle at work on the same folder (workspace: bind)
// swaps a folder for a link, out of the tree or to another folder of it, as fast as
// it can.
func TestSwapWhileTaking(t *testing.T) {
	b := newBed(t)
	b.put(b.dir, map[string]string{"outside/": ""})
	b.put(b.low, map[string]string{"d/e/": "", "real/e/": ""})
	b.ok(os.Symlink("../outside", b.low+"/out"), os.Symlink("real", b.low+"/in"), os.Mkdir(b.dir+"/outside/e", 0o755))
	for i := range 20 {
		b.put(b.up, map[string]string{fmt.Sprintf("d/e/f%d", i): "agent"})
	}
	done := make(chan struct{})
	swapped := make(chan int)
	go func() {
		n := 0
		defer func() { swapped <- n }()
		for {
			for _, other := range []string{"/out", "/out", "/in", "/in"} { // twice: there and back
				select {
				case <-done:
					return
				default:
				}
				if unix.Renameat2(unix.AT_FDCWD, b.low+"/d", unix.AT_FDCWD, b.low+other, unix.RENAME_EXCHANGE) == nil {
					n++
				}
			}
		}
	}()
	taken := 0
	for round, end := 0, time.Now().Add(10*time.Second); (round < 100 || taken == 0) && time.Now().Before(end); round++ {
		v := b.view()
		l, err := v.Changes(t.Context())
		if err != nil {
			continue // it moved under the walk
		}
		l, err = v.Apply(t.Context(), l, true)
		b.ok(err)
		for _, c := range l.Changes {
			if c.Taken {
				taken++
			}
		}
	}
	close(done)
	if n := <-swapped; n < 40 || taken == 0 {
		t.Errorf("%d swaps, %d taken: nothing was tried", n, taken)
	}
	if got := b.tree(b.dir + "/outside/e"); len(got) != 0 {
		t.Errorf("written outside: %v", got)
	}
	if got := b.tree(b.low + "/real/e"); len(got) != 0 {
		t.Errorf("a link inside was followed: %v", got)
	}
}

// TestClosedFolderCounts: an agent that closes its folder does not make a cleanup believe that
// nothing is in it. Modes stop an ordinary user alone: one thread becomes that.
func TestClosedFolderCounts(t *testing.T) {
	upper, done := filepath.Join(t.TempDir(), "upper"), make(chan int)
	const nobody = 65534
	if err := os.Mkdir(upper, 0o700); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		for at := upper; at != os.TempDir() && at != "/"; at = filepath.Dir(at) {
			if err := os.Chown(at, nobody, nobody); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := os.Chmod(upper, 0); err != nil {
		t.Fatal(err)
	}
	go func() {
		if os.Geteuid() == 0 {
			runtime.LockOSThread() // never unlocked
			if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, nobody, nobody, nobody); errno != 0 {
				t.Error(errno)
			}
		}
		done <- Count(upper, 5)
	}()
	if n := <-done; n != 1 {
		t.Error(n)
	}
}
