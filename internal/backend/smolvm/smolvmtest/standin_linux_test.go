package smolvmtest

import (
	"archive/tar"
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"bottle/test/require"
)

func TestMain(m *testing.M) {
	if code, ran := Main(os.Args); ran {
		os.Exit(code)
	}
	os.Exit(m.Run())
}

// These tests hold the stand-in to what is known of smolvm: its calls, exit codes, state
// across calls, and what some versions do wrong.

type answer struct {
	code     int
	out, err string
}

func (i *Installed) call(t *testing.T, in string, args ...string) answer {
	t.Helper()
	cmd := exec.Command(i.Path, args...)
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(in), &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return answer{cmd.ProcessState.ExitCode(), out.String(), errs.String()}
}

func (i *Installed) must(t *testing.T, args ...string) string {
	t.Helper()
	a := i.call(t, "", args...)
	if a.code != 0 {
		t.Fatalf("%v: %+v", args, a)
	}
	return a.out
}

// machines need root.
func standIn(t *testing.T, f Faults) *Installed {
	t.Helper()
	require.Root(t)
	require.Native(t)
	return Install(t, f)
}

// running is a machine m of the host's system.
func running(t *testing.T, f Faults, args ...string) *Installed {
	t.Helper()
	i := standIn(t, f)
	name := []string{"--name", "m"}
	if strings.HasPrefix(f.Version, "0.") {
		name = name[1:]
	}
	i.must(t, slices.Concat([]string{"machine", "create"}, name, []string{"--image", i.Rootfs}, args)...)
	i.must(t, "machine", "start", "--name", "m")
	return i
}

// A machine's state lasts from call to call; what is not allowed in it is an error.
func TestStatesOfAMachine(t *testing.T) {
	i := running(t, Faults{})
	if got := i.must(t, "machine", "status", "--name", "m"); !strings.Contains(got, "running") {
		t.Errorf("status: %s", got)
	}
	var list []struct{ Name, State string }
	if err := json.Unmarshal([]byte(i.must(t, "machine", "ls", "--json")), &list); err != nil || len(list) != 1 || list[0].Name != "m" || list[0].State != "running" {
		t.Errorf("ls: %+v, %v", list, err)
	}
	for _, bad := range [][]string{
		{"machine", "create", "--name", "m", "--image", i.Rootfs}, {"machine", "delete", "--name", "m"}, {"machine", "update", "--name", "m", "--cpus", "1"},
		{"machine", "status", "--name", "none"}, {"machine", "start", "--name", "none"},
	} {
		if a := i.call(t, "", bad...); a.code != 1 || a.err == "" {
			t.Errorf("%v: %+v", bad, a)
		}
	}
	for _, bad := range [][]string{{"machine"}, {"machine", "nothing", "--name", "m"}, {"machine", "exec", "--name", "m"}, {"machine", "start"}, {"machine", "create", "--name", "x", "--no-such-flag"}, {"pack", "nothing"}} {
		if a := i.call(t, "", bad...); a.code != 2 {
			t.Errorf("%v: %+v", bad, a)
		}
	}
	i.must(t, "machine", "stop", "--name", "m")
	if a := i.call(t, "", "machine", "exec", "--name", "m", "--", "true"); a.code != 1 {
		t.Errorf("exec in a machine that was stopped: %+v", a)
	}
	i.must(t, "machine", "update", "--name", "m", "--cpus", "2", "--mem", "512")
	i.must(t, "machine", "delete", "--name", "m", "-f")
	if len(i.Machines()) != 0 {
		t.Error("it is still there")
	}
}

// exec is root, passes the exit code and its input if it is told to, and inherits nothing
// of the caller's environment.
func TestExec(t *testing.T) {
	t.Setenv("SECRET_OF_THE_HOST", "canary")
	i := running(t, Faults{})
	if a := i.call(t, "in", "machine", "exec", "--name", "m", "-i", "--", "/bin/sh", "-c", "id -u; cat; echo $SECRET_OF_THE_HOST; echo err >&2; exit 7"); a.code != 7 || a.out != "0\nin\n" || a.err != "err\n" {
		t.Errorf("%+v", a)
	}
	if a := i.call(t, "in", "machine", "exec", "--name", "m", "--", "/bin/cat"); a.code != 0 || a.out != "" {
		t.Errorf("without -i: %+v", a)
	}
	if a := i.call(t, "", "machine", "exec", "--name", "m", "-e", "A=b", "-w", "/usr", "--", "/bin/sh", "-c", "pwd; echo $A"); a.out != "/usr\nb\n" {
		t.Errorf("-w and -e: %+v", a)
	}
	if a := i.call(t, "", "machine", "exec", "--name", "m", "--", "/no/such/program"); a.code != 127 {
		t.Errorf("a program that is not there: %+v", a)
	}
	for _, d := range []string{"/tmp", "/run"} {
		if a := i.call(t, "", "machine", "exec", "--name", "m", "--", "/bin/sh", "-c", "stat -f -c %T "+d); a.out != "tmpfs\n" {
			t.Errorf("%s is %+v", d, a)
		}
	}
}

