package gateway

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"bottle/internal/audit"
	"bottle/internal/bottle"
	"bottle/internal/plan"
	"bottle/test/require"
)

// TestRefusesToStart: what is missing, wrong or too much ends the process
// before it serves anything, and the caller is told why.
func TestRefusesToStart(t *testing.T) {
	for name, c := range map[string]struct {
		change func(g *plan.Gateway)
		say    string
	}{
		"another version":     {func(g *plan.Gateway) { g.Version = "0.0.9" }, `its caller is version "0.0.9"`},
		"no version":          {func(g *plan.Gateway) { g.Version = "" }, "its caller is version"},
		"another identity":    {func(g *plan.Gateway) { g.Identity = "researcher-zzzzz" }, "told to serve researcher-zzzzz, but started as"},
		"a path for identity": {func(g *plan.Gateway) { g.Identity = "../../etc" }, "is not an identity"},
		"no decision log":     {func(g *plan.Gateway) { g.Audit = "" }, "no decision log"},
		"no place for log":    {func(g *plan.Gateway) { g.Audit = "/nowhere/audit.jsonl" }, "open decision log"},
		"nothing to serve":    {func(g *plan.Gateway) { g.Inherit = false }, "neither or both"},
		"no place to ask":     {func(g *plan.Gateway) { g.Unmatched = plan.UnmatchedAsk }, "no folder for what is asked"},
		"an odd word":         {func(g *plan.Gateway) { g.Unmatched, g.Asked = "allow", "/a" }, "neither deny nor ask"},
		"a wait too long":     {func(g *plan.Gateway) { g.Wait = 56 }, "an ask waits 56 seconds"},
		"two things to serve": {func(g *plan.Gateway) { g.Listen = "127.0.0.1:0" }, "neither or both"},
		"the whole network":   {func(g *plan.Gateway) { g.Inherit, g.Listen = false, "0.0.0.0:0" }, "not on the loopback interface"},
		"every address":       {func(g *plan.Gateway) { g.Inherit, g.Listen = false, ":0" }, "not on the loopback interface"},
		"no port":             {func(g *plan.Gateway) { g.Inherit, g.Listen = false, "127.0.0.1" }, "missing port"},
		"a name":              {func(g *plan.Gateway) { g.Inherit, g.Listen = false, "example.com:80" }, "not on the loopback interface"},
		"a password unsaid":   {func(g *plan.Gateway) { g.Inherit, g.Listen, g.ProxyAuth = false, "127.0.0.1:0", true }, "has a password"},
		"a bottle's password": {func(g *plan.Gateway) { g.ProxyAuth = true }, "has a password"},
		"a bad route":         {func(g *plan.Gateway) { g.Routes[0].TLS = "sometimes" }, "compile policy"},
		"control elsewhere":   {func(g *plan.Gateway) { g.Control = "/nowhere/control.sock" }, "control socket"},
	} {
		t.Run(name, func(t *testing.T) {
			r := inProcess(t)
			u := newUpstream(t, r.dir)
			what := r.what(u)
			c.change(&what)
			go func() { // it may stop listening after the first line
				for _, v := range []any{what, plan.Secrets{}} {
					b, _ := json.Marshal(v)
					_, _ = r.stdin.Write(append(b, '\n'))
				}
				_, _ = r.hand.Write(nil)
			}()
			failed := ""
			for failed == "" {
				var line struct{ Failed string }
				r.hear(t, &line)
				failed = line.Failed
			}
			if err := r.wait(); err == nil || !strings.Contains(failed, c.say) {
				t.Errorf("ended with %v and said %q; want %q", err, failed, c.say)
			}
			for _, l := range []string{what.Control} {
				if _, err := os.Lstat(l); err == nil {
					t.Errorf("%s is left", l)
				}
			}
		})
	}
}

