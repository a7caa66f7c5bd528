// Package inspect looks for secrets in what is about to leave a bottle: names, the heads
// and bodies of requests, messages of WebSockets. It says what may go on; what it says is
// done by the caller.
//
// A body that fits into the scanner's window is judged as a whole before anything is
// sent. A larger one is looked at as it flows, and no byte is given on before the window
// that covers it was looked at:
//
//	agent ──▶ Body.Read: fill a window ──▶ scan ──▶ clean: give it on ──▶ upstream
//	                                        └──▶ a secret: the read fails, and the request breaks off
package inspect

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"bottle/internal/bottle"
	"bottle/internal/dlp"
	"bottle/internal/dlp/decode"
	"bottle/internal/dlp/known"
	"bottle/internal/dlp/place"
	"bottle/internal/egress/approval"
	"bottle/internal/egress/decision"
	"bottle/internal/egress/handout"
	"bottle/internal/egress/measure"
	"bottle/internal/egress/ration"
	"bottle/internal/egress/source"
	"bottle/internal/policy"
)

// Rules of what is in no engine: it is about a place, not about the text alone.
const (
	highEntropyHost = "high-entropy-host"
	highEntropyPath = "high-entropy-path"
)

// What a route says is to be done (bottle.Route.DLP); anything else is block.
const (
	modeOff    = "off"
	modeAsk    = "ask"
	modeRedact = "redact"
)

const (
	maxDescribed = 3        // findings in a denial's words
	maxApproving = 4        // fingerprints in the command that a denial names
	maxFindings  = 64       // of one request, in its record
	maxMemory    = 64 << 20 // bytes that all requests together may hold for looking, beside their windows
	destinations = 256      // of which pieces of secrets are remembered
)

// Config is what an Inspector is made of.
type Config struct {
	Identity     string             // of the bottle, for the words of a denial
	Engine       func() *dlp.Engine // the newest one; may block until there is one. nil, or a nil engine: nothing can be looked at
	Placeholders map[string]string  // what the agent holds in the place of credentials: it looks like secrets, and is none
	Now          func() time.Time
	Measured     *measure.Set
}

// Inspector looks into what one bottle sends. Make it with New; it is safe for many
// goroutines.
type Inspector struct {
	cfg     Config
	inflate *decode.Decoder
	heads   sync.Pool // of *head
	blocks  sync.Pool // of *source.Block
	handed  *handout.Memory
	ration  *ration.Ration

	approved *approval.Book

	mu    sync.Mutex
	state *state
}

// state is what belongs to one engine.
type state struct {
	engine   *dlp.Engine
	harmless map[string]bool // fingerprints of placeholders
	memory   *known.Memory   // pieces that were sent
}

// New makes an Inspector. It starts nothing.
func New(cfg Config) *Inspector {
	i := &Inspector{cfg: cfg, inflate: decode.New(), approved: approval.New(cfg.Now), handed: handout.New(cfg.Now), ration: ration.New(maxMemory)}
	i.heads.New = func() any { return newHead() }
	i.blocks.New = func() any { return new(source.Block) }
	return i
}

// Approved is what an operator lets pass.
func (i *Inspector) Approved() *approval.Book { return i.approved }

// current is the newest engine with what belongs to it; nil: there is none.
func (i *Inspector) current() *state {
	if i.cfg.Engine == nil {
		return nil
	}
	e := i.cfg.Engine() // may block, so it holds no lock
	if e == nil {
		return nil
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.state == nil || i.state.engine != e {
		s := &state{engine: e, harmless: map[string]bool{}, memory: known.NewMemory(e.Known(), destinations, 0)}
		for _, held := range i.cfg.Placeholders {
			for _, f := range e.Scan([]byte(held), nil) {
				s.harmless[f.Print] = f.Print != ""
			}
		}
		if i.state != nil {
			s.memory.Carry(i.state.memory)
		}
		i.state = s
	}
	return i.state
}

// Refusal is why something must not go on. It holds no byte of a secret.
type Refusal struct {
	Reason  policy.Reason // SecretFound or NotScannable
	Message string        // for the agent
	Print   string        // fingerprint of the secret; empty: there is none
	Ask     bool          // an operator may let it pass
}

// Error gives the reason's code.
func (r *Refusal) Error() string { return "look for secrets: " + string(r.Reason) }

// Look looks into one request, from its head to its end. A nil *Look looks at nothing.
type Look struct {
	i *Inspector
	*state
	mode string
	host bottle.Host
	dest string        // to whom: what one party owns
	asks string        // for what, at host
	from handout.Party // what host handed out may go back to it

	redacted atomic.Bool

	mu     sync.Mutex
	found  []decision.Finding
	passed []stretch // of known secrets, that an operator let pass
}

// Look begins to look into a request for host on a route. nil: the route wants nothing
// to be looked at.
func (i *Inspector) Look(route *bottle.Route, host bottle.Host) (*Look, *Refusal) {
	if route.DLP == modeOff {
		return nil, nil
	}
	s := i.current()
	if s == nil {
		return nil, &Refusal{Reason: policy.NotScannable, Message: "there is nothing that could look for secrets in it"}
	}
	return &Look{i: i, state: s, mode: route.DLP, host: host, dest: route.Host.String()}, nil
}

// Findings are what was found so far, for the record.
func (l *Look) Findings() []decision.Finding {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.found)
}

