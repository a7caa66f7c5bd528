package integration

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bottle/internal/backend/smolvm/smolvmtest"
	"bottle/test/require"
)

// packedFile is one file of a layer.
type packedFile struct {
	name string
	body []byte
	mode int64
	link string
	kind byte // 0: a plain file, a link where link is set
}

// layerOf makes a layer.
func layerOf(t *testing.T, files ...packedFile) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, f := range files {
		h := &tar.Header{Typeflag: f.kind, Name: f.name, Mode: f.mode, Size: int64(len(f.body)), Linkname: f.link}
		switch {
		case f.kind != 0:
		case f.link != "":
			h.Typeflag = tar.TypeSymlink
		default:
			h.Typeflag = tar.TypeReg
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(f.body); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// savedImage is an archive as `docker save` writes it, of these layers.
func savedImage(t *testing.T, name string, layers ...[]byte) string {
	t.Helper()
	var files []packedFile
	var names, ids []string
	for i, l := range layers {
		ids = append(ids, fmt.Sprintf(`"sha256:%x"`, sha256.Sum256(l)))
		name := "blobs/sha256/" + strings.Repeat(string(rune('a'+i)), 64)
		names = append(names, `"`+name+`"`)
		files = append(files, packedFile{name: name, body: l, mode: 0o644})
	}
	config := `{"architecture":"amd64","os":"linux","config":{},"rootfs":{"type":"layers","diff_ids":[` + strings.Join(ids, ",") + `]}}`
	files = append(files, packedFile{name: "config.json", body: []byte(config), mode: 0o644},
		packedFile{name: "manifest.json", body: []byte(`[{"Config":"config.json","RepoTags":["agent:latest"],"Layers":[` + strings.Join(names, ",") + `]}]`), mode: 0o644})
	dir, err := os.MkdirTemp("", "bottle-image-") // t.TempDir is closed to other users
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	path := filepath.Join(dir, name)
	if err := errors.Join(os.Chmod(dir, 0o755), os.WriteFile(path, layerOf(t, files...), 0o644)); err != nil {
		t.Fatal(err)
	}
	return path
}

// tiny is a layer with a shell, a few tools and what they load, of this machine.
func tiny(t *testing.T, more ...packedFile) []byte {
	t.Helper()
	files := []packedFile{{name: "bin", link: "usr/bin"}, {name: "lib", link: "usr/lib"}, {name: "lib64", link: "usr/lib64"}, {name: "etc/passwd", body: []byte("root:x:0:0::/root:/bin/sh\nagent:x:1000:1000::/home/agent:/bin/sh\n"), mode: 0o644},
		{name: "usr/lib/image", body: []byte("this image\n"), mode: 0o644}}
	seen := map[string]bool{}
	add := func(path string) {
		real, err := filepath.EvalSymlinks(path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := os.ReadFile(real)
		if err != nil {
			t.Fatal(err)
		}
		at := strings.TrimPrefix(path, "/")
		if !strings.HasPrefix(at, "usr/") {
			at = "usr/" + at
		}
		if !seen[at] {
			seen[at] = true
			files = append(files, packedFile{name: at, body: body, mode: 0o755})
		}
	}
	for _, tool := range []string{"/usr/bin/dash", "/usr/bin/cat", "/usr/bin/id", "/usr/bin/ls", "/usr/bin/stat", "/usr/bin/env",
		"/usr/bin/dd", "/usr/bin/fallocate", "/usr/bin/mknod", "/usr/bin/seq", "/usr/bin/touch", "/usr/bin/xargs", "/usr/bin/mkdir", "/usr/bin/ln", "/usr/bin/rm", "/usr/bin/mkfifo", "/usr/bin/chmod", "/usr/bin/find", "/usr/bin/timeout", "/usr/bin/sleep"} {
		add(tool)
		for word := range strings.FieldsSeq(run(t, "ldd", tool)) {
			if strings.HasPrefix(word, "/") {
				add(word)
			}
		}
	}
	files = append(files, packedFile{name: "usr/bin/sh", link: "dash"})
	return layerOf(t, append(files, more...)...)
}

// fromImage is an operator whose VMs run from an archive.
func fromImage(t *testing.T, pool, image string, faults smolvmtest.Faults) (*house, *smolvmtest.Installed) {
	t.Helper()
	require.Tool(t, "ldd")
	h, i := vmHouse(t, pool, faults, "")
	h.env = append(h.env, "BOTTLE_VM_IMAGE="+image)
	return h, i
}

// An archive of `docker save` is all that an operator needs; it is looked into once.
func TestMicroVMFromAnArchive(t *testing.T) {
	h, i := fromImage(t, "127.9.40.16", savedImage(t, "agent.tar", tiny(t)), smolvmtest.Faults{})
	for range 2 {
		if s := h.start("cat /usr/lib/image; id -u"); s.code != 0 || s.out != "this image\n1000\n" {
			t.Fatalf("%+v", s)
		}
	}
	if seen, _ := filepath.Glob(filepath.Join(h.home(), "cache/images/seen-*")); len(seen) != 1 {
		t.Errorf("marks: %v", seen)
	}
	if len(i.Machines()) != 0 {
		t.Errorf("machines are left: %+v", i.Machines())
	}
	h.cleanedUp("after starts from an archive")
}

// A smolvm that takes no archive gets it out of a registry, packed and kept; 0.8.0, which
// drops the allow-list then, is refused by the wall check.
func TestMicroVMPacksForOlderVersions(t *testing.T) {
	image := savedImage(t, "agent.tar", tiny(t))
	h, _ := fromImage(t, "127.9.41.16-127.9.41.17", image, smolvmtest.Faults{Version: "0.9.4"})
	for range 2 {
		if s := h.start("cat /usr/lib/image; id -u"); s.code != 0 || s.out != "this image\n1000\n" {
			t.Fatalf("%+v", s)
		}
	}
	if kept, _ := filepath.Glob(filepath.Join(h.home(), "cache/images/*.smolmachine")); len(kept) != 1 {
		t.Errorf("packed: %v", kept)
	}
	world, n := counted(t, "127.0.0.1:0")
	h, i := fromImage(t, "127.9.41.18-127.9.41.19", image, smolvmtest.Faults{Version: "0.8.0", World: world})
	if s := h.start("echo the agent ran"); s.code != 125 || strings.Contains(s.out, "the agent ran") || !strings.Contains(s.err, "127.9.41.19:") || n.Load() != 0 {
		t.Errorf("0.8.0: %+v, %d connections", s, n.Load())
	}
	if len(i.Machines()) != 0 {
		t.Errorf("machines are left: %+v", i.Machines())
	}
}

// What would land outside of its folder, what is no file of a system, and what unpacks to
// more than a machine holds is refused before smolvm sees it.
func TestMicroVMRefusesAHostileArchive(t *testing.T) {
	zeros := make([]byte, 16<<20)
	var member bytes.Buffer
	z := gzip.NewWriter(&member)
	if _, err := z.Write(zeros); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	var bomb bytes.Buffer
	head := gzip.NewWriter(&bomb)
	w := tar.NewWriter(head)
	if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "usr/zeros", Mode: 0o644, Size: 4 << 30}); err != nil {
		t.Fatal(err)
	}
	if err := head.Close(); err != nil {
		t.Fatal(err)
	}
	for range 4 << 30 / len(zeros) { // gzip is a list of members (RFC 1952, section 2.2)
		bomb.Write(member.Bytes())
	}
	whole, err := os.ReadFile(savedImage(t, "ok.tar", tiny(t)))
	if err != nil {
		t.Fatal(err)
	}
	short := filepath.Join(t.TempDir(), "short.tar")
	if err := os.WriteFile(short, whole[:len(whole)/2], 0o644); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ image, says string }{
		"up":       {savedImage(t, "up.tar", layerOf(t, packedFile{name: "usr/../../../tmp/out", body: []byte("x"), mode: 0o644})), "leads out"},
		"link":     {savedImage(t, "link.tar", layerOf(t, packedFile{name: "usr/x", link: "/tmp"}, packedFile{name: "usr/x/out", body: []byte("x"), mode: 0o644})), "goes through the link"},
		"hardlink": {savedImage(t, "hard.tar", layerOf(t, packedFile{name: "usr/x", link: "../../etc/shadow", kind: tar.TypeLink})), "leads out"},
		"device":   {savedImage(t, "device.tar", layerOf(t, packedFile{name: "usr/disk", kind: tar.TypeBlock, mode: 0o666})), "no file of a system"},
		"bomb":     {savedImage(t, "bomb.tar", bomb.Bytes()), "bomb"},
		"short":    {short, "unexpected EOF"},
		"no image": {savedImage(t, "none.tar"), "holds no layer"},
	} {
		t.Run(name, func(t *testing.T) {
			h, i := fromImage(t, "127.9.42.16", c.image, smolvmtest.Faults{})
			if s := h.start("echo the agent ran"); s.code != 125 || strings.Contains(s.out, "the agent ran") || !strings.Contains(s.err, c.says) {
				t.Errorf("%+v", s)
			}
			if len(i.Machines()) != 0 {
				t.Errorf("machines were made: %+v", i.Machines())
			}
			h.cleanedUp("after a refused image")
		})
	}
}