// TestRefusesLines: the two lines, exactly, and no byte of a secret in an error.
func TestRefusesLines(t *testing.T) {
	good, err := json.Marshal(plan.Gateway{Version: version, Identity: identity, Audit: "/a", Inherit: true})
	if err != nil {
		t.Fatal(err)
	}
	first := string(good) + "\n"
	for name, c := range map[string]struct{ in, say string }{
		"nothing":              {"", "unexpected EOF"},
		"no line end":          {string(good), "unexpected EOF"},
		"not JSON":             {"hello\n", "invalid character"},
		"unknown field":        {strings.Replace(first, "{", `{"allow_all":true,`, 1), "unknown field"},
		"two values":           {string(good) + "{}\n", "invalid character"},
		"no secrets":           {first, "read secrets: unexpected EOF"},
		"secrets are a string": {first + `"` + realKey + `"` + "\n", "read secrets: not one JSON object"},
		"secret as a key":      {first + `{"` + realKey + `":1}` + "\n", "read secrets: not one JSON object"},
		"endless":              {strings.Repeat("x", maxTold+1), "longer than 8 MiB"},
	} {
		_, err := hear(bufio.NewReader(strings.NewReader(c.in)), version, identity)
		if err == nil || !strings.Contains(err.Error(), c.say) || strings.Contains(err.Error(), realKey) {
			t.Errorf("%s: %v; want %q", name, err, c.say)
		}
	}
	if _, err := hear(bufio.NewReader(strings.NewReader(first+"{}\n")), version, identity); err != nil {
		t.Errorf("the good lines: %v", err)
	}
	if _, err := hear(bufio.NewReader(strings.NewReader(strings.ReplaceAll(first, version, "")+"{}\n")), "", identity); err == nil {
		t.Error("a program without a version took a caller without one")
	}
}

// TestHandover: what is not exactly a bottle's sockets is refused, and closed.
func TestHandover(t *testing.T) {
	for name, c := range map[string]struct {
		change func(s *inside)
		kind   int
		say    string // empty: accepted
	}{
		"stream":          {func(*inside) {}, unix.SOCK_STREAM, ""},
		"packets":         {func(*inside) {}, unix.SOCK_SEQPACKET, ""},
		"no nflog":        {func(s *inside) { s.drop(4) }, unix.SOCK_STREAM, ""},
		"no proxy":        {func(s *inside) { s.drop(0) }, unix.SOCK_STREAM, "egress is missing"},
		"unknown name":    {func(s *inside) { s.names[1] = "backdoor" }, unix.SOCK_STREAM, "no socket has that name"},
		"twice":           {func(s *inside) { s.names[1] = plan.SocketEgress }, unix.SOCK_STREAM, "came twice"},
		"fewer sockets":   {func(s *inside) { s.drop(4); s.names = append(s.names, plan.SocketNFLog) }, unix.SOCK_STREAM, "5 names for 4 descriptors"},
		"fewer names":     {func(s *inside) { s.names = s.names[:4] }, unix.SOCK_STREAM, "4 names for 5 descriptors"},
		"UDP for TCP":     {func(s *inside) { s.names[0], s.names[3] = s.names[3], s.names[0] }, unix.SOCK_STREAM, "receive socket"},
		"TCP for netlink": {func(s *inside) { s.names[1], s.names[4] = s.names[4], s.names[1] }, unix.SOCK_STREAM, "receive socket"},
		"a file": {func(s *inside) {
			s.drop(4)
			f, err := os.Open("/dev/null")
			if err != nil {
				t.Error(err)
			}
			s.names, s.files = append(s.names, plan.SocketNFLog), append(s.files, f)
		}, unix.SOCK_STREAM, "receive socket"},
		"too many": {func(s *inside) {
			for range maxSockets {
				s.names, s.files = append(s.names, "x"), append(s.files, s.files[0])
			}
		}, unix.SOCK_STREAM, "cut"},
	} {
		t.Run(name, func(t *testing.T) {
			before := descriptors(t)
			ours, theirs := pair(t, c.kind)
			in := newInside(t)
			c.change(in)
			in.handOver(t, ours)
			s, err := receive(t.Context(), theirs)
			if c.say == "" {
				if err != nil || s.served[plan.SocketDNSUDP] == "" {
					t.Fatalf("%+v, %v", s, err)
				}
				s.close()
			} else if err == nil || !strings.Contains(err.Error(), c.say) {
				t.Errorf("%v; want %q", err, c.say)
			}
			ours.Close()
			for _, f := range in.files {
				f.Close()
			}
			if after := descriptors(t); after > before {
				t.Errorf("%d descriptors became %d", before, after)
			}
		})
	}
	if _, err := receive(t.Context(), nil); err == nil {
		t.Error("no socket on descriptor 3 was taken")
	}
	ours, theirs := pair(t, unix.SOCK_STREAM)
	ours.Close()
	if _, err := receive(t.Context(), theirs); err == nil || !strings.Contains(err.Error(), "ended without") {
		t.Errorf("a caller that is gone: %v", err)
	}
	_, theirs = pair(t, unix.SOCK_STREAM)
	if _, err := receive(cancelled(t), theirs); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("told to stop while waiting: %v", err)
	}
}

