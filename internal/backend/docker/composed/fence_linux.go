package composed

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"

	"bottle/internal/backend/docker/inside"
	"bottle/internal/plan"
)

// maxSaid bounds what is read of the gateway's words, and of a list of certificates, in bytes.
const maxSaid = 4 << 20

// Fence makes the network of the agent's container, which it shares, hands its sockets to the
// gateway, and once that serves writes the gateway's CA where the agent is shown it.
func Fence(ctx context.Context, b plan.Bottle) error {
	for _, name := range []string{fenced, filepath.Base(plan.CAPath)} { // of an earlier bottle
		if err := os.Remove(filepath.Join(Shown, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("clear what the agent is shown: %w", err)
		}
	}
	if err := until(ctx, meets); err != nil {
		return fmt.Errorf("wait for the gateway: %w", err)
	}
	word, err := json.Marshal(b)
	if err != nil {
		return fmt.Errorf("encode what to fence: %w", err)
	}
	if err := inside.Fence(bytes.NewReader(word), io.Discard); err != nil {
		return err
	}
	var ca string
	if err := until(ctx, func() (err error) { ca, err = serves(); return err }); err != nil {
		return fmt.Errorf("wait for the gateway: %w", err)
	}
	return show(ca)
}

// meets is nil while a gateway waits for its sockets.
func meets() error {
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: inside.MeetPath, Net: "unixgram"})
	if err != nil {
		return err
	}
	return c.Close()
}

// serves is the gateway's CA, once it serves.
func serves() (ca string, err error) {
	f, err := os.Open(Said)
	if err != nil {
		return "", err
	}
	defer f.Close()
	var hello plan.Hello
	var ready plan.Ready
	lines := json.NewDecoder(io.LimitReader(f, maxSaid))
	if err := lines.Decode(&hello); err != nil {
		return "", errors.New("it has said nothing")
	}
	if hello.Failed != "" {
		return "", errors.New(hello.Failed)
	}
	if err := lines.Decode(&ready); err != nil {
		return "", errors.New("it does not serve")
	}
	if ready.Failed != "" {
		return "", errors.New(ready.Failed)
	}
	return hello.CA, nil
}

// show writes the CA, by itself and behind what the gateway's own image trusts, and last that
// this network stands.
func show(ca string) error {
	bundle := []byte{}
	for _, path := range plan.HostBundles() {
		if text, err := os.ReadFile(path); err == nil && len(text) < maxSaid {
			bundle = append(text, '\n')
			break
		}
	}
	here, err := network()
	if err != nil {
		return err
	}
	for _, f := range []struct{ at, text string }{
		{plan.CAPath, ca}, {plan.BundlePath, string(bundle) + ca}, {ShownAt + "/" + fenced, here},
	} {
		rel, err := filepath.Rel(ShownAt, f.at)
		if err != nil {
			return fmt.Errorf("show %s: %w", f.at, err)
		}
		path := filepath.Join(Shown, rel)
		err = os.MkdirAll(filepath.Dir(path), 0o755)
		if err == nil { // whole or not at all: the agent looks meanwhile
			err = os.WriteFile(path+".new", []byte(f.text), 0o644)
		}
		if err == nil {
			err = os.Rename(path+".new", path)
		}
		if err != nil {
			return fmt.Errorf("show %s: %w", f.at, err)
		}
	}
	return nil
}
