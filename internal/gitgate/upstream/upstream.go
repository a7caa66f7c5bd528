// Package upstream speaks git to a remote as a client: it lists refs, fetches packs
// and pushes them, over smart HTTPS (gitprotocol-http(5)) and over SSH. It runs no
// program, resolves no name and opens no socket: its connections are given to it. The
// remote is not trusted with anything: sizes, times and ids are all checked.
package upstream

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// Dial opens a connection to a host and a port, already decided and classified.
type Dial func(ctx context.Context, host string, port uint16) (net.Conn, error)

// Auth is how to show who we are, and how to know whom we speak with.
type Auth struct {
	Username string                 // https, Basic: whose password it is, if the secret does not say; empty: x-access-token
	Scheme   string                 // https: Basic (so is empty), Bearer, token or header
	Header   string                 // https: its name, for the scheme header
	Reveal   func() (string, error) // https: the secret; nil: ask anonymously
	Roots    *x509.CertPool         // https: whom to trust; nil: the system's

	SSHKey  func() ([]byte, error) // ssh: the private key, PEM or OpenSSH, without a passphrase
	HostKey string                 // ssh: the only host key to accept, "type base64"
}

// Limits bound what a remote may cost. Zero means the default in the comment.
type Limits struct {
	AdvertBytes   int64         // of a list of refs: 64 MiB
	Refs          int           // how many of them: 500,000
	ProgressBytes int64         // of words that a remote may send during one operation: 1 MiB
	Connect       time.Duration // to dial, and to agree on SSH; so long again for TLS: 15 s
	Idle          time.Duration // without a byte from or to the remote, or from the service behind it when that is to answer: 2 min
	Total         time.Duration // one operation: 1 h
}

func (l Limits) orDefault() Limits {
	l.AdvertBytes = or(l.AdvertBytes, 64<<20)
	l.Refs = or(l.Refs, 500_000)
	l.ProgressBytes = or(l.ProgressBytes, 1<<20)
	l.Connect = or(l.Connect, 15*time.Second)
	l.Idle = or(l.Idle, 2*time.Minute)
	l.Total = or(l.Total, time.Hour)
	return l
}

func or[T int | int64 | time.Duration](v, def T) T {
	if v <= 0 {
		return def
	}
	return v
}

// What can be wrong. Each error of this package is one of these (errors.Is), in words
// for a person, and without a secret. An error of a pack's or a progress' own writer
// comes back as it was.
var (
	ErrConfig      = errors.New("the repository's settings")            // a URL, a key or a host key that cannot be used
	ErrUnreachable = errors.New("the upstream cannot be reached")       // no connection, or it broke, or took too long
	ErrAuth        = errors.New("the upstream refused the credentials") //
	ErrHostKey     = errors.New("the upstream is not who it should be") // another host key
	ErrCertificate = errors.New("the upstream is not trusted")          // nobody known vouches for its certificate
	ErrNotFound    = errors.New("the upstream has no such repository")  // or says so to who may not see it
	ErrProtocol    = errors.New("the upstream does not speak git")      // or not as it should
	ErrRefused     = errors.New("the upstream refused")                 // in its own words
	ErrUnsure      = errors.New("the push may have arrived")            // sent as a whole, and never answered; joins one of those above
)

// Service is what a remote is asked for.
type Service string

// The two services: reading, and writing.
const (
	UploadPack  Service = "git-upload-pack"
	ReceivePack Service = "git-receive-pack"
)

// Remote is one repository of an upstream. It keeps no connection, and many may use
// it at once.
type Remote struct {
	at     address
	auth   Auth
	dial   Dial
	limits Limits
}

// New makes a Remote of a URL: https://host[:port]/path, ssh://[user@]host[:port]/path
// or user@host:path. The path is kept as it is written. Nothing is dialled yet. The
// error is ErrConfig.
func New(url string, auth Auth, dial Dial, limits Limits) (*Remote, error) {
	at, err := parse(url)
	if err != nil {
		return nil, err
	}
	if dial == nil {
		return nil, fmt.Errorf("%w: no way to dial", ErrConfig)
	}
	if at.ssh {
		if auth.SSHKey == nil {
			return nil, fmt.Errorf("%w: %s needs a key (key_file)", ErrConfig, at.host)
		}
		if _, err := hostKey(auth.HostKey); err != nil {
			return nil, err
		}
	}
	return &Remote{at: at, auth: auth, dial: dial, limits: limits.orDefault()}, nil
}

// Refs lists what the upstream has, as it tells a reader or a writer.
func (r *Remote) Refs(ctx context.Context, s Service) (Advert, error) {
	session, err := r.Open(ctx, s)
	if err != nil {
		return Advert{}, err
	}
	defer session.Close()
	return session.Advert, nil
}

// Fetch opens a session for reading and fetches once; see Session.Fetch.
func (r *Remote) Fetch(ctx context.Context, want []string, have Haves, pack, progress io.Writer) error {
	session, err := r.Open(ctx, UploadPack)
	if err != nil {
		return err
	}
	defer session.Close()
	return session.Fetch(want, have, pack, progress)
}

