package keyring

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"

	"bottle/internal/bottle"
	"bottle/test/require"
)

const canary = "sk-canary-1f2e3d4c"

// startBus runs a session bus of the test's own, with nothing on it.
func startBus(t *testing.T) string {
	t.Helper()
	require.Tool(t, "dbus-daemon")
	dir := t.TempDir()
	conf := filepath.Join(dir, "bus.conf")
	if err := os.WriteFile(conf, fmt.Appendf(nil, `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN" "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>session</type><listen>unix:path=%s/bus</listen><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/></policy></busconfig>`, dir), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("dbus-daemon", "--config-file="+conf, "--nofork", "--print-address")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it goes on until told
		_ = cmd.Wait()
	})
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	return "unix:path=" + dir + "/bus"
}

// fakeRing is a Secret Service with one item, which may be locked.
type fakeRing struct {
	conn    *dbus.Conn
	locked  bool
	dismiss bool        // the person at the prompt says no
	silent  atomic.Bool // or nothing
}

const (
	itemPath   = dbus.ObjectPath("/org/freedesktop/secrets/collection/login/1")
	promptPath = dbus.ObjectPath("/org/freedesktop/secrets/prompt/1")
)

func (f *fakeRing) SearchItems(a map[string]string) (unlocked, locked []dbus.ObjectPath, e *dbus.Error) {
	switch {
	case len(a) != 2 || a["service"] != "gh:github.com" || a["username"] != "me":
	case f.locked:
		locked = []dbus.ObjectPath{itemPath}
	default:
		unlocked = []dbus.ObjectPath{itemPath}
	}
	return unlocked, locked, nil
}

func (f *fakeRing) OpenSession(kind string, _ dbus.Variant) (dbus.Variant, dbus.ObjectPath, *dbus.Error) {
	return dbus.MakeVariant(""), "/org/freedesktop/secrets/session/" + dbus.ObjectPath(kind), nil
}

func (f *fakeRing) Unlock([]dbus.ObjectPath) ([]dbus.ObjectPath, dbus.ObjectPath, *dbus.Error) {
	return nil, promptPath, nil
}

func (f *fakeRing) Prompt(string) *dbus.Error {
	if f.silent.Load() {
		return nil
	}
	f.locked = f.dismiss
	_ = f.conn.Emit(promptPath, inPrompt+".Completed", f.dismiss, dbus.MakeVariant([]dbus.ObjectPath{itemPath})) // its loss would show as a time-out
	return nil
}

type secretOf struct {
	Session    dbus.ObjectPath
	Parameters []byte
	Value      []byte
	Type       string
}

func (f *fakeRing) GetSecret(session dbus.ObjectPath) (secretOf, *dbus.Error) {
	if f.locked || session != "/org/freedesktop/secrets/session/plain" {
		return secretOf{}, dbus.MakeFailedError(errors.New("locked"))
	}
	return secretOf{session, nil, []byte(canary), "text/plain"}, nil
}

func (f *fakeRing) serve(t *testing.T, address string) {
	t.Helper()
	conn, err := dbus.Connect(address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	f.conn = conn
	for path, face := range map[dbus.ObjectPath]string{
		root: strings.TrimSuffix(inService, "."), itemPath: strings.TrimSuffix(inItem, "."), promptPath: inPrompt,
	} {
		if err := conn.Export(f, path, face); err != nil {
			t.Fatal(err)
		}
	}
	if reply, err := conn.RequestName(service, dbus.NameFlagDoNotQueue); err != nil || reply != dbus.RequestNameReplyPrimaryOwner {
		t.Fatalf("%v, %v", reply, err)
	}
}

func at(address string) func(string) (string, bool) {
	return func(name string) (string, bool) { return address, name == "DBUS_SESSION_BUS_ADDRESS" }
}

func TestKeyRingGivesItsItem(t *testing.T) {
	for name, f := range map[string]*fakeRing{"open": {}, "locked": {locked: true}} {
		t.Run(name, func(t *testing.T) {
			address := startBus(t)
			f.serve(t, address)
			got, err := Get(t.Context(), at("tcp:host=192.0.2.1,port=1;"+address), "gh:github.com", "me")
			if err != nil || string(got) != canary {
				t.Errorf("%v", err)
			}
		})
	}
}

// TestInvariant2KeyRingErrorsHoldNoValue: each way in which a key ring gives
// nothing has words for a person, and none of the value in them.
func TestInvariant2KeyRingErrorsHoldNoValue(t *testing.T) {
	want := func(t *testing.T, err error, words string) {
		t.Helper()
		var p bottle.Problems
		if !errors.As(err, &p) || !strings.Contains(err.Error(), words) || p[0].Hint == "" || strings.Contains(err.Error(), canary) {
			t.Errorf("%v, want %q", err, words)
		}
	}
	nowhere := func(string) (string, bool) { return "", false }
	_, err := Get(t.Context(), nowhere, "a", "b")
	want(t, err, "no session bus")
	_, err = Get(t.Context(), at("tcp:host=192.0.2.1,port=1;autolaunch:;unixexec:path=/bin/false"), "a", "b")
	want(t, err, "no session bus")
	_, err = Get(t.Context(), at("unix:path=/nonexistent/bus"), "a", "b")
	want(t, err, "does not answer")
	address := startBus(t)
	_, err = Get(t.Context(), at(address), "a", "b")
	want(t, err, "no key ring runs")
	f := &fakeRing{locked: true, dismiss: true}
	f.serve(t, address)
	_, err = Get(t.Context(), at(address), "gh:github.com", "somebody")
	want(t, err, "no such item")
	_, err = Get(t.Context(), at(address), "gh:github.com", "me")
	want(t, err, "is locked")
	f.silent.Store(true)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, err = Get(ctx, at(address), "gh:github.com", "me")
	want(t, err, "no answer")
}

// A bus that takes the connection and says nothing does not hold the start up.
func TestDeafBusIsGivenUp(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bus")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	begun := time.Now()
	if _, err := Get(ctx, at("unix:path="+path), "a", "b"); err == nil || time.Since(begun) > 20*time.Second {
		t.Errorf("%v after %v", err, time.Since(begun))
	}
}

func TestTheUsersOwnBusIsFound(t *testing.T) {
	dir := t.TempDir()
	env := func(name string) (string, bool) { return dir, name == "XDG_RUNTIME_DIR" }
	if got := bus(env); got != "" {
		t.Errorf("%q where there is no socket", got)
	}
	l, err := net.Listen("unix", filepath.Join(dir, "bus"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if got := bus(env); got != "unix:path="+dbus.EscapeBusAddressValue(dir+"/bus") {
		t.Errorf("%q", got)
	}
}
