package keyring

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/godbus/dbus/v5"
)

// patience is how long all of it may take: a person may have to type the password
// of a locked key ring.
const patience = time.Minute

// Names of the freedesktop.org Secret Service API, draft 0.2.
const (
	service     = "org.freedesktop.secrets"
	root        = dbus.ObjectPath("/org/freedesktop/secrets")
	inService   = "org.freedesktop.Secret.Service."
	inItem      = "org.freedesktop.Secret.Item."
	inPrompt    = "org.freedesktop.Secret.Prompt"
	nothing     = dbus.ObjectPath("/") // an object path that stands for none
	unknownName = "org.freedesktop.DBus.Error.ServiceUnknown"
)

// Command is nil: on Linux no program is needed.
func Command(string, string) []string { return nil }

// Get is the secret of the item with these attributes service and username, as
// libsecret's secret-tool and most libraries store it. env is the operator's
// environment. It starts no bus, asks for at most a minute, and closes its
// connection. What goes wrong is a bottle.Problems; no error holds any of the value.
func Get(ctx context.Context, env func(string) (string, bool), name, account string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	address := bus(env)
	if address == "" {
		return nil, problem("there is no session bus to ask the key ring on", "start it from a desktop session, or name an environment variable, file:/absolute/path or cmd:program …")
	}
	conn, err := dbus.Connect(address, dbus.WithContext(ctx))
	if err != nil {
		return nil, problem("the session bus does not answer", "start it from a desktop session; look at DBUS_SESSION_BUS_ADDRESS")
	}
	defer conn.Close()
	r := ring{ctx, conn, conn.Object(service, root)}
	value, err := r.get(name, account)
	var known dbus.Error
	switch {
	case err == nil:
		return value, nil
	case errors.As(err, &known) && known.Name == unknownName:
		return nil, problem("no key ring runs on this session's bus", "start one (gnome-keyring, KWallet or KeePassXC), or name an environment variable, file:/absolute/path or cmd:program …")
	case ctx.Err() != nil && errors.Is(ctx.Err(), context.DeadlineExceeded):
		return nil, problem(fmt.Sprintf("the key ring gave no answer within %v", patience), "unlock it, then try again")
	}
	return nil, err
}

// bus is the address of the operator's session bus, over a unix socket; empty:
// there is none. An address on a network is not used: the secret would cross it.
func bus(env func(string) (string, bool)) string {
	var local []string
	said, told := env("DBUS_SESSION_BUS_ADDRESS")
	if !told {
		said = ""
	}
	for a := range strings.SplitSeq(said, ";") {
		if strings.HasPrefix(a, "unix:") {
			local = append(local, a)
		}
	}
	if dir, ok := env("XDG_RUNTIME_DIR"); ok && said == "" && filepath.IsAbs(dir) {
		socket := filepath.Join(dir, "bus")
		if info, err := os.Stat(socket); err == nil && info.Mode()&os.ModeSocket != 0 {
			local = append(local, "unix:path="+dbus.EscapeBusAddressValue(socket))
		}
	}
	return strings.Join(local, ";")
}

// ring is one conversation with the Secret Service.
type ring struct {
	ctx  context.Context
	conn *dbus.Conn
	svc  dbus.BusObject
}

func (r ring) get(name, account string) ([]byte, error) {
	var unlocked, locked []dbus.ObjectPath
	found := map[string]string{"service": name, "username": account}
	if err := r.svc.CallWithContext(r.ctx, inService+"SearchItems", 0, found).Store(&unlocked, &locked); err != nil {
		return nil, fmt.Errorf("search the key ring: %w", err)
	}
	if len(unlocked) == 0 && len(locked) > 0 {
		if err := r.unlock(locked[0]); err != nil {
			return nil, err
		}
		unlocked = locked[:1]
	}
	if len(unlocked) == 0 {
		return nil, problem("the key ring has no such item", "store it: secret-tool store --label=… service SERVICE username ACCOUNT")
	}
	// A session in plain: the bus is a socket of this user's on this machine, and
	// whoever can listen there can ask for the item himself.
	var algorithm dbus.Variant
	var session dbus.ObjectPath
	if err := r.svc.CallWithContext(r.ctx, inService+"OpenSession", 0, "plain", dbus.MakeVariant("")).Store(&algorithm, &session); err != nil {
		return nil, fmt.Errorf("open a session with the key ring: %w", err)
	}
	var got struct {
		Session    dbus.ObjectPath
		Parameters []byte
		Value      []byte
		Type       string
	}
	item := r.conn.Object(service, unlocked[0])
	if err := item.CallWithContext(r.ctx, inItem+"GetSecret", 0, session).Store(&got); err != nil {
		return nil, fmt.Errorf("read from the key ring: %w", err)
	}
	return got.Value, nil
}

// unlock has the key ring ask its owner, if it must, and waits for him.
func (r ring) unlock(item dbus.ObjectPath) error {
	done := make(chan *dbus.Signal, 8)
	r.conn.Signal(done)
	if err := r.conn.AddMatchSignalContext(r.ctx, dbus.WithMatchInterface(inPrompt)); err != nil {
		return fmt.Errorf("unlock the key ring: %w", err)
	}
	var opened []dbus.ObjectPath
	var prompt dbus.ObjectPath
	if err := r.svc.CallWithContext(r.ctx, inService+"Unlock", 0, []dbus.ObjectPath{item}).Store(&opened, &prompt); err != nil {
		return fmt.Errorf("unlock the key ring: %w", err)
	}
	if slices.Contains(opened, item) {
		return nil
	}
	locked := problem("the key ring is locked, and was not unlocked", "unlock it, then try again")
	if prompt == nothing {
		return locked
	}
	if err := r.conn.Object(service, prompt).CallWithContext(r.ctx, inPrompt+".Prompt", 0, "").Err; err != nil {
		return fmt.Errorf("unlock the key ring: %w", err)
	}
	for {
		select {
		case s, ok := <-done:
			if !ok {
				return fmt.Errorf("unlock the key ring: %w", dbus.ErrClosed)
			}
			if s.Path != prompt || s.Name != inPrompt+".Completed" || len(s.Body) < 1 {
				continue
			}
			if dismissed, is := s.Body[0].(bool); !is || dismissed {
				return locked
			}
			return nil
		case <-r.ctx.Done():
			return fmt.Errorf("unlock the key ring: %w", r.ctx.Err())
		}
	}
}