// The weakness: an image brings programs that are root whoever runs them. This proves
// that they are not, in the jail.
func TestMicroVMSetuidOfTheImageIsNothing(t *testing.T) {
	id, err := os.ReadFile("/usr/bin/id")
	if err != nil {
		t.Fatal(err)
	}
	h, i := fromImage(t, "127.9.43.16", savedImage(t, "agent.tar", tiny(t, packedFile{name: "usr/bin/rootid", body: id, mode: 0o6755})), smolvmtest.Faults{})
	b := h.begin("stat -c %a /usr/bin/rootid; rootid -u; echo ready; read x")
	if out := b.out.String(); !strings.HasPrefix(out, "6755\n1000\n") {
		t.Errorf("the agent: %s", out)
	}
	m := i.Machines()
	if len(m) != 1 {
		t.Fatalf("machines %+v", m)
	}
	// Outside of the jail it would be: the bit is there, so the test can fail.
	out, _ := exec.Command(i.Path, "machine", "exec", "--name", m[0].Name, "--", "/usr/bin/stat", "-c", "%a", "/usr/bin/rootid").CombinedOutput()
	if strings.TrimSpace(string(out)) != "6755" {
		t.Errorf("the image has no setuid program: %s", out)
	}
	b.types("go")
	if code := b.ends(); code != 0 {
		t.Errorf("exit %d: %s", code, b.errs)
	}
}

