package rules

import (
	"strings"
	"testing"
)

// TestRefuseMount: what a mount would give away, in every spelling of the path's
// words; and that ordinary tool folders pass.
func TestRefuseMount(t *testing.T) {
	const home, manifests = "/srv/people/op", "/srv/etc/bottle"
	for _, p := range []string{
		"/", "/srv", "/srv/people", "/srv/people/op", "/SRV/People/OP", "/srv/people/op/.ssh", "/srv/people/op/.ssh/id_ed25519",
		"/srv/people/op/.Aws", "/srv/people/op/.config", "/srv/people/op/.local/share", "/srv/people/op/.bot-bottle/x",
		"/srv/etc", "/srv/etc/bottle", "/srv/etc/bottle/bottles", "/proc", "/proc/self/root", "/sys/fs/cgroup", "/dev/shm",
		"/run", "/var", "/var/run", "/var/run/docker.sock", "/opt/x/containerd.sock", "/opt/Docker.sock", "/opt/podman.sock",
		"/home", "/Users", "/root", "/tmp", "/etc", "/workspace", "/srv/people/other/.ssh", "/mnt/copy/.AWS/credentials",
	} {
		if why, hint := RefuseMount(p, home, manifests); why == "" || hint == "" {
			t.Errorf("%s may be mounted (%q, %q)", p, why, hint)
		}
	}
	for _, p := range []string{
		"/srv/people/op/.nvm", "/srv/people/op/.local/bin", "/srv/people/op/.config/nvim", "/srv/people/other", "/opt/go",
		"/srv/people/op/.sshfoo", "/processes", "/tmp/build", "/srv/people/opera", "/opt/x.sock",
	} {
		if why, _ := RefuseMount(p, home, manifests); why != "" {
			t.Errorf("%s may not be mounted: %s", p, why)
		}
	}
}

// TestRefuseMountWithoutHome: with no home folder known, nothing is known to be
// safe.
func TestRefuseMountWithoutHome(t *testing.T) {
	for _, home := range []string{"", "/"} {
		if why, _ := RefuseMount("/opt/go", home, "/opt/bottle"); why == "" {
			t.Errorf("home %q: a mount is allowed", home)
		}
	}
}

// TestRefuseWorkspace. The weakness: the current folder becomes the agent's, and
// was held to fewer rules than a mount. The attack: a start in ~/.ssh, in /etc, in
// the folder of the manifests. What this proves: none of them is a project.
func TestRefuseWorkspace(t *testing.T) {
	const home, manifests = "/srv/people/op", "/srv/people/op/.bot-bottle"
	for _, p := range []string{
		"/", "/etc", "/etc/ssl", "/ETC/ssl", "/usr", "/usr/bin", "/usr/lib/x", "/var", "/var/lib", "/var/log/x", "/home", "/root", "/boot/x",
		"/proc/1/root", "/sys", "/dev", "/run/user/1000", "/bin", "/lib64/x", "/opt", "/srv", "/mnt", "/tmp", "/var/tmp",
		"/srv/people", home, home + "/.ssh", home + "/.gnupg/x", home + "/.aws", home + "/.config", manifests, manifests + "/bottles",
		"/mnt/copy/.ssh", "/System/Library",
	} {
		if why, hint := RefuseWorkspace(p, home, manifests); why == "" || hint == "" {
			t.Errorf("an agent may work in %s (%q, %q)", p, why, hint)
		}
	}
	for _, p := range []string{
		home + "/app", home + "/.config/nvim", "/tmp/x", "/var/tmp/x", "/workspace", "/workspace/app", "/srv/app", "/opt/app", "/mnt/d/app",
		"/var/lib/ci/app", "/var/www/app", "/usr/src/app", "/usr/local/src/app", "/home/other/app", "/etcetera", "/libs",
	} {
		if why, _ := RefuseWorkspace(p, home, manifests); why != "" {
			t.Errorf("an agent may not work in %s: %s", p, why)
		}
	}
	for _, unknown := range []string{"", "/"} {
		if why, hint := RefuseWorkspace("/srv/app", unknown, manifests); why == "" || hint != "set HOME" {
			t.Errorf("home %q: %q, %q", unknown, why, hint)
		}
	}
	if why, _ := RefuseWorkspace("/workspace", "/workspace", manifests); why == "" {
		t.Error("an agent may work in a home folder that is called /workspace")
	}
}