// drop takes back what would have been handed over.
func (s *inside) drop(i int) {
	s.files[i].Close()
	s.names, s.files = slices.Delete(s.names, i, i+1), slices.Delete(s.files, i, i+1)
}

func descriptors(t *testing.T) int {
	t.Helper()
	names, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(names)
}

// TestInvariant4NoRecordNoEgress: when the log can't take records, nothing goes
// out; when it can again, the bottle works again. A file size limit stands for
// the full disk.
func TestInvariant4NoRecordNoEgress(t *testing.T) {
	r := inOwnProcess(t, nil)
	u := newUpstream(t, r.dir)
	_, _, _, client := r.start(t, u)
	what := r.what(u)
	try := func() int {
		status, _, err := get(t, client, "https://example.com/v1")
		if err != nil && strings.Contains(err.Error(), "blocked by bottle") {
			return 403
		}
		return status
	}
	if got := try(); got != 200 {
		t.Fatalf("the allowed call: %d", got)
	}
	info, err := os.Stat(what.Audit)
	if err != nil {
		t.Fatal(err)
	}
	full := unix.Rlimit{Cur: uint64(info.Size()) + 10, Max: unix.RLIM_INFINITY}
	if err := unix.Prlimit(r.pid, unix.RLIMIT_FSIZE, &full, nil); err != nil {
		t.Fatal(err)
	}
	try() // its record is the one that fails
	reached := u.calls.Load()
	for range 3 {
		if got := try(); got != 403 {
			t.Errorf("a request that can't be recorded: %d", got)
		}
	}
	if u.calls.Load() != reached {
		t.Error("a request that can't be recorded reached the upstream")
	}
	if st := ask(t, what.Control); st.Recording {
		t.Errorf("status %+v", st)
	}
	full.Cur = unix.RLIM_INFINITY
	if err := unix.Prlimit(r.pid, unix.RLIMIT_FSIZE, &full, nil); err != nil {
		t.Fatal(err)
	}
	if got := try(); got != 403 {
		t.Errorf("the denial that shows that the log works again: %d", got)
	}
	if got := try(); got != 200 {
		t.Errorf("with room again: %d", got)
	}
	if err := r.stop(); err != nil {
		t.Error(err)
	}
	if rep, err := audit.Verify(what.Audit); err != nil || !rep.OK {
		t.Errorf("the log: %+v, %v", rep, err)
	}
}

// TestHardened looks at the process from outside, as its user would: it has no
// environment and no capability, and what is in its memory is not for its user.
func TestHardened(t *testing.T) {
	t.Run("as it is meant to be", func(t *testing.T) { hardened(t, program) })
	t.Run("built with cgo", func(t *testing.T) {
		require.Tool(t, "gcc")
		hardened(t, programCgo)
	})
}

