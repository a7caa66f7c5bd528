package integration

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"bottle/test/programs"
	"bottle/test/require"
)

// mkdirs makes folders below the house's base, for its operator.
func (h *house) mkdirs(names ...string) {
	h.t.Helper()
	for _, n := range names {
		if err := os.MkdirAll(filepath.Join(h.base, n), 0o755); err != nil {
			h.t.Fatal(err)
		}
	}
	h.own()
}

// swap moves name away and puts a link to another folder in its place.
func (h *house) swap(name, to string) {
	h.t.Helper()
	at := filepath.Join(h.base, name)
	if err := errors.Join(os.Rename(at, at+".old"), os.Symlink(to, at)); err != nil {
		h.t.Fatal(err)
	}
}

// spec gives the house's bottle something else besides the template.
func (h *house) spec(text string) {
	h.t.Helper()
	h.write("home/bottles/box.md", "---\nsupervise: false\nagent_provider: {template: command}\n"+text+"---\nA box.\n")
	h.own()
}

// refuses wants a start that never got to its agent.
func (h *house) refuses(when, why string) {
	h.t.Helper()
	s := h.start("echo ran")
	if s.code != 125 || strings.Contains(s.out, "ran") || !strings.Contains(s.err, why) {
		h.t.Errorf("%s: exit %d: %s%s", when, s.code, s.out, s.err)
	}
}

// TestSwapAtThePrompt. The weakness: what a bottle shows is checked before the
// question and mounted after it. The attack: whoever can write to a folder above
// (an agent of before, another user) puts a link to the operator's keys there
// while the question waits. What this proves: the start ends, in words, and the
// keys are not shown; whether a mount, the workspace or a folder above was moved.
func TestSwapAtThePrompt(t *testing.T) {
	everybody(t, func(t *testing.T, uid int) {
		for name, c := range map[string]struct{ spec, swap, to string }{
			"a mount":                {"mounts: [{path: @/shared/tools}]\n", "shared/tools", "../keys"},
			"a writable mount":       {"mounts: [{path: @/shared/tools, mode: rw}]\n", "shared/tools", "../keys"},
			"a folder above a mount": {"mounts: [{path: @/shared/tools}]\n", "shared", "keys"},
			"the workspace":          {"", "work", "keys"},
			"a bind workspace":       {"workspace: {mode: bind}\n", "work", "keys"},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				h := newHouse(t, uid, "")
				h.mkdirs("shared/tools", "keys/tools")
				h.write("keys/id", "the private key\n")
				h.spec(strings.ReplaceAll(c.spec, "@", h.base))
				b, _ := h.onTerminal("start", h.agent, "--", "-c", "cat /workspace/id "+h.base+"/shared/tools/id; echo ra''n")
				b.says("Start it?")
				h.swap(c.swap, c.to)
				b.types("y")
				if code := b.ends(); code != 125 {
					t.Errorf("exit %d", code)
				}
				require.Eventually(t, limit, "the refusal arrives", func() bool { return strings.Contains(b.out.String(), "not what was checked") })
				if out := b.out.String(); strings.Contains(out, "private key") || strings.Contains(out, "ran") {
					t.Errorf("it said %s", out)
				}
				h.nothingLeft(name)
			})
		}
	})
}