// Redacted says whether something was taken out of the request.
func (l *Look) Redacted() bool { return l != nil && l.redacted.Load() }

// sort gives what of the findings is to be refused. What may pass is noted with its place.
func (l *Look) sort(found []dlp.Finding) []dlp.Finding {
	bad, _, passed := l.split(found, false)
	l.approved(passed)
	return bad
}

// split tells what of the findings is to be refused, what can be taken out, where that is
// possible at all, and what an operator lets pass. What is none of these is no secret.
func (l *Look) split(found []dlp.Finding, cutting bool) (bad, cuts, passed []dlp.Finding) {
	approved := func(f dlp.Finding) bool { return f.Print != "" && l.i.approved.Has(f.Print, l.host) }
	for _, f := range found {
		if approved(f) {
			l.pass(f) // before any of its pieces is judged
		}
	}
	for _, f := range found {
		switch {
		case l.harmless[f.Print]:
		case approved(f):
			passed = append(passed, f)
		case f.Known() && slices.Contains(f.Chain, inPieces) && l.passes(f):
		case cutting && l.mode == modeRedact && !f.Known() && f.Rule != dlp.Undecodable:
			cuts = append(cuts, f)
		default:
			bad = append(bad, f)
		}
	}
	return bad, cuts, passed
}

// approved notes what may pass.
func (l *Look) approved(passed []dlp.Finding) {
	for _, f := range passed {
		l.note(f, measure.OutcomeAdmitted)
	}
}

// stretch is a part of a known secret's value, or all of it.
type stretch struct {
	name     string
	from, to int
}

// pass and passes are about what of known secrets may pass in one piece, so in smaller
// ones too: no byte of the value besides.
func (l *Look) pass(f dlp.Finding) {
	s := stretch{f.Name, f.From, f.To}
	l.mu.Lock()
	defer l.mu.Unlock()
	if f.Known() && len(l.passed) < maxFindings && !slices.Contains(l.passed, s) {
		l.passed = append(l.passed, s)
	}
}

func (l *Look) passes(f dlp.Finding) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.ContainsFunc(l.passed, func(s stretch) bool { return s.name == f.Name && s.from <= f.From && f.To <= s.to })
}

// lets says of a finding whether it may pass, before it is counted among others.
func (l *Look) lets(f dlp.Finding) dlp.Passing {
	switch {
	case l.harmless[f.Print]:
		return dlp.Harmless
	case f.Print != "" && l.i.approved.Has(f.Print, l.host):
		return dlp.Passes
	}
	return dlp.Stops
}

// note keeps a finding for the record.
func (l *Look) note(f dlp.Finding, o measure.Outcome) {
	l.i.cfg.Measured.Found(o, 1)
	l.mu.Lock()
	defer l.mu.Unlock()
	one := decision.Finding{Rule: f.Rule, Place: strings.TrimSpace(f.Place), Encoding: f.Chain, Length: f.Length, Fingerprint: f.Print, Secret: f.Name}
	switch o {
	case measure.OutcomeAdmitted:
		one.Outcome = decision.Approved
	case measure.OutcomeRedacted:
		one.Outcome = decision.Redacted
	case measure.OutcomeHandedOut:
		one.Outcome = decision.HandedOut
	}
	same := func(o decision.Finding) bool {
		return o.Rule == one.Rule && o.Outcome == one.Outcome && (o.Place == one.Place || o.Outcome == decision.Approved) && (o.Fingerprint == one.Fingerprint || f.Known() && o.Secret == one.Secret)
	}
	if len(l.found) < maxFindings && !slices.ContainsFunc(l.found, same) {
		l.found = append(l.found, one)
	}
}

