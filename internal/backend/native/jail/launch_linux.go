package jail

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"runtime"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// Launch is the outer half: it reads the Spec, stages mounts when it is root,
// clones init into new namespaces and waits for it. It returns init's exit code.
func Launch(identity string) (int, error) {
	// Pdeathsig follows the thread that forked, not the process (prctl(2)).
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := keepDescriptors(); err != nil {
		return 0, err
	}
	ctl := os.NewFile(controlFD, "control")
	gw := os.NewFile(gatewayFD, "gateway")
	var req Request
	w := NewWire(ctl)
	if _, err := w.Receive(&req); err != nil {
		return 0, fmt.Errorf("read spec: %w", err)
	}
	if req.Spec == nil || req.Spec.Bottle.Identity != identity {
		return 0, fmt.Errorf("read spec: it is not for %s", identity)
	}
	spec := req.Spec
	exe, err := os.Executable()
	if err != nil {
		return 0, fmt.Errorf("find own program: %w", err)
	}
	if spec.Staged {
		if exe, err = stage(spec, exe); err != nil {
			return 0, fmt.Errorf("stage mounts: %w", err)
		}
	}
	init, err := startInit(spec, exe, ctl, gw)
	if err != nil {
		return 0, err
	}
	ctl.Close()
	gw.Close()
	if err := init.brief(spec, exe); err != nil {
		_ = init.proc.Kill() // it holds nothing yet, and its parent's end would end it too
		return 0, err
	}
	st, err := init.proc.Wait()
	if err != nil {
		return 0, fmt.Errorf("wait for init: %w", err)
	}
	return st.ExitCode(), nil
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

type initProcess struct {
	proc *os.Process
	spec *os.File
}

// startInit clones bottle-jail init. It is born with an empty environment, in
// its own user, mount, pid, network, ipc, uts and cgroup namespaces, as uid 1000
// with the ambient capabilities that the building needs; init drops them all.
func startInit(spec *Spec, exe string, ctl, gw *os.File) (*initProcess, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("make pipe: %w", err)
	}
	defer r.Close()
	attr := &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET |
			unix.CLONE_NEWIPC | unix.CLONE_NEWUTS | unix.CLONE_NEWCGROUP,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: AgentUID, HostID: spec.HostUID, Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: AgentGID, HostID: spec.HostGID, Size: 1}},
		AmbientCaps: buildCaps(),
		Pdeathsig:   syscall.SIGKILL,
	}
	if spec.Staged {
		// Root gives up its groups; an ordinary user cannot (user_namespaces(7)).
		attr.GidMappingsEnableSetgroups = true
		attr.Credential = &syscall.Credential{Uid: AgentUID, Gid: AgentGID}
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		return nil, fmt.Errorf("open null: %w", err)
	}
	defer null.Close()
	p, err := os.StartProcess(exe, []string{"bottle-jail", "init", "--identity", spec.Bottle.Identity}, &os.ProcAttr{
		Dir: "/", Env: []string{}, Files: []*os.File{null, null, os.Stderr, ctl, gw, r}, Sys: attr,
	})
	if err != nil {
		w.Close()
		return nil, fmt.Errorf("clone namespaces: %w", err)
	}
	return &initProcess{proc: p, spec: w}, nil
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
		if err := os.WriteFile(procs, []byte(strconv.Itoa(p.proc.Pid)), 0o600); err != nil {
			return fmt.Errorf("join cgroup: %w", err)
		}
	}
	if err := enc.Encode(limited); err != nil {
		return fmt.Errorf("tell init that it is limited: %w", err)
	}
	return nil
}
