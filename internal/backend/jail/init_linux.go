package jail

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"bottle/internal/backend/jail/fence"
	"bottle/internal/backend/jail/source"
	"bottle/internal/plan"
)

// specFD is the pipe on which init reads its Spec.
const specFD = 5

// probeTimeout bounds the whole wall check from inside.
const probeTimeout = 5 * time.Second

// initd is pid 1 of a bottle.
type initd struct {
	spec     *Spec
	wire     *Wire
	bundle   []byte
	confined bool
	agent    int // pid; 0: not started
	exit     chan int
}

// Init builds the bottle, then serves the control socket until the agent ends or
// the socket does. It returns the agent's exit code.
func Init(identity string) (int, error) {
	// All forks come from this one thread: the bounding set is a thread's.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if os.Getpid() != 1 {
		return 0, errors.New("bottle-jail init is for pid 1 of a bottle; run `bottle start`")
	}
	if err := keepDescriptors(); err != nil {
		return 0, err
	}
	d := &initd{wire: NewWire(os.NewFile(controlFD, "control")), exit: make(chan int, 1)}
	if err := d.up(identity); err != nil {
		_ = d.wire.Send(Reply{Error: err.Error()}) // the caller may be gone
		return 0, err
	}
	return d.serve()
}

// Serve is Init for pid 1 of a container: its engine has made the namespaces, the
// file system and the limits, and taken the capabilities. What control carries is
// the same from here on; Place writes as the agent. It returns the agent's exit code.
func Serve(spec *Spec, control *os.File) (int, error) {
	runtime.LockOSThread() // see Init
	defer runtime.UnlockOSThread()
	if spec == nil || !spec.Housed {
		return 0, errors.New("serve a container: the spec is not for one")
	}
	if err := keepDescriptors(); err != nil {
		return 0, err
	}
	unix.Umask(0o022)
	return (&initd{spec: spec, wire: NewWire(control), exit: make(chan int, 1)}).serve()
}

// serve answers requests until the agent ends or the control socket does.
func (d *initd) serve() (int, error) {
	if err := d.wire.Send(Reply{Up: true}); err != nil {
		return 0, err
	}
	for {
		var req Request
		files, err := d.wire.Receive(&req)
		if err != nil {
			select {
			case code := <-d.exit:
				return code, nil
			default:
			}
			if errors.Is(err, io.EOF) {
				return 0, nil // the start is gone, and so is the bottle
			}
			return 0, err
		}
		if err := d.handle(req, files); err != nil {
			_ = d.wire.Send(Reply{Error: err.Error()})
			return 0, err
		}
	}
}

// deaf takes the runtime's handlers off all signals: with them the agent could make
// init die as of a fault of its own. What would end a process is ignored instead, for
// the kernel shields pid 1 from the default action (pid_namespaces(7)) only while the
// first thread doesn't block the signal, and a thread that forks blocks all of them. A
// real fault still ends it. Of a child Go sets to the default what its runtime has
// handled in init, so the agent inherits only that 32 and 34 are ignored, two real-time
// signals whose users set a handler, and whatever nohup(1) set for the operator.
func deaf() error {
	for s := syscall.Signal(1); s <= 64; s++ {
		var action [4]uint64 // struct kernel_sigaction: SIG_DFL, no flags, empty mask
		switch s {
		case syscall.SIGKILL, syscall.SIGSTOP:
			continue // nobody can
		case syscall.SIGCHLD, syscall.SIGCONT, syscall.SIGTSTP, syscall.SIGTTIN, syscall.SIGTTOU, syscall.SIGURG, syscall.SIGWINCH:
			// Their default ends nobody; who ignores SIGCHLD can't wait for children.
		default:
			action[0] = 1 // SIG_IGN
		}
		_, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(s), uintptr(unsafe.Pointer(&action)), 0, 8, 0, 0)
		if errno != 0 {
			return fmt.Errorf("be deaf to %s: %w", s, errno)
		}
	}
	return nil
}

