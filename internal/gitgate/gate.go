package gitgate

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync/atomic"
	"time"

	"bottle/internal/bottle"
	"bottle/internal/dlp"
	"bottle/internal/gitgate/confined"
	"bottle/internal/gitgate/mirror"
	"bottle/internal/gitgate/upstream"
	"bottle/internal/policy"
	"bottle/internal/secret"
)

// Dial opens a connection to a repository's server: address is where its name leads by
// the operator's word, host:port; empty: it is looked up.
type Dial func(ctx context.Context, host bottle.Host, port uint16, address string) (Conn, error)

// Config is what a gate is made of. The zero Config is refused.
type Config struct {
	Identity  string // of the bottle, for the commands that are told to a person
	Repos     []bottle.Repo
	Committer bottle.GitUser // of every pushed commit; empty: anybody
	Folder    string         // for the mirrors; the gate's own
	Dial      Dial
	Roots     func(bottle.Repo) (*x509.CertPool, error) // whom an https upstream may be vouched for by; nil of it: the system's CAs
	Token     func(ref string) (secret.Value, bool)     // what auth.token_ref stands for
	Key       func(repo string) (secret.Value, bool)    // what the repository's key_file holds
	DLP       func() *dlp.Engine                        // the newest; nil of it: nothing can be pushed
	Record    func(Record) error                        // after an error the answer breaks off
	Fits      func(bottle.Host, int64) error            // nil while so many bytes more may be sent there, else why not
	Pass      func(bottle.Host) dlp.Pass                // what an operator let go to this host
	Ask       Ask                                       // nil: there is no operator to ask
	Open      func() error                              // nil while decisions can be recorded, else why nothing is pushed
}

// Record is one fetch or push and what came of it.
type Record struct {
	Time       time.Time
	Duration   time.Duration
	Method     string // fetch or push
	Host       bottle.Host
	Port       uint16
	Path       string // of the upstream's URL
	Rule       string // git: and the repository's name
	Allowed    bool
	Reason     policy.Reason
	BytesOut   int64 // of the pack that went upstream
	BytesIn    int64 // of what it got
	Credential string
	Note       string
	Findings   []Finding
}

// Finding is a secret in what was pushed; its place is git:COMMIT:FILE:LINE.
type Finding struct {
	dlp.Finding
	Approved bool // an operator let it through
}

// Gate serves a bottle's repositories. It is safe for use by many at once.
type Gate struct {
	cfg    Config
	limits limits
	repos  []*repo
}

// limits are what one push, and one upstream, may cost. A test makes them small.
type limits struct {
	pack     int64         // bytes of a pack
	packs    int           // that are received, or wait to be judged, at once: each is on the disk
	reads    int           // fetches at once: each costs a git or two
	push     time.Duration // from its first byte to its report; of a fetch, to its end
	longOpen time.Duration // how long a session may wait for the judge and still be used: a server does not wait for ever
	client   pace          // that an agent has to keep
	upstream upstream.Limits
}

func usual() limits {
	return limits{pack: 2 << 30, packs: 4, reads: 8, push: time.Hour, longOpen: 20 * time.Second, client: pace{silence: 30 * time.Second, grace: time.Minute, least: 1 << 10}}
}

// repo is one of them.
type repo struct {
	bottle.Repo
	gate   *Gate
	at     bottle.Remote // its upstream
	remote *upstream.Remote
	mirror *mirror.Mirror
	offers offers
	packs  chan struct{} // one for each that is being received, or waits for its turn
	reads  chan struct{} // one for each fetch
	turn   chan struct{} // of the push that is judged and sent: one after the other
	ways   chan struct{} // of the session that is open ahead of a push, or being ended: one

	amended atomic.Pointer[bottle.Push] // the rules of now; nil: those of the start
	gone    atomic.Bool                 // taken out of the manifest
}

// New makes a gate. It dials nothing and runs nothing.
func New(cfg Config) (*Gate, error) { return limited(cfg, usual()) }

