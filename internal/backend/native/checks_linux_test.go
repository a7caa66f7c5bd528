package native

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"golang.org/x/sys/unix"

	"bottle/internal/backend"
)

const plainMounts = `22 28 0:21 / /proc rw,nosuid,nodev,noexec,relatime shared:13 - proc proc rw
23 28 0:22 / /sys rw,nosuid shared:7 - sysfs sysfs rw
28 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
31 22 0:29 / /proc/sys/fs/binfmt_misc rw,relatime shared:14 - autofs systemd-1 rw
`

// good is a machine on which every wall can stand, for an ordinary user.
func good(change map[string]string) machine {
	root := fstest.MapFS{}
	files := map[string]string{
		"proc/sys/kernel/seccomp/actions_avail": "kill_process kill_thread trap errno user_notif trace log allow\n",
		"proc/sys/user/max_user_namespaces":     "15000\n",
		"proc/sys/user/max_net_namespaces":      "15000\n",
		"proc/self/mountinfo":                   plainMounts,
		"proc/self/status":                      "Name:\tbottle\nCapEff:\t0000000000000000\nSeccomp:\t0\n",
		"proc/self/uid_map":                     "         0          0 4294967295\n",
		"proc/filesystems":                      "nodev\tsysfs\nnodev\toverlay\n\text4\n",
		"sys/module/nf_tables/refcnt":           "9\n",
		"etc/os-release":                        "NAME=\"Debian GNU/Linux\"\nID=debian\n",
	}
	maps.Copy(files, change)
	for name, text := range files {
		if text != "" {
			root[name] = &fstest.MapFile{Data: []byte(text), Mode: 0o644}
		}
	}
	for _, p := range []string{"opt/bottle/bottle-jail", "opt/bottle/bottle-gateway"} {
		root[p] = &fstest.MapFile{Mode: 0o755}
	}
	return machine{
		root: root, euid: 1000, release: "6.8.0-45-generic", landlock: 4,
		jail: "/opt/bottle/bottle-jail", gateway: "/opt/bottle/bottle-gateway",
		cgroups: []cgroupHome{{dir: "/sys/fs/cgroup/user.slice"}},
	}
}

const (
	restrict  = "proc/sys/kernel/apparmor_restrict_unprivileged_userns"
	rootCaps  = "CapEff:\t000001ffffffffff\n"
	profiles  = "sys/kernel/security/apparmor/policy/profiles/"
	ourFile   = "etc/apparmor.d/bottle-jail"
	rootState = "proc/self/status"
)

func ourProfile(programs ...string) string { return string(profile(programs)) }

