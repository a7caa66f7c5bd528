package demo

import (
	"crypto/rand"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"bottle/internal/bottle"
	"bottle/internal/manifest"
)

//go:embed files
var files embed.FS

// tokenRef is what the example's manifest calls the token.
const tokenRef = "BOTTLE_DEMO_TOKEN"

// The names that the example and its script use.
const (
	apiHost   = "api.demo.example"
	pasteHost = "pastebin.demo.example"
	written   = "The agent was here."
)

// example is the demo's own folder: manifests, a repository, and what is secret.
type example struct {
	dir, home, repo               string
	bottleFile, agentFile, script string
	token, placeholder, canary    string
	before                        map[string]string // the repository, before the agent
}

// draw makes a value that nobody can have seen before.
func draw(prefix string) (string, error) {
	var b [16]byte
	if _, err := rand.Read(b[:]); err != nil {
		return "", fmt.Errorf("draw %s: %w", prefix, err)
	}
	return prefix + "-" + hex.EncodeToString(b[:]), nil
}

// overlayMagic is what statfs(2) calls an overlay.
const overlayMagic = 0x794c7630

// place is the system's temporary folder, or memory where that folder lies on an
// overlay: a container's root cannot hold another overlay's upper layer.
func place(temp, memory string) string {
	var here, there syscall.Statfs_t
	if syscall.Statfs(temp, &here) != nil || int64(here.Type) != overlayMagic {
		return temp
	}
	if syscall.Statfs(memory, &there) != nil || int64(there.Type) == overlayMagic {
		return temp
	}
	return memory
}

// newExample makes the folder and draws what is secret in it. The caller removes
// it, also after an error.
func newExample() (*example, error) {
	dir, err := os.MkdirTemp(place(os.TempDir(), "/dev/shm"), "bottle-demo-")
	if err != nil {
		return nil, bottle.Problems{{Message: fmt.Sprintf("make the demo's folder: %v", err), Hint: "export TMPDIR=/a/folder/of/yours"}}
	}
	e := &example{dir: dir}
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return e, fmt.Errorf("make the demo's folder: %w", err)
	}
	e.dir = real
	e.home, e.repo = filepath.Join(e.dir, "home"), filepath.Join(e.dir, "repository")
	e.bottleFile = filepath.Join(e.home, "bottles", "demo.md")
	e.agentFile = filepath.Join(e.home, "agents", "demo.md")
	e.script = filepath.Join(e.repo, "agent.sh")
	for _, v := range []struct {
		to     *string
		prefix string
	}{{&e.token, "real"}, {&e.placeholder, "placeholder"}, {&e.canary, "key"}} {
		if *v.to, err = draw(v.prefix); err != nil {
			return e, err
		}
	}
	e.placeholder = e.placeholder[:len("placeholder-")+8] // short enough to be shown
	return e, nil
}

// write fills the folder: the manifests with the API's address, a repository of
// git's most simple form, and a key that the agent must never read.
func (e *example) write(api string, ca []byte, edit func([]byte) []byte) error {
	caFile := filepath.Join(e.home, "api-ca.pem")
	fill := strings.NewReplacer("@PLACEHOLDER@", e.placeholder, "@API@", api, "@CA@", strconv.Quote(caFile))
	text, err := files.ReadFile("files/bottle.md")
	if err != nil {
		return fmt.Errorf("read template: %w", err)
	}
	boundary := []byte(fill.Replace(string(text)))
	if edit != nil {
		boundary = edit(boundary)
	}
	var errs []error
	put := func(path string, body []byte) {
		errs = append(errs, os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, body, 0o644))
	}
	copied := func(path, name string) {
		body, err := files.ReadFile("files/" + name)
		errs = append(errs, err)
		put(path, body)
	}
	put(e.bottleFile, boundary)
	copied(e.agentFile, "agent.md")
	put(caFile, ca)
	put(filepath.Join(e.home, "key"), []byte(e.canary+"\n"))
	copied(e.script, "agent.sh")
	copied(filepath.Join(e.repo, "README.md"), "README.md")
	put(filepath.Join(e.repo, ".git", "HEAD"), []byte("ref: refs/heads/main\n"))
	put(filepath.Join(e.repo, ".git", "config"), []byte("[core]\n\trepositoryformatversion = 0\n"))
	for _, d := range []string{"objects", "refs"} {
		errs = append(errs, os.Mkdir(filepath.Join(e.repo, ".git", d), 0o755))
	}
	// Not left to the umask: files that a group may write are no manifests.
	errs = append(errs, filepath.WalkDir(e.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return errors.Join(err, os.Chmod(path, 0o755))
		}
		return os.Chmod(path, 0o644)
	}), os.Chmod(e.dir, 0o700))
	if e.before, err = snapshot(e.repo); err != nil {
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("write the example: %w", err)
	}
	return nil
}

// load reads the example as any other manifest is read.
func (e *example) load(userHome string) (bottle.Agent, bottle.Spec, bottle.Problems) {
	return manifest.Tree{Home: os.DirFS(e.home), HomeDir: e.home, UserHome: userHome}.Load("demo")
}

// snapshot is every path below dir with its mode and a hash of what it holds.
func snapshot(dir string) (map[string]string, error) {
	out := map[string]string{}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("look at %s: %w", dir, err)
	}
	defer root.Close()
	err = fs.WalkDir(root.FS(), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		out[path] = info.Mode().String()
		if !info.Mode().IsRegular() {
			return nil
		}
		body, err := root.ReadFile(path)
		sum := sha256.Sum256(body)
		out[path] += hex.EncodeToString(sum[:])
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("look at %s: %w", dir, err)
	}
	return out, nil
}

// holding names the files below dir that hold value, but for what the overlay
// keeps for itself and shows to nobody. A file that can't be read counts.
func holding(dir, value string) ([]string, error) {
	var out []string
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("search %s: %w", dir, err)
	}
	defer root.Close()
	err = fs.WalkDir(root.FS(), ".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err == nil && d.IsDir() && strings.HasSuffix(path, "/overlay/work"):
			return fs.SkipDir
		case err != nil:
			return err
		case !d.Type().IsRegular():
			return nil
		}
		body, err := root.ReadFile(path)
		if err != nil || strings.Contains(string(body), value) {
			out = append(out, path)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("search %s: %w", dir, err)
	}
	return out, nil
}

// differences names the paths that are not the same in both, in order.
func differences(before, after map[string]string) []string {
	var out []string
	for path, was := range before {
		if after[path] != was {
			out = append(out, path)
		}
	}
	for path := range after {
		if _, ok := before[path]; !ok {
			out = append(out, path)
		}
	}
	slices.Sort(out)
	return out
}