// TestHostSocketsInMounts. The weakness: a read-only mount keeps nobody from
// connecting to a unix socket in it, or from writing into a pipe; they belong to
// no network namespace. The attack: the agent speaks to a program of the host
// whose socket lies among mounted tools. What this proves: behind a read-only
// mount and a private view nobody listens, a mount of the socket itself is
// refused, and of a folder that the agent shares for good the preflight warns.
func TestHostSocketsInMounts(t *testing.T) {
	everybody(t, func(t *testing.T, uid int) {
		h := newHouse(t, uid, "")
		h.mkdirs("tools/deep")
		programs.CopyOnce(t, filepath.Join(h.bin, "inside"), filepath.Join(h.work(), "inside"))
		for _, dir := range []string{"tools/deep", "work"} {
			at := filepath.Join(h.base, dir)
			l, err := net.Listen("unix", filepath.Join(at, "s"))
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			if err := errors.Join(os.Chmod(at+"/s", 0o777), syscall.Mkfifo(at+"/p", 0o666), os.Chmod(at+"/p", 0o666)); err != nil {
				t.Fatal(err)
			}
			reader, err := os.OpenFile(at+"/p", os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer reader.Close()
		}
		tools := filepath.Join(h.base, "tools")
		h.spec("mounts: [{path: " + tools + "}]\n")
		// A pipe opened for both sides always opens; whether it is the host's shows.
		s := h.start("for s in /workspace/s " + tools + "/deep/s; do ./inside backendtest-inside dial-unix $s; done; ls " + tools + "/deep; (echo x >/tmp/t) && cat /tmp/t")
		if s.code != 0 || strings.Contains(s.out, "connected") || strings.Count(s.out, "refused") != 2 || !strings.Contains(s.out, "p\ns\nx\n") {
			t.Errorf("exit %d: %s%s", s.code, s.out, s.err)
		}
		h.spec("mounts: [{path: " + tools + "/deep/s}]\n")
		h.refuses("a socket as a mount", "neither a file nor a folder")
		h.spec("workspace: {mode: bind}\n")
		s = h.start("true")
		if s.code != 0 || !strings.Contains(strings.Join(strings.Fields(s.err), " "), "sockets or pipes") {
			t.Errorf("a bind workspace with a socket: exit %d: %s", s.code, s.err)
		}
		h.nothingLeft("sockets")
	})
}

// TestWorkspaceIsAProject. The weakness: the current folder was compared by its
// name, as the shell spells it. The attack: a repository with a link upwards, a
// start in ~/.ssh or in the manifests' own folder. What this proves: the folder
// that is really there is held to the rules, and the preflight names it.
func TestWorkspaceIsAProject(t *testing.T) {
	everybody(t, func(t *testing.T, uid int) {
		h := newHouse(t, uid, "")
		h.mkdirs("user/.ssh", "user/app", "user/vault/.gnupg")
		for at, to := range map[string]string{"user/app/up": "..", "home-link": "user", "user/.aws": "vault"} {
			if err := os.Symlink(to, filepath.Join(h.base, at)); err != nil {
				t.Fatal(err)
			}
		}
		h.own()
		for _, mode := range []string{"overlay", "bind"} {
			h.spec("workspace: {mode: " + mode + "}\n")
			for _, dir := range []string{"user", "home-link", "user/app/up", "user/.ssh", "user/app/up/.ssh", "user/vault", "home", "home/bottles", ".", "/etc", "/usr/bin", "/var", "/tmp"} {
				at := dir
				if !filepath.IsAbs(dir) {
					at = filepath.Join(h.base, dir)
				}
				cmd := h.command("start", h.agent, "--yes", "--", "-c", "echo ran")
				cmd.Dir, cmd.Env = at, append(cmd.Env, "PWD="+at)
				if s := finish(t, cmd); s.code != 125 || strings.Contains(s.out, "ran") || !strings.Contains(s.err, "the agent would see the current folder") {
					t.Errorf("%s of %s: exit %d: %s%s", mode, dir, s.code, s.out, s.err)
				}
			}
		}
		cmd := h.command("start", h.agent, "--yes", "--", "-c", "echo ran")
		cmd.Dir = filepath.Join(h.base, "home-link/app")
		cmd.Env = append(cmd.Env, "PWD="+cmd.Dir)
		if s := finish(t, cmd); s.code != 0 || !strings.Contains(s.err, filepath.Join(h.base, "user/app")) || strings.Contains(s.err, "home-link") {
			t.Errorf("a project by another name: exit %d: %s%s", s.code, s.out, s.err)
		}
	})
}

// TestLinkedHome. The weakness: ~/.bot-bottle may be a link into a folder of
// dotfiles, which the rules knew by the link's name alone. The attack: an agent
// that works in the dotfiles, or has them mounted, writes its own limits. What
// this proves: neither starts, while a start elsewhere works with such a home.
func TestLinkedHome(t *testing.T) {
	everybody(t, func(t *testing.T, uid int) {
		h := newHouse(t, uid, "workspace: {mode: bind}\n")
		h.mkdirs("dot")
		if err := errors.Join(os.Rename(h.home(), h.base+"/dot/bb"), os.Symlink(h.base+"/dot/bb", h.home())); err != nil {
			t.Fatal(err)
		}
		cmd := h.command("start", h.agent, "--yes", "--", "-c", "echo ran")
		cmd.Dir = filepath.Join(h.base, "dot")
		if s := finish(t, cmd); s.code != 125 || !strings.Contains(s.err, "manifests") {
			t.Errorf("in the dotfiles: exit %d: %s%s", s.code, s.out, s.err)
		}
		h.spec("mounts: [{path: " + h.base + "/dot, mode: rw}]\n")
		h.refuses("the dotfiles as a mount", "manifests")
		h.spec("") // a private view: its layers lie in the linked home
		if s := h.start("echo ran; echo x >new"); s.code != 0 || s.out != "ran\n" {
			t.Errorf("elsewhere: exit %d: %s%s", s.code, s.out, s.err)
		}
		h.nothingLeft("a linked home")
	})
}

// TestOneBottleToAFolder. The weakness: two bottles that write to one folder can
// hand each other connections over a socket in it. What this proves: the second
// does not start while the first is alive, and does when it has ended.
func TestOneBottleToAFolder(t *testing.T) {
	everybody(t, func(t *testing.T, uid int) {
		h := newHouse(t, uid, "workspace: {mode: bind}\n")
		b := h.begin("echo ready; read x")
		h.refuses("a second bottle", "is alive and may write to")
		b.types("go")
		if code := b.ends(); code != 0 {
			t.Errorf("the first: exit %d: %s", code, b.errs)
		}
		if s := h.start("echo ran"); s.code != 0 {
			t.Errorf("after its end: exit %d: %s", s.code, s.err)
		}
		h.nothingLeft("one after another")
	})
}

// TestSetuidInTheWorkspace. The weakness: write(2) takes a setuid bit away, a
// shared writable mapping does not. The attack: the agent puts its own code into a
// setuid program of the project. What this proves: such a start is refused.
func TestSetuidInTheWorkspace(t *testing.T) {
	everybody(t, func(t *testing.T, uid int) {
		h := newHouse(t, uid, "workspace: {mode: bind}\n")
		h.mkdirs("work/tools")
		h.write("work/tools/helper", "#!/bin/true\n")
		h.own() // before the bit: a new owner takes it away
		if err := os.Chmod(filepath.Join(h.work(), "tools/helper"), 0o755|os.ModeSetuid); err != nil {
			t.Fatal(err)
		}
		h.refuses("a setuid program", "tools/helper")
		if err := os.Chmod(filepath.Join(h.work(), "tools/helper"), 0o755); err != nil {
			t.Fatal(err)
		}
		if s := h.start("echo ran"); s.code != 0 {
			t.Errorf("without the bit: exit %d: %s", s.code, s.err)
		}
	})
}

// TestMountsStayWhole: what the ways of showing a folder do not change: names that
// overlayfs would read as options, several mounts, one in another, single files.
func TestMountsStayWhole(t *testing.T) {
	everybody(t, func(t *testing.T, uid int) {
		h := newHouse(t, uid, "")
		odd := "a,upperdir=x:b\\c"
		h.mkdirs(odd, "outer/inner", "outer/plain")
		for _, f := range []string{odd + "/f", "outer/f", "outer/inner/f", "one"} {
			h.write(f, f+"\n")
		}
		h.write("outer/run", "#!/bin/sh\necho runs\n")
		if err := os.Chmod(filepath.Join(h.base, "outer/run"), 0o755); err != nil {
			t.Fatal(err)
		}
		h.spec("mounts:\n  - {path: '" + h.base + "/" + odd + "'}\n  - {path: " + h.base + "/outer}\n  - {path: " + h.base + "/outer/inner, mode: rw}\n  - {path: " + h.base + "/one}\n")
		s := h.start("cd " + h.base + "; cat '" + odd + "/f' outer/f outer/inner/f one; outer/run; echo new >outer/inner/new; for f in outer/f one outer/plain/x; do (echo x >$f) 2>/dev/null && echo wrote $f; done; rm -f outer/f 2>/dev/null; ls outer")
		if want := odd + "/f\nouter/f\nouter/inner/f\none\nruns\nf\ninner\nplain\nrun\n"; s.code != 0 || s.out != want {
			t.Errorf("exit %d: %s%s\nwant %s", s.code, s.out, s.err, want)
		}
		if body, err := os.ReadFile(filepath.Join(h.base, "outer/inner/new")); err != nil || string(body) != "new\n" {
			t.Errorf("the writable mount holds %q, %v", body, err)
		}
		var st unix.Stat_t
		if err := unix.Stat(filepath.Join(h.base, "outer/f"), &st); err != nil || uid >= 0 && int(st.Uid) != uid {
			t.Errorf("the read-only file: %v, uid %d", err, st.Uid)
		}
		h.nothingLeft("mounts")
	})
}
