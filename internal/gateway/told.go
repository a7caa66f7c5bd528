package gateway

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"

	"bottle/internal/bottle"
	"bottle/internal/plan"
	"bottle/internal/secret"
)

// maxTold bounds one line on standard input, in bytes.
const maxTold = 8 << 20

// told is what the caller said.
type told struct {
	plan.Gateway
	secrets map[string]secret.Value // by token_ref
	watched map[string]secret.Value // by name: what else must not leave
	proxy   secret.Value            // the password of the explicit proxy
}

// hear reads the two lines, and refuses what is not exactly them.
func hear(in *bufio.Reader, version, identity string) (told, error) {
	var t told
	line, err := readLine(in)
	if err != nil {
		return told{}, fmt.Errorf("read what to serve: %w", err)
	}
	// The version first: another version may have other fields.
	var of struct {
		Version string `json:"version"`
	}
	if err := json.Unmarshal(line, &of); err != nil {
		return told{}, fmt.Errorf("read what to serve: %w", err)
	}
	if of.Version != version || version == "" {
		return told{}, fmt.Errorf("bottle-gateway is version %q and its caller is version %q: install both from one build", version, of.Version)
	}
	if err := strictly(line, &t.Gateway); err != nil {
		return told{}, fmt.Errorf("read what to serve: %w", err)
	}
	if err := t.check(identity); err != nil {
		return told{}, err
	}
	line, err = readLine(in)
	if err != nil {
		return told{}, fmt.Errorf("read secrets: %w", err)
	}
	defer clear(line)
	var s plan.Secrets
	if strictly(line, &s) != nil {
		return told{}, errors.New("read secrets: not one JSON object on one line") // the cause could quote a secret
	}
	t.secrets = make(map[string]secret.Value, len(s.Values))
	for ref, value := range s.Values {
		t.secrets[ref] = secret.New([]byte(value))
	}
	t.watched = make(map[string]secret.Value, len(s.Watched))
	for name, value := range s.Watched {
		t.watched[name] = secret.New([]byte(value))
	}
	t.proxy = secret.New([]byte(s.Proxy))
	if t.ProxyAuth == t.proxy.Empty() || t.ProxyAuth && t.Listen == "" {
		return told{}, errors.New("read secrets: a proxy on its own, and no other, has a password, or is told that it has none")
	}
	return t, nil
}

func (t told) check(identity string) error {
	if _, err := bottle.ParseIdentity(string(t.Identity)); err != nil {
		return fmt.Errorf("read what to serve: %w", err)
	}
	switch {
	case string(t.Identity) != identity:
		return fmt.Errorf("told to serve %s, but started as %.64q", t.Identity, identity)
	case t.Audit == "":
		return errors.New("told of no decision log: what can't be recorded is denied, so there is nothing to serve")
	case t.Inherit == (t.Listen != ""):
		return errors.New("told neither or both to take sockets over and to listen: it must be one of them")
	case t.Door != "" && !t.Inherit:
		return errors.New("told of a door and not to take its socket over")
	case t.Unmatched != "" && t.Unmatched != "deny" && (t.Unmatched != plan.UnmatchedAsk || t.Asked == ""):
		return fmt.Errorf("told to do %.20q with an unlisted host: that is neither deny nor ask, or there is no folder for what is asked", t.Unmatched)
	case t.Wait < 0 || t.Wait > bottle.MaxWait:
		return fmt.Errorf("told that an ask waits %d seconds: it is from 0 to %d", t.Wait, bottle.MaxWait)
	case t.Listen != "":
		return loopback(t.Listen)
	}
	return nil
}

// loopback refuses an address that others could reach: whoever reaches an
// explicit proxy uses the bottle's credentials.
func loopback(listen string) error {
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return fmt.Errorf("listen on %.64q: %w", listen, err)
	}
	if ip, err := netip.ParseAddr(host); (err == nil && ip.Unmap().IsLoopback()) || host == "localhost" {
		return nil
	}
	return bottle.Problems{{Message: fmt.Sprintf("the address %.64q is not on the loopback interface: everybody who reaches it would use the bottle's credentials", listen),
		Hint: "listen on 127.0.0.1:PORT or [::1]:PORT"}}
}

// readLine reads one line of bounded length, without its line feed.
func readLine(in *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := in.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case len(line) > maxTold:
			return nil, fmt.Errorf("a line is longer than %d MiB", maxTold>>20)
		case err == nil:
			return line[:len(line)-1], nil
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case err == io.EOF:
			return nil, io.ErrUnexpectedEOF
		}
		return nil, err
	}
}

// strictly decodes one JSON object with no unknown field and nothing after it.
func strictly(line []byte, into any) error {
	dec := json.NewDecoder(bytes.NewReader(line))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		return err
	}
	if _, err := dec.Token(); err != io.EOF {
		return errors.New("there is more than one JSON value on the line")
	}
	return nil
}
