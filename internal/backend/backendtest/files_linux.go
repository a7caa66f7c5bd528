package backendtest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bottle/internal/backend"
	"bottle/internal/plan"
)

// Files tests the workspace in its three modes and the mounts.
func Files(t *testing.T, make func() backend.Backend) {
	t.Run("overlay leaves the folder alone", func(t *testing.T) { overlay(t, make()) })
	t.Run("bind shares the folder", func(t *testing.T) { bindMode(t, make()) })
	t.Run("none", func(t *testing.T) { noWorkspace(t, make()) })
	t.Run("odd names", func(t *testing.T) { oddNames(t, make) })
	t.Run("mounts", func(t *testing.T) { mounts(t, make()) })
	t.Run("links out of the workspace", func(t *testing.T) { linksOut(t, make()) })
	t.Run("a mount below a link", func(t *testing.T) { belowLink(t, make()) })
	t.Run("the system is read-only", func(t *testing.T) { readOnlySystem(t, make()) })
}

func overlay(t *testing.T, be backend.Backend) {
	var before string
	x := up(t, be, func(p *plan.Bottle) {
		w := p.Workspace.Source
		write(t, filepath.Join(w, "keep"), "kept\n")
		write(t, filepath.Join(w, "dir/a"), "a\n")
		write(t, filepath.Join(w, "dir/b"), "b\n")
		if err := os.Chmod(filepath.Join(w, "keep"), 0o640); err != nil {
			t.Fatal(err)
		}
		before = snapshot(t, w)
	})
	got := x.sh(`cd /workspace; cat keep; stat -c '%U %a' keep .; echo more >>keep; chmod 777 keep; rm dir/a; mv dir/b moved; mkdir new; echo x >new/y
		ln -s keep link; touch -d 2001-01-01 moved; mv dir gone; rm -r gone; chmod 700 .; ls -A`)
	if !strings.HasPrefix(got, "kept\nagent 640\nagent ") || !strings.HasSuffix(got, "keep\nlink\nmoved\nnew\n") {
		t.Errorf("inside: %q", got)
	}
	if err := x.b.Close(); err != nil {
		t.Fatal(err)
	}
	if after := snapshot(t, x.work()); after != before {
		t.Errorf("the folder changed:\n%s\nbefore:\n%s", after, before)
	}
}

func bindMode(t *testing.T, be backend.Backend) {
	x := up(t, be, func(p *plan.Bottle) {
		p.Workspace.Mode = "bind"
		write(t, filepath.Join(p.Workspace.Source, "old"), "old\n")
	})
	x.sh("cd /workspace; cat old >/dev/null; echo new >new; rm old")
	fi, err := os.Stat(filepath.Join(x.work(), "new"))
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.Stat(x.work())
	if err != nil {
		t.Fatal(err)
	}
	if owner(fi) != owner(dir) {
		t.Errorf("the new file belongs to %d, the folder to %d", owner(fi), owner(dir))
	}
	if _, err := os.Stat(filepath.Join(x.work(), "old")); err == nil {
		t.Error("a removed file is still there")
	}
}

func noWorkspace(t *testing.T, be backend.Backend) {
	x := up(t, be, func(p *plan.Bottle) { p.Workspace = plan.WorkspaceMount{Mode: "none"} })
	if got := x.sh("ls /workspace >/dev/null 2>&1 && echo there; echo done"); got != "done\n" {
		t.Errorf("without a workspace: %q", got)
	}
}

// oddNames: overlayfs reads a colon or a comma of a folder's name as its own
// syntax; a newline or bytes that are not UTF-8 must not break the plan's JSON.
func oddNames(t *testing.T, make func() backend.Backend) {
	for _, name := range []string{"with space", "with,comma", "with:colon", "with\nnewline", "back\\slash", `quo"te`, "ünï", "not-utf8-\xff\xfe"} {
		for _, mode := range []string{"overlay", "bind"} {
			t.Run(mode+" "+name, func(t *testing.T) {
				t.Parallel()
				x := up(t, make(), func(p *plan.Bottle) {
					dir := filepath.Join(p.Workspace.Source, name)
					write(t, filepath.Join(dir, "file"), "found\n")
					p.Workspace = plan.WorkspaceMount{Mode: mode, Source: dir}
				})
				if got := x.sh("cat /workspace/file; echo x >/workspace/new"); got != "found\n" {
					t.Errorf("got %q", got)
				}
			})
		}
	}
}