func TestEachCheckOfAMachine(t *testing.T) {
	root := func(m *machine) { m.euid = 0 }
	for name, c := range map[string]struct {
		files  map[string]string
		change func(*machine)
		wall   string
		ok     bool
		needed bool
		found  string
		fix    string
	}{
		"helpers":                {wall: "helpers", ok: true, needed: true, found: "/opt/bottle"},
		"helpers: none":          {change: func(m *machine) { m.gateway = "/opt/bottle/gone" }, wall: "helpers", needed: true, found: `no program "/opt/bottle/gone"`, fix: "make build"},
		"helpers: a zero Native": {change: func(m *machine) { m.jail = "" }, wall: "helpers", needed: true, found: `no program ""`, fix: "make build"},
		"helpers: a folder":      {change: func(m *machine) { m.jail = "/opt/bottle" }, wall: "helpers", needed: true, found: "/opt/bottle", fix: "make build"},

		"kernel":              {wall: "kernel", ok: true, needed: true, found: "Linux 6.8.0-45-generic"},
		"kernel: the oldest":  {change: func(m *machine) { m.release = "5.12.0" }, wall: "kernel", ok: true, needed: true, found: "5.12"},
		"kernel: too old":     {change: func(m *machine) { m.release = "5.11.22" }, wall: "kernel", needed: true, found: "mount_setattr", fix: "sudo apt-get install linux-image-amd64, then reboot"},
		"kernel: old Ubuntu":  {files: map[string]string{"etc/os-release": "ID=ubuntu\nID_LIKE=debian\n"}, change: func(m *machine) { m.release = "5.4.0-150-generic" }, wall: "kernel", needed: true, found: "5.4", fix: "linux-generic"},
		"kernel: old Rocky":   {files: map[string]string{"etc/os-release": "ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n"}, change: func(m *machine) { m.release = "4.18.0-513.el8" }, wall: "kernel", needed: true, found: "4.18", fix: "sudo dnf upgrade kernel"},
		"kernel: no os known": {files: map[string]string{"etc/os-release": ""}, change: func(m *machine) { m.release = "" }, wall: "kernel", needed: true, found: "Linux ", fix: "upgrade the package kernel"},

		"user namespaces":                 {wall: "user-namespaces", ok: true, needed: true, found: "no limit"},
		"user namespaces: limit 0":        {files: map[string]string{"proc/sys/user/max_user_namespaces": "0"}, wall: "user-namespaces", needed: true, found: "user.max_user_namespaces is 0", fix: "sudo sysctl -w user.max_user_namespaces=15000"},
		"user namespaces: no net":         {files: map[string]string{"proc/sys/user/max_net_namespaces": "0"}, wall: "user-namespaces", needed: true, found: "user.max_net_namespaces is 0", fix: "user.max_net_namespaces=15000"},
		"user namespaces: limit 0, root":  {files: map[string]string{"proc/sys/user/max_user_namespaces": "0", rootState: rootCaps}, change: root, wall: "user-namespaces", needed: true, found: "max_user_namespaces is 0", fix: "sysctl"},
		"user namespaces: chroot":         {files: map[string]string{"proc/self/mountinfo": "22 28 0:21 / /proc rw,relatime - proc proc rw\n"}, wall: "user-namespaces", needed: true, found: "chroot", fix: "leave"},
		"user namespaces: Debian's off":   {files: map[string]string{"proc/sys/kernel/unprivileged_userns_clone": "0"}, wall: "user-namespaces", needed: true, found: "unprivileged_userns_clone is 0", fix: "kernel.unprivileged_userns_clone=1"},
		"user namespaces: Debian's on":    {files: map[string]string{"proc/sys/kernel/unprivileged_userns_clone": "1"}, wall: "user-namespaces", ok: true, needed: true, found: "no limit"},
		"user namespaces: root":           {files: map[string]string{rootState: rootCaps, restrict: "1", "proc/sys/kernel/unprivileged_userns_clone": "0"}, change: root, wall: "user-namespaces", ok: true, needed: true, found: "root may"},
		"user namespaces: docker's root":  {files: map[string]string{rootState: "CapEff:\t00000000a80425fb\n"}, change: root, wall: "user-namespaces", needed: true, found: "no CAP_SYS_ADMIN", fix: "ordinary user"},
		"user namespaces: nothing known":  {files: map[string]string{rootState: ""}, change: root, wall: "user-namespaces", needed: true, found: "no CAP_SYS_ADMIN", fix: "ordinary user"},
		"user namespaces: rootless root":  {files: map[string]string{rootState: rootCaps, "proc/self/uid_map": "0 1000 1\n1 100000 65536\n"}, change: root, wall: "user-namespaces", needed: true, found: "root of a user namespace", fix: "ordinary user"},
		"user namespaces: mapped in part": {files: map[string]string{rootState: rootCaps, "proc/self/uid_map": "0 0 1879048193\n"}, change: root, wall: "user-namespaces", needed: true, found: "root of a user namespace", fix: "ordinary user"},
		"user namespaces: root, Yama 3":   {files: map[string]string{rootState: rootCaps, "proc/sys/kernel/yama/ptrace_scope": "3"}, change: root, wall: "user-namespaces", ok: true, needed: true, found: "root may make them"},
		"user namespaces: user, Yama 3":   {files: map[string]string{"proc/sys/kernel/yama/ptrace_scope": "3"}, wall: "user-namespaces", ok: true, needed: true, found: "no limit"},
		"user namespaces: filtered":       {files: map[string]string{rootState: "Seccomp:\t2\n"}, wall: "user-namespaces", ok: true, needed: true, found: "seccomp filter"},
		"user namespaces: SELinux":        {files: map[string]string{"sys/fs/selinux/enforce": "1", "sys/fs/selinux/class/user_namespace/index": "90"}, wall: "user-namespaces", ok: true, needed: true, found: "SELinux"},
		"user namespaces: old SELinux":    {files: map[string]string{"sys/fs/selinux/enforce": "1"}, wall: "user-namespaces", ok: true, needed: true, found: "no limit"},

		"AppArmor: off":              {files: map[string]string{restrict: "0"}, wall: "user-namespaces", ok: true, needed: true},
		"AppArmor: forbids":          {files: map[string]string{restrict: "1"}, wall: "user-namespaces", needed: true, found: "AppArmor forbids", fix: "sudo bottle doctor --fix"},
		"AppArmor: ours":             {files: map[string]string{restrict: "1", ourFile: ourProfile("/opt/bottle/bottle-jail"), profiles + "bottle-jail.7/mode": "unconfined"}, wall: "user-namespaces", ok: true, needed: true},
		"AppArmor: ours, for two":    {files: map[string]string{restrict: "1", ourFile: ourProfile("/a/bottle-jail", "/opt/bottle/bottle-jail"), profiles + "bottle-jail.7/mode": "unconfined"}, wall: "user-namespaces", ok: true, needed: true},
		"AppArmor: not to be seen":   {files: map[string]string{restrict: "1", ourFile: ourProfile("/opt/bottle/bottle-jail")}, wall: "user-namespaces", ok: true, needed: true},
		"AppArmor: not loaded":       {files: map[string]string{restrict: "1", ourFile: ourProfile("/opt/bottle/bottle-jail"), profiles + "man_groff.1/mode": "enforce"}, wall: "user-namespaces", needed: true, found: "not loaded", fix: "sudo apparmor_parser -r /etc/apparmor.d/bottle-jail"},
		"AppArmor: for another":      {files: map[string]string{restrict: "1", ourFile: ourProfile("/home/me/bottle-jail")}, wall: "user-namespaces", needed: true, found: "bottle-jail has none", fix: "--fix"},
		"AppArmor: for a longer one": {files: map[string]string{restrict: "1", ourFile: ourProfile("/opt/bottle/bottle-jail.old")}, wall: "user-namespaces", needed: true, found: "bottle-jail has none", fix: "--fix"},
		"AppArmor: the admin's":      {files: map[string]string{restrict: "1", "etc/apparmor.d/local-bottle": "profile b \"/opt/bottle/bottle-jail\" flags=(unconfined) {\n  allow userns,\n}\n"}, wall: "user-namespaces", ok: true, needed: true},
		"AppArmor: grants nothing":   {files: map[string]string{restrict: "1", "etc/apparmor.d/local-bottle": "profile b /opt/bottle/bottle-jail {\n  # userns,\n  network,\n}\n"}, wall: "user-namespaces", needed: true, found: "bottle-jail has none", fix: "--fix"},

		"proc":                     {wall: "processes", ok: true, needed: true},
		"proc: none":               {files: map[string]string{"proc/self/mountinfo": "28 1 8:1 / / rw - ext4 /dev/sda1 rw\n"}, wall: "processes", needed: true, found: "no /proc", fix: "mount -t proc"},
		"proc: a container's":      {files: map[string]string{"proc/self/mountinfo": plainMounts + "40 22 0:5 /null /proc/kcore rw,nosuid - tmpfs tmpfs rw\n"}, wall: "processes", needed: true, found: "/proc/kcore is covered", fix: "systempaths=unconfined"},
		"proc: read-only":          {files: map[string]string{"proc/self/mountinfo": strings.Replace(plainMounts, "/proc rw", "/proc ro", 1)}, wall: "processes", needed: true, found: "/proc is mounted read-only", fix: "unmask=ALL"},
		"proc: another is visible": {files: map[string]string{"proc/self/mountinfo": plainMounts + "40 22 0:5 /null /proc/kcore rw - tmpfs tmpfs rw\n41 28 0:21 / /mnt/proc rw - proc proc rw\n"}, wall: "processes", ok: true, needed: true},
		"proc: a bind of a part":   {files: map[string]string{"proc/self/mountinfo": "28 1 8:1 / / rw - ext4 /dev/sda1 rw\n41 28 0:21 /sys /mnt/sys rw - proc proc rw\n"}, wall: "processes", needed: true, found: "no /proc", fix: "mount -t proc"},
		"proc: garbage":            {files: map[string]string{"proc/self/mountinfo": "a b c - \n- - - - - - -\n"}, wall: "processes", needed: true, found: "no /proc", fix: "mount -t proc"},

		"overlay":            {wall: "workspace", ok: true},
		"overlay: a module":  {files: map[string]string{"proc/filesystems": "\text4\n", "lib/modules/6.8.0-45-generic/modules.dep": "kernel/fs/overlayfs/overlay.ko.zst:\n"}, wall: "workspace", ok: true, found: "at the first use"},
		"overlay: none":      {files: map[string]string{"proc/filesystems": "\text4\nnodev\toverlayish\n"}, wall: "workspace", found: "no overlay", fix: "sudo modprobe overlay"},
		"firewall":           {wall: "network", ok: true, needed: true, found: "nf_tables is loaded"},
		"firewall: built in": {files: map[string]string{"sys/module/nf_tables/refcnt": "", "lib/modules/6.8.0-45-generic/modules.builtin": "kernel/net/netfilter/nf_tables.ko\n"}, wall: "network", ok: true, needed: true, found: "is built in"},
		"firewall: unknown":  {files: map[string]string{"sys/module/nf_tables/refcnt": ""}, wall: "network", ok: true, needed: true, found: "only a trial"},
		"firewall: none":     {change: func(m *machine) { m.netfilter = unix.EPROTONOSUPPORT }, wall: "network", needed: true, found: "no netfilter socket", fix: "sudo modprobe -a nf_tables"},
		"firewall: filtered": {change: func(m *machine) { m.netfilter = unix.EPERM }, wall: "network", needed: true, found: "forbids", fix: "seccomp=unconfined"},

		"seccomp":            {wall: "seccomp", ok: true, needed: true},
		"seccomp: none":      {files: map[string]string{"proc/sys/kernel/seccomp/actions_avail": ""}, wall: "seccomp", needed: true, found: "no filters", fix: "CONFIG_SECCOMP_FILTER"},
		"seccomp: too old":   {files: map[string]string{"proc/sys/kernel/seccomp/actions_avail": "kill_thread errno"}, wall: "seccomp", needed: true, found: "does not list", fix: "CONFIG_SECCOMP_FILTER"},
		"landlock":           {wall: "landlock", ok: true, found: "ABI 4"},
		"landlock: off":      {files: map[string]string{"sys/kernel/security/lsm": "lockdown,yama,apparmor\n"}, change: func(m *machine) { m.landlock, m.noLandlock = 0, unix.EOPNOTSUPP }, wall: "landlock", found: "not switched on", fix: "lsm=landlock,lockdown,yama,apparmor"},
		"landlock: none":     {change: func(m *machine) { m.landlock, m.noLandlock = 0, unix.ENOSYS }, wall: "landlock", found: "built without", fix: "CONFIG_SECURITY_LANDLOCK"},
		"landlock: filtered": {change: func(m *machine) { m.landlock, m.noLandlock = 0, unix.EPERM }, wall: "landlock", found: "a filter", fix: "seccomp=unconfined"},
		"limits":             {wall: "limits", ok: true, found: "/sys/fs/cgroup/user.slice"},
		"limits: none":       {files: map[string]string{"run/systemd/system/x": "1"}, change: func(m *machine) { m.cgroups = nil }, wall: "limits", found: "not limited", fix: "systemd-run --user"},
		"limits: no systemd": {change: func(m *machine) { m.cgroups = nil }, wall: "limits", found: "not limited"},
	} {
		t.Run(name, func(t *testing.T) {
			m := good(c.files)
			if c.change != nil {
				c.change(&m)
			}
			for _, got := range m.checks() {
				if got.Wall == c.wall {
					compare(t, got, c.ok, c.needed, c.found, c.fix)
					return
				}
			}
			t.Fatalf("there is no check %s", c.wall)
		})
	}
}

