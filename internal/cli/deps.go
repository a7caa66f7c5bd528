package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"bottle/internal/backend"
	"bottle/internal/backend/docker"
	"bottle/internal/backend/docker/image"
	"bottle/internal/backend/native"
	"bottle/internal/backend/smolvm"
	"bottle/internal/bottle"
	"bottle/internal/cli/folders"
	"bottle/internal/cli/images"
	"bottle/internal/cli/ui"
	"bottle/internal/cli/walls"
	"bottle/internal/manifest"
	"bottle/internal/plan"
)

// deps is everything outside that a command may touch. Commands take what they
// need from it and open nothing by themselves.
type deps struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer

	Lookup   func(name string) (string, bool) // the environment
	Environ  func() []string                  // all of it, for programs that are the operator's own
	Terminal func(stream any) bool            // is a stream a terminal
	Getwd    func() (string, error)
	Euid     func() int
	Self     func() (string, error)                            // the running program
	Backends map[string]func(d *deps) (backend.Backend, error) // by the manifest's word
}

// system is this machine.
func system(stdin, stdout, stderr *os.File) *deps {
	return &deps{
		Stdin: stdin, Stdout: stdout, Stderr: stderr,
		Lookup: os.LookupEnv, Environ: os.Environ, Getwd: os.Getwd, Euid: os.Geteuid, Self: os.Executable,
		Terminal: func(stream any) bool {
			f, ok := stream.(*os.File)
			return ok && term.IsTerminal(int(f.Fd()))
		},
		Backends: backends(),
	}
}

// env is a variable's value, empty where it is not set.
func (d *deps) env(name string) string {
	v, _ := d.Lookup(name)
	return v
}

// style dresses text for w: plain unless w is a terminal that wants colour
// (https://no-color.org: NO_COLOR present and not empty means none).
func (d *deps) style(w io.Writer) plan.Style {
	if !d.Terminal(w) || d.env("NO_COLOR") != "" || d.env("TERM") == "dumb" {
		return ui.Plain
	}
	return ui.Coloured
}

// ask is the person at the terminal, if there is one.
func (d *deps) ask() ui.Asker {
	return ui.Asker{In: d.Stdin, Out: d.Stderr, Terminal: d.Terminal(d.Stdin)}
}

// userHome is the operator's home folder, absolute.
func (d *deps) userHome() (string, error) {
	home := d.env("HOME")
	if !filepath.IsAbs(home) {
		return "", ui.Fail(errors.New("the variable HOME is not set to an absolute path"), "export HOME=/home/you")
	}
	return filepath.Clean(home), nil
}

// homePath is where bottles, agents and state live, absolute, whether it is
// there or not: BOTTLE_HOME, or ~/.bot-bottle.
func (d *deps) homePath() (string, error) {
	if home := d.env("BOTTLE_HOME"); home != "" {
		if filepath.IsAbs(home) {
			return filepath.Clean(home), nil
		}
		cwd, err := d.Getwd()
		if err != nil {
			return "", fmt.Errorf("find current folder: %w", err)
		}
		return filepath.Join(cwd, home), nil
	}
	home, err := d.userHome()
	if err != nil {
		return "", err
	}
	return filepath.Join(home, ".bot-bottle"), nil
}

// home is homePath, there and ours. Whoever can write into it decides what every
// bottle may do, so a folder of another user's is refused, and so is one that
// everybody may write to. Root may use anybody's.
func (d *deps) home() (string, error) {
	home, err := d.homePath()
	if err != nil {
		return "", err
	}
	info, err := os.Stat(home)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", ui.Fail(fmt.Errorf("there is no bottle home yet: %s does not exist", d.tilde(home)), "bottle init")
	case err != nil:
		return "", fmt.Errorf("look at bottle home: %w", err)
	case !info.IsDir():
		return "", ui.Fail(fmt.Errorf("the bottle home %s is not a folder", d.tilde(home)), "set BOTTLE_HOME to a folder")
	}
	if err := d.trusted(home, info); err != nil {
		return "", err
	}
	return home, nil
}

// trusted refuses a folder that another user owns or could write to.
func (d *deps) trusted(path string, info fs.FileInfo) error {
	if err := d.owned(path, info); err != nil {
		return err
	}
	if info.Mode().Perm()&0o022 != 0 {
		return ui.Fail(fmt.Errorf("%s can be written by others (mode %04o)", d.tilde(path), info.Mode().Perm()), "chmod go-w "+path)
	}
	return nil
}

// owned refuses what another user owns. Root may use anybody's.
func (d *deps) owned(path string, info fs.FileInfo) error {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return fmt.Errorf("look at %s: no owner is known", path)
	}
	if me := d.Euid(); me != 0 && int(st.Uid) != me {
		return ui.Fail(fmt.Errorf("%s belongs to another user (uid %d, you are %d)", d.tilde(path), st.Uid, me),
			fmt.Sprintf("set BOTTLE_HOME to a folder of your own, or: sudo chown -R %d %s", me, path))
	}
	return nil
}

