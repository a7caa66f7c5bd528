package smolvmtest

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"bottle/internal/backend/jail/fence"
)

// HostSystem is a file that a test puts into a root file system: the VM has the host's
// /usr, /etc and their kin then, read-only.
const HostSystem = "host-system"

// execReply answers one exec.
type execReply struct {
	Code  int    `json:"code"`
	Error string `json:"error,omitempty"`
}

// children are those of the VM's pid 1 that somebody waits for.
type children struct {
	mu  sync.Mutex
	all map[int]chan int
}

// init is pid 1 of the VM: it builds the root and the network, then runs what exec asks.
func (p *program) init(name string) (int, error) {
	m, err := p.read(name)
	if err != nil {
		return 1, err
	}
	if err := unix.Sethostname([]byte(name)); err != nil {
		return 1, err
	}
	if err := network(m, p.Datagrams); err != nil {
		return 1, fmt.Errorf("make the network: %w", err)
	}
	if err := p.root(m); err != nil {
		return 1, fmt.Errorf("make the root: %w", err)
	}
	if err := handOver(os.NewFile(3, "relay")); err != nil {
		return 1, err
	}
	f := os.NewFile(4, "exec")
	l, err := net.FileListener(f)
	if err != nil {
		return 1, err
	}
	f.Close()
	k := &children{all: map[int]chan int{}}
	go k.reap()
	for {
		c, err := l.Accept()
		if err != nil {
			return 1, err
		}
		go k.serve(c.(*net.UnixConn))
	}
}

func network(m machine, datagrams bool) error {
	if err := fence.Loopback(false); err != nil || !m.Net {
		return err
	}
	return firewall(m.Allow, datagrams)
}

// handOver gives the relay the listener to which the firewall leads.
func handOver(to *os.File) error {
	defer to.Close()
	l, err := net.Listen("tcp4", "0.0.0.0:"+strconv.Itoa(relayPort))
	if err != nil {
		return err
	}
	f, err := l.(*net.TCPListener).File()
	if err != nil {
		return err
	}
	defer f.Close()
	l.Close()
	udp, err := net.ListenUDP("udp4", &net.UDPAddr{Port: relayPort})
	if err != nil {
		return err
	}
	uf, err := udp.File()
	if err != nil {
		return err
	}
	defer uf.Close()
	udp.Close()
	return unix.Sendmsg(int(to.Fd()), []byte("outlet"), unix.UnixRights(int(f.Fd()), int(uf.Fd())), nil, 0)
}

// root builds the VM's file system and leaves the host's.
func (p *program) root(m machine) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil { // of this pid namespace: see idmap
		return err
	}
	const at = "/mnt"
	if err := unix.Mount("vm", at, "tmpfs", 0, "mode=755"); err != nil {
		return err
	}
	for _, d := range []string{"proc", "dev", "tmp", "run", "mnt", "home", "root", "var", "sys", "host"} {
		if err := os.Mkdir(filepath.Join(at, d), 0o755); err != nil {
			return err
		}
	}
	from := m.Image
	if _, err := os.Stat(filepath.Join(m.Image, HostSystem)); err == nil {
		from = "/"
	}
	for _, d := range []string{"usr", "etc", "bin", "sbin", "lib", "lib64", "opt"} {
		if err := system(filepath.Join(from, d), filepath.Join(at, d)); err != nil {
			return err
		}
	}
	for _, v := range m.Volumes {
		parts := strings.Split(v, ":")
		if err := p.share(m, parts[0], filepath.Join(at, parts[1]), len(parts) == 3 && !p.DropRO); err != nil {
			return err
		}
	}
	if err := bind("/dev", at+"/dev", false); err != nil {
		return err
	}
	if err := unix.Mount("proc", at+"/proc", "proc", 0, ""); err != nil {
		return err
	}
	for _, d := range []string{"tmp", "run"} {
		if err := unix.Mount("vm-"+d, filepath.Join(at, d), "tmpfs", 0, "mode=1777"); err != nil {
			return err
		}
	}
	if err := unix.PivotRoot(at, at+"/host"); err != nil {
		return fmt.Errorf("pivot: %w", err)
	}
	if err := os.Chdir("/"); err != nil {
		return err
	}
	return unix.Unmount("/host", unix.MNT_DETACH)
}

// system shows one folder of the system, or makes its symlink again.
func system(from, at string) error {
	fi, err := os.Lstat(from)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if fi.Mode()&os.ModeSymlink != 0 {
		to, err := os.Readlink(from)
		if err != nil {
			return err
		}
		return os.Symlink(to, at)
	}
	return bind(from, at, true)
}

func bind(from, at string, readOnly bool) error {
	if err := os.MkdirAll(at, 0o755); err != nil {
		return err
	}
	if err := unix.Mount(from, at, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("bind %s: %w", from, err)
	}
	if !readOnly {
		return nil
	}
	return unix.MountSetattr(unix.AT_FDCWD, at, 0, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY})
}