// With neither an image nor an engine the start, a dry run and the doctor say which
// command to type.
func TestMicroVMWithoutAnImage(t *testing.T) {
	h, _ := vmHouse(t, "127.9.44.16", smolvmtest.Faults{}, "")
	h.env = append(h.env, "BOTTLE_VM_IMAGE=", "DOCKER_HOST=unix:///nonexistent/docker.sock")
	for _, args := range [][]string{{"start", h.agent, "--yes"}, {"start", h.agent, "--dry-run"}, {"doctor"}} {
		s := finish(t, h.command(args...))
		if s.code == 0 || !strings.Contains(s.out+s.err, "docker save agent") || !strings.Contains(s.out+s.err, "unset DOCKER_HOST") {
			t.Errorf("%v: %+v", args, s)
		}
	}
	if _, err := os.Stat(filepath.Join(h.home(), "cache")); err == nil {
		t.Error("a cache was made")
	}
}

// From a recipe to a micro-VM with one command: Docker makes the image, with its steps
// told, it is kept, and the next start needs no Docker.
func TestMicroVMFromARecipe(t *testing.T) {
	host, _ := require.Docker(t)
	h, i := vmHouse(t, "127.9.45.16", smolvmtest.Faults{}, "")
	base := "bottle-test-tiny:" + h.agent
	h.write("tiny.tar", string(tiny(t)))
	run(t, "docker", "import", h.base+"/tiny.tar", base)
	t.Cleanup(func() { run(t, "docker", "rmi", base) })
	if err := os.Mkdir(filepath.Join(h.base, "img"), 0o755); err != nil {
		t.Fatal(err)
	}
	h.write("img/made", "made\n")
	h.write("img/.env", "A=b\n")
	h.write("img/Dockerfile", "FROM "+base+"\nRUN echo made >/dev/null # "+h.agent+"\nCOPY . /usr/copied/\nRUN read x </usr/copied/made && echo $x >/usr/made && test ! -e /usr/copied/.env\n")
	h.write("home/bottles/box.md", "---\nsupervise: false\nagent_provider: {template: command, dockerfile: "+h.base+"/img/Dockerfile}\n---\nA box.\n")
	h.env = append(h.env, "DOCKER_HOST="+host) // BOTTLE_VM_IMAGE is set: the bottle's own recipe is stronger
	dry := finish(t, h.command("start", h.agent, "--dry-run"))
	if dry.code != 0 || !strings.Contains(dry.out, "bottle-vm:") || !strings.Contains(unfolded(dry.out), "is not there yet") {
		t.Errorf("dry run: %+v", dry)
	}
	h.env = append(h.env, "BOTTLE_VM_IMAGE=")
	if s := finish(t, h.command("doctor")); !strings.Contains(s.out+s.err, "the first `bottle start` on these walls makes one") {
		t.Errorf("a trial before the first start: %+v", s)
	}
	s := h.start("cat /usr/made; id -u")
	if s.code != 0 || s.out != "made\n1000\n" {
		t.Fatalf("%+v", s)
	}
	for _, want := range []string{"image 1/", "RUN echo made", "for micro-VMs"} {
		if !strings.Contains(unfolded(s.err), want) {
			t.Errorf("the steps lack %q: %s", want, s.err)
		}
	}
	h.write("img/made", "other\n")
	if s := finish(t, h.command("start", h.agent, "--dry-run")); !strings.Contains(unfolded(s.out), "is not there yet") {
		t.Errorf("what is copied is another file, and the image the same: %+v", s)
	}
	h.write("img/made", "made\n")
	kept, _ := filepath.Glob(filepath.Join(h.home(), "cache/images/agent-*.tar"))
	if len(kept) != 1 {
		t.Fatalf("kept: %v", kept)
	}
	h.env = append(h.env, "DOCKER_HOST=unix:///nonexistent/docker.sock")
	b := h.begin("cat /usr/made; echo ready; read x")
	if err := os.Chtimes(kept[0], old(), old()); err != nil {
		t.Fatal(err)
	}
	if out := h.tool("cleanup", "--yes"); strings.Contains(out, kept[0]) {
		t.Errorf("cleanup took an image that is in use: %s", out)
	}
	b.types("go")
	if code := b.ends(); code != 0 || !strings.HasPrefix(b.out.String(), "made\n") {
		t.Errorf("without Docker: %d %s%s", code, b.out, b.errs)
	}
	if out := h.tool("cleanup", "--yes"); !strings.Contains(out, kept[0]) {
		t.Errorf("cleanup does not find an old image: %s", out)
	}
	if _, err := os.Stat(kept[0]); err == nil {
		t.Error("the old image is still there")
	}
	if len(i.Machines()) != 0 {
		t.Errorf("machines are left: %+v", i.Machines())
	}
	run(t, "docker", "rmi", "bottle-agent:"+filepath.Base(kept[0])[len("agent-"):][:32]) // both names are of the same hash
}

// unfolded is a text without what its lines were broken by.
func unfolded(s string) string { return strings.Join(strings.Fields(s), " ") }

// old is before anything that cleanup leaves alone.
func old() time.Time { return time.Now().Add(-60 * 24 * time.Hour) }