// With -t a command has a terminal of the operator's size, which follows; 0.8.0 and the
// fault give 0×0, and nothing follows.
func TestExecOnATerminal(t *testing.T) {
	for name, c := range map[string]struct {
		faults Faults
		want   []string
	}{
		"1.9.3": {Faults{}, []string{"24 80", "50 132"}}, "fault": {Faults{NoSize: true}, []string{"0 0", "0 0"}}, "0.8.0": {Faults{Version: "0.8.0"}, []string{"0 0", "0 0"}},
	} {
		t.Run(name, func(t *testing.T) {
			i := running(t, c.faults)
			ours, theirs, err := terminal()
			if err != nil {
				t.Fatal(err)
			}
			defer ours.Close()
			resize := func(rows, cols uint16) {
				if err := unix.IoctlSetWinsize(int(ours.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: cols}); err != nil {
					t.Fatal(err)
				}
			}
			resize(24, 80)
			raw, err := unix.IoctlGetTermios(int(theirs.Fd()), unix.TCGETS)
			if err != nil {
				t.Fatal(err)
			}
			raw.Lflag, raw.Oflag, raw.Iflag = 0, 0, 0 // what comes is what the machine's terminal says
			if err := unix.IoctlSetTermios(int(theirs.Fd()), unix.TCSETS, raw); err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command(i.Path, "machine", "exec", "--name", "m", "-i", "-t", "--", "/bin/sh", "-c", "stty -echo; test -t 0 && echo terminal; while read line; do echo $(stty size).; done")
			cmd.Stdin, cmd.Stdout, cmd.Stderr = theirs, theirs, theirs
			cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			theirs.Close()
			lines := bufio.NewReader(ours)
			hear := func() string {
				s, err := lines.ReadString('\n')
				if err != nil {
					t.Fatal(err)
				}
				return strings.TrimSpace(s)
			}
			size := func() string {
				if _, err := ours.WriteString("x\n"); err != nil {
					t.Fatal(err)
				}
				return hear()
			}
			if got := hear(); got != "terminal" {
				t.Fatalf("it said %q", got)
			}
			if got := size(); got != c.want[0]+"." {
				t.Errorf("at first: %q", got)
			}
			resize(50, 132)
			got := ""
			// A change comes when it comes; where none does, it is asked for a few times.
			for n := 0; got != "50 132." && (n < 5 || c.want[1] != "0 0" && n < 2000); n++ {
				got = size()
			}
			if got != c.want[1]+"." {
				t.Errorf("after a change: %q", got)
			}
			ours.Close()
			_ = cmd.Wait() // the terminal went
		})
	}
}

// cp brings a file in and out.
func TestCopy(t *testing.T) {
	i := running(t, Faults{})
	file := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(file, []byte("body"), 0o600); err != nil {
		t.Fatal(err)
	}
	i.must(t, "machine", "cp", file, "m:/tmp/f")
	i.must(t, "machine", "cp", "m:/tmp/f", file+".back")
	if b, err := os.ReadFile(file + ".back"); err != nil || string(b) != "body" {
		t.Errorf("%q, %v", b, err)
	}
	for _, bad := range [][]string{{file, file}, {"m:/a", "m:/b"}, {file}} {
		if a := i.call(t, "", append([]string{"machine", "cp"}, bad...)...); a.code != 2 {
			t.Errorf("%v: %+v", bad, a)
		}
	}
	if a := i.call(t, "", "machine", "cp", "m:/no/such", file); a.code == 0 {
		t.Errorf("a file that is not there: %+v", a)
	}
}

