package smolvmtest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// The roles of the stand-in that are no calls: the relay, which is to the VM what the
// monitor's process is to a real one, and the VM's pid 1.
const (
	relayWord = "vm-relay"
	initWord  = "vm-init"
)

// relayPort is where the VM's connections are led inside its network namespace.
const relayPort = 61999

func living(pid int) bool {
	if pid <= 0 || unix.Kill(pid, 0) != nil {
		return false
	}
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	return err == nil && !zombie(string(b))
}

func zombie(stat string) bool {
	for i := len(stat) - 1; i > 0; i-- {
		if stat[i] == ')' {
			return i+2 < len(stat) && stat[i+2] == 'Z'
		}
	}
	return true
}

// end kills a relay and waits for its end; the VM dies with it.
func end(pid int) error {
	if err := unix.Kill(pid, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
		return err
	}
	for range 2000 {
		if !living(pid) {
			return nil
		}
		_, _ = unix.Poll(nil, 5) // milliseconds
	}
	return fmt.Errorf("process %d does not end", pid)
}

// start starts the relay in a session of its own and waits until the VM is up.
func (p *program) start(f *flags) (int, error) {
	m, err := p.read(f.name)
	if err != nil {
		return 1, err
	}
	if p.NoStart {
		return 1, errors.New("failed to start: Hypervisor.framework is not available")
	}
	if m.State == "running" {
		return 0, nil
	}
	r, w, err := os.Pipe()
	if err != nil {
		return 1, err
	}
	defer r.Close()
	log, err := os.OpenFile(filepath.Join(p.home(m.Name), "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return 1, err
	}
	defer log.Close()
	exe, err := os.Executable()
	if err != nil {
		return 1, err
	}
	proc, err := os.StartProcess(exe, []string{"smolvm", word, p.dir, relayWord, m.Name}, &os.ProcAttr{
		Dir: "/", Env: []string{}, Files: []*os.File{nil, log, log, w}, Sys: &syscall.SysProcAttr{Setsid: true, Credential: &syscall.Credential{}},
	})
	if err != nil {
		return 1, err
	}
	w.Close()
	said, _ := io.ReadAll(r)
	if string(said) != "up" {
		why, _ := os.ReadFile(log.Name())
		return 1, fmt.Errorf("failed to start: %s", why)
	}
	m.State, m.PID, m.Execs = "running", proc.Pid, 0
	return 0, p.write(m)
}

// relay runs until it is killed or its VM ends.
func (p *program) relay(name string) (int, error) {
	m, err := p.read(name)
	if err != nil {
		return 1, err
	}
	up := os.NewFile(3, "up")
	sock := filepath.Join(p.home(name), "exec.sock")
	_ = os.Remove(sock)
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: sock})
	if err != nil {
		return 1, err
	}
	lf, err := l.File()
	if err != nil {
		return 1, err
	}
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 1, err
	}
	near, far := os.NewFile(uintptr(fds[0]), "near"), os.NewFile(uintptr(fds[1]), "far")
	exe, err := os.Executable()
	if err != nil {
		return 1, err
	}
	vm, err := os.StartProcess(exe, []string{"smolvm", word, p.dir, initWord, name}, &os.ProcAttr{
		Dir: "/", Env: []string{}, Files: []*os.File{nil, os.Stdout, os.Stderr, far, lf},
		Sys: &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS},
	})
	if err != nil {
		return 1, err
	}
	far.Close()
	lf.Close()
	confine(m, vm.Pid)
	outlet, udp, err := receive(near)
	if err != nil {
		return 1, err
	}
	go p.serve(outlet)
	go scatter(udp)
	if _, err := up.WriteString("up"); err != nil {
		return 1, err
	}
	up.Close()
	_, err = vm.Wait()
	return 0, err
}

