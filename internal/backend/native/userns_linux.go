package native

import (
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"bottle/internal/backend"
)

// userNamespaces looks for everything that is known to forbid them: the limits,
// a chroot, a root that is none, Debian's switch, Ubuntu's AppArmor rule. What a
// filter or SELinux would say, only a try tells: it is named in what was found.
func (m machine) userNamespaces() backend.Check {
	c := backend.Check{Wall: "user-namespaces", Needed: true}
	for _, kind := range []string{"user", "mnt", "pid", "net", "ipc", "uts", "cgroup"} {
		name := "max_" + kind + "_namespaces"
		if n, ok := m.sysctl("user/" + name); ok && n == 0 {
			c.Found, c.Fix = "user."+name+" is 0", "sudo sysctl -w user."+name+"=15000"
			return c
		}
	}
	if mounts := parseMounts(m.text("proc/self/mountinfo")); len(mounts) > 0 && !rooted(mounts) {
		c.Found = "this is a chroot (no mount stands at /), and the kernel makes no user namespaces in one"
		c.Fix = "leave the chroot"
		return c
	}
	forbids, ok := m.forbidUser, "no limit, no switch and no AppArmor rule forbids them"
	if m.euid == 0 {
		forbids, ok = m.forbidRoot, "root may make them"
	}
	if c.Found, c.Fix = forbids(); c.Found != "" {
		return c
	}
	c.OK, c.Found = true, ok
	if m.status("Seccomp") == strconv.Itoa(unix.SECCOMP_MODE_FILTER) {
		c.Found += "; this process runs under a seccomp filter (a container?), which might"
	}
	if m.text("sys/fs/selinux/enforce") == "1" && m.has("sys/fs/selinux/class/user_namespace") {
		c.Found += "; SELinux enforces and might (ausearch -m avc -ts recent)"
	}
	return c
}

func rooted(mounts []mount) bool {
	for _, m := range mounts {
		if m.at == "/" {
			return true
		}
	}
	return false
}

// forbidRoot says what keeps root from it, and the way out.
func (m machine) forbidRoot() (found, fix string) {
	caps, err := strconv.ParseUint(m.status("CapEff"), 16, 64)
	if err != nil || caps&(1<<unix.CAP_SYS_ADMIN) == 0 {
		return "this root has no CAP_SYS_ADMIN (a container?), so that it can mount nothing",
			"run bottle as an ordinary user"
	}
	if !m.mapsBottles() {
		return fmt.Sprintf("this root is root of a user namespace alone, without the uids from %d on that root's bottles run as", bottleUIDs),
			"run bottle as an ordinary user"
	}
	return "", ""
}

// mapsBottles reports whether the uids that root's bottles run as exist here
// (user_namespaces(7), uid_map: first id inside, first outside, count).
func (m machine) mapsBottles() bool {
	for line := range strings.Lines(m.text("proc/self/uid_map")) {
		var inside, outside, count uint64
		if _, err := fmt.Sscan(line, &inside, &outside, &count); err != nil {
			continue
		}
		if inside <= bottleUIDs && inside+count >= bottleUIDs+bottleUIDCount {
			return true
		}
	}
	return false
}

// forbidUser says what keeps an ordinary user from it, and the way out.
func (m machine) forbidUser() (found, fix string) {
	if n, ok := m.sysctl("kernel/unprivileged_userns_clone"); ok && n == 0 { // Debian's own, until 10
		return "kernel.unprivileged_userns_clone is 0", "sudo sysctl -w kernel.unprivileged_userns_clone=1"
	}
	if !m.restricted() {
		return "", ""
	}
	file := m.profileFor(m.jail)
	switch {
	case file == "":
		return "AppArmor forbids them to programs without a profile (kernel.apparmor_restrict_unprivileged_userns is 1), and bottle-jail has none",
			"sudo bottle doctor --fix"
	case file == ProfilePath[1:] && !m.loaded():
		return "AppArmor forbids them to programs without a profile, and " + ProfilePath + " is written but not loaded",
			"sudo apparmor_parser -r " + ProfilePath
	}
	return "", ""
}

// restricted: Ubuntu's rule that only programs with a profile may use user
// namespaces (since 23.10; the default since 24.04).
func (m machine) restricted() bool {
	n, ok := m.sysctl("kernel/apparmor_restrict_unprivileged_userns")
	return ok && n != 0
}

// profileFor is the file below etc/apparmor.d that lets program use user
// namespaces, ours or the administrator's; empty: none.
func (m machine) profileFor(program string) string {
	const dir = "etc/apparmor.d"
	files := []string{ProfilePath[1:]}
	entries, err := fs.ReadDir(m.root, dir)
	if err != nil {
		return ""
	}
	for _, e := range entries {
		if !e.IsDir() && dir+"/"+e.Name() != files[0] {
			files = append(files, dir+"/"+e.Name())
		}
	}
	for _, f := range files {
		if grants(m.text(f), program) {
			return f
		}
	}
	return ""
}

// grants reports whether a profile's text names program as a whole path and
// allows user namespaces. Comments do not count.
func grants(text, program string) bool {
	named, allowed := false, false
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "#") {
			continue
		}
		allowed = allowed || line == "userns," || strings.HasPrefix(line, "userns ") || strings.HasSuffix(line, " userns,")
		for _, word := range strings.FieldsFunc(line, func(r rune) bool { return strings.ContainsRune(" \t\"{},", r) }) {
			named = named || word == program
		}
	}
	return named && allowed
}

// loaded reports whether the kernel has our profile; where it does not let us
// look, the file counts.
func (m machine) loaded() bool {
	entries, err := fs.ReadDir(m.root, "sys/kernel/security/apparmor/policy/profiles")
	if err != nil {
		return true
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), profileName+".") {
			return true
		}
	}
	return false
}