// archive is one of `docker save` with one file.
func archiveOf(t *testing.T) string {
	t.Helper()
	tarOf := func(files map[string]string) []byte {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		for name, body := range files {
			if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o4755, Uid: 7, Gid: 7, Size: int64(len(body))}); err != nil {
				t.Fatal(err)
			}
			if _, err := w.Write([]byte(body)); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	path := filepath.Join(t.TempDir(), "image.tar")
	body := tarOf(map[string]string{"one": string(tarOf(map[string]string{"usr/x": "one", "usr/gone": "one"})), "two": string(tarOf(map[string]string{"usr/.wh.gone": ""})), "manifest.json": `[{"Layers":["one","two"]}]`})
	if err := os.WriteFile(path, body, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// create takes a folder, an archive, and an archive on its input; 0.8.0 takes no archive,
// and its pack reads registries alone. pack gives the files to the host's user.
func TestImages(t *testing.T) {
	i := standIn(t, Faults{RemapUID: 501})
	path := archiveOf(t)
	i.must(t, "machine", "create", "--name", "a", "--image", path)
	in, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if a := i.call(t, string(in), "machine", "create", "--name", "b", "--image", "-"); a.code != 0 {
		t.Errorf("an archive on the input: %+v", a)
	}
	i.must(t, "pack", "create", "--image", path, "-o", path+".smolmachine")
	i.must(t, "machine", "create", "--name", "c", "--from", path+".smolmachine")
	for name, uid := range map[string]uint32{"a": 7, "b": 7, "c": 501} {
		root := filepath.Join(i.dir, "machines", name, "rootfs", "usr")
		fi, err := os.Stat(root + "/x")
		if err != nil {
			t.Fatal(err)
		}
		if st := fi.Sys().(*syscall.Stat_t); st.Uid != uid || fi.Mode()&os.ModeSetuid == 0 {
			t.Errorf("%s: uid %d, %s", name, st.Uid, fi.Mode())
		}
		if _, err := os.Stat(root + "/gone"); err == nil {
			t.Errorf("%s: a later layer's removal did nothing", name)
		}
	}
	for _, bad := range []string{"debian:12", path + ".none.tar", "/no/such"} {
		if a := i.call(t, "", "machine", "create", "--name", "d", "--image", bad); a.code != 1 || len(i.Machines()) != 3 {
			t.Errorf("%s: %+v", bad, a)
		}
	}
	i.Set(Faults{Version: "0.8.0"})
	if a := i.call(t, "", "machine", "create", "e", "--image", path); a.code != 1 {
		t.Errorf("0.8.0 took an archive: %+v", a)
	}
	if a := i.call(t, "", "pack", "create", "--image", path, "-o", path+".old"); a.code != 1 {
		t.Errorf("0.8.0 packed an archive: %+v", a)
	}
}

// The network is off without a flag; the list compares addresses and no ports; 0.8.0
// drops it with --from, and takes that with no Smolfile.
func TestNetwork(t *testing.T) {
	l, err := net.Listen("tcp4", "127.9.70.16:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	other, err := net.Listen("tcp4", "127.9.70.17:"+port)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	reaches := func(i *Installed, addr string) bool {
		return i.call(t, "", "machine", "exec", "--name", "m", "--", "/bin/bash", "-c", "exec 3<>/dev/tcp/"+addr+"/"+port).code == 0
	}
	off := running(t, Faults{})
	listed := running(t, Faults{}, "--allow-cidr", "127.9.70.16/32")
	dropped := running(t, Faults{DropAllow: true}, "--allow-cidr", "127.9.70.16/32")
	for name, c := range map[string]struct {
		i        *Installed
		one, two bool
	}{"off": {off, false, false}, "listed": {listed, true, false}, "dropped": {dropped, true, true}} {
		if one, two := reaches(c.i, "127.9.70.16"), reaches(c.i, "127.9.70.17"); one != c.one || two != c.two {
			t.Errorf("%s: %t, %t", name, one, two)
		}
	}
	old := standIn(t, Faults{Version: "0.8.0"})
	file := filepath.Join(t.TempDir(), "a.smolmachine")
	if err := os.WriteFile(file, []byte(packMagic), 0o600); err != nil {
		t.Fatal(err)
	}
	if a := old.call(t, "", "machine", "create", "m", "--from", file, "--smolfile", "x"); a.code != 2 {
		t.Errorf("--from beside --smolfile: %+v", a)
	}
}

// The second exec after a boot is killed, and one beside another is, where a version does so.
func TestKilledExecs(t *testing.T) {
	i := running(t, Faults{KillSecond: true})
	for n, want := range []int{0, 137, 0} {
		if a := i.call(t, "", "machine", "exec", "--name", "m", "--", "/bin/true"); a.code != want {
			t.Errorf("call %d: %+v", n+1, a)
		}
	}
	i = running(t, Faults{OneExec: true})
	cmd := exec.Command(i.Path, "machine", "exec", "--name", "m", "-i", "--stream", "--", "/bin/sh", "-c", "echo up; cat")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 8)); err != nil {
		t.Fatal(err)
	}
	if a := i.call(t, "", "machine", "exec", "--name", "m", "--", "/bin/true"); a.code != 137 {
		t.Errorf("beside another: %+v", a)
	}
	in.Close()
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

// --help names what each call takes, and 0.8.0's create and delete take a name alone.
func TestHelp(t *testing.T) {
	i := Install(t, Faults{})
	for sub, flags := range map[string][]string{
		"create": {"--name", "--image", "--from", "--net", "--allow-cidr", "--allow-host", "-v", "-p", "-e", "--secret-env", "--secret-file", "--cpus", "--mem"},
		"exec":   {"--name", "-i", "-t", "-e", "-w", "--stream"}, "delete": {"--name", "-f"}, "ls": {"--json"}, "update": {"--name"},
	} {
		help := strings.Fields(i.must(t, "machine", sub, "--help"))
		for _, f := range flags {
			if !slices.Contains(help, f) {
				t.Errorf("%s lacks %s: %v", sub, f, help)
			}
		}
	}
	i.Set(Faults{Version: "0.8.0"})
	for _, sub := range []string{"create", "delete"} {
		if strings.Contains(i.must(t, "machine", sub, "--help"), "--name") {
			t.Errorf("0.8.0's %s takes --name", sub)
		}
	}
}