// share shows a folder of the host.
func (p *program) share(m machine, from, at string, readOnly bool) error {
	if p.RemapUID == 0 && m.UID == 0 {
		return bind(from, at, readOnly)
	}
	if err := os.MkdirAll(at, 0o755); err != nil {
		return err
	}
	ns, err := p.idmap(m)
	if err != nil {
		return fmt.Errorf("map users: %w", err)
	}
	defer ns.Close()
	fd, err := unix.OpenTree(unix.AT_FDCWD, from, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_IDMAP, Userns_fd: uint64(ns.Fd())}
	if readOnly {
		attr.Attr_set |= unix.MOUNT_ATTR_RDONLY
	}
	if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH, &attr); err != nil {
		return fmt.Errorf("map users of %s: %w", from, err)
	}
	return unix.MoveMount(fd, "", unix.AT_FDCWD, at, unix.MOVE_MOUNT_F_EMPTY_PATH)
}

// idmap is a user namespace that maps whose machine it is to RemapUID, or to himself: nobody
// else has a file in it, since smolvm opens all of them as him.
func (p *program) idmap(m machine) (*os.File, error) {
	uids := []syscall.SysProcIDMap{{ContainerID: m.UID, HostID: cmp.Or(p.RemapUID, m.UID), Size: 1}}
	gids := []syscall.SysProcIDMap{{ContainerID: m.GID, HostID: cmp.Or(p.RemapUID, m.GID), Size: 1}}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer w.Close()
	defer r.Close()
	idle, err := os.StartProcess("/bin/cat", []string{"cat"}, &os.ProcAttr{Files: []*os.File{r}, Sys: &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER, UidMappings: uids, GidMappings: gids}})
	if err != nil {
		return nil, err
	}
	defer func() { _, _ = idle.Kill(), idle.Release() }() // pid 1 waits for it
	return os.Open("/proc/" + strconv.Itoa(idle.Pid) + "/ns/user")
}

// reap waits for every child, and tells who waits for one.
func (k *children) reap() {
	for {
		var ws unix.WaitStatus
		pid, err := unix.Wait4(-1, &ws, 0, nil)
		if errors.Is(err, unix.ECHILD) {
			_, _ = unix.Poll(nil, 2) // milliseconds, until there is a child
			continue
		}
		if err != nil {
			continue
		}
		code := ws.ExitStatus()
		if ws.Signaled() {
			code = 128 + int(ws.Signal())
		}
		k.mu.Lock()
		done := k.all[pid]
		delete(k.all, pid)
		k.mu.Unlock()
		if done != nil {
			done <- code
		}
	}
}

// serve runs one command with the three descriptors that came with it.
func (k *children) serve(c *net.UnixConn) {
	defer c.Close()
	reply := func(r execReply) { _ = json.NewEncoder(c).Encode(r) }
	b, oob := make([]byte, 64<<10), make([]byte, unix.CmsgSpace(12))
	n, oobn, _, _, err := c.ReadMsgUnix(b, oob)
	if err != nil {
		return
	}
	var o order
	msgs, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil || len(msgs) != 1 || json.Unmarshal(b[:n], &o) != nil || len(o.Argv) == 0 {
		reply(execReply{Code: 1, Error: "not a command"})
		return
	}
	fds, err := unix.ParseUnixRights(&msgs[0])
	if err != nil || len(fds) != 3 {
		reply(execReply{Code: 1, Error: "not three descriptors"})
		return
	}
	argv := o.Argv
	path := argv[0]
	if !strings.Contains(path, "/") {
		path = "/usr/bin/" + path
	}
	done := make(chan int, 1)
	k.mu.Lock()
	pid, err := syscall.ForkExec(path, argv, &syscall.ProcAttr{
		Dir: o.Dir, Env: append([]string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root"}, o.Env...),
		Files: []uintptr{uintptr(fds[0]), uintptr(fds[1]), uintptr(fds[2])}, Sys: &syscall.SysProcAttr{Setsid: true, Setctty: o.TTY},
	})
	if err == nil {
		k.all[pid] = done
	}
	k.mu.Unlock()
	for _, fd := range fds {
		unix.Close(fd)
	}
	if err != nil {
		reply(execReply{Code: 127, Error: fmt.Sprintf("exec %s: %v", argv[0], err)})
		return
	}
	gone := make(chan struct{})
	go func() { // the caller's death ends the command
		defer close(gone)
		_, _ = c.Read(make([]byte, 1))
	}()
	select {
	case code := <-done:
		reply(execReply{Code: code})
	case <-gone:
		_ = unix.Kill(pid, unix.SIGKILL)
		<-done
	}
}
