package guest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"

	"bottle/internal/backend/frames"
	"bottle/internal/backend/jail"
	"bottle/internal/bottle"
	"bottle/internal/plan"
)

// vm is the guest's side of one bottle.
type vm struct {
	*frames.Inner
	begin    *Begin
	launcher *os.Process
	relay    relay
}

// Serve hears the stream until the agent ends or the stream does. It returns the
// agent's exit code.
func Serve(identity string, in io.Reader, out io.Writer) (int, error) {
	if os.Geteuid() != 0 {
		return 0, errors.New("bottle-jail guest is for the root of a micro-VM; run `bottle start`")
	}
	// The launcher dies with the thread that started it (prctl(2), PR_SET_PDEATHSIG).
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	v := &vm{Inner: frames.NewInner(frames.NewConn(in, out, frames.MaxIn))}
	if err := v.up(identity); err != nil {
		_ = v.Conn.SendJSON(frames.Control, jail.Reply{Error: err.Error()}) // the start may be gone
		return 0, err
	}
	told := make(chan int, 1)
	v.Ended = func() { _, _ = v.launcher.Wait() } // whoever the agent left behind holds its pipes, and ends with the jail
	v.Aside = tried
	go func() { told <- v.Tell() }()
	go v.Hear()
	code := <-told
	v.down()
	return code, nil
}

// up reads the first message and puts the jail up.
func (v *vm) up(identity string) error {
	kind, body, err := v.Conn.Receive()
	if err != nil {
		return fmt.Errorf("read what to do: %w", err)
	}
	v.begin = new(Begin)
	if err := json.Unmarshal(body, v.begin); err != nil || kind != frames.Control || v.begin.Spec.Spec == nil {
		return fmt.Errorf("read what to do: it does not begin as it must: %w", errors.Join(err, io.ErrUnexpectedEOF))
	}
	spec := v.begin.Spec.Spec
	switch {
	case v.begin.Version != bottle.Version:
		return fmt.Errorf("bottle-jail in the VM is version %s and its caller is version %q: install both from one build", bottle.Version, v.begin.Version)
	case v.begin.Identity != identity || spec.Bottle.Identity != identity:
		return fmt.Errorf("read what to do: it is not for %s", identity)
	case len(v.begin.Token) != 32:
		return errors.New("read what to do: the token of the door has another length")
	}
	if err := look(spec); err != nil {
		return err
	}
	v.relay = relay{door: v.begin.Door, hello: plan.DoorGreeting + identity + "\n", token: [32]byte(v.begin.Token), slots: make(chan struct{}, maxRelayed)}
	return v.launch(identity, spec)
}

// tried answers a Reach.
func tried(body []byte) (any, error) {
	var r Reach
	if err := json.Unmarshal(body, &r); err != nil {
		return nil, fmt.Errorf("read what to try: %w", err)
	}
	return reach(r), nil
}

// look writes down what the shares are, which have other inodes than on the host, and
// who the agent is here: whoever owns them, as on the host. Of shares that are root's the
// jail makes them his by idmapped mounts; in a bottle without any he is nobody's.
func look(spec *jail.Spec) error {
	uid, gid := jail.AgentUID, jail.AgentGID
	var owners []unix.Stat_t // whose the agent is is the last one's
	b := &spec.Bottle
	if b.Workspace.Mode != "none" {
		st, err := is(b.Workspace.Source, &b.Workspace.Is)
		if err != nil {
			return err
		}
		owners = append(owners, st)
	}
	if spec.Upper != "" { // the start has made it: it is the operator's, whoever's the workspace is
		var layers plan.Inode
		st, err := is(spec.Upper, &layers)
		if err != nil {
			return err
		}
		owners = append(owners, st)
	}
	for i := range b.Mounts {
		m := &b.Mounts[i]
		st, err := is(m.Source, &m.Is)
		if err != nil {
			return err
		}
		if m.Target == plan.Kept { // so it is with the conversation
			owners = append(owners, st)
		}
	}
	if n := len(owners); n > 0 {
		uid, gid = int(owners[n-1].Uid), int(owners[n-1].Gid)
	}
	if uid == 0 {
		spec.Staged = true
		uid, gid = jail.AgentUID, jail.AgentGID
	}
	spec.HostUID, spec.HostGID = uid, gid
	return nil
}

func is(path string, is *plan.Inode) (unix.Stat_t, error) {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return st, fmt.Errorf("look at the share %s in the VM: %w", path, err)
	}
	*is = plan.Inode{Dev: st.Dev, Ino: st.Ino}
	return st, nil
}

// launch starts the jail, takes its sockets and waits until it stands.
func (v *vm) launch(identity string, spec *jail.Spec) error {
	ctlNear, ctlFar, err := pair()
	if err != nil {
		return err
	}
	defer ctlFar.Close()
	meetNear, meetFar, err := pair()
	if err != nil {
		return err
	}
	defer meetNear.Close()
	defer meetFar.Close()
	v.Wire = jail.NewWire(ctlNear)
	null, err := os.Open(os.DevNull)
	if err != nil {
		return fmt.Errorf("open null: %w", err)
	}
	defer null.Close()
	sys := &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if !spec.Staged {
		sys.Credential = &syscall.Credential{Uid: uint32(spec.HostUID), Gid: uint32(spec.HostGID)}
	}
	exe, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find own program: %w", err)
	}
	v.launcher, err = os.StartProcess(exe, []string{"bottle-jail", "launch", "--identity", identity}, &os.ProcAttr{
		Dir: "/", Env: []string{}, Sys: sys, Files: []*os.File{null, null, os.Stderr, ctlFar, meetFar},
	})
	if err != nil {
		return fmt.Errorf("start the jail: %w", err)
	}
	ctlFar.Close()
	meetFar.Close()
	if err := v.Wire.Send(jail.Request{Spec: spec}); err != nil {
		return err
	}
	if err := v.relay.take(meetNear); err != nil {
		return v.blame(err)
	}
	var r jail.Reply
	if _, err := v.Wire.Receive(&r); err != nil {
		return fmt.Errorf("put up the jail in the VM: %w", err)
	}
	if r.Error != "" || !r.Up {
		return fmt.Errorf("put up the jail in the VM: %s", r.Error)
	}
	return v.Conn.SendJSON(frames.Control, jail.Reply{Up: true})
}

// blame prefers what the jail says of why its sockets did not come.
func (v *vm) blame(err error) error {
	var r jail.Reply
	if _, heard := v.Wire.Receive(&r); heard == nil && r.Error != "" {
		err = errors.New(r.Error)
	}
	return fmt.Errorf("put up the jail in the VM: %w", err)
}

// down ends what is left.
func (v *vm) down() {
	_ = v.Wire.Close()
	_ = v.launcher.Kill() // it may be gone
	_, _ = v.launcher.Wait()
}

func pair() (near, far *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("make socket pair: %w", err)
	}
	if err := unix.SetNonblock(fds[0], true); err != nil { // so that its close ends a read
		return nil, nil, fmt.Errorf("make socket pair: %w", err)
	}
	return os.NewFile(uintptr(fds[0]), "near"), os.NewFile(uintptr(fds[1]), "far"), nil
}
