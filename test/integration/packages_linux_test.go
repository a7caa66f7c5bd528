package integration

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"bottle/test/require"
)

// registry is an npm registry on loopback, as npm reads one.
type registry struct {
	*httptest.Server
	mu    sync.Mutex
	files map[string][]byte
	asked []string
	hold  func(path string) // before an answer, without the lock
	then  func(path string) // after one, with the lock
}

func newRegistry(t *testing.T) *registry {
	r := &registry{files: map[string][]byte{}}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		r.mu.Lock()
		hold := r.hold
		r.mu.Unlock()
		if hold != nil {
			hold(q.URL.Path)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.then != nil {
			defer r.then(q.URL.Path)
		}
		r.asked = append(r.asked, q.URL.Path)
		body, ok := r.files[q.URL.Path]
		if !ok {
			http.NotFound(w, q)
			return
		}
		_, _ = w.Write(body)
	}))
	t.Cleanup(r.Close)
	return r
}

// requests are the paths that were asked for.
func (r *registry) requests() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string{}, r.asked...)
}

// tarball is a tar.gz of these entries.
func tarball(t *testing.T, entries ...tar.Header) []byte {
	t.Helper()
	var buf bytes.Buffer
	z := gzip.NewWriter(&buf)
	w := tar.NewWriter(z)
	for _, h := range entries {
		body := h.PAXRecords["BOTTLE.body"]
		h.PAXRecords, h.Size = nil, int64(len(body))
		if h.Mode == 0 {
			h.Mode = 0o644
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(body)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// member is one file of an archive.
func member(name, body string) tar.Header {
	return tar.Header{Name: name, PAXRecords: map[string]string{"BOTTLE.body": body}}
}

// publish puts one version of a package into the registry: manifest is what its
// package.json has besides its name and version.
func (r *registry) publish(t *testing.T, name, version, manifest string, entries ...tar.Header) {
	t.Helper()
	text := fmt.Sprintf(`{"name":%q,"version":%q%s}`, name, version, manifest)
	archive := tarball(t, append([]tar.Header{member("package/package.json", text)}, entries...)...)
	sum := sha512.Sum512(archive)
	at := "/" + name + "/-/" + version + ".tgz"
	scripts := ""
	if strings.Contains(manifest, `install"`) {
		scripts = `,"hasInstallScript":true`
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.files[at] = archive
	r.files["/"+name] = fmt.Appendf(nil, `{"name":%q,"dist-tags":{"latest":%q},"versions":{%q:{"name":%q,"version":%q%s%s,"dist":{"tarball":"%s%s","integrity":"sha512-%s"}}}}`,
		name, version, version, name, version, manifest, scripts, r.URL, at, base64.StdEncoding.EncodeToString(sum[:]))
}

// useNPM has the operator's npm know no other registry.
func (h *house) useNPM(r *registry) {
	h.write("user/.npmrc", "registry="+r.URL+"/\nfetch-retries=0\n")
	h.own()
}

// depot is a signed Debian repository in a folder, and the operator's apt that knows no other.
type depot struct {
	h    *house
	dir  string
	debs []string
}

func newDepot(t *testing.T, h *house) *depot {
	t.Helper()
	require.Tool(t, "apt-get", "dpkg-deb", "gpg")
	d := &depot{h: h, dir: filepath.Join(h.base, "depot")}
	for _, dir := range []string{"repo", "lists/partial", "cache/archives/partial", "gnupg", "build"} {
		if err := os.MkdirAll(filepath.Join(d.dir, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(d.dir+"/gnupg", 0o700); err != nil {
		t.Fatal(err)
	}
	d.run("gpg", "--batch", "--homedir", d.dir+"/gnupg", "--passphrase", "", "--quick-generate-key", "bottle test <test@example.com>", "ed25519", "sign", "never")
	d.run("gpg", "--batch", "--homedir", d.dir+"/gnupg", "--output", d.dir+"/key.gpg", "--export")
	t.Cleanup(func() { _ = exec.Command("gpgconf", "--homedir", d.dir+"/gnupg", "--kill", "all").Run() }) // it ends by itself, too
	h.write("depot/sources.list", "deb [signed-by="+d.dir+"/key.gpg] file:"+d.dir+"/repo ./\n")
	h.write("depot/apt.conf", fmt.Sprintf(`Dir::Etc::sourcelist "%[1]s/sources.list"; Dir::Etc::sourceparts "-"; Dir::State::lists "%[1]s/lists"; Dir::Cache "%[1]s/cache"; Acquire::Languages "none"; APT::Sandbox::User ""; Dir::Etc::preferencesparts "-";`, d.dir))
	h.env = append(h.env, "APT_CONFIG="+d.dir+"/apt.conf")
	return d
}

func (d *depot) run(program string, args ...string) string {
	d.h.t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + d.dir, "LC_ALL=C", "APT_CONFIG=" + d.dir + "/apt.conf"}
	out, err := cmd.CombinedOutput()
	if err != nil {
		d.h.t.Fatalf("%s %q: %v\n%s", program, args, err, out)
	}
	return string(out)
}

// build makes a package of these files; one that is a path of the host is copied. extra
// are lines of its control file.
func (d *depot) build(name, version, extra string, files map[string]string, scripts map[string]string) {
	d.h.t.Helper()
	root := filepath.Join(d.dir, "build", name+"-"+version)
	control := fmt.Sprintf("Package: %s\nVersion: %s\nArchitecture: %s\nMaintainer: a test <test@example.com>\nDescription: a test\n%s", name, version, strings.TrimSpace(d.run("dpkg", "--print-architecture")), extra)
	put := func(at, body string, mode os.FileMode) {
		path := filepath.Join(root, at)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			d.h.t.Fatal(err)
		}
		if to, ok := strings.CutPrefix(body, "-> "); ok {
			if err := os.Symlink(to, path); err != nil {
				d.h.t.Fatal(err)
			}
			return
		}
		if strings.HasPrefix(body, d.dir) {
			b, err := os.ReadFile(body)
			if err != nil {
				d.h.t.Fatal(err)
			}
			body = string(b)
		}
		if err := os.WriteFile(path, []byte(body), mode); err != nil {
			d.h.t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			d.h.t.Fatal(err)
		}
	}
	put("DEBIAN/control", control, 0o644)
	for script, body := range scripts {
		put("DEBIAN/"+script, body, 0o755)
	}
	for at, body := range files {
		mode := os.FileMode(0o755)
		if strings.Contains(at, "suid") {
			mode |= os.ModeSetuid
		}
		put(at, body, mode)
	}
	deb := filepath.Join(d.dir, "repo", name+"_"+strings.ReplaceAll(version, ":", "%3a")+".deb")
	d.run("dpkg-deb", "--root-owner-group", "--build", root, deb)
	d.debs = append(d.debs, control+fmt.Sprintf("Filename: ./%s\n", filepath.Base(deb)))
}

// sign writes the repository's lists, signs them, and has apt read them.
func (d *depot) sign() {
	d.h.t.Helper()
	var list strings.Builder
	for _, control := range d.debs {
		_, name, _ := strings.Cut(strings.TrimSpace(control), "Filename: ./")
		b, err := os.ReadFile(filepath.Join(d.dir, "repo", name))
		if err != nil {
			d.h.t.Fatal(err)
		}
		fmt.Fprintf(&list, "%sSize: %d\nSHA256: %x\n\n", control, len(b), sha256.Sum256(b))
	}
	text := list.String()
	d.h.write("depot/repo/Packages", text)
	d.h.write("depot/repo/Release", fmt.Sprintf("Origin: test\nSuite: stable\nCodename: test\nDate: Sat, 01 Jan 2022 00:00:00 UTC\nSHA256:\n %x %d Packages\n", sha256.Sum256([]byte(text)), len(text)))
	_ = os.Remove(d.dir + "/repo/InRelease") // there is none at first
	d.run("gpg", "--batch", "--homedir", d.dir+"/gnupg", "--clearsign", "--output", d.dir+"/repo/InRelease", d.dir+"/repo/Release")
	d.run("apt-get", "update")
	d.h.own()
}

// linked compiles a library and a program that needs it, and gives their paths.
func (d *depot) linked() (program, library string) {
	d.h.t.Helper()
	require.Tool(d.h.t, "gcc")
	d.h.write("depot/lib.c", "const char *said(void) { return \"tiny works\"; }\n")
	d.h.write("depot/main.c", "#include <stdio.h>\nconst char *said(void);\nint main(int n, char **v) { printf(\"%s with %d: %s\\n\", said(), n-1, n>1?v[1]:\"\"); return 0; }\n")
	program, library = d.dir+"/tiny", d.dir+"/libbottletiny.so"
	d.run("gcc", "-shared", "-fPIC", "-Wl,-soname,libbottletiny.so.1", "-o", library, d.dir+"/lib.c")
	d.run("gcc", "-o", program, d.dir+"/main.c", library)
	return program, library
}

// triplet is the folder of libraries of this machine.
func triplet() string {
	return map[string]string{"amd64": "x86_64-linux-gnu", "arm64": "aarch64-linux-gnu"}[runtime.GOARCH]
}

// asksForPrograms is an agent that asks and runs what it is told on its standard input.
const asksForPrograms = asksInside + `echo ready; while read -r word rest; do case $word in
bye) break;; wants) (ask capability-block "$rest" --max-time 60; echo "asked.") & ;; run) sh -c "$rest" 2>&1; echo "ended $?.";; esac; done`

// asks starts that agent. apt and npm are slow on a busy machine, so it may stay for long.
func (h *house) asks() *background {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 8*limit)
	h.t.Cleanup(cancel)
	b := h.launch(h.program(ctx, filepath.Join(h.bin, "bottle"), "start", h.agent, "--yes", "--", "-c", asksForPrograms))
	b.says("ready")
	return b
}

// wants has the agent ask for packages, and gives the newest of the proposals once so many
// wait.
func (b *background) wants(n int, packages string) string {
	b.t.Helper()
	b.types(`wants {"packages":[` + packages + `],"justification":"a test needs them","wait_seconds":55}`)
	return b.waiting(n)[n-1].ID
}

// TestPackagesAreBroughtIn: an agent asks for programs of npm and of Debian, and its call
// waits. The operator sees the exact list, approves, and they are there in the running
// bottle, which was not started anew; no script of theirs ran anywhere. What is taken back
// is gone.
func TestPackagesAreBroughtIn(t *testing.T) {
	require.Tool(t, "curl", "npm", "node")
	everybody(t, func(t *testing.T, uid int) {
		h := supervised(t, uid, "")
		r, d := newRegistry(t), newDepot(t, h)
		ran := filepath.Join(h.base, "work", "ran")
		r.publish(t, "tiny-dep", "2.0.0", `,"main":"index.js"`, member("package/index.js", "module.exports = 'npm works'"))
		r.publish(t, "tiny-tool", "1.2.3", `,"bin":{"tiny-tool":"cli.js","ls":"cli.js"},"dependencies":{"tiny-dep":"^2.0.0"},"scripts":{"preinstall":"touch `+ran+`","postinstall":"touch `+ran+`"}`,
			member("package/cli.js", "#!/usr/bin/env node\nconsole.log(require('tiny-dep'), process.argv[2])\n"))
		h.useNPM(r)
		program, library := d.linked()
		d.build("bottle-tiny", "1:2.0-1", "Depends: libbottletiny1 (>= 1.0), libc6\n", map[string]string{"usr/bin/bottle-tiny": program, "usr/games/tiny-suid": "#!/bin/sh\nid -u\n"},
			map[string]string{"preinst": "#!/bin/sh\ntouch " + ran + "\n", "postinst": "#!/bin/sh\ntouch " + ran + "\n"})
		d.build("libbottletiny1", "1.0", "", map[string]string{"usr/lib/" + triplet() + "/libbottletiny.so.1": library}, nil)
		d.sign()

		b := h.asks()
		b.types("run command -v bottle-tiny tiny-tool")
		b.says("ended 127.")
		id := b.wants(1, `"npm:tiny-tool@1.2.3","deb:bottle-tiny"`)
		if len(r.requests()) > 0 {
			t.Errorf("a registry was asked before the operator said so: %q", r.requests())
		}
		if s := finish(t, h.command("approve", id)); s.code != 2 {
			t.Errorf("nobody could say yes: %+v", s)
		}
		out := h.tool("approve", id, "--yes")
		for _, want := range []string{"deb:bottle-tiny 1:2.0-1", "deb:libbottletiny1 1.0", "npm:tiny-tool 1.2.3", "npm:tiny-dep 2.0.0", "sha256:", "sha512:", r.URL, "programs: bottle-tiny, ls, tiny-suid, tiny-tool",
			"install script, which is not run", "names, and keeps them; the new ones run by their whole path only: ls", "would have run as another user: 1", "approved " + id} {
			if !strings.Contains(out, want) {
				t.Errorf("the operator is not told %q:\n%s", want, out)
			}
		}
		b.says(`"programs":["bottle-tiny","ls","tiny-suid","tiny-tool"]`)
		b.says("asked.")
		b.types("run bottle-tiny 'a b'; tiny-tool here; command -v ls; stat -L -c %a $(command -v tiny-suid)")
		b.says("ended 0.\n")
		b.says("tiny works with 1: a b\nnpm works here\n")
		if out := b.out.String(); !strings.Contains(out, "/bin/ls\n755\n") || strings.Contains(out, "added/bin/ls") {
			t.Error(out)
		}
		b.types("run cd /var/lib/bottle/added && touch x bin/x $(echo p*)/x; rm -rf bin; mv bin y; mount -o remount,rw . ; echo \"left $(ls -A | wc -l)\"; grep ' /var/lib/bottle/added ' /proc/self/mountinfo")
		b.says("left 3\n")
		b.says(" /var/lib/bottle/added ro,nosuid,nodev,")
		if _, err := os.Stat(ran); err == nil {
			t.Error("a package's script has run")
		}
		h.packagesRecorded(t, id, 4)
		grant := ""
		for _, w := range strings.Fields(h.tool("grants", h.agent)) {
			if strings.HasPrefix(w, "g") && len(w) == 7 {
				grant = w
			}
		}
		h.tool("revoke", h.agent, grant)
		b.types("run command -v bottle-tiny; ls -d /var/lib/bottle/added/p*; echo gone $?")
		b.says("gone 2")
		if out := h.tool("approve", b.wants(1, `"deb:bottle-tiny"`), "--yes"); !strings.Contains(out, "programs: bottle-tiny, tiny-suid\n") {
			t.Errorf("a repeat: %s", out)
		}
		b.types("run bottle-tiny again")
		b.says("with 1: again")
		b.types("bye")
		if b.ends() != 0 {
			t.Error(b.errs.String())
		}
		h.nothingLeft("at the end")
	})
}

// packagesRecorded holds that the log has each package with its hash, before the grant.
func (h *house) packagesRecorded(t *testing.T, id string, n int) {
	t.Helper()
	var order []string
	for _, r := range h.records() {
		if r["rule"] != "proposal "+id {
			continue
		}
		reason := fmt.Sprint(r["reason"])
		if reason == "package_added" {
			if note := fmt.Sprint(r["note"]); !strings.Contains(note, "sha256:") && !strings.Contains(note, "sha512:") {
				t.Errorf("no hash: %s", note)
			}
		}
		order = append(order, reason)
	}
	want := append([]string{"proposal_asked", "proposal_approved"}, strings.Fields(strings.Repeat("package_added ", n)+"grant_started")...)
	if fmt.Sprint(order) != fmt.Sprint(want) {
		b, _ := json.Marshal(order)
		t.Errorf("the log has %s", b)
	}
}

// TestPackagesInTheDashboard: against a real gateway, apt and npm. Before the first yes no
// registry hears of it; while it is fetched the dashboard goes on; who leaves meanwhile leaves
// nothing behind; the second yes, to the very hashes, puts the programs into the running bottle.
func TestPackagesInTheDashboard(t *testing.T) {
	require.Tool(t, "curl", "npm", "node")
	h := supervised(t, -1, "")
	r := newRegistry(t)
	r.publish(t, "tiny-tool", "1.2.3", `,"bin":{"tiny-tool":"cli.js"}`, member("package/cli.js", "#!/usr/bin/env node\nconsole.log('npm works', process.argv[2])\n"))
	h.useNPM(r)
	b := h.asks()
	id := b.wants(1, `"npm:tiny-tool@1.2.3"`)
	adding := filepath.Join(h.home(), "state", string(h.identity()), "adding")
	stages := func(sort string) int {
		left, err := filepath.Glob(filepath.Join(adding, "*", sort))
		if err != nil {
			t.Fatal(err)
		}
		return len(left)
	}
	held, let := make(chan bool, 99), make(chan bool)
	release := sync.OnceFunc(func() { close(let) })
	t.Cleanup(release) // before the registry's, which waits for its answers
	r.mu.Lock()
	r.hold = func(path string) {
		if strings.HasSuffix(path, ".tgz") {
			held <- true
			<-let
		}
	}
	r.mu.Unlock()
	for i, end := range []string{"leaves", "is killed"} {
		d := h.dashboard(120, 40)
		d.Shows("> "+id, "npm:tiny-tool")
		d.Keys("a")
		d.Shows("Look them up and fetch them (nothing of theirs is run), for " + id)
		if asked := r.requests(); len(asked) > 0 && i == 0 {
			t.Errorf("a registry was asked before the operator said so: %q", asked)
		}
		d.Press("y", "y yes", "being fetched")
		<-held
		d.Keys("?") // it goes on
		d.Shows("any key goes back")
		d.Keys("q")
		d.Shows("being fetched for ")
		if end == "leaves" {
			d.Keys("q")
			d.Shows("exit code 0.")
			if n := stages("lock"); n > 0 {
				t.Errorf("%d are left", n)
			}
			continue
		}
		d.Kill()
		d.Until("its end", func(text string) bool { // told where the cursor was left, perhaps on two lines
			return strings.Contains(strings.Join(strings.Fields(text), ""), "exitcode137.")
		})
		if s := h.status(id); s != "pending" {
			t.Errorf("it is %s", s)
		}
	}
	release()
	d := h.dashboard(120, 40)
	d.Shows("> "+id, "npm:tiny-tool")
	d.Keys("a")
	d.Shows("Look them up and fetch them")
	d.Press("y", "y yes", "Put into the bottle what was fetched for "+id)
	d.Shows("npm:tiny-tool 1.2.3", "sha512:", r.URL, "programs: tiny-tool", "no script of a package runs")
	sure(d, "approved "+id)
	b.types("run tiny-tool here")
	b.says("npm works here\n")
	if n := stages("lock"); n > 0 {
		t.Errorf("%d are left", n)
	}
	d.Keys("q")
	d.Shows("exit code 0.")
	b.types("bye")
	b.ends()
	h.nothingLeft("at the end")
}
