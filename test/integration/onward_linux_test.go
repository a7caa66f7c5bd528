package integration

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"bottle/test/fake/loopback"
	"bottle/test/require"
)

const (
	squidLogin = "agentbottle:" + theSecret
	// squidHelper is Squid's basic authenticator: one line in, one line out.
	squidHelper = "#!/bin/sh\nread want < \"$1\"\nwhile read -r user password; do [ \"$user:$password\" = \"$want\" ] && echo OK || echo ERR; done\n"
)

// squid is a real Squid of Debian's on a loopback port: it wants a login, knows
// the names of its own hosts file, and lets CONNECT through but for one name.
type squid struct {
	addr string
	log  string // its access log
}

func startSquid(t *testing.T, names ...string) squid {
	t.Helper()
	program := require.Tool(t, "squid")
	dir, err := os.MkdirTemp("", "bottle-squid-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := squid{addr: l.Addr().String(), log: filepath.Join(dir, "access.log")}
	_ = l.Close()
	conf := fmt.Sprintf(`http_port %s
visible_hostname squid.example.com
hosts_file %[2]s/hosts
dns_nameservers 127.0.0.1
dns_timeout 1 second
dns_retransmit_interval 1 second
auth_param basic program /bin/sh %[2]s/helper %[2]s/login
auth_param basic children 1 startup=1
acl known proxy_auth REQUIRED
acl CONNECT method CONNECT
acl forbidden dstdomain denied.example.com
http_access deny !known
http_access deny forbidden
http_access allow CONNECT
http_access deny all
cache deny all
access_log stdio:%[3]s
cache_log %[2]s/cache.log
coredump_dir %[2]s
pid_filename none
pinger_enable off
netdb_filename none
memory_cache_shared off
cache_mem 8 MB
max_filedescriptors 1024
shutdown_lifetime 0 seconds
`, s.addr, dir, s.log)
	for name, text := range map[string]string{
		"squid.conf": conf, "hosts": "127.0.0.1 " + strings.Join(names, " ") + "\n", "helper": squidHelper, "login": squidLogin + "\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "-N", "-f", filepath.Join(dir, "squid.conf"))
	cmd.Dir = dir
	if os.Geteuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		late := time.AfterFunc(5*time.Second, func() { _ = cmd.Process.Kill() })
		_ = cmd.Wait() // how it ended is not what is tested
		late.Stop()
		if t.Failed() {
			tail, _ := os.ReadFile(filepath.Join(dir, "cache.log"))
			t.Logf("squid: %s\n%s", said.String(), tail)
		}
	})
	require.Eventually(t, limit, "squid listens", func() bool {
		c, err := net.Dial("tcp4", s.addr)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
	return s
}

// TestThroughSquid: everything that leaves the bottle goes through a company's
// proxy, which resolves the names and refuses what it refuses.
func TestThroughSquid(t *testing.T) {
	require.Tool(t, "curl")
	everybody(t, func(t *testing.T, uid int) {
		proxy := startSquid(t, "api.example.com", "plain.example.com", "denied.example.com", "down.example.com")
		srv, err := loopback.Serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintf(w, "hello from the API, %s\n", r.Header.Get("X-Key")) // the client may be gone
		}), "api.example.com")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = srv.Close() })
		plain := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello in plain\n") })}
		pl, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		go func() { _ = plain.Serve(pl) }()
		t.Cleanup(func() { _ = plain.Close() })
		_, tlsPort, _ := net.SplitHostPort(srv.Addr())
		_, plainPort, _ := net.SplitHostPort(pl.Addr().String())
		down, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		_, downPort, _ := net.SplitHostPort(down.Addr().String())
		_ = down.Close()

		h := newHouse(t, uid, "")
		h.write("ca.pem", string(srv.CA()))
		h.write("home/bottles/box.md", fmt.Sprintf(`---
supervise: false
agent_provider: {template: command}
egress:
  routes:
    - {host: api.example.com, ports: [%[1]s], path_allowlist: [/v1/]}
    - {host: plain.example.com, ports: [%[2]s]}
    - {host: denied.example.com, ports: [%[2]s]}
    - {host: down.example.com, ports: [%[3]s]}
    - {host: unknown.example.com, ports: [%[2]s]}
  upstream_proxy: {url: "http://%[4]s", auth: {token_ref: PROXY_LOGIN}, ca_file: %[5]q}
---
A box behind a company's proxy.
`, tlsPort, plainPort, downPort, proxy.addr, filepath.Join(h.base, "ca.pem")))
		h.own()
		h.env = append(h.env, "PROXY_LOGIN="+squidLogin)
		got := asks(t, h, map[string]string{
			"allowed": "https://api.example.com:" + tlsPort + "/v1/x", "direct": "--noproxy '*' https://api.example.com:" + tlsPort + "/v1/y",
			"path": "https://api.example.com:" + tlsPort + "/v2/x", "plain": "http://plain.example.com:" + plainPort + "/",
			"denied": "http://denied.example.com:" + plainPort + "/", "down": "http://down.example.com:" + downPort + "/",
			"unknown": "http://unknown.example.com:" + plainPort + "/", "unlisted": "http://other.example.com:" + plainPort + "/",
		})
		for name, want := range map[string][]string{
			"allowed": {"hello from the API", "\n200"}, "direct": {"hello from the API", "\n200"}, "plain": {"hello in plain", "\n200"},
			"path": {"path_not_listed", "\n403"}, "unlisted": {"host_not_listed", "\n403"},
			"denied": {"upstream_proxy_refused", "answered 403", "\n502"}, "down": {"upstream_unreachable", "answered 503", "\n502"},
			"unknown": {"upstream_unreachable", "answered 5", "\n502"},
		} {
			for _, part := range want {
				if !strings.Contains(got[name], part) {
					t.Errorf("%s: %q is not in %q", name, part, got[name])
				}
			}
		}
		for name, text := range got {
			if strings.Contains(text, "quid") || strings.Contains(text, theSecret) {
				t.Errorf("%s tells of the proxy: %q", name, text)
			}
		}
		seen := readAll(t, proxy.log)
		for _, want := range []string{"CONNECT api.example.com:" + tlsPort, "CONNECT plain.example.com:" + plainPort, "agentbottle"} {
			if !strings.Contains(seen, want) {
				t.Errorf("squid did not see %q:\n%s", want, seen)
			}
		}
		if strings.Contains(seen, "other.example.com") {
			t.Errorf("squid was asked for a host that no route lists:\n%s", seen)
		}
		for _, r := range srv.Requests() {
			if r.Header.Get("Proxy-Authorization") != "" {
				t.Errorf("the API got the proxy's credential: %+v", r)
			}
		}
		scanFiles(t, h.base)

		h.env[len(h.env)-1] = "PROXY_LOGIN=agentbottle:wrong"
		got = asks(t, h, map[string]string{"wrong": "http://plain.example.com:" + plainPort + "/"})
		if !strings.Contains(got["wrong"], "upstream_proxy_refused") || !strings.Contains(got["wrong"], "answered 407") ||
			strings.Contains(got["wrong"], base64.StdEncoding.EncodeToString([]byte("agentbottle:wrong"))) {
			t.Errorf("with a wrong login: %q", got["wrong"])
		}
	})
}

// asks runs one curl for each name in one bottle, and gives what each said, with
// its status behind.
func asks(t *testing.T, h *house, list map[string]string) map[string]string {
	t.Helper()
	script := `c() { echo "== $1"; shift; curl -sS -m 10 -w '\n%{http_code}\n' "$@" 2>&1; }` + "\n"
	for name, args := range list {
		script += "c " + name + " " + args + "\n"
	}
	s := h.start(script + "exit 0")
	got := map[string]string{}
	for _, part := range strings.Split(s.out, "== ")[1:] {
		name, text, _ := strings.Cut(part, "\n")
		got[name] = strings.TrimSpace(text)
	}
	if len(got) != len(list) {
		t.Fatalf("exit %d\n%s%s", s.code, s.out, s.err)
	}
	return got
}

func readAll(t *testing.T, name string) string {
	t.Helper()
	body, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}
