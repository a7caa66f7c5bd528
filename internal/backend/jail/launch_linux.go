package jail

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// Launch is the outer half: it clones init into new namespaces, hands it the
// Spec and waits for it. As root it stages mounts first, which takes the Spec; else
// init is born while the Spec is still on its way. It returns init's exit code.
func Launch(identity string) (int, error) {
	// Pdeathsig follows the thread that forked, not the process (prctl(2)).
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := keepDescriptors(); err != nil {
		return 0, err
	}
	ctl := os.NewFile(controlFD, "control")
	gw := os.NewFile(gatewayFD, "gateway")
	exe, err := os.Executable()
	if err != nil {
		return 0, fmt.Errorf("find own program: %w", err)
	}
	n := newborn{identity: identity, exe: exe, uid: os.Geteuid(), gid: os.Getegid(), ctl: ctl, gw: gw}
	var init *initProcess
	if n.uid != 0 {
		if init, err = n.start(); err != nil {
			return 0, err
		}
	}
	spec, err := receiveSpec(ctl, identity)
	if err == nil && n.uid == 0 {
		init, err = n.startStaged(spec)
	}
	if err == nil {
		ctl.Close()
		gw.Close()
		err = init.brief(spec, n.exe)
	}
	if err != nil {
		if init != nil {
			_ = unix.Kill(init.pid, unix.SIGKILL) // it holds nothing yet, and its parent's end would end it too
		}
		return 0, err
	}
	if err := init.endsFirst(); err != nil {
		return 0, err
	}
	ws, err := waitFor(init.pid)
	if err != nil {
		return 0, fmt.Errorf("wait for init: %w", err)
	}
	return ws.ExitStatus(), nil // -1: a signal ended it
}

// endsFirst has SIGTERM end init instead of this process, which is then waiting for it: whoever
// waits for this one knows that all in the bottle has ended. Did it die first, the kernel would
// end init a little later, and what is in there after that.
func (p *initProcess) endsFirst() error {
	fd, err := unix.PidfdOpen(p.pid, 0)
	if err != nil {
		return fmt.Errorf("hold init: %w", err)
	}
	told := make(chan os.Signal, 1)
	signal.Notify(told, unix.SIGTERM)
	go func() {
		for range told {
			_ = unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0) // it may have ended
		}
	}()
	return nil
}

// receiveSpec reads the first message, which is for the launcher alone.
func receiveSpec(ctl *os.File, identity string) (*Spec, error) {
	var req Request
	if _, err := NewWire(ctl).Receive(&req); err != nil {
		return nil, fmt.Errorf("read spec: %w", err)
	}
	switch {
	case req.Spec == nil || req.Spec.Bottle.Identity != identity:
		return nil, fmt.Errorf("read spec: it is not for %s", identity)
	case req.Spec.Staged != (os.Geteuid() == 0):
		return nil, errors.New("read spec: it is for another user")
	}
	return req.Spec, nil
}

// keepDescriptors marks every descriptor above 2 as close-on-exec: those that
// this program was given, and whatever the operator's shell left open. Without
// it the agent would hold the control socket, and an open folder of the host
// would be a way out (CVE-2024-21626).
func keepDescriptors() error {
	if err := unix.CloseRange(3, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return fmt.Errorf("keep descriptors from what is started: %w", err)
	}
	return nil
}

// newborn is what init begins with.
type newborn struct {
	identity string
	exe      string
	uid, gid int // what uid 1000 inside is on the host
	ctl, gw  *os.File
}

type initProcess struct {
	pid  int
	spec *os.File
}

// startStaged is start as root, behind the stage that the Spec asks for.
func (n *newborn) startStaged(spec *Spec) (*initProcess, error) {
	exe, err := stage(spec, n.exe)
	if err != nil {
		return nil, fmt.Errorf("stage mounts: %w", err)
	}
	n.exe, n.uid, n.gid = exe, spec.HostUID, spec.HostGID
	return n.start()
}

// start clones bottle-jail init. It is born with an empty environment, in
// its own user, mount, pid, network, ipc, uts and cgroup namespaces, as uid 1000
// with the ambient capabilities that the building needs; init drops them all.
func (n *newborn) start() (*initProcess, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("make pipe: %w", err)
	}
	defer r.Close()
	sys := &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET |
			unix.CLONE_NEWIPC | unix.CLONE_NEWUTS | unix.CLONE_NEWCGROUP,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: AgentUID, HostID: n.uid, Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: AgentGID, HostID: n.gid, Size: 1}},
		AmbientCaps: buildCaps(),
		Pdeathsig:   syscall.SIGKILL,
	}
	if os.Geteuid() == 0 {
		// Root gives up its groups; an ordinary user cannot (user_namespaces(7)).
		sys.GidMappingsEnableSetgroups = true
		sys.Credential = &syscall.Credential{Uid: AgentUID, Gid: AgentGID}
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		return nil, fmt.Errorf("open null: %w", err)
	}
	defer null.Close()
	// os.StartProcess would first try out on a child of its own whether pidfds work.
	pid, err := syscall.ForkExec(n.exe, []string{"bottle-jail", "init", "--identity", n.identity}, &syscall.ProcAttr{
		Dir: "/", Env: []string{}, Sys: sys,
		Files: []uintptr{null.Fd(), null.Fd(), os.Stderr.Fd(), n.ctl.Fd(), n.gw.Fd(), r.Fd()},
	})
	if err != nil {
		w.Close()
		return nil, fmt.Errorf("clone namespaces: %w", err)
	}
	return &initProcess{pid: pid, spec: w}, nil
}

// waitFor waits for the end of a child.
func waitFor(pid int) (unix.WaitStatus, error) {
	for {
		var ws unix.WaitStatus
		if _, err := unix.Wait4(pid, &ws, 0, nil); !errors.Is(err, unix.EINTR) {
			return ws, err
		}
	}
}

// buildCaps is what building a root file system and a network from inside takes.
func buildCaps() []uintptr {
	return []uintptr{
		unix.CAP_SYS_ADMIN, unix.CAP_NET_ADMIN, unix.CAP_NET_BIND_SERVICE, unix.CAP_SETPCAP,
		unix.CAP_CHOWN, unix.CAP_FOWNER, unix.CAP_DAC_OVERRIDE,
	}
}

// initSpec is the first thing that init reads from its pipe: the Spec and where its own program
// stands on the host (or on the stage).
type initSpec struct {
	Request Request `json:"request"` // its Spec
	Exe     []byte  `json:"exe"`
}

// limited is what init reads behind its Spec once it is in its control groups.
const limited = "limited"

// brief hands init its Spec, then puts it into its control groups while it
// builds: each move takes the kernel milliseconds. Init waits for the last word
// before it lets anything run.
func (p *initProcess) brief(spec *Spec, exe string) error {
	defer p.spec.Close()
	enc := json.NewEncoder(p.spec)
	if err := enc.Encode(initSpec{Request: Request{Spec: spec}, Exe: []byte(exe)}); err != nil {
		return fmt.Errorf("hand the spec to init: %w", err)
	}
	for _, procs := range spec.Cgroups {
		if err := os.WriteFile(procs, []byte(strconv.Itoa(p.pid)), 0o600); err != nil {
			return fmt.Errorf("join cgroup: %w", err)
		}
	}
	if err := enc.Encode(limited); err != nil {
		return fmt.Errorf("tell init that it is limited: %w", err)
	}
	return nil
}
