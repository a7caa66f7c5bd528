package integration

import (
	"archive/tar"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"bottle/test/require"
)

// bringsNothing has the operator approve a proposal, which comes to nothing: he is told the
// words, it still waits, and nothing is left where it was unpacked.
func (h *house) bringsNothing(id string, words ...string) {
	h.t.Helper()
	s := finish(h.t, h.command("approve", id, "--yes"))
	text := strings.Join(strings.Fields(s.out+s.err), " ")
	for _, w := range append(words, "bottle ") { // the next step
		if s.code != 125 || !strings.Contains(text, w) {
			h.t.Errorf("exit %d, without %q: %s%s", s.code, w, s.out, s.err)
		}
	}
	if strings.ContainsAny(s.out+s.err, "\x1b\x07") {
		h.t.Errorf("it writes on the terminal: %q", s.out+s.err)
	}
	for _, p := range h.waiting(1) {
		if p.ID == id && p.Status != "pending" {
			h.t.Errorf("it is %s", p.Status)
		}
	}
	state := filepath.Join(h.home(), "state", string(h.identity()))
	for _, dir := range []string{"adding", "added"} {
		if entries, err := os.ReadDir(filepath.Join(state, dir)); err != nil || len(entries) > 0 {
			h.t.Errorf("left in %s: %v, %v", dir, entries, err)
		}
	}
}

// with runs f with another environment variable.
func (h *house) with(variable string, f func()) {
	before := h.env
	name, _, _ := strings.Cut(variable, "=")
	h.env = append(slices.DeleteFunc(slices.Clone(before), func(e string) bool { return strings.HasPrefix(e, name+"=") }), variable)
	f()
	h.env = before
}

// TestHostileNPM. The weakness: a registry, or a package in it, decides what is fetched
// and what it unpacks to. The attacks: an archive that is another one than was shown, once
// with the registry's word for it and once without, needs from git, from the machine's own
// files and from any address, and archives that write elsewhere. What this proves: nothing
// of it gets in, nothing is run, and an honest repeat works.
func TestHostileNPM(t *testing.T) {
	require.Tool(t, "curl", "npm", "node")
	h := supervised(t, -1, "")
	r := newRegistry(t)
	h.useNPM(r)
	b := h.asks()
	id := b.wants(1, `"npm:tiny-tool"`)
	ran := filepath.Join(h.base, "ran")
	cli := member("package/cli.js", "#!/usr/bin/env node\nconsole.log('npm works')\n")
	const bin = `,"bin":{"tiny-tool":"cli.js"}`

	h.with("PATH=/nonexistent", func() { h.bringsNothing(id, "this machine has none", "sudo apt-get install npm") })
	h.bringsNothing(id, "npm does not find a way to bring them in", "404")
	for what, needs := range map[string]string{
		"git": "git+file://" + h.base + "/repo", "github": "github:evil/x", "a file": "file:../../../../etc", "an address": r.URL + "/evil/-/1.0.0.tgz",
	} {
		r.publish(t, "evil", "1.0.0", `,"scripts":{"install":"touch `+ran+`","prepare":"touch `+ran+`"}`)
		r.publish(t, "tiny-tool", "1.0.0", bin+fmt.Sprintf(`,"dependencies":{"x":%q}`, needs), cli)
		t.Log(what)
		h.bringsNothing(id)
	}
	for what, e := range map[string]tar.Header{
		"climbs": member("package/../../../../../victim", "x"), "a device": {Name: "package/dev", Typeflag: tar.TypeFifo},
	} {
		r.publish(t, "tiny-tool", "1.0.0", bin, cli, e)
		t.Log(what)
		h.bringsNothing(id, "unpack npm:tiny-tool")
	}
	r.publish(t, "tiny-tool", "1.0.0", bin, cli)
	r.mu.Lock()
	honest := r.files["/tiny-tool/-/1.0.0.tgz"]
	r.files["/tiny-tool/-/1.0.0.tgz"] = tarball(t, member("package/package.json", `{"name":"tiny-tool","version":"1.0.0"}`))
	r.mu.Unlock()
	h.bringsNothing(id, "npm does not fetch them", "EINTEGRITY")
	r.mu.Lock()
	r.files["/tiny-tool/-/1.0.0.tgz"] = honest
	r.then = func(path string) { // once the list was made, the registry says another hash, too
		if path == "/tiny-tool" {
			r.then = nil
			go r.publish(t, "tiny-tool", "1.0.0", bin, cli, member("package/evil.js", "evil"))
		}
	}
	r.mu.Unlock()
	h.bringsNothing(id, "is not what it was when it was looked up")
	r.publish(t, "tiny-tool", "1.0.0", bin, cli)
	h.tool("approve", id, "--yes")
	b.says(`"programs":["tiny-tool"]`)
	b.types("run tiny-tool")
	b.says("npm works\n")
	if _, err := os.Stat(ran); err == nil {
		t.Error("a script was run")
	}
	b.types("bye")
	b.ends()
	if s := finish(t, h.command("approve", id, "--yes")); s.code != 125 || !strings.Contains(s.err, "no running bottle has the proposal") {
		t.Errorf("of a bottle that has ended: %+v", s)
	}
}