func mounts(t *testing.T, be backend.Backend) {
	var ro, rw, one string
	x := up(t, be, func(p *plan.Bottle) {
		base := filepath.Dir(p.Workspace.Source)
		ro, rw, one = filepath.Join(base, "ro"), filepath.Join(base, "rw"), filepath.Join(base, "one")
		write(t, filepath.Join(ro, "f"), "ro\n")
		write(t, filepath.Join(rw, "f"), "rw\n")
		write(t, one, "one\n")
		p.Mounts = append(p.Mounts, plan.Mount{Source: ro, Target: "/srv/ro"}, plan.Mount{Source: rw, Target: rw, Writable: true}, plan.Mount{Source: one, Target: "/srv/one"})
	})
	got := x.sh("cat /srv/ro/f " + rw + "/f /srv/one; for p in /srv/ro/f /srv/ro/new /srv/one /srv/new; do (echo evil >$p) 2>/dev/null && echo wrote $p; done; rm -f /srv/ro/f 2>/dev/null; echo in >" + rw + "/new")
	if got != "ro\nrw\none\n" {
		t.Errorf("inside: %q", got)
	}
	for path, want := range map[string]string{ro + "/f": "ro\n", one: "one\n", rw + "/new": "in\n"} {
		if body, err := os.ReadFile(path); err != nil || string(body) != want {
			t.Errorf("%s holds %q, %v", path, body, err)
		}
	}
}

// linksOut: a link in the workspace leads to the bottle's own files, never the host's.
func linksOut(t *testing.T, be backend.Backend) {
	var marker string
	x := up(t, be, func(p *plan.Bottle) {
		w := p.Workspace.Source
		marker = filepath.Join(filepath.Dir(w), "marker")
		write(t, marker, "the host's\n")
		for name, to := range map[string]string{"shadow": "/etc/shadow", "up": "../marker", "abs": marker, "root": "/", "climb": strings.Repeat("../", 40) + "etc/shadow"} {
			if err := os.Symlink(to, filepath.Join(w, name)); err != nil {
				t.Fatal(err)
			}
		}
	})
	got := x.sh("cd /workspace; for l in shadow up abs climb; do cat $l 2>/dev/null && echo read $l; (echo evil >$l) 2>/dev/null && echo wrote $l; done; ls root/marker root/workspace >/dev/null 2>&1; echo done")
	if got != "done\n" {
		t.Errorf("through the links: %q", got)
	}
	if body, err := os.ReadFile(marker); err != nil || string(body) != "the host's\n" {
		t.Errorf("the host's file holds %q, %v", body, err)
	}
}

// belowLink: a mount whose target passes a link that somebody else placed must
// not land elsewhere. The bottle's /var/run leads to /run.
func belowLink(t *testing.T, be backend.Backend) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "f"), "x")
	err := createFails(t, be, func(p *plan.Bottle) {
		p.Mounts = append(p.Mounts, plan.Mount{Source: dir, Target: "/var/run/evil"})
	})
	if err == nil || !strings.Contains(err.Error(), "symlink") {
		t.Errorf("a mount below a link: %v", err)
	}
	for _, target := range []string{"/", "relative", "/a/../b", "/srv/"} {
		if err := createFails(t, be, func(p *plan.Bottle) {
			p.Mounts = append(p.Mounts, plan.Mount{Source: dir, Target: target})
		}); err == nil {
			t.Errorf("a mount at %q was made", target)
		}
	}
}

func readOnlySystem(t *testing.T, be backend.Backend) {
	x := up(t, be, nil)
	got := x.sh(`for p in / /usr /bin /etc /lib /opt /proc /proc/sys /dev /var /home /etc/ssl /usr/bin; do
			[ -d $p ] || continue; (echo x >$p/evil) 2>/dev/null && echo wrote $p; (mkdir $p/evild) 2>/dev/null && echo made $p; done
		for p in /etc/passwd /etc/hosts /etc/resolv.conf /etc/ssl/certs/ca-certificates.crt /etc/ssl/bottle-ca.pem /var/lib/bottle/jail /attack /etc/ld.so.cache; do
			(echo x >>$p) 2>/dev/null && echo appended $p; rm -f $p 2>/dev/null && echo removed $p; mv $p /tmp/ 2>/dev/null && echo moved $p; chmod 777 $p 2>/dev/null && echo chmod $p; done
		for p in /tmp /var/tmp /run /dev/shm /home/agent /workspace; do echo x >$p/fine || echo cannot write $p; done; echo done`)
	if got != "done\n" {
		t.Errorf("inside: %s", got)
	}
}
