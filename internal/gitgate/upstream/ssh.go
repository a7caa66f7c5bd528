package upstream

import (
	"bytes"
	"context"
	"crypto/rsa"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
)

// perIdle is how often an SSH connection is asked, within Limits.Idle, whether it lives:
// every 15 s where that is 2 min.
const perIdle = 8

// maxStderr is how much of a service's error stream is kept, in bytes.
const maxStderr = 4 << 10

// shell is a service at the other end of an SSH connection.
type shell struct {
	host   string
	client *ssh.Client
	in     io.WriteCloser
	out    io.Reader
	stderr *bounded
	ended  chan struct{} // the service ended, and all it said on its error stream is there
	exit   error         // of the service, once it ended
	wrote  chan struct{} // the last request was written
	stop   context.CancelFunc
}

// openSSH connects, proves who both are, and starts the service.
func (r *Remote) openSSH(ctx context.Context, s Service) (wire, error) {
	signer, err := r.signer()
	if err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.limits.Connect)
	defer cancel()
	conn, err := r.connect(limited) // the server may have it already when ctx ends
	if err != nil {
		return nil, err
	}
	client, err := r.handshake(limited, conn, signer)
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	conn.bind(ctx)
	if ctx.Err() != nil {
		_ = client.Close()
		return nil, context.Cause(ctx)
	}
	alive, stop := context.WithCancel(ctx)
	w := &shell{host: r.at.host, client: client, stderr: &bounded{most: maxStderr}, ended: make(chan struct{}), stop: stop}
	if err := w.run(string(s) + " " + quote(r.at.path)); err != nil {
		w.close()
		return nil, err
	}
	go keepAlives(alive, client, r.limits.Idle)
	return w, nil
}

// handshake proves who both are. It goes on to its end, or to that of limited, also when
// nobody wants the connection any more: a server that sees handshakes broken off takes
// that for an attack, and shuts out our address (fail2ban, PerSourcePenalties of OpenSSH).
func (r *Remote) handshake(limited context.Context, conn *watched, signer ssh.Signer) (*ssh.Client, error) {
	pinned, err := hostKey(r.auth.HostKey)
	if err != nil {
		return nil, err
	}
	defer context.AfterFunc(limited, func() { _ = conn.Conn.Close() })()
	var stranger error
	c, chans, reqs, err := ssh.NewClientConn(conn, r.at.host, &ssh.ClientConfig{
		User: r.at.user, Auth: []ssh.AuthMethod{ssh.PublicKeys(signer)}, ClientVersion: "SSH-2.0-bottle",
		HostKeyAlgorithms: algorithms(pinned),
		HostKeyCallback: func(_ string, _ net.Addr, key ssh.PublicKey) error {
			if !bytes.Equal(key.Marshal(), pinned.Marshal()) {
				stranger = fmt.Errorf("%w: %s shows the host key %s %s, and host_key is %s %s. Ask its operator which is right before you change host_key",
					ErrHostKey, r.at.host, key.Type(), ssh.FingerprintSHA256(key), pinned.Type(), ssh.FingerprintSHA256(pinned))
			}
			return stranger
		},
	})
	switch {
	case err == nil:
		return ssh.NewClient(c, chans, reqs), nil
	case stranger != nil:
		return nil, stranger
	case limited.Err() != nil:
		return nil, fmt.Errorf("%w: %s did not agree on SSH within %v", ErrUnreachable, r.at.host, r.limits.Connect)
	case strings.Contains(err.Error(), "unable to authenticate"): // the library has no type for it
		return nil, fmt.Errorf("%w: %s does not let %s in by the key %s %s. Add its public key there, or name another key_file",
			ErrAuth, r.at.host, r.at.user, signer.PublicKey().Type(), ssh.FingerprintSHA256(signer.PublicKey()))
	}
	return nil, fmt.Errorf("%w: %s: %s", ErrUnreachable, r.at.host, printable(err.Error()))
}

// algorithms prefers those of the pinned key. The others follow, so that a server with
// another key shows it, and the error can tell which.
func algorithms(pinned ssh.PublicKey) []string {
	first := []string{pinned.Type()}
	if pinned.Type() == ssh.KeyAlgoRSA {
		first = []string{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256}
	}
	for _, a := range []string{ssh.KeyAlgoED25519, ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521, ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256} {
		if !slices.Contains(first, a) {
			first = append(first, a)
		}
	}
	return first
}

// hostKey reads "type base64".
func hostKey(text string) (ssh.PublicKey, error) {
	key, _, options, _, err := ssh.ParseAuthorizedKey([]byte(text))
	if err != nil || len(options) > 0 {
		return nil, fmt.Errorf("%w: host_key must be the server's public key, such as: ssh-ed25519 AAAA… (ssh-keyscan shows it)", ErrConfig)
	}
	if err := strong(key); err != nil {
		return nil, fmt.Errorf("%w: host_key: %w", ErrConfig, err)
	}
	return key, nil
}