func limited(cfg Config, l limits) (*Gate, error) {
	if cfg.Identity == "" || cfg.Folder == "" || cfg.Dial == nil || cfg.Roots == nil || cfg.Fits == nil || cfg.Record == nil || cfg.Open == nil || cfg.DLP == nil || cfg.Token == nil || cfg.Key == nil || cfg.Pass == nil {
		return nil, errors.New("make the git gate: something is missing")
	}
	run, err := confined.New()
	if err != nil {
		return nil, fmt.Errorf("make the git gate: %w", err)
	}
	if err := os.MkdirAll(cfg.Folder, 0o700); err != nil {
		return nil, fmt.Errorf("make the git gate: %w", err)
	}
	g := &Gate{cfg: cfg, limits: l}
	for _, r := range cfg.Repos {
		one, err := g.repo(r, run)
		if err != nil {
			return nil, fmt.Errorf("make the git gate: repository %s: %w", bottle.Printable(r.Name), err)
		}
		g.repos = append(g.repos, one)
	}
	return g, nil
}

func (g *Gate) repo(r bottle.Repo, run confined.Runner) (*repo, error) {
	at, err := bottle.ParseRemote(r.Upstream)
	if err != nil || at.Scheme != "ssh" && at.Scheme != "https" {
		return nil, errors.New("its upstream is neither an ssh:// nor an https:// URL")
	}
	one := &repo{Repo: r, gate: g, at: at,
		packs: make(chan struct{}, g.limits.packs), reads: make(chan struct{}, g.limits.reads), turn: make(chan struct{}, 1), ways: make(chan struct{}, 1)}
	auth := g.auth(r, at.User)
	if !one.ssh() {
		if auth.Roots, err = g.cfg.Roots(r); err != nil {
			return nil, err
		}
	}
	one.remote, err = upstream.New(r.Upstream, auth, one.dial, g.limits.upstream)
	if err != nil {
		return nil, err
	}
	one.mirror, err = mirror.Open(g.cfg.Folder, r.Name, run, one.remote)
	return one, err
}

func (r *repo) ssh() bool { return r.at.Scheme == "ssh" }

// dial is for room upstream: the host and port are the declared ones, or nothing is dialled.
func (r *repo) dial(ctx context.Context, host string, port uint16) (Conn, error) {
	if h, err := bottle.ParseHost(host); err != nil || h != r.at.Host || port != r.at.DialPort() {
		return nil, fmt.Errorf("the gate dials the declared server only, not %.80q", host)
	}
	address := ""
	if a, err := netip.ParseAddr(r.ExtraHosts[string(r.at.Host)]); err == nil {
		address = netip.AddrPortFrom(a, r.at.DialPort()).String()
	}
	return r.gate.cfg.Dial(ctx, r.at.Host, r.at.DialPort(), address)
}

// named finds the repository that a path of the gate's own host begins with, and gives
// what follows.
func (g *Gate) named(path string) (*repo, string) {
	for r := range g.served() {
		if rest, ok := policy.GatePath(r.Name, path); ok {
			return r, rest
		}
	}
	return nil, ""
}

// declared finds the repository that a URL of its own server is about.
func (g *Gate) declared(host bottle.Host, port uint16, path string) (*repo, string) {
	for r := range g.served() {
		if rest, ok := policy.UpstreamPath(r.at, host, port, path); ok {
			return r, rest
		}
	}
	return nil, ""
}

// Near reports whether this is the gate's own name, or some repository is reached over
// https at this host and port: a connection there may be opened for the gate's sake. Port
// 0 is any.
func (g *Gate) Near(host bottle.Host, port uint16) bool {
	if policy.IsGitHost(host) {
		return true
	}
	for r := range g.served() {
		if !r.ssh() && r.at.Host == host && (port == 0 || r.at.DialPort() == port) {
			return true
		}
	}
	return false
}