// confine limits the VM's memory where the host has a controller for it.
func confine(m machine, pid int) {
	for dir, file := range map[string]string{"/sys/fs/cgroup/memory": "memory.limit_in_bytes", "/sys/fs/cgroup": "memory.max"} {
		group := filepath.Join(dir, "smolvm-stand-in-"+m.Name)
		if _, err := os.Stat(filepath.Join(dir, "cgroup.procs")); err != nil || os.Mkdir(group, 0o755) != nil {
			continue
		}
		if os.WriteFile(filepath.Join(group, file), []byte(strconv.Itoa(m.Mem<<20)), 0o644) == nil {
			_ = os.WriteFile(filepath.Join(group, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0o644)
			return
		}
		_ = os.Remove(group)
	}
}

// groups are where confine puts a VM.
func groups(name string) []string {
	return []string{"/sys/fs/cgroup/memory/smolvm-stand-in-" + name, "/sys/fs/cgroup/smolvm-stand-in-" + name}
}

// dropGroups removes them; the VM dies a little after its relay.
func dropGroups(name string) {
	for _, g := range groups(name) {
		for range 400 {
			if err := os.Remove(g); err == nil || errors.Is(err, os.ErrNotExist) {
				break
			}
			_, _ = unix.Poll(nil, 5) // milliseconds
		}
	}
}

// receive takes the sockets that the VM's pid 1 made in the VM's network.
func receive(near *os.File) (net.Listener, net.PacketConn, error) {
	c, err := net.FileConn(near)
	near.Close()
	if err != nil {
		return nil, nil, err
	}
	defer c.Close()
	b, oob := make([]byte, 8), make([]byte, unix.CmsgSpace(8))
	_, n, _, _, err := c.(*net.UnixConn).ReadMsgUnix(b, oob)
	if err != nil {
		return nil, nil, fmt.Errorf("the VM did not come up: %w", err)
	}
	msgs, err := unix.ParseSocketControlMessage(oob[:n])
	if err != nil || len(msgs) != 1 {
		return nil, nil, errors.New("the VM did not come up")
	}
	fds, err := unix.ParseUnixRights(&msgs[0])
	if err != nil || len(fds) != 2 {
		return nil, nil, errors.New("the VM did not come up")
	}
	f, uf := os.NewFile(uintptr(fds[0]), "outlet"), os.NewFile(uintptr(fds[1]), "datagrams")
	defer f.Close()
	defer uf.Close()
	l, err := net.FileListener(f)
	if err != nil {
		return nil, nil, err
	}
	udp, err := net.FilePacketConn(uf)
	return l, udp, err
}

// scatter sends each datagram of the VM to every UDP socket of 127.0.0.1: where it was
// going is not known here.
func scatter(from net.PacketConn) {
	b := make([]byte, 1<<16)
	for {
		n, _, err := from.ReadFrom(b)
		if err != nil {
			return
		}
		table, _ := os.ReadFile("/proc/net/udp") // every Linux has it
		for line := range strings.Lines(string(table)) {
			f := strings.Fields(line) // proc_net(5): the second is the local address, hexadecimal
			if len(f) < 2 || !strings.HasPrefix(f[1], "0100007F:") {
				continue
			}
			port, err := strconv.ParseUint(f[1][9:], 16, 16)
			if err != nil {
				continue
			}
			if c, err := net.Dial("udp4", "127.0.0.1:"+strconv.FormatUint(port, 10)); err == nil {
				_, _ = c.Write(b[:n])
				c.Close()
			}
		}
	}
}

// serve makes each connection of the VM again, on the host. The kernel inside has
// compared the address already; the port is nobody's business.
func (p *program) serve(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			to, err := original(c.(*net.TCPConn))
			if err != nil {
				_ = c.Close()
				return
			}
			at := to.String()
			if !to.Addr().IsLoopback() {
				at = p.World
			}
			up, err := net.DialTimeout("tcp4", at, 2*time.Second)
			if err != nil {
				_ = c.(*net.TCPConn).SetLinger(0)
				_ = c.Close()
				return
			}
			join(c.(*net.TCPConn), up.(*net.TCPConn))
		}()
	}
}

func join(a, b *net.TCPConn) {
	var both sync.WaitGroup
	one := func(to, from *net.TCPConn) {
		if _, err := io.Copy(to, from); err != nil || to.CloseWrite() != nil {
			_, _ = a.SetLinger(0), b.SetLinger(0)
			_, _ = a.Close(), b.Close()
		}
	}
	both.Go(func() { one(a, b) })
	one(b, a)
	both.Wait()
	_, _ = a.Close(), b.Close()
}

// original is SO_ORIGINAL_DST (linux/netfilter_ipv4.h).
func original(c *net.TCPConn) (netip.AddrPort, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return netip.AddrPort{}, err
	}
	var dst netip.AddrPort
	var opErr error
	err = raw.Control(func(fd uintptr) {
		m, err := unix.GetsockoptIPv6Mreq(int(fd), unix.SOL_IP, 80)
		if opErr = err; err == nil {
			dst = netip.AddrPortFrom(netip.AddrFrom4([4]byte(m.Multiaddr[4:8])), binary.BigEndian.Uint16(m.Multiaddr[2:4]))
		}
	})
	return dst, errors.Join(err, opErr)
}
