package integration

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"bottle/test/require"
)

// diagnosis is what `bottle doctor --format json` promises to programs.
type diagnosis struct {
	Kind   string
	OK     bool
	Checks []struct {
		Wall, Found, Fix string
		OK, Needed       bool
	}
	Trial struct {
		Tried, OK bool
		At, Why   string
		Fix       string
		UpMS      float64 `json:"up_ms"`
		TookMS    float64 `json:"took_ms"`
		Steps     []struct {
			Name string
			OK   bool
		}
		Walls []struct {
			Wall, State string
			Probes      []struct {
				Name, Detail string
				OK           bool
			}
		}
	}
	Verdict string
}

// doctored runs bottle doctor in a machine that the shell script made: it ends in
// `exec "$@"` for the doctor. The home is its BOTTLE_HOME.
func doctored(t *testing.T, home, script string, wrap ...string) (diagnosis, int) {
	t.Helper()
	bin := require.Binaries(t)
	argv := append(wrap, "/bin/sh", "-c", script+"\nexec \"$@\"", "sh", bin+"/bottle", "doctor", "--format", "json")
	cmd := exec.Command(argv[0], argv[1:]...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=" + home, "BOTTLE_HOME=" + home, "TMPDIR=" + t.TempDir()}
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	var d diagnosis
	if err := json.Unmarshal(out.Bytes(), &d); err != nil {
		t.Fatalf("doctor said: %v\n%s%s", err, out.String(), errs.String())
	}
	if (cmd.ProcessState.ExitCode() == 0) != d.OK {
		t.Errorf("code %d, ok %v", cmd.ProcessState.ExitCode(), d.OK)
	}
	return d, cmd.ProcessState.ExitCode()
}

// newHome is a bottle home in which nothing but the state's own lock may be left.
func newHome(t *testing.T) string {
	t.Helper()
	home := t.TempDir()
	if err := os.Chmod(home, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		left, err := os.ReadDir(filepath.Join(home, "state"))
		for _, e := range left {
			if e.Name() != ".lock" {
				t.Errorf("doctor left %s", e.Name())
			}
		}
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Error(err)
		}
	})
	return home
}

// namespace is a machine inside this one, whose limits and mounts are its own.
// The user keeps its number, and gets power over what is in there.
func namespace(t *testing.T, more ...string) []string {
	t.Helper()
	require.Native(t)
	require.User(t)
	return append([]string{require.Tool(t, "unshare"), "--user", "--map-current-user", "--keep-caps"}, more...)
}

// TestInvariant8DoctorProvesEveryWall: each wall is held because a probe that
// ran says so.
func TestInvariant8DoctorProvesEveryWall(t *testing.T) {
	require.Native(t)
	d, code := doctored(t, newHome(t), "")
	if code != 0 || !d.Trial.Tried || !d.Trial.OK || d.Trial.Why != "" {
		t.Fatalf("code %d: %+v", code, d)
	}
	for _, w := range d.Trial.Walls {
		if w.State != "held" || len(w.Probes) == 0 {
			t.Errorf("%s is %s, by %d probes", w.Wall, w.State, len(w.Probes))
		}
	}
	for _, s := range d.Trial.Steps {
		if !s.OK {
			t.Errorf("the step %s failed", s.Name)
		}
	}
	if n := len(d.Trial.Steps); len(d.Trial.Walls) < 7 || n < 5 || d.Trial.Steps[n-1].Name != "run the agent" ||
		d.Trial.UpMS <= 0 || d.Trial.TookMS < d.Trial.UpMS {
		t.Errorf("the trial: %+v", d.Trial)
	}
}

// A machine that gives nobody user namespaces says so, with the command that
// gives them, and nothing is tried.
func TestDoctorWithoutUserNamespaces(t *testing.T) {
	d, code := doctored(t, newHome(t), "echo 0 >/proc/sys/user/max_user_namespaces || exit 9", namespace(t)...)
	if code != 1 || d.Trial.Tried || !strings.Contains(d.Verdict, "user.max_user_namespaces is 0\n    to mend it: sudo sysctl -w user.max_user_namespaces=15000") {
		t.Errorf("code %d: %s", code, d.Verdict)
	}
	for _, w := range d.Trial.Walls {
		if w.State != "not tried" {
			t.Errorf("%s is %s", w.Wall, w.State)
		}
	}
}