// refuse makes a refusal of findings, the gravest first; nil: there are none.
func (l *Look) refuse(bad []dlp.Finding) *Refusal {
	if len(bad) == 0 {
		return nil
	}
	worst := slices.IndexFunc(bad, func(f dlp.Finding) bool { return f.Rule != dlp.Undecodable })
	for _, f := range bad {
		l.note(f, measure.OutcomeDenied)
	}
	if worst < 0 {
		return &Refusal{Reason: policy.NotScannable, Message: "the request can't be scanned for secrets: " + described(bad[0])}
	}
	f := bad[worst]
	// In a name, the command that lets it pass would hold the secret itself.
	r := &Refusal{Reason: policy.SecretFound, Print: f.Print, Ask: l.mode == modeAsk && f.Print != "" && f.Place != place.Host}
	words := []string{described(f)}
	for _, g := range bad {
		if w := described(g); len(words) < maxDescribed && !slices.Contains(words, w) {
			words = append(words, w)
		}
	}
	r.Message = "the request carries a secret: " + strings.Join(words, "; ") + ". Take it out and send the request again"
	switch {
	case l.mode == modeRedact && f.Known():
		r.Message += ". It is not taken out for you: dlp: redact takes out what only looks like a secret"
	case l.mode == modeRedact && len(f.Chain) > 0:
		r.Message += ". It can't be taken out for you because of how it is encoded there"
	case l.mode == modeRedact:
		r.Message += ". It can't be taken out for you: dlp: redact changes only whole bodies of text, JSON and forms, up to 1 MiB"
	}
	if r.Ask {
		r.Message += ", or ask the operator to let it pass: " + l.approving(bad)
	}
	return r
}

// approving is the command by which an operator lets findings pass. It names the host:
// without, it would mean the one that the agent sent the first value to last.
func (l *Look) approving(bad []dlp.Finding) string {
	var prints []string
	for _, f := range bad {
		if f.Print != "" && !slices.Contains(prints, f.Print) {
			prints = append(prints, f.Print)
		}
	}
	more := ""
	if n := len(prints) - maxApproving; n > 0 {
		prints, more = prints[:maxApproving], fmt.Sprintf(", and %d more: bottle audit %s --denied", n, l.i.cfg.Identity)
	}
	return "bottle approve " + l.i.cfg.Identity + " " + strings.Join(prints, " ") + " --host " + string(l.host) + more
}

// unscannable is a refusal of what can't be looked into.
func (l *Look) unscannable(where, why string) *Refusal {
	l.note(dlp.Finding{Rule: dlp.Undecodable, Place: where}, measure.OutcomeDenied)
	return &Refusal{Reason: policy.NotScannable, Message: "the request can't be scanned for secrets: " + why}
}

// described says what was found, and where, in words without a byte of it.
func described(f dlp.Finding) string {
	what := f.Rule
	switch {
	case f.Known():
		what = "a value that the bottle may not send"
	case f.Rule == dlp.Undecodable:
		what = "something encoded too deeply, too often, or too large"
	}
	if at := strings.TrimSpace(f.Place); at != "" { // a field's name may end with a space
		what += " in " + at
	}
	if len(f.Chain) > 0 {
		what += ", encoded as " + strings.Join(f.Chain, " in ")
	}
	return what
}

// scanned counts a look of that many bytes.
func (l *Look) scanned(n int) { l.i.cfg.Measured.Scanned.Add(uint64(max(n, 0))) }

// remember holds the pieces of secrets in a text against those that were sent to the
// same party before.
func (l *Look) remember(text []byte, where string) []dlp.Finding {
	pieces := l.engine.Known().Pieces(nil, text)
	var out []dlp.Finding
	for _, m := range l.memory.Saw(l.dest, pieces, l.i.cfg.Now()) {
		out = append(out, dlp.Finding{Rule: dlp.KnownSecret, Name: m.Name, From: m.From, To: m.To, Start: m.Start, End: m.End, Length: m.To - m.From, Place: where, Chain: []string{inPieces}})
	}
	return out
}

// inPieces stands for how a secret was cut, among what it was encoded in.
const inPieces = "pieces"

// knownOnly are the known secrets among findings: where text was put together of pieces,
// all else may be chance.
func knownOnly(found []dlp.Finding, where string) []dlp.Finding {
	out := found[:0]
	for _, f := range found {
		if f.Known() {
			f.Place, f.Chain = where, append(f.Chain, inPieces)
			out = append(out, f)
		}
	}
	return out
}
