package gitgate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"bottle/internal/bottle"
	"bottle/internal/gitgate/judge"
	"bottle/internal/gitgate/mirror"
	"bottle/internal/gitgate/pktline"
	"bottle/internal/gitgate/ref"
	"bottle/internal/gitgate/upstream"
	"bottle/internal/policy"
)

// Bounds of one push.
const (
	maxOptions = 64
	maxOption  = 1024      // bytes of a push option
	maxCert    = 256 << 10 // bytes of a push certificate
)

// capabilities are what the gate speaks by itself; what upstream must speak, too, is
// added by offer. Push options are among the gate's: one of them is its own (see dryRun).
// Others are refused where upstream takes none.
const capabilities = "report-status report-status-v2 side-band-64k quiet ofs-delta push-options agent=bottle"

// offer is what receive-pack says first (gitprotocol-pack(5)): upstream's refs, so that
// the agent's old ids are upstream's. Those that the mirror does not have are left out: a
// client sends no object that a ref told it is here already.
func (r *repo) offer(ctx context.Context) ([]byte, error) {
	session, stop, err := r.open(ctx)
	if err != nil {
		return nil, err
	}
	adv := session.Advert
	session.Close()
	stop(nil)
	caps := capabilities + " object-format=" + adv.ObjectFormat
	if adv.PushCertNonce != "" && !r.ssh() { // over ssh a nonce is good for that one connection only
		caps += " push-cert=" + adv.PushCertNonce
	}
	for _, c := range []string{"atomic", "delete-refs"} {
		if adv.Has(c) {
			caps += " " + c
		}
	}
	var to bytes.Buffer
	out := pktline.NewWriter(&to)
	_ = out.Text("# service=" + receive) // a buffer takes all
	_ = out.Flush()
	n := 0
	for _, ref := range adv.Refs {
		if !mirror.Kept(ref.Name) || strings.HasSuffix(ref.Name, "^{}") {
			continue
		}
		line := ref.ID + " " + ref.Name
		if n == 0 {
			line += "\x00" + caps
		}
		if err := out.Text(line); err != nil {
			return nil, err
		}
		n++
	}
	if n == 0 {
		_ = out.Text(ref.Zeros(adv.ObjectFormat) + " capabilities^{}\x00" + caps)
	}
	_ = out.Flush()
	return to.Bytes(), nil
}

var errSilent = errors.New("the upstream did not say in time what it has")

// open begins to push. An SSH server that is alive tells nothing of the service behind it:
// the list of refs has to come within mirror.Silence. The caller calls stop at the end.
func (r *repo) open(ctx context.Context) (*upstream.Session, context.CancelCauseFunc, error) {
	ctx, stop := context.WithCancelCause(ctx)
	late := time.AfterFunc(mirror.Silence, func() { stop(errSilent) })
	session, err := r.remote.Open(ctx, upstream.ReceivePack)
	late.Stop()
	if err != nil {
		stop(nil)
	}
	return session, stop, err
}

// push is one push on its way.
type push struct {
	r       *repo
	asked   upstream.Push
	may     bottle.Push // the rules that it is judged by, whatever an operator changes meanwhile
	caps    map[string]bool
	lines   *pktline.Reader
	banded  bool
	w       *pktline.Writer
	say     io.Writer // words for the agent's terminal
	reply   http.ResponseWriter
	q       *mirror.Quarantine
	shallow []string     // commits whose parents the agent does not have
	out     int64        // bytes of the pack that the agent sent
	sent    atomic.Int64 // bytes of the one that went upstream
	heard   tail         // upstream's last words on the agent's terminal
	failed  []judge.Failure
	passed  []judge.Failure
	hint    string // what a person should know of a push that is not refused
	engaged bool   // upstream was asked

	asks   []string       // paths that only an operator may let through
	gives  []judge.Update // refs that give up what was changed there
	waiver string         // the proposal by which an operator let it through
	says   string         // what came of asking him

	signed  []string // push options that stand in the certificate
	dry     bool     // it is judged and goes no further
	unknown bool     // an option is for the gate, which does not know it
	moved   bool     // upstream's refs are no longer those that a dry run is about
	base    string   // of the commits that have the wrong committer, for git rebase
	looked  int      // commits that were judged
	objects int      // so, with the commits
}

// receive takes a push, judges it and sends it on.
func (r *repo) receive(w http.ResponseWriter, req *http.Request) {
	begun := time.Now()
	ctx, stop := context.WithTimeout(req.Context(), r.gate.limits.push)
	defer stop()
	in, err := r.gate.body(w, req)
	if err != nil {
		plain(w, http.StatusBadRequest, "bottle: "+words(err.Error())+"\n", "")
		return
	}
	p := &push{r: r, lines: pktline.NewReader(in), reply: r.gate.outgoing(w), say: io.Discard}
	err = p.read()
	if err == nil {
		err = p.format()
	}
	switch {
	case errors.Is(err, errProbe):
		noCache(w, "application/x-"+receive+"-result")
		return
	case err != nil:
		_ = r.record(Record{Time: begun, Method: "push", Reason: policy.BadRequest, Note: bottle.Printable(err.Error())})
		plain(w, http.StatusBadRequest, "bottle: "+words(err.Error())+"\n", "")
		return
	}
	report, err := p.through(ctx)
	if rerr := r.record(p.record(begun, report, err)); rerr != nil {
		report, err = upstream.Report{}, errors.New("the decision could not be recorded")
	}
	p.answer(report, err)
}

// news are the ids that refs would have.
func (p *push) news() []string {
	ids := map[string]bool{}
	for _, c := range p.asked.Commands {
		if !ref.Zero(c.New) {
			ids[c.New] = true
		}
	}
	return slices.Sorted(maps.Keys(ids))
}

