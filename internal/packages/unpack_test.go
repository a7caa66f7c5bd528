package packages

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// entry is one member of a hostile archive.
type entry struct {
	name, to, body string
	kind           byte
	mode           int64
}

func archived(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, e := range entries {
		h := &tar.Header{Name: e.name, Linkname: e.to, Typeflag: e.kind, Mode: e.mode, Size: int64(len(e.body))}
		if h.Typeflag == 0 {
			h.Typeflag = tar.TypeReg
		}
		if h.Mode == 0 {
			h.Mode = 0o755
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(e.body)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// into unpacks below a folder whose neighbour nobody may touch, and gives that folder.
func into(t testing.TB, archive []byte, strip int, change func(*writer)) (base string, w *writer, err error) {
	t.Helper()
	base = t.TempDir()
	if err := errors.Join(os.Mkdir(base+"/tree", 0o755), os.WriteFile(base+"/victim", []byte("untouched"), 0o600)); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(base + "/tree")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	w = newWriter(root)
	if change != nil {
		change(w)
	}
	err = w.unpack(tar.NewReader(w.bounded(bytes.NewReader(archive))), "deb", strip)
	if err == nil {
		err = w.finish()
	}
	return base, w, err
}

// whole holds that nothing but files, folders and links inside the tree was made.
func whole(t testing.TB, base string) {
	t.Helper()
	entries, err := os.ReadDir(base)
	if err != nil || len(entries) != 2 {
		t.Errorf("beside the tree: %v, %v", entries, err)
	}
	if b, err := os.ReadFile(base + "/victim"); err != nil || string(b) != "untouched" {
		t.Errorf("the victim: %q, %v", b, err)
	}
	tree := base + "/tree"
	err = filepath.WalkDir(tree, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		switch m := info.Mode(); {
		case m&(fs.ModeSetuid|fs.ModeSetgid|fs.ModeDevice|fs.ModeNamedPipe|fs.ModeSocket) != 0, m.IsDir() && m.Perm() != 0o755, m.IsRegular() && m.Perm() != 0o755 && m.Perm() != 0o644:
			t.Errorf("%s has the mode %v", path, m)
		case m&fs.ModeSymlink != 0:
			to, err := os.Readlink(path)
			if err != nil {
				return err
			}
			if in := filepath.Join(filepath.Dir(path), to); filepath.IsAbs(to) || !strings.HasPrefix(in, tree+"/") {
				t.Errorf("%s leads to %s", path, to)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// TestHostileArchives. The weakness: what unpacks an archive writes where the archive
// says. The attacks: names that climb or are absolute, links that lead out and are written
// through, devices, second names of files of the host. What this proves: each is refused,
// and nothing outside of the folder was made or changed.
func TestHostileArchives(t *testing.T) {
	deep := strings.Repeat("a/", 70) + "x"
	for name, list := range map[string][]entry{
		"climbs":                      {{name: "../victim", body: "x"}},
		"climbs in the middle":        {{name: "usr/../../victim", body: "x"}},
		"climbs and comes back":       {{name: "a/../b", body: "x"}},
		"absolute":                    {{name: "/tmp/bottle-victim", body: "x"}},
		"a folder that climbs":        {{name: "../new/", kind: tar.TypeDir}},
		"link out":                    {{name: "a", to: "../../victim", kind: tar.TypeSymlink}},
		"link out of deb":             {{name: "a", to: "../npm/x", kind: tar.TypeSymlink}},
		"link up from below":          {{name: "a/b/c", to: "../../../../victim", kind: tar.TypeSymlink}},
		"no target":                   {{name: "a", to: "", kind: tar.TypeSymlink}},
		"written through a link":      {{name: "a", to: "usr", kind: tar.TypeSymlink}, {name: "a/x", body: "x"}},
		"written through an absolute": {{name: "a", to: "/", kind: tar.TypeSymlink}, {name: "a/x", body: "x"}},
		"a file over a link":          {{name: "a", to: "b", kind: tar.TypeSymlink}, {name: "a", body: "x"}},
		"second name of the host's":   {{name: "a", to: "../../victim", kind: tar.TypeLink}},
		"second name, absolute":       {{name: "a", to: "/etc/passwd", kind: tar.TypeLink}},
		"second name of nothing":      {{name: "a", to: "b", kind: tar.TypeLink}},
		"second name of a folder":     {{name: "b/", kind: tar.TypeDir}, {name: "a", to: "b", kind: tar.TypeLink}},
		"second name of a link":       {{name: "b", to: "/etc/passwd", kind: tar.TypeSymlink}, {name: "a", to: "b", kind: tar.TypeLink}},
		"a device":                    {{name: "null", kind: tar.TypeChar}},
		"a disk":                      {{name: "sda", kind: tar.TypeBlock}},
		"a pipe":                      {{name: "pipe", kind: tar.TypeFifo}},
		"the same file twice":         {{name: "a", body: "x"}, {name: "a", body: "y"}},
		"a file and a folder":         {{name: "a", body: "x"}, {name: "a/b", body: "y"}},
		"too deep":                    {{name: deep, body: "x"}},
		"too long":                    {{name: strings.Repeat("n/"+strings.Repeat("m", 60), 20), body: "x"}},
	} {
		t.Run(name, func(t *testing.T) {
			base, _, err := into(t, archived(t, list...), 0, nil)
			if err == nil {
				t.Error("it was unpacked")
			}
			whole(t, base)
		})
	}
}

// TestUnpacked: what an honest package holds is there, with modes that give nothing; what
// cannot be as it was meant is counted for the operator.
func TestUnpacked(t *testing.T) {
	base, w, err := into(t, archived(t,
		entry{name: "./", kind: tar.TypeDir}, entry{name: "./usr/", kind: tar.TypeDir, mode: 0o700}, entry{name: "./usr/bin/tool", body: "run", mode: 0o4755},
		entry{name: "./usr/share/doc/x", body: "text", mode: 0o600}, entry{name: "./usr/bin/same", to: "./usr/bin/tool", kind: tar.TypeLink},
		entry{name: "./usr/bin/t", to: "tool", kind: tar.TypeSymlink}, entry{name: "./usr/lib/x/t", to: "/usr/bin/tool", kind: tar.TypeSymlink},
		entry{name: "./usr/lib/conf", to: "/etc/conf", kind: tar.TypeSymlink}, entry{name: "./usr/lib/twice", to: "/usr/bin/t", kind: tar.TypeSymlink},
	), 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	whole(t, base)
	for _, at := range []string{"usr/bin/tool", "usr/bin/same", "usr/bin/t", "usr/lib/x/t", "usr/lib/twice"} {
		if b, err := os.ReadFile(filepath.Join(base, "tree/deb", at)); err != nil || string(b) != "run" {
			t.Errorf("%s: %q, %v", at, b, err)
		}
	}
	if _, err := os.Lstat(base + "/tree/deb/usr/lib/conf"); err == nil || w.skipped != 1 || w.setuid != 1 || w.used() != 7 {
		t.Errorf("left out %d, setuid %d, %d bytes", w.skipped, w.setuid, w.used())
	}

	base, w, err = into(t, archived(t, entry{name: "package/cli.js", body: "x", mode: 0o644}, entry{name: "package/a", to: "/etc/passwd", kind: tar.TypeSymlink}, entry{name: "package/b", to: "package/cli.js", kind: tar.TypeLink}), 1, nil)
	if _, missing := os.Lstat(base + "/tree/deb/a"); err != nil || missing == nil || w.unsaid != 2 {
		t.Errorf("npm's links: %v, %d", err, w.unsaid)
	}
	if _, err := os.Stat(base + "/tree/deb/cli.js"); err != nil {
		t.Error(err)
	}
	whole(t, base)
}

// zeros is an endless archive: a member that says that it is large, and then is.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// TestExpansion. The weakness: a small archive can hold a large file, or very many. What
// this proves: the bytes are counted before they are written, names and headers, too; and
// what pads the archive, or never ends, is not read for ever.
func TestExpansion(t *testing.T) {
	small := func(w *writer) { w.left, w.entries = 1000, 20 }
	var many []entry
	for i := range 30 {
		many = append(many, entry{name: fmt.Sprintf("f%d", i), body: ""})
	}
	var folders, links []entry
	for i := range 30 {
		folders = append(folders, entry{name: fmt.Sprintf("d%d/", i), kind: tar.TypeDir})
		links = append(links, entry{name: fmt.Sprintf("l%d", i), to: "x", kind: tar.TypeSymlink})
	}
	for name, archive := range map[string][]byte{
		"one large file": archived(t, entry{name: "a", body: strings.Repeat("x", 1001)}),
		"two files":      archived(t, entry{name: "a", body: strings.Repeat("x", 600)}, entry{name: "b", body: strings.Repeat("x", 600)}),
		"many files":     archived(t, many...), "many folders": archived(t, folders...), "many links": archived(t, links...),
		"one deep name": archived(t, entry{name: strings.Repeat("a/", 25) + "x"}),
	} {
		if base, w, err := into(t, archive, 0, small); !errors.Is(err, errTooLarge) || w.left < 0 {
			t.Errorf("%s: %v, %d left", name, err, w.left)
		} else {
			whole(t, base)
		}
	}
	w := newWriter(nil)
	small(w)
	if n, err := io.Copy(io.Discard, w.bounded(zeros{})); !errors.Is(err, errTooLarge) || n > 2<<20 {
		t.Errorf("endless: %d bytes, %v", n, err)
	}
	var sparse bytes.Buffer // a member of 1 TiB of which nothing is stored
	tw := tar.NewWriter(&sparse)
	if err := tw.WriteHeader(&tar.Header{Name: "a", Typeflag: tar.TypeReg, Size: 1 << 40, Mode: 0o644}); err != nil {
		t.Fatal(err)
	}
	if base, _, err := into(t, sparse.Bytes(), 0, nil); !errors.Is(err, errTooLarge) {
		t.Errorf("1 TiB: %v", err)
	} else {
		whole(t, base)
	}
}

func FuzzUnpack(f *testing.F) {
	f.Add(archived(f, entry{name: "usr/bin/x", body: "x"}, entry{name: "l", to: "usr/bin/x", kind: tar.TypeSymlink}), false)
	f.Add(archived(f, entry{name: "a", to: "/", kind: tar.TypeSymlink}, entry{name: "a/b", body: "x"}), true)
	f.Add(archived(f, entry{name: "../victim", body: "x"}, entry{name: "h", to: "l", kind: tar.TypeLink}), false)
	f.Fuzz(func(t *testing.T, archive []byte, npm bool) {
		strip := 0
		if npm {
			strip = 1
		}
		base, w, _ := into(t, archive, strip, func(w *writer) { w.left, w.entries = 1<<16, 200 })
		if w.left < 0 {
			t.Error("more was written than may be")
		}
		whole(t, base)
	})
}

// TestPlainly: what a program said, on one line, without what nobody can use.
func TestPlainly(t *testing.T) {
	said := "npm error code E404\nnpm error errno 404\nnpm error 404 Not Found\nnpm error A complete log of this run can be found in: /gone/debug-0.log\n"
	if got := plainly(said); got != "code E404; 404 Not Found" {
		t.Error(got)
	}
	if got := plainly("E: Unable to locate package x\n\n"); got != "E: Unable to locate package x" {
		t.Error(got)
	}
	if got := plainly(strings.Repeat("x", 700)); len(got) != 600 {
		t.Error(len(got))
	}
}