// TestRefuseRelated: what links lead to is refused from above and from below.
func TestRefuseRelated(t *testing.T) {
	keep := []string{"/data/dot/ssh", "/data/dot/bottles"}
	for p, want := range map[string]bool{
		"/data": true, "/data/dot": true, "/data/Dot/SSH": true, "/data/dot/ssh/id": true, "/data/dot/bottles": true,
		"/data/dot/sshx": false, "/data/app": false, "/d": false,
	} {
		if why, _ := RefuseRelated(p, keep); (why != "") != want {
			t.Errorf("%s: %q", p, why)
		}
	}
	if why, _ := RefuseRelated("/data", nil); why != "" {
		t.Error(why)
	}
}

func TestRepoURL(t *testing.T) {
	good := map[string]string{
		"ssh://git@GIT.Example.com:2222/team/app.git": "ssh://git@git.example.com:2222/team/app.git",
		"https://git.example.com./team/app/":          "https://git.example.com/team/app",
		"ssh://git@[2001:db8::1]:22/a":                "ssh://git@[2001:db8::1]:22/a",
		"ssh://h.example.com/~op/a":                   "ssh://h.example.com/~op/a",
	}
	for in, want := range good {
		got, scheme, err := RepoURL(in)
		if err != nil || got != want || !strings.HasPrefix(got, scheme+"://") {
			t.Errorf("RepoURL(%q) = %q, %q, %v; want %q", in, got, scheme, err, want)
			continue
		}
		if again, _, err := RepoURL(got); err != nil || again != got {
			t.Errorf("%q reads as %q, %v", got, again, err)
		}
	}
	for _, in := range []string{
		"", "app", "/srv/git/app", "file:///srv/git/app", "git://h.example.com/a", "http://h.example.com/a", "ext::sh -c x",
		"ssh://-oProxyCommand=x/a", "ssh://-oProxyCommand=x@h.example.com/a", "ssh://h.example.com/-x", "ssh://h.example.com",
		"ssh://h.example.com/", "https://h.example.com/a/../b", "https://h.example.com/a//b", "https://h.example.com/a%2fb?x",
		"https://u@h.example.com/a", "https://u:p@h.example.com/a", "ssh://u:p@h.example.com/a", "https://h.example.com/a#x",
		"https://h.example.com:0/a", "https://h.example.com:65536/a", "https:///a", "https://h.example.com/a b", "git@h.example.com:a",
		"https://h.example.com/a\nb", "https://h.example.com/a;b", "https://h.example.com/$(x)",
	} {
		if got, _, err := RepoURL(in); err == nil {
			t.Errorf("RepoURL(%q) = %q", in, got)
		} else if strings.Contains(err.Error(), ":p@") {
			t.Errorf("RepoURL(%q) shows the password: %v", in, err)
		}
	}
}

func TestReserved(t *testing.T) {
	for _, n := range []string{"http_proxy", "NO_PROXY", "PATH", "HOME", "LD_PRELOAD", "ld_library_path", "DYLD_INSERT_LIBRARIES", "BOTTLE_HOME", "bottle_x", "SSL_CERT_FILE", "NIX_SSL_CERT_FILE", "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", "npm_config_cafile"} {
		if Reserved(n) == "" {
			t.Errorf("%s can be set", n)
		}
	}
	for _, n := range []string{"LANG", "TERM", "TZ", "GIT_PAGER", "PATHS", "MY_BOTTLE_X", "LDFLAGS"} {
		if why := Reserved(n); why != "" {
			t.Errorf("%s cannot be set: %s", n, why)
		}
	}
}