func hardened(t *testing.T, build func() (string, error)) {
	var who *syscall.Credential
	if os.Geteuid() == 0 {
		who = &syscall.Credential{Uid: 65534, Gid: 65534}
	}
	r := inProgram(t, build, who)
	if who != nil {
		for dir := r.dir; dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
			if err := os.Chmod(dir, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		r.dir = filepath.Join(r.dir, "state")
		if err := errors.Join(os.Mkdir(r.dir, 0o700), os.Chown(r.dir, 65534, 65534)); err != nil {
			t.Fatal(err)
		}
	}
	r.start(t, newUpstream(t, t.TempDir()))
	proc := filepath.Join("/proc", itoa(r.pid))
	status, err := os.ReadFile(proc + "/status")
	if err != nil {
		t.Fatal(err)
	}
	tasks, err := filepath.Glob(proc + "/task/*/status")
	if err != nil || len(tasks) < 2 {
		t.Fatalf("tasks %v, %v", tasks, err)
	}
	for _, task := range tasks {
		b, err := os.ReadFile(task)
		if err != nil || !bytes.Contains(b, []byte("NoNewPrivs:\t1\n")) || !bytes.Contains(b, []byte("CapPrm:\t0000000000000000\n")) {
			t.Errorf("%s: %v %s", task, err, b)
		}
	}
	if !bytes.Contains(status, []byte("NoNewPrivs:\t1\n")) {
		t.Errorf("status %s", status)
	}
	// proc(5): the files of a process that is not dumpable belong to root.
	if info, err := os.Stat(proc + "/environ"); err != nil || info.Sys().(*syscall.Stat_t).Uid != 0 {
		t.Errorf("the process is dumpable: %v %v", info, err)
	}
	limits, err := os.ReadFile(proc + "/limits")
	if err == nil && !strings.Contains(strings.Join(strings.Fields(string(limits)), " "), "Max core file size 0 0 bytes") {
		t.Errorf("limits %s", limits)
	}
	cmdline, err := os.ReadFile(proc + "/cmdline")
	if err != nil || !bytes.HasSuffix(cmdline, []byte("\x00serve\x00--identity\x00"+identity+"\x00")) {
		t.Errorf("cleanup can't find it by %q, %v", cmdline, err)
	}
	if who != nil { // the same user tries to trace it
		cmd := exec.Command("cat", proc+"/environ")
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: who}
		if out, err := cmd.CombinedOutput(); err == nil {
			t.Errorf("its user read %q", out)
		}
	}
	if err := r.stop(); err != nil {
		t.Errorf("%v: %s", err, r.said)
	}
}

// TestRootKeepsOneCapability: started by root, it can't do what root can.
func TestRootKeepsOneCapability(t *testing.T) {
	require.Root(t)
	keeps := func(t *testing.T, build func() (string, error)) {
		r := inProgram(t, build, nil)
		r.start(t, newUpstream(t, r.dir))
		b, err := os.ReadFile("/proc/" + itoa(r.pid) + "/status")
		if err != nil || !bytes.Contains(b, []byte("CapPrm:\t0000000000000400\n")) || !bytes.Contains(b, []byte("CapEff:\t0000000000000400\n")) {
			t.Errorf("%v %s", err, b)
		}
	}
	t.Run("as it is meant to be", func(t *testing.T) { keeps(t, program) })
	t.Run("built with cgo", func(t *testing.T) {
		require.Tool(t, "gcc")
		keeps(t, programCgo)
	})
}

// TestSignals: SIGTERM stops it; what a terminal sends to the foreground does not.
func TestSignals(t *testing.T) {
	r := inOwnProcess(t, nil)
	r.start(t, newUpstream(t, r.dir))
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGQUIT, syscall.SIGHUP} {
		if err := syscall.Kill(r.pid, sig); err != nil {
			t.Fatal(err)
		}
	}
	ask(t, filepath.Join(r.dir, "control.sock")) // it lives
	if err := syscall.Kill(r.pid, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := r.wait(); err != nil {
		t.Errorf("after SIGTERM: %v", err)
	}
	if _, err := os.Lstat(filepath.Join(r.dir, "control.sock")); err == nil {
		t.Error("the control socket is left")
	}
}

// TestUsage: nothing but the two forms; and no secret was ever an argument.
func TestUsage(t *testing.T) {
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{}, {"serve"}, {"serve", "--identity"}, {"serve", identity, "x"}, {"version", "x"}, {"serve", "--identity", identity, "--token=x"}} {
		cmd := exec.Command(path, args...)
		cmd.Env = []string{}
		out, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != 2 || !bytes.HasPrefix(out, []byte("usage: ")) {
			t.Errorf("%q: %v %s", args, err, out)
		}
	}
	out, err := exec.Command(path, "version").Output()
	if err != nil || string(out) != "bottle-gateway "+version+"\n" {
		t.Errorf("version: %q %v", out, err)
	}
}

