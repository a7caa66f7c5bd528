package lifecycle

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"bottle/internal/backend"
	"bottle/internal/bottle"
	"bottle/internal/plan"
	"bottle/internal/secret"
	"bottle/internal/store"
)

// Proxying is what a gateway on its own tells its operator.
type Proxying struct {
	Identity bottle.Identity
	CAFile   string // PEM, for the programs that use the proxy
	Audit    string
	Password string // what its users give, for any user name; empty: they need none
	Ready    plan.Ready
	Routes   []bottle.Route
}

// ErrListen is that a gateway on its own did not get its address.
var ErrListen = errors.New("the gateway cannot listen there")

// Solo is a gateway that somebody wants on its own.
type Solo struct {
	Spec    bottle.Spec
	Gateway string         // path of the program
	Listen  string         // address and port
	Home    string         // the operator's home folder; empty: not known
	Dir     string         // the folder that he stands in
	Open    bool           // whoever reaches the address may use it
	Up      func(Proxying) // called once it serves
	Warn    func(string)   // called, by any goroutine, with what the operator should know; nil: nobody listens
}

// Proxy runs the gateway of a bottle alone, as an explicit proxy on a host
// address, until ctx ends. It is for programs outside any bottle: what they do
// not send through it, it does not see. Every user of a machine reaches its
// loopback, so who uses it must know a password, unless it is open. Of one that never
// served, nothing stays; its address being taken is an ErrListen.
func (h *House) Proxy(ctx context.Context, solo Solo) (err error) {
	spec := solo.Spec
	password := ""
	if !solo.Open {
		password = rand.Text()
	}
	tokens, _, err := h.values(ctx, bottle.Spec{Routes: spec.Routes, Onward: spec.Onward, Files: spec.Files})
	if err != nil {
		return err
	}
	id, err := h.Store.Draw(spec.Name)
	if err != nil {
		return err
	}
	res, err := h.Store.Reserve(id)
	if err != nil {
		return err
	}
	var undo undoStack
	leave := res.Remove // until it serves, there is nothing to keep
	defer func() { err = errors.Join(err, undo.run()) }()
	undo.push("release the identity", func() error { return leave() })
	undo.push("remove the layers", func() error { return os.RemoveAll(filepath.Dir(res.Layout.Upper)) })
	meta := store.Metadata{Identity: id, Agent: spec.Name, Bottle: spec.Name, Backend: store.Proxy, Workspace: solo.Dir, Started: time.Now().UTC(), PID: os.Getpid(), Version: bottle.Version, Status: store.Running}
	if err := res.Write(meta); err != nil {
		return err
	}
	gw, err := solo.begin(solo.told(id, res.Layout), tokens, password)
	if err != nil {
		return err
	}
	undo.push("end the gateway", func() error { gw.Close(); return nil })
	if err := gw.Greet(); err != nil {
		return err
	}
	if err := gw.Await(); err != nil {
		if strings.Contains(err.Error(), plan.FailedListen) {
			err = fmt.Errorf("%w: %w", ErrListen, err)
		}
		return err
	}
	ca := filepath.Join(res.Layout.Dir, "ca.pem")
	if err := os.WriteFile(ca, []byte(gw.Hello.CA), 0o644); err != nil {
		return fmt.Errorf("write the CA: %w", err)
	}
	stop := keeper{fetch: h.Secrets.Resolve, tell: gw.Tell, warn: solo.Warn}.keep(tokens)
	defer stop() // before the gateway ends
	leave = res.Release
	solo.Up(Proxying{Identity: id, CAFile: ca, Audit: res.Layout.Audit, Password: password, Ready: gw.Ready, Routes: spec.Routes})
	err, meta.Status = attend(ctx, gw), store.Stopped
	if err != nil {
		meta.Status = store.Failed
	}
	return errors.Join(err, res.Write(meta))
}

// begin starts the gateway and tells it everything.
func (solo Solo) begin(told plan.Gateway, tokens map[string]secret.Lease, password string) (*backend.Gateway, error) {
	watched, _, warnings := watchRequest{spec: bottle.Spec{Watch: solo.Spec.Watch}, home: solo.Home, dir: solo.Dir}.keep(nil)
	for _, w := range warnings {
		if solo.Warn != nil {
			solo.Warn(w.Message)
		}
	}
	line, err := secret.Line(plainly(tokens), watched, secret.New([]byte(password)))
	if err != nil {
		return nil, err
	}
	defer clear(line)
	return backend.StartGateway(solo.Gateway, told, line, nil)
}

// told is what the gateway is told.
func (solo Solo) told(id bottle.Identity, l store.Layout) plan.Gateway {
	return plan.Gateway{
		Version: bottle.Version, Identity: id, Bottle: solo.Spec.Name, Routes: solo.Spec.Routes, Onward: solo.Spec.Onward, Watch: solo.Spec.Watch, Audit: l.Audit, Control: l.Control, Listen: solo.Listen,
		ProxyAuth: !solo.Open, Limits: solo.Spec.Egress, Asked: l.Asked, Unmatched: solo.Spec.Unmatched,
	}
}

// attend waits for the end of ctx. A gateway that ends before is an error.
func attend(ctx context.Context, gw *backend.Gateway) error {
	ended := make(chan error, 1)
	go func() { ended <- gw.Wait() }() // ends with the gateway, which the undo stack ends
	select {
	case <-ctx.Done():
		return nil
	case err := <-ended:
		return fmt.Errorf("the gateway ended by itself: %w", err)
	}
}