func TestRefuseHeader(t *testing.T) {
	for _, n := range []string{"Host", "content-LENGTH", "Transfer-Encoding", "Connection", "TE", "Trailer", "Upgrade", "Proxy-Authorization", "Keep-Alive"} {
		if RefuseHeader(n) == "" {
			t.Errorf("%s can carry a credential", n)
		}
	}
	for _, n := range []string{"Cookie", "X-Api-Key", "Authorization", "PRIVATE-TOKEN"} {
		if why := RefuseHeader(n); why != "" {
			t.Errorf("%s: %s", n, why)
		}
	}
	if got := CanonicalHeader("x-API-key"); got != "X-Api-Key" {
		t.Error(got)
	}
}

func TestMemory(t *testing.T) {
	for in, want := range map[string]int64{"16777216": 16 << 20, "512MiB": 512 << 20, "4GiB": 4 << 30, "16TiB": 16 << 40, "16384KiB": 16 << 20} {
		if got, err := Memory(in); err != nil || got != want {
			t.Errorf("Memory(%q) = %d, %v", in, got, err)
		}
	}
	for _, in := range []string{"", "MiB", "4GB", "4 GiB", "4G", "-4GiB", "+4GiB", "4.5GiB", "0x10GiB", "17TiB", "1MiB", "0", "9223372036854775807TiB", "4GiBGiB"} {
		if got, err := Memory(in); err == nil {
			t.Errorf("Memory(%q) = %d", in, got)
		}
	}
}

// A size is within its bounds, and a refusal spells them as a manifest would.
func TestSize(t *testing.T) {
	for v, want := range map[string]int64{"8KiB": 8 << 10, "8192": 8192, "1MiB": 1 << 20} {
		if n, err := Size(v, 8<<10, 1<<20); err != nil || n != want {
			t.Errorf("%s: %d, %v", v, n, err)
		}
	}
	for _, v := range []string{"8191", "0", "1048577", "2MiB", "1TiB", "9223372036854775807", "8388608TiB", "-1", "", "KiB", "8 KiB", "8kib"} {
		if n, err := Size(v, 8<<10, 1<<20); err == nil {
			t.Errorf("%s: %d", v, n)
		} else if strings.Contains(err.Error(), "out of range") && !strings.HasSuffix(err.Error(), "from 8KiB to 1MiB") {
			t.Errorf("%s: %v", v, err)
		}
	}
}

// Whatever stands in a manifest is one repository, or it is not, in every way to write it.
func TestSameRepo(t *testing.T) {
	same := SameRepo("ssh://git@h.example.com/team/app.git")
	for _, in := range []string{"ssh://h.example.com:22/team/app", "https://h.example.com/team/app", "https://h.example.com:443/team/app.git"} {
		if SameRepo(in) != same {
			t.Errorf("%s is another", in)
		}
	}
	for _, in := range []string{"ssh://git@h.example.com:2222/team/app.git", "https://h.example.com/team/app2", "https://g.example.com/team/app"} {
		if SameRepo(in) == same {
			t.Errorf("%s is the same", in)
		}
	}
}

func TestNearest(t *testing.T) {
	known := []string{"path_allowlist", "host", "hosts_file", "auth", "backend"}
	for in, want := range map[string]string{"bakend": "backend", "backned": "backend", "path": "path_allowlist", "hots": "host", "zebra": "", "": "", strings.Repeat("h", 100): ""} {
		if got := Nearest(in, known); got != want {
			t.Errorf("Nearest(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestBranchGlob(t *testing.T) {
	for _, b := range []string{"main", "agent/*", "release-?", "a.b/c", "*"} {
		if !BranchGlob(b) {
			t.Errorf("%q is refused", b)
		}
	}
	for _, b := range []string{"", "-x", "a..b", "a b", "/a", "a/", "a//b", ".a", "a/.b", "a.lock", "a@{1}", "a~1", "a^", "a:b", "a\\b", "[a]", "a."} {
		if BranchGlob(b) {
			t.Errorf("%q is accepted", b)
		}
	}
}