// TestControl: a peer that sends rubbish gets an error and harms nobody.
func TestControl(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c.sock")
	c, err := listenControl(path, onlyStatus())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := listenControl(path, nil); err == nil {
		t.Error("a second gateway took the socket over")
	}
	ctx, cancel := contextOf(t)
	done := make(chan error, 1)
	go func() { done <- c.serve(ctx) }()
	for in, want := range map[string]string{
		`{"op":"status"}`:                 `"identity":"` + identity + `"`,
		`{"op":"secrets"}`:                `{"error":"no operation \"secrets\"; there is: status, reload"}`,
		`rubbish`:                         `{"error":"the request is not a JSON object"}`,
		`{"op":"status","now":true}`:      `{"error":"the request can't be read: json: unknown field \"now\""}`,
		`{"op":"status"} {"op":"status"}`: `{"error":"the request is not a JSON object"}`,
		`{"op":"status","format":"` + strings.Repeat("x", controlLine) + `"}`:    `{"error":"the request is too long"}`,
		`{"op":"reload","format":"` + strings.Repeat("x", 2*controlLine) + `"}`:  `{"old":"","new":"` + strings.Repeat("x", 2*controlLine),
		`{"op":"reload","format":"` + strings.Repeat("x", plan.MaxReload) + `"}`: `{"error":"the request is too long"}`,
	} {
		conn, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = conn.Write([]byte(in + "\n"))
		line, err := bufio.NewReader(conn).ReadString('\n')
		if err != nil || !strings.Contains(line, want) {
			t.Errorf("%.20q: %q %v", in, line, err)
		}
		conn.Close()
	}
	var open []net.Conn
	for range controlConns + 1 { // the last one is shut out
		conn, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		open = append(open, conn)
	}
	shut := func(c net.Conn) bool {
		_ = c.SetReadDeadline(time.Now().Add(time.Second))
		_, err := c.Read(make([]byte, 1))
		return err == io.EOF || errors.Is(err, syscall.ECONNRESET)
	}
	slices.Reverse(open) // most likely the last one; one of those before may still have had its place
	if !slices.ContainsFunc(open, shut) {
		t.Error("one peer too many is not shut out")
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); err == nil {
		t.Error("the socket is left")
	}
}

// onlyStatus are operations without a gateway: one of the common size, and one
// that may be long.
func onlyStatus() []operation {
	return []operation{
		{plan.OpStatus, controlLine, func(plan.Control) any { return Status{Identity: identity} }},
		{plan.OpReload, plan.MaxReload, func(c plan.Control) any { return plan.Reloaded{New: c.Format} }},
	}
}

// BenchmarkStart is from exec to the first line.
func BenchmarkStart(b *testing.B) {
	path, err := program()
	if err != nil {
		b.Fatal(err)
	}
	what, err := json.Marshal(plan.Gateway{Version: bottle.Version, Identity: identity, Listen: "127.0.0.1:0", Audit: filepath.Join(b.TempDir(), "a")})
	if err != nil {
		b.Fatal(err)
	}
	var rss int
	for b.Loop() {
		cmd := exec.Command(path, "serve", "--identity", identity)
		cmd.Env = []string{}
		in, _ := cmd.StdinPipe()
		out, _ := cmd.StdoutPipe()
		if err := cmd.Start(); err != nil {
			b.Fatal(err)
		}
		if _, err := in.Write(append(what, "\n{}\n"...)); err != nil {
			b.Fatal(err)
		}
		lines := bufio.NewReader(out)
		if line, err := lines.ReadString('\n'); err != nil || !strings.Contains(line, "BEGIN CERTIFICATE") {
			b.Fatal(line, err)
		}
		b.StopTimer()
		if line, err := lines.ReadString('\n'); err != nil || !strings.Contains(line, "policy_hash") {
			b.Fatal(line, err)
		}
		rss = max(rss, resident(b, cmd.Process.Pid))
		in.Close()
		if err := cmd.Wait(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
	b.ReportMetric(float64(rss)/1024, "MiB-RSS")
}

// BenchmarkRequest is one intercepted request with an injected credential over a
// kept connection, to an upstream on loopback, recorded; and the memory after.
func BenchmarkRequest(b *testing.B) {
	r := inOwnProcess(b, nil)
	_, _, _, client := r.start(b, newUpstream(b, r.dir))
	for b.Loop() {
		if status, _, err := get(b, client, "https://example.com/v1"); status != 200 {
			b.Fatal(status, err)
		}
	}
	b.ReportMetric(float64(resident(b, r.pid))/1024, "MiB-RSS")
}