// tree is where manifests are read from: the home folder, which must be there,
// and the repository's .bot-bottle, which need not be.
func (d *deps) tree() (manifest.Tree, error) {
	home, err := d.home()
	if err != nil {
		return manifest.Tree{}, err
	}
	cwd, err := d.Getwd()
	if err != nil {
		return manifest.Tree{}, fmt.Errorf("find current folder: %w", err)
	}
	t := manifest.Tree{
		Home: os.DirFS(home), HomeDir: home,
		Check: d.owned,
	}
	repo := filepath.Join(cwd, ".bot-bottle")
	// A link is not followed: a repository must not point at another folder of the operator.
	// Nor is the home folder a repository's, whatever the two are called.
	if info, err := os.Lstat(repo); err == nil && info.IsDir() && !sameFile(info, home) {
		t.Repo, t.RepoDir = os.DirFS(repo), repo
	}
	user, err := d.userHome()
	if err != nil {
		return t, folders.Resolve(&t) // BOTTLE_HOME alone will do; a ~/ in a manifest is then a finding
	}
	t.UserHome = user
	if err := folders.Resolve(&t); err != nil {
		return t, err
	}
	if info, err := os.Stat(filepath.Join(user, ".claude", "skills")); err == nil && info.IsDir() {
		t.Skills = os.DirFS(filepath.Join(user, ".claude", "skills"))
	}
	_, err = os.Stat(filepath.Join(user, ".claude-bottle"))
	t.OldFolder = err == nil
	return t, nil
}

func sameFile(info fs.FileInfo, path string) bool {
	other, err := os.Stat(path)
	return err == nil && os.SameFile(info, other)
}

// tilde shortens a path below the operator's home, for people.
func (d *deps) tilde(path string) string {
	home := d.env("HOME")
	if home == "" || home == "/" {
		return path
	}
	if path == home {
		return "~"
	}
	if rest, ok := strings.CutPrefix(path, home+"/"); ok {
		return "~/" + rest
	}
	return path
}

// backend makes the walls of one kind; empty is the operator's default, and the
// platform's where that is not set.
func (d *deps) backend(kind string) (backend.Backend, error) {
	kind = cmp.Or(kind, d.env("BOTTLE_BACKEND"), walls.Default(runtime.GOOS, d.env("PATH")))
	make, ok := d.Backends[kind]
	if !ok {
		return nil, ui.Fail(fmt.Errorf("this build has no %s backend on %s", kind, runtime.GOOS), "choose another with `backend` in the bottle, --backend or BOTTLE_BACKEND: "+strings.Join(d.kinds(), ", "))
	}
	return make(d)
}

// helper is the path of bottle-gateway or bottle-jail. It stands beside the
// running program and nowhere else: a search path could be led astray. The
// helper itself refuses a caller of another version.
func (d *deps) helper(name string) (string, error) {
	self, err := d.Self()
	if err != nil {
		return "", fmt.Errorf("find the running program: %w", err)
	}
	if self, err = filepath.EvalSymlinks(self); err != nil {
		return "", fmt.Errorf("find the running program: %w", err)
	}
	path := filepath.Join(filepath.Dir(self), name)
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() || info.Mode()&0o111 == 0 {
		return "", ui.Fail(fmt.Errorf("the helper %s %s is not beside %s", name, bottle.Version, self),
			"build the three programs together: make build, or CGO_ENABLED=0 go install ./cmd/...")
	}
	return path, nil
}

// backends are the kinds of walls that this build can put up.
func backends() map[string]func(*deps) (backend.Backend, error) {
	return map[string]func(*deps) (backend.Backend, error){native.Kind: nativeWalls, docker.Kind: dockerWalls, smolvm.Kind: microVMs}
}

func microVMs(d *deps) (backend.Backend, error) {
	containers, _ := engine(d) // what it lacks is said by whoever needs it
	home, _ := d.homePath()
	return walls.MicroVM(walls.Desk{Env: d.env, Helper: d.helper, Terminal: d.Terminal(d.Stdin), Tell: func(s string) { fmt.Fprintln(d.Stderr, s) }, Docker: containers, Home: home})
}

func engine(d *deps) (*docker.Docker, error) {
	jail, err := d.helper("bottle-jail")
	return &docker.Docker{JailPath: jail, Bundle: cmp.Or(d.env("BOTTLE_GATEWAY_IMAGE"), docker.BundleImage), Host: d.env("DOCKER_HOST"), Filter: native.Filter, UID: d.Euid(), GID: os.Getegid()}, err
}

func dockerWalls(d *deps) (backend.Backend, error) { return engine(d) }

func nativeWalls(d *deps) (backend.Backend, error) {
	jail, err := d.helper("bottle-jail")
	if err != nil {
		return nil, err
	}
	gateway, err := d.helper("bottle-gateway")
	return &native.Native{JailPath: jail, GatewayPath: gateway}, err
}

// newImage makes images of the programs beside this one.
func newImage(d *deps) *cobra.Command {
	engine := &docker.Docker{Host: d.env("DOCKER_HOST")}
	return images.New(images.Deps{
		Named: image.Named, Look: image.Look, Reach: engine.Reach,
		Make: image.Maker(d.helper, bottle.Version), Load: engine.Load, Build: image.Sender(d.helper, engine.BuildBundle),
		Steps: ui.Steps(d.Stderr, d.style(d.Stderr), d.Terminal(d.Stderr)), Group: groupMachine, Out: d.Stdout,
	})
}

// compose writes an agent's bottle for docker compose. It prepares a start, and starts nothing.
func (d *deps) compose(ctx context.Context, word string, extra []string, tty bool, to, notes io.Writer) error {
	agent, spec, warnings, err := d.load(word)
	if err != nil {
		return err
	}
	house, err := d.house(docker.Kind)
	if err != nil {
		return err
	}
	req, err := d.request(agent, spec, warnings, extra, tty)
	if err != nil {
		return err
	}
	carried, missing, err := house.Carry(ctx, req)
	if err != nil {
		return d.unprepared(err, docker.Kind)
	}
	for _, note := range missing {
		fmt.Fprintln(notes, note)
	}
	return house.Backend.(*docker.Docker).Compose(carried, to)
}
