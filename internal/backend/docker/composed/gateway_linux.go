package composed

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"bottle/internal/backend/docker/inside"
	"bottle/internal/plan"
)

// maxPipe is the largest pipe that a user may make without asking, in bytes (pipe(7)).
const maxPipe = 1 << 20

// Become gathers the values, puts what a start would say into a pipe, and becomes the gateway,
// which reads it as its standard input. The pipe is open for writing in the gateway itself, so
// its end never comes: SIGTERM ends it. It returns on an error only.
func (g Gateway) Become() error {
	values := map[string]string{}
	for ref, at := range g.Values {
		v, err := at.read()
		if err != nil {
			return err
		}
		values[ref] = v
	}
	var known struct{ Identity, Control string }
	if err := json.Unmarshal(g.Gateway, &known); err != nil {
		return fmt.Errorf("read gateway: %w", err)
	}
	secrets, err := json.Marshal(plan.Secrets{Values: values})
	if err != nil {
		return errors.New("encode the values") // the cause could hold one
	}
	if err := inputOf(append(append(append(g.Gateway, '\n'), secrets...), '\n')); err != nil {
		return err
	}
	if err := os.Remove(known.Control); err != nil && !errors.Is(err, fs.ErrNotExist) { // of an earlier run; nobody else has this folder
		return fmt.Errorf("clear the control socket: %w", err)
	}
	said, err := os.OpenFile(Said, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("make the place for what it says: %w", err)
	}
	if err := unix.Dup3(int(said.Fd()), 1, 0); err != nil {
		return fmt.Errorf("make the place for what it says: %w", err)
	}
	return inside.Bundle(known.Identity)
}

// read is the value.
func (v Value) read() (string, error) {
	if v.Env != "" {
		text, ok := os.LookupEnv(v.Env)
		if !ok || text == "" {
			return "", fmt.Errorf("read a value: the variable %s is not set", v.Env)
		}
		return text, nil
	}
	text, err := os.ReadFile(v.File)
	if err != nil {
		return "", fmt.Errorf("read a value: %w", err)
	}
	text = bytes.TrimSuffix(bytes.TrimSuffix(text, []byte("\n")), []byte("\r"))
	if len(text) == 0 {
		return "", fmt.Errorf("read a value: %s is empty", v.File)
	}
	return string(text), nil
}

// inputOf makes lines the standard input: a pipe that is its own writer. It has a name for a
// moment, in a folder of this container alone, since only a name can be opened for both.
func inputOf(lines []byte) error {
	if len(lines) > maxPipe/2 {
		return fmt.Errorf("tell the gateway: %d bytes are more than the %d that fit", len(lines), maxPipe/2)
	}
	dir, err := os.MkdirTemp("", "told-")
	if err != nil {
		return fmt.Errorf("tell the gateway: %w", err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "stdin")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		return fmt.Errorf("tell the gateway: %w", err)
	}
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("tell the gateway: %w", err)
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETPIPE_SZ, maxPipe); err != nil {
		return fmt.Errorf("tell the gateway: %w", err)
	}
	n, err := unix.Write(fd, lines)
	clear(lines)
	if err != nil || n != len(lines) {
		return fmt.Errorf("tell the gateway: %d of %d bytes: %w", n, len(lines), err)
	}
	if err := unix.Dup3(fd, 0, 0); err != nil {
		return fmt.Errorf("tell the gateway: %w", err)
	}
	return nil
}