// TestHostileDeb. The weakness: what a repository says is only as good as its signature.
// The attacks: a repository without one that apt was told to take, an archive that is not
// the one of the signed list, packages whose names apt takes for patterns, and one that
// would replace another. What this proves: nothing of it gets in, and an honest repeat works.
func TestHostileDeb(t *testing.T) {
	require.Tool(t, "curl")
	h := supervised(t, -1, "")
	d := newDepot(t, h)
	d.build("bottle-tiny", "1.0", "", map[string]string{"usr/bin/bottle-tiny": "#!/bin/sh\necho deb works\n", "etc/bottle-tiny.conf": "-> /etc/passwd"}, nil)
	b := h.asks()
	id := b.wants(1, `"deb:bottle-tiny"`)
	h.with("PATH=/nonexistent", func() { h.bringsNothing(id, "this machine has none", "bottle reject "+id) })

	d.sign()
	if err := os.Remove(d.dir + "/repo/InRelease"); err != nil {
		t.Fatal(err)
	}
	h.write("depot/sources.list", "deb file:"+d.dir+"/repo ./\n")
	if err := errors.Join(os.RemoveAll(d.dir+"/lists"), os.MkdirAll(d.dir+"/lists/partial", 0o755)); err != nil {
		t.Fatal(err)
	}
	d.run("apt-get", "update", "-o", "Acquire::AllowInsecureRepositories=true", "-o", "APT::Get::AllowUnauthenticated=true")
	conf, err := os.ReadFile(d.dir + "/apt.conf")
	if err != nil {
		t.Fatal(err)
	}
	h.write("depot/apt.conf", string(conf)+` APT::Get::AllowUnauthenticated "true"; Acquire::AllowInsecureRepositories "true";`)
	h.bringsNothing(id, "authenticated")
	h.write("depot/apt.conf", string(conf))
	h.write("depot/sources.list", "deb [signed-by="+d.dir+"/key.gpg] file:"+d.dir+"/repo ./\n")
	d.sign()

	deb := d.dir + "/repo/bottle-tiny_1.0.deb"
	honest, err := os.ReadFile(deb)
	if err != nil {
		t.Fatal(err)
	}
	evil := append(slices.Clone(honest[:len(honest)-1]), honest[len(honest)-1]^1)
	h.write("depot/repo/bottle-tiny_1.0.deb", string(evil))
	h.bringsNothing(id, "apt-get does not fetch them", "sudo apt-get update")
	h.write("depot/repo/bottle-tiny_1.0.deb", string(honest))
	h.bringsNothing(b.wants(2, `"deb:bottle.tin+"`), "apt-get knows no package of the name bottle.tin+")
	if out := h.tool("approve", id, "--yes"); !strings.Contains(out, "links to places outside of the packages are left out: 1") {
		t.Error(out)
	}
	b.says(`"programs":["bottle-tiny"]`)
	b.types("run bottle-tiny")
	b.says("deb works\n")
	b.types("bye")
	b.ends()
}

// TestKilledWhilePackagesAreFetched: the operator's command is killed while it fetches, and
// another operator's is at the same. Nothing half done is seen; one of two who decide wins,
// the other is told; what the killed one left is swept.
func TestKilledWhilePackagesAreFetched(t *testing.T) {
	require.Tool(t, "curl", "npm", "node")
	h := supervised(t, -1, "")
	r := newRegistry(t)
	h.useNPM(r)
	r.publish(t, "tiny-tool", "1.0.0", `,"bin":{"tiny-tool":"cli.js"}`, member("package/cli.js", "#!/usr/bin/env node\nconsole.log('npm works')\n"))
	b := h.asks()
	id := b.wants(1, `"npm:tiny-tool"`)
	held, let := make(chan bool, 9), make(chan bool)
	r.mu.Lock()
	r.hold = func(path string) {
		if strings.HasSuffix(path, ".tgz") {
			held <- true
			<-let
		}
	}
	r.mu.Unlock()
	first := h.launch(h.command("approve", id, "--yes"))
	<-held
	if err := first.cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-first.done
	adding := filepath.Join(h.home(), "state", string(h.identity()), "adding")
	if entries, err := os.ReadDir(adding); err != nil || len(entries) != 1 {
		t.Errorf("the killed one left %v, %v", entries, err)
	}
	b.types("run ls -A /var/lib/bottle/added | wc -l")
	b.says("0\n")
	two := []*background{h.launch(h.command("approve", id, "--yes")), h.launch(h.command("approve", id, "--yes"))}
	<-held
	<-held
	close(let)
	won, lost := 0, 0
	for _, o := range two {
		switch code := o.ends(); {
		case code == 0:
			won++
		case strings.Contains(o.errs.String(), "is decided already: approved"):
			lost++
		default:
			t.Errorf("exit %d: %s%s", code, o.out, o.errs)
		}
	}
	if won != 1 || lost != 1 {
		t.Errorf("%d won, %d were told", won, lost)
	}
	for _, what := range []string{"lock", "tree"} { // npm of the killed one may write there a moment longer
		if left, err := filepath.Glob(filepath.Join(adding, "*", what)); err != nil || len(left) > 0 {
			t.Errorf("left: %q, %v", left, err)
		}
	}
	b.types("run tiny-tool")
	b.says("npm works\n")
	b.types("bye")
	b.ends()
}