// A container engine covers parts of /proc. The check must say so, and it must be
// right: the kernel refuses a bottle its own /proc there.
func TestDoctorWithCoveredProc(t *testing.T) {
	d, code := doctored(t, newHome(t), "mount --bind /dev/null /proc/kmsg || exit 9\n"+
		"unshare --user --map-root-user --mount --pid --fork mount -t proc proc /proc 2>/dev/null && exit 8", namespace(t, "--mount")...)
	if code != 1 || d.Trial.Tried || !strings.Contains(d.Verdict, "processes: /proc/kmsg is covered by another mount") {
		t.Errorf("code %d: %s", code, d.Verdict)
	}
}

const overlays = `mount -t tmpfs -o mode=755 none "$HOME" && cd "$HOME" && mkdir lower upper work merged &&
mount -t overlay none -o lowerdir=lower,upperdir=upper,workdir=work,userxattr merged &&
mkdir -m 700 merged/home home || exit 9
`

// A state folder on an overlay, which is what a container's own root is, cannot
// hold the private view: the kernel says EINVAL, doctor says what to do.
func TestDoctorWithStateOnOverlay(t *testing.T) {
	d, code := doctored(t, newHome(t), overlays+`export BOTTLE_HOME="$HOME/merged/home"`, namespace(t, "--mount")...)
	if code != 1 || !d.Trial.Tried || d.Trial.At != "put up the walls and the gateway" ||
		!strings.Contains(d.Trial.Why, "is on an overlay") || !strings.Contains(d.Trial.Why, "mount overlay: invalid argument") ||
		!strings.Contains(d.Trial.Fix, "set BOTTLE_HOME to") || !strings.Contains(d.Trial.Fix, "workspace: {mode: bind}") {
		t.Errorf("code %d: %+v", code, d.Trial)
	}
}

// Root needs idmapped mounts; a workspace on a file system without them is named.
func TestDoctorAsRootWithoutIdmappedMounts(t *testing.T) {
	require.Root(t)
	require.Native(t)
	unshare := require.Tool(t, "unshare")
	d, code := doctored(t, newHome(t), overlays+`export BOTTLE_HOME="$HOME/home" TMPDIR="$HOME/merged"`, unshare, "--mount")
	if code != 1 || !strings.Contains(d.Trial.Why, "root needs idmapped mounts") || !strings.Contains(d.Trial.Fix, "ordinary user") {
		t.Errorf("code %d: %+v", code, d.Trial)
	}
}

// A root without power, as in an engine's container, hears that before any try.
func TestDoctorAsPowerlessRoot(t *testing.T) {
	require.Root(t)
	setpriv := require.Tool(t, "setpriv")
	d, code := doctored(t, newHome(t), "", setpriv, "--bounding-set", "-sys_admin", "--inh-caps", "-sys_admin")
	if code != 1 || d.Trial.Tried || !strings.Contains(d.Verdict, "this root has no CAP_SYS_ADMIN") {
		t.Errorf("code %d: %s", code, d.Verdict)
	}
}

// The kernel makes no user namespaces in a chroot, and this one cannot be told
// from outside its root: the bottle is tried, and the kernel's word is passed on.
func TestDoctorInChroot(t *testing.T) {
	require.Root(t)
	require.Native(t)
	unshare := require.Tool(t, "chroot", "unshare")
	for user, why := range map[string]string{"1001:1001": "does not let bottle-jail make namespaces", "0:0": "this root may not make user namespaces"} {
		root := t.TempDir()
		d, code := doctored(t, newHome(t), `mount --rbind / `+root+` || exit 9
export BOTTLE_HOME=/nonexistent TMPDIR=/tmp
set -- chroot --userspec=`+user+` `+root+` "$@"`, unshare, "--mount")
		if code != 1 || !d.Trial.Tried || d.Trial.At != "put up the walls and the gateway" ||
			!strings.Contains(d.Trial.Why, why) || !strings.Contains(d.Trial.Why, "operation not permitted)") || d.Trial.Fix == "" {
			t.Errorf("%s: code %d: %+v", user, code, d.Trial)
		}
	}
}