// Push opens a session for writing and pushes once; see Session.Push.
func (r *Remote) Push(ctx context.Context, p Push, pack func(io.Writer) error, progress io.Writer) (Report, error) {
	session, err := r.Open(ctx, ReceivePack)
	if err != nil {
		return Report{}, err
	}
	defer session.Close()
	return session.Push(p, pack, progress)
}

// Session is a conversation with one service, whose list of refs was read. After it
// either Fetch or Push may be called, once: over SSH both need but one connection.
type Session struct {
	Advert Advert

	ctx     context.Context
	cancel  context.CancelFunc
	waits   *patience
	service Service
	limits  Limits
	wire    wire
	used    bool
}

// wire is the way to one service.
type wire interface {
	// advert is what the service says first.
	advert() (io.ReadCloser, error)
	// ask sends one request and gives the answer, which comes while the request is
	// still being sent; the request's error is then the answer's. Over SSH the
	// requests of a session are one stream, over HTTPS each stands alone.
	ask(request func(io.Writer) error, kind requestKind) (io.ReadCloser, error)
	stateless() bool
	close()
	// said explains an error by what the remote said elsewhere, and hides secrets.
	said(err error) error
	hide(words string) string
	// begun is how many bytes at the end of words may be the beginning of a secret.
	begun(words string) int
}

// requestKind tells a wire how large a request may be.
type requestKind uint8

const (
	negotiation requestKind = iota // small, and text: worth compressing
	packed                         // commands and a pack, of any size
)

// Open connects, and reads the list of refs. The caller closes the session. When ctx ends
// while an SSH handshake is under way, Open returns when that is over, which takes
// Limits.Connect at most.
func (r *Remote) Open(ctx context.Context, s Service) (*Session, error) {
	if s != UploadPack && s != ReceivePack {
		return nil, fmt.Errorf("%w: there is no service %q", ErrConfig, s)
	}
	ctx, cancel := context.WithTimeout(ctx, r.limits.Total)
	ctx, end := context.WithCancelCause(ctx)
	session := &Session{ctx: ctx, cancel: cancel, service: s, limits: r.limits, waits: waitFor(r.limits.Idle, end)}
	if err := session.start(r); err != nil {
		err = r.explain(ctx, err) // before the session's context ends by our own hand
		session.Close()
		return nil, session.blot(err)
	}
	return session, nil
}

func (s *Session) start(r *Remote) (err error) {
	if r.at.ssh {
		s.wire, err = r.openSSH(s.ctx, s.service)
	} else {
		s.wire, err = r.openWeb(s.ctx, s.service)
	}
	if err != nil {
		return err
	}
	in, err := s.wire.advert()
	if err != nil {
		return s.wire.said(err)
	}
	s.Advert, err = readAdvert(s.waits.reader(in), s.limits, s.shown)
	if err != nil {
		return s.wire.said(err)
	}
	if s.wire.stateless() { // to its end, so that the connection serves again
		_, _ = io.CopyN(io.Discard, in, 1)
		_ = in.Close()
	}
	return nil
}

// Close ends the conversation. It may be called more than once.
func (s *Session) Close() {
	if s.wire != nil {
		s.wire.close()
	}
	s.cancel()
	s.waits.timer.Stop()
}

// explain gives an error one of this package's sentinels, and the upstream's name.
func (r *Remote) explain(ctx context.Context, err error) error {
	for _, known := range []error{ErrConfig, ErrUnreachable, ErrAuth, ErrHostKey, ErrCertificate, ErrNotFound, ErrProtocol, ErrRefused} {
		if errors.Is(err, known) {
			return err
		}
	}
	if cause := context.Cause(ctx); cause != nil {
		return fmt.Errorf("%w: %s: %w", ErrUnreachable, r.at.host, cause)
	}
	return fmt.Errorf("%w: %s: %w", ErrUnreachable, r.at.host, err)
}

// shown are the upstream's words, fit to be told: the secret goes before anything is cut.
func (s *Session) shown(words string) string { return printable(s.wire.hide(words)) }

// blot hides the secret in an error as a whole: some of its words may be those of the
// standard library, which quotes what it got.
func (s *Session) blot(err error) error {
	if err == nil || s.wire == nil {
		return err
	}
	said := err.Error()
	if hidden := s.wire.hide(said); hidden != said {
		return &blotted{hidden, err}
	}
	return err
}

// blotted is an error in words without the secret.
type blotted struct {
	words string
	cause error
}

// Error implements error.
func (b *blotted) Error() string { return b.words }

// Unwrap gives the cause, for errors.Is: its words are not to be shown.
func (b *blotted) Unwrap() error { return b.cause }

// take marks the session as used.
func (s *Session) take(service Service) error {
	if s.used || s.service != service {
		return fmt.Errorf("%w: this session cannot be used for %s", ErrConfig, service)
	}
	s.used = true
	return nil
}