// up builds everything: root file system and network side by side.
func (d *initd) up(identity string) error {
	gw := os.NewFile(gatewayFD, "gateway")
	told, built := make(chan plan.Bottle, 1), make(chan error, 1)
	ipv6 := fence.HasIPv6() // before the host's /proc goes
	go func() { built <- netUp(gw, ipv6, told) }()
	var in initSpec
	pipe := os.NewFile(specFD, "spec")
	defer pipe.Close()
	from := json.NewDecoder(pipe)
	if err := from.Decode(&in); err != nil {
		return fmt.Errorf("read spec: %w", err)
	}
	if d.spec = in.Request.Spec; d.spec == nil || d.spec.Bottle.Identity != identity {
		return fmt.Errorf("read spec: it is not for %s", identity)
	}
	told <- d.spec.Bottle
	if _, err := unix.Setsid(); err != nil { // leaves the host's terminal
		return fmt.Errorf("start session: %w", err)
	}
	unix.Umask(0o022)
	if err := unix.Sethostname([]byte(d.spec.Bottle.Hostname)); err != nil {
		return fmt.Errorf("set host name: %w", err)
	}
	d.bundle = source.HostBundle()
	root := &rootfs{spec: d.spec, exe: string(in.Exe)}
	fsErr := root.build()
	if err := errors.Join(fsErr, <-built); err != nil {
		return err
	}
	var word string
	if err := from.Decode(&word); err != nil || word != limited {
		return fmt.Errorf("wait for the control groups: %w", errors.Join(err, io.ErrUnexpectedEOF))
	}
	return nil
}

// netUp makes the network. The firewall alone takes the plan, so it comes last.
func netUp(gw *os.File, ipv6 bool, told <-chan plan.Bottle) error {
	defer gw.Close()
	err := fence.Loopback(ipv6)
	if err == nil {
		err = fence.HandOver(gw)
	}
	if err == nil {
		err = fence.Firewall(<-told)
	}
	if err != nil {
		return fmt.Errorf("make the network: %w", err)
	}
	return nil
}

func (d *initd) handle(req Request, files []*os.File) error {
	defer func() {
		for _, f := range files {
			f.Close()
		}
	}()
	switch {
	case req.Place != nil:
		if d.confined {
			return errors.New("place files: the bottle is closed already")
		}
		if err := place(req.Place, d.bundle); err != nil {
			return err
		}
		return d.wire.Send(Reply{Placed: true})
	case req.Verify != nil:
		return d.verify(*req.Verify)
	case req.Run != nil:
		return d.run(*req.Run, files)
	case req.Signal != 0:
		if d.agent == 0 {
			return nil
		}
		// A group that is gone is no error.
		_ = unix.Kill(-d.agent, unix.Signal(req.Signal))
		return nil
	}
	return errors.New("the request is empty")
}

// close seals the root and confines this process for good. It is done once,
// before anything else runs inside.
func (d *initd) close() error {
	if d.confined {
		return nil
	}
	if !d.spec.Housed { // an engine's root is read-only from the start
		if err := seal(); err != nil {
			return err
		}
	}
	if err := confine(d.spec); err != nil {
		return fmt.Errorf("confine: %w", err)
	}
	if err := deaf(); err != nil { // last: confining all threads takes a signal
		return err
	}
	d.confined = true
	return nil
}

// verify runs the probe as the agent would stand. It waits for the probe's end
// behind its answer: a process takes longer to go than to answer, and the agent
// shall not meet it.
func (d *initd) verify(p plan.Probes) error {
	if err := d.close(); err != nil {
		return err
	}
	pid, out, err := startProbe(p)
	if err != nil {
		return fmt.Errorf("run the probe: %w", err)
	}
	defer out.Close()
	late := time.AfterFunc(probeTimeout, func() { _ = unix.Kill(pid, unix.SIGKILL) })
	defer late.Stop()
	var results json.RawMessage
	answer := json.NewDecoder(out).Decode(&results)
	if answer == nil {
		if err := d.wire.Send(Reply{Results: results}); err != nil {
			return err
		}
	}
	st, err := waitFor(pid)
	switch {
	case err != nil:
		return fmt.Errorf("wait for the probe: %w", err)
	case st != 0:
		return fmt.Errorf("run the probe: it ended with %d (signal %d)", st.ExitStatus(), st.Signal())
	case answer != nil:
		return fmt.Errorf("read the probe's answer: %w", answer)
	}
	return nil
}

// startProbe starts the probe, tells it p and returns its output.
func startProbe(p plan.Probes) (pid int, out *os.File, err error) {
	in, err := json.Marshal(p)
	if err != nil {
		return 0, nil, err
	}
	inR, inW, err := os.Pipe()
	if err != nil {
		return 0, nil, err
	}
	defer inR.Close()
	defer inW.Close()
	out, outW, err := os.Pipe()
	if err != nil {
		return 0, nil, err
	}
	defer outW.Close()
	_, err = inW.Write(in) // far less than a pipe holds
	if err == nil {
		pid, err = syscall.ForkExec(SelfPath, []string{"bottle-jail", "probe"}, &syscall.ProcAttr{
			Dir: "/", Env: []string{}, Files: []uintptr{inR.Fd(), outW.Fd(), outW.Fd()}, Sys: &syscall.SysProcAttr{Setpgid: true},
		})
	}
	if err != nil {
		out.Close()
		return 0, nil, err
	}
	return pid, out, nil
}