// through is the way of a push. What it makes beside the mirror is gone when it returns.
func (p *push) through(ctx context.Context) (_ upstream.Report, err error) {
	if !p.r.mirror.Fresh(freshFor) { // it may not even be there yet
		if err := p.r.mirror.Refresh(ctx); err != nil {
			return upstream.Report{}, err
		}
	}
	received, err := enter(ctx, p.r.packs)
	if err != nil {
		return upstream.Report{}, err
	}
	defer received() // the quarantine is gone then
	if p.q, err = p.r.mirror.Quarantine(); err != nil {
		return upstream.Report{}, err
	}
	defer func() { err = errors.Join(err, p.q.Drop()) }()
	if lacks, err := p.r.mirror.Missing(ctx, p.shallow); err != nil || len(lacks) > 0 {
		p.begin()
		return upstream.Report{}, errors.Join(err, errShallow)
	}
	if len(p.news()) > 0 {
		pack := &counter{r: p.lines.Rest()}
		_, err := p.q.Take(ctx, pack, p.r.gate.limits.pack)
		p.out = pack.n
		if err != nil {
			p.begin()
			return upstream.Report{Unpack: "git refused the pack"}, fmt.Errorf("git refused the pack: %w", err)
		}
	}
	p.begin()
	// Until here nothing was looked at that another push changes: the quarantine is this
	// push's own, and while it is there no object of the mirror vanishes. So a pack that
	// comes slowly holds up none that is there.
	done, err := enter(ctx, p.r.turn)
	if err != nil {
		return upstream.Report{}, err
	}
	defer done()
	toItsEnd, stop := lasting(ctx)
	defer stop()
	way, session, err := p.settle(ctx, toItsEnd)
	defer way.close()
	if err != nil || len(p.failed) > 0 && !p.waived(ctx) {
		return upstream.Report{}, err
	}
	if p.r.gone.Load() { // while the pack came, or was judged
		return upstream.Report{}, takenOut{}
	}
	if p.hint != "" {
		_, _ = fmt.Fprintln(p.say, "bottle: "+p.hint) // the client may be gone
	}
	if p.dry {
		return p.rehearse(session)
	}
	if err := ctx.Err(); err != nil {
		return upstream.Report{}, fmt.Errorf("nothing was sent: the client went away or its time is over: %w", err)
	}
	p.say = deaf{p.say}
	return p.forward(toItsEnd, session)
}

// lasting is a context that ends with the push's time, and not when its client hangs up:
// what upstream has of a push is to be known.
func lasting(ctx context.Context) (context.Context, context.CancelFunc) {
	until, bounded := ctx.Deadline()
	if ctx = context.WithoutCancel(ctx); !bounded {
		return context.WithCancel(ctx)
	}
	return context.WithDeadline(ctx, until)
}

// deaf tells words to a client that may be gone.
type deaf struct{ to io.Writer }

// Write implements io.Writer. It takes all.
func (d deaf) Write(b []byte) (int, error) {
	_, _ = d.to.Write(b)
	return len(b), nil
}

// enter waits for room among those that a channel bounds. leave, which may be called
// more than once, gives it back.
func enter(ctx context.Context, room chan struct{}) (leave func(), err error) {
	select {
	case room <- struct{}{}:
		return sync.OnceFunc(func() { <-room }), nil
	case <-ctx.Done():
		return nil, busy{ctx.Err()}
	}
}

// busy is a push or fetch that had no turn before its time was over or its client went away.
type busy struct{ cause error }

// Error implements error.
func (b busy) Error() string {
	return "others were before this one for too long (" + b.cause.Error() + "): try again when they are done"
}

// Reason is the code for it.
func (busy) Reason() policy.Reason { return policy.Limit }

// takenOut is a push to a repository that an operator has taken out meanwhile.
type takenOut struct{}

// Error implements error.
func (takenOut) Error() string {
	return "nothing was sent: an operator has taken this repository out of the bottle's manifest"
}

// Reason is the code for it.
func (takenOut) Reason() policy.Reason { return policy.RepoNotListed }

// forward sends on what was judged, and keeps what upstream has accepted.
func (p *push) forward(ctx context.Context, session *upstream.Session) (upstream.Report, error) {
	p.engaged = true
	report, err := session.Push(p.asked, func(w io.Writer) error { return p.q.Pack(ctx, p.news(), sending{w, &p.sent}) }, io.MultiWriter(p.say, &p.heard))
	if err != nil {
		return report, err
	}
	var done []upstream.Command
	for i, s := range report.Refs {
		if s.OK && i < len(p.asked.Commands) && p.asked.Commands[i].Ref == s.Ref {
			done = append(done, p.asked.Commands[i])
		}
	}
	if len(done) == 0 {
		return report, nil
	}
	own, err := p.commits(ctx, done)
	if err == nil {
		err = p.q.Accepted(done, own)
	}
	if err != nil { // upstream has it: the next refresh brings it here
		_, _ = fmt.Fprintf(p.say, "bottle: the push is upstream; the gate's own copy follows with the next fetch (%v)\n", err)
	}
	return report, nil
}

// commits are those that done brings: from now on they are this bottle's own.
func (p *push) commits(ctx context.Context, done []upstream.Command) ([]string, error) {
	args := []string{"rev-list", "--max-count=200000"}
	for _, c := range done {
		if !ref.Zero(c.New) {
			args = append(args, c.New)
		}
	}
	if len(args) == 2 {
		return nil, nil
	}
	return p.q.Lines(ctx, 64<<20, append(args, "--not", "--all")...)
}

type counter struct {
	r io.Reader
	n int64
}

func (c *counter) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.n += int64(n)
	return n, err
}