func compare(t *testing.T, got backend.Check, ok, needed bool, found, fix string) {
	t.Helper()
	if got.OK != ok || got.Needed != needed || !strings.Contains(got.Found, found) || got.Found == "" {
		t.Errorf("%+v, want ok %v, needed %v, found …%s…", got, ok, needed, found)
	}
	if fix == "" != (got.Fix == "") || !strings.Contains(got.Fix, fix) {
		t.Errorf("the fix is %q, want …%s…", got.Fix, fix)
	}
}

func TestNotesSayWhatIsMissing(t *testing.T) {
	m := good(nil)
	if got := m.notes(); len(got) != 0 {
		t.Errorf("a good machine has the notes %q", got)
	}
	m.cgroups, m.landlock = nil, 0
	if got := m.notes(); len(got) != 2 {
		t.Errorf("the notes are %q", got)
	}
}

// Every start asks for the facts, so asking leaves nothing open.
func TestFactsLeaveNothingOpen(t *testing.T) {
	n := &Native{JailPath: "/bin/true", GatewayPath: "/bin/true"}
	if _, err := n.Facts(context.Background()); err != nil { // the runtime opens its poller once
		t.Fatal(err)
	}
	before := openDescriptors(t)
	for range 10 {
		if _, err := n.Facts(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	if after := openDescriptors(t); after > before {
		t.Errorf("%d descriptors before, %d after", before, after)
	}
}

func openDescriptors(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

// The facts are to cost less than a millisecond.
func BenchmarkFacts(b *testing.B) {
	n := &Native{JailPath: "/bin/true", GatewayPath: "/bin/true"}
	for b.Loop() {
		if _, err := n.Facts(context.Background()); err != nil {
			b.Fatal(err)
		}
	}
}

// Whatever stands in /proc, reading it never panics and never invents a mount.
func FuzzMountinfo(f *testing.F) {
	f.Add(plainMounts)
	f.Add("1 2 3 / /proc ro - proc")
	f.Fuzz(func(t *testing.T, text string) {
		for _, m := range parseMounts(text) {
			if m.kind == "" || m.at == "" {
				t.Errorf("%q gave %+v", text, m)
			}
		}
		m := good(map[string]string{"proc/self/mountinfo": text})
		if c := m.procMount(); c.OK && !strings.Contains(text, "proc") {
			t.Errorf("%q passes: %+v", text, c)
		}
	})
}

// A root that cannot be read is a machine on which nothing can stand.
type noRoot struct{}

func (noRoot) Open(string) (fs.File, error) { return nil, errors.New("no") }

func TestUnreadableMachineRefuses(t *testing.T) {
	for _, c := range (machine{root: noRoot{}}).checks() {
		if c.Needed && c.OK && c.Wall != "network" { // which is asked for by a system call
			t.Errorf("%s passes on nothing: %s", c.Wall, c.Found)
		}
	}
}