// signer reads the private key. Its bytes are wiped afterwards.
func (r *Remote) signer() (ssh.Signer, error) {
	text, err := r.auth.SSHKey()
	if err != nil {
		return nil, fmt.Errorf("%w: read the key for %s: %w", ErrConfig, r.at.host, err)
	}
	defer clear(text)
	key, err := ssh.ParsePrivateKey(text)
	var locked *ssh.PassphraseMissingError
	switch {
	case errors.As(err, &locked):
		return nil, fmt.Errorf("%w: the key for %s has a passphrase, and nobody is there to type it. Make a key for this alone: ssh-keygen -t ed25519 -N '' -f FILE", ErrConfig, r.at.host)
	case err != nil:
		return nil, fmt.Errorf("%w: the key for %s is no private key that can be read (PEM or OpenSSH)", ErrConfig, r.at.host)
	}
	if err := strong(key.PublicKey()); err != nil {
		return nil, fmt.Errorf("%w: the key for %s: %w", ErrConfig, r.at.host, err)
	}
	if a, ok := key.(ssh.AlgorithmSigner); ok && key.PublicKey().Type() == ssh.KeyAlgoRSA {
		return ssh.NewSignerWithAlgorithms(a, []string{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256}) // never SHA-1
	}
	return key, nil
}

// strong refuses kinds of keys that are no longer trusted.
func strong(key ssh.PublicKey) error {
	switch key.Type() {
	case ssh.KeyAlgoED25519, ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521:
		return nil
	case ssh.KeyAlgoRSA:
		c, ok := key.(ssh.CryptoPublicKey)
		if !ok {
			break
		}
		if pub, ok := c.CryptoPublicKey().(*rsa.PublicKey); ok && pub.N.BitLen() >= 2048 {
			return nil
		}
		return errors.New("an RSA key of less than 2048 bits is too weak")
	}
	return fmt.Errorf("a key of the type %s cannot be used: make one of ed25519", key.Type())
}

func (w *shell) run(command string) error {
	session, err := w.client.NewSession()
	if err != nil {
		close(w.ended)
		return fmt.Errorf("%w: %s opens no session: %s", ErrRefused, w.host, printable(err.Error()))
	}
	session.Stderr = w.stderr
	w.in, err = session.StdinPipe()
	if err == nil {
		w.out, err = session.StdoutPipe()
	}
	if err == nil {
		err = session.Start(command)
	}
	if err != nil {
		close(w.ended)
		return fmt.Errorf("%w: %s does not run %s: %s", ErrRefused, w.host, command, printable(err.Error()))
	}
	go func() {
		w.exit = session.Wait()
		close(w.ended)
	}()
	return nil
}

// keepAlives breaks a connection whose other end no longer answers.
func keepAlives(ctx context.Context, client *ssh.Client, limit time.Duration) {
	tick := time.NewTicker(max(limit/perIdle, time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		timer := time.AfterFunc(limit, func() { _ = client.Close() })
		_, _, err := client.SendRequest("keepalive@openssh.com", true, nil)
		timer.Stop()
		if err != nil {
			return
		}
	}
}

func (w *shell) advert() (io.ReadCloser, error) { return io.NopCloser(w.out), nil }

func (w *shell) stateless() bool { return false }

func (w *shell) ask(request func(io.Writer) error, _ requestKind) (io.ReadCloser, error) {
	if w.wrote != nil {
		<-w.wrote // it was answered, so this is short
	}
	wrote := make(chan struct{})
	w.wrote = wrote
	go func() {
		defer close(wrote)
		out := newBuffered(w.in)
		err := request(out)
		if err == nil {
			err = out.Flush()
		}
		if err != nil && !errors.Is(err, io.EOF) { // io.EOF: the service reads no more, and may have said why
			_ = w.client.Close()
		}
	}()
	return io.NopCloser(w.out), nil
}

// close ends the connection; a request that is still being written fails.
func (w *shell) close() {
	w.stop()
	_ = w.client.Close()
	<-w.ended
}

// said adds the last words of the service's error stream, where the reason stands.
func (w *shell) said(err error) error {
	wait := time.NewTimer(2 * time.Second)
	defer wait.Stop()
	var cut *ssh.ExitMissingError
	broke := false
	select {
	case <-w.ended:
		broke = errors.As(w.exit, &cut)
	case <-wait.C:
	}
	words := printable(w.stderr.String())
	switch {
	case errors.Is(err, errSilent) && words == "" && broke:
		return fmt.Errorf("%w: %s: the connection ended, or nothing came for too long", ErrUnreachable, w.host)
	case errors.Is(err, errSilent) && words == "":
		return fmt.Errorf("%w: %s ended without a word", ErrNotFound, w.host)
	case errors.Is(err, errSilent):
		return fmt.Errorf("%w: %s said: %s", ErrNotFound, w.host, words)
	case words == "":
		return err
	}
	return fmt.Errorf("%w; %s said: %s", err, w.host, words)
}

func (w *shell) hide(words string) string { return words } // a key never leaves this process

func (w *shell) begun(string) int { return 0 }

// bounded keeps the first bytes that are written to it.
type bounded struct {
	mu   sync.Mutex
	most int
	text []byte
}

// Write takes all, and keeps what fits.
func (b *bounded) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.text = append(b.text, p[:min(len(p), b.most-len(b.text))]...)
	return len(p), nil
}

func (b *bounded) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return string(b.text)
}
