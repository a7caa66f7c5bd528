package bottle

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// ProposalKind says what an agent asks for. The zero value is none and is refused.
type ProposalKind string

// The kinds of proposals.
const (
	ProposalEgress     ProposalKind = "egress"     // let requests out: Route
	ProposalContent    ProposalKind = "content"    // let one found value pass, or one URL: Content
	ProposalPush       ProposalKind = "push"       // let one push through: Push
	ProposalCapability ProposalKind = "capability" // put programs into the bottle: Capability
	ProposalImage      ProposalKind = "image"      // put lines behind the recipe of its image: Image
)

// ProposalStatus is what became of a proposal. The zero value is none and is refused.
type ProposalStatus string

// The states of a proposal. All but the first are final.
const (
	ProposalPending  ProposalStatus = "pending"
	ProposalApproved ProposalStatus = "approved"
	ProposalModified ProposalStatus = "modified" // approved, and the operator gave another route than was asked for
	ProposalRejected ProposalStatus = "rejected"
	ProposalExpired  ProposalStatus = "expired" // nobody decided in time
)

// Proposal is one thing that an agent asks its operator for. Everything in it but what
// the operator decided is the agent's text: it is canonical and bounded, and holds
// nothing that a terminal would obey, or it is not a Proposal (see Canonical).
type Proposal struct {
	ID         string         `json:"id"`
	Seq        uint64         `json:"seq"` // order of arrival in this bottle, from 1
	Kind       ProposalKind   `json:"kind"`
	Auto       bool           `json:"auto,omitempty"` // the gateway asked by itself, for an agent that was denied
	Created    time.Time      `json:"created"`
	Count      int            `json:"count"` // how often the same was asked
	Why        string         `json:"why,omitempty"`
	Route      *Route         `json:"route,omitempty"` // host, ports, methods, paths, and scheme and name of a credential; nothing else
	Content    *ContentAsk    `json:"content,omitempty"`
	Push       *PushAsk       `json:"push,omitempty"`
	Capability *CapabilityAsk `json:"capability,omitempty"`
	Image      *ImageAsk      `json:"image,omitempty"` // an approval is in force from the next resume on
	Status     ProposalStatus `json:"status"`
	Note       string         `json:"note,omitempty"` // the operator's
	By         string         `json:"by,omitempty"`   // who decided, as he calls himself
	Decided    time.Time      `json:"decided,omitzero"`
	Grant      string         `json:"grant,omitempty"` // what an approval became
	Given      *Route         `json:"given,omitempty"` // of status modified: what the operator gave instead
	Bill       *Bill          `json:"bill,omitempty"`  // of an approved Capability: what was brought in
}

// ContentAsk asks that what was held back from one URL may go there.
type ContentAsk struct {
	Host  Host   `json:"host"`
	Path  string `json:"path"`            // canonical, without query
	Print string `json:"print,omitempty"` // fingerprint of the finding, 32 hex digits; empty: no route lists the URL
}

// PushAsk is a push that fails only on rules that an operator may waive.
type PushAsk struct {
	Repo     string    `json:"repo"`
	Refs     []PushRef `json:"refs"`
	Failures []string  `json:"failures"`       // each a sentence
	Diff     string    `json:"diff,omitempty"` // what it changes, cut at MaxDiff
}

// NotWhole begins the Diff of a push that changes more than is shown.
const NotWhole = "NOT WHOLE: "

// Whole reports whether all that an operator should read before he approves it is there:
// false of a push whose Diff was cut.
func (p Proposal) Whole() bool { return p.Push == nil || !strings.HasPrefix(p.Push.Diff, NotWhole) }

// PushRef is one ref that a push moves. An id is 40 or 64 hex digits; all zeros is no object.
type PushRef struct {
	Name string `json:"name"`
	Old  string `json:"old"`
	New  string `json:"new"`
}

// Bounds of what one proposal holds; a string's is in bytes, as it was said.
const (
	MaxWhy          = 2 << 10
	MaxNote         = 2 << 10
	MaxDiff         = 64 << 10
	MaxProposal     = 512 << 10 // as JSON
	maxBy           = 64
	maxAskPorts     = 8
	maxAskMethods   = 16
	maxAskPaths     = 32
	maxAskPath      = 512
	maxAskRefs      = 64
	maxAskRef       = 512
	maxAskFailures  = 64
	maxAskFailure   = 1 << 10
	maxAskPackages  = 32
	maxAskPackage   = 128
	maxAskToken     = 128
	maxAskRepo      = 128
	maxTreated      = maxAskPorts * maxAskPaths
	idLetters       = "23456789bcdfghjkmnpqrstvwxz" // no vowels, no look-alikes
	idDigits        = 6
	proposalInitial = 'p'
	grantInitial    = 'g'
)

// NewProposalID makes an id of entropy, of which it uses the first six bytes; fewer is
// an error. It begins with a p, which is no hex digit: no id is a fingerprint.
func NewProposalID(entropy []byte) (string, error) { return newID(proposalInitial, entropy) }

// NewGrantID is the same for a grant; it begins with a g.
func NewGrantID(entropy []byte) (string, error) { return newID(grantInitial, entropy) }

func newID(initial byte, entropy []byte) (string, error) {
	if len(entropy) < idDigits {
		return "", fmt.Errorf("make id: fewer than %d bytes of entropy", idDigits)
	}
	id := []byte{initial}
	for _, b := range entropy[:idDigits] {
		id = append(id, idLetters[int(b)%len(idLetters)])
	}
	return string(id), nil
}

// IsProposalID reports whether s is what NewProposalID makes. It is what stands between
// a word on a command line and a path.
func IsProposalID(s string) bool { return isID(proposalInitial, s) }

// IsGrantID is the same for NewGrantID.
func IsGrantID(s string) bool { return isID(grantInitial, s) }

func isID(initial byte, s string) bool {
	return len(s) == 1+idDigits && s[0] == initial && strings.Trim(s[1:], idLetters) == ""
}

// Settled reports whether a decision stands.
func (p Proposal) Settled() bool { return p.Status != ProposalPending }

// Approved reports whether the operator gave something.
func (p Proposal) Approved() bool {
	return p.Status == ProposalApproved || p.Status == ProposalModified
}

// About is what it is about, in a few words, where nobody says what it would open. A
// terminal is shown them through Said, as all of it.
func (p Proposal) About() string {
	switch {
	case p.Route != nil:
		return "requests to " + p.Route.Host.String()
	case p.Content != nil:
		return "a value to " + string(p.Content.Host)
	case p.Push != nil:
		return "a push to " + p.Push.Repo
	case p.Capability != nil:
		return "the packages " + strings.Join(p.Capability.Packages, ", ")
	case p.Image != nil:
		return "lines for the recipe of its image"
	}
	return "nothing"
}

// Speaker is what stands in front of Why, so that nobody takes it for another's words.
func (p Proposal) Speaker() string {
	if p.Auto {
		return "no agent asked: "
	}
	return "the agent says: "
}

// Key is the same for two proposals that ask for the same, whatever the reason that they
// give. Of a push that is the repository, where its refs go, and what is wrong with that: an
// approval is good for what the operator saw, and a reload may protect other paths since.
// Both must be canonical.
func (p Proposal) Key() string {
	push := p.Push
	if push != nil {
		push = &PushAsk{Repo: push.Repo, Refs: push.Refs, Failures: push.Failures}
	}
	b, _ := json.Marshal(struct { // strings and numbers only: this can't fail
		Kind       ProposalKind
		Route      *Route
		Content    *ContentAsk
		Push       *PushAsk
		Capability *CapabilityAsk
		Image      *ImageAsk
	}{p.Kind, p.Route, p.Content, push, p.Capability, p.Image})
	return string(b)
}

// Canonical checks what is asked for and gives it in its one form: sets sorted, the
// default port filled in, text as Said shows it. It looks at nothing that the gateway or
// the operator adds (ID, Status and what follows). The error tells an agent what to write.
func (p Proposal) Canonical() (Proposal, error) {
	if len(p.Why) > MaxWhy {
		return Proposal{}, fmt.Errorf("the justification is %d bytes long: at most %d", len(p.Why), MaxWhy)
	}
	p.Why = cut(Said(p.Why), MaxWhy)
	have := 0
	for _, there := range []bool{p.Route != nil, p.Content != nil, p.Push != nil, p.Capability != nil, p.Image != nil} {
		if there {
			have++
		}
	}
	if have != 1 {
		return Proposal{}, errors.New("a proposal asks for exactly one thing")
	}
	var err error
	switch {
	case p.Kind == ProposalEgress && p.Route != nil:
		p.Route, err = askedRoute(*p.Route)
	case p.Kind == ProposalContent && p.Content != nil:
		p.Content, err = askedContent(*p.Content)
	case p.Kind == ProposalPush && p.Push != nil:
		p.Push, err = askedPush(*p.Push)
	case p.Kind == ProposalCapability && p.Capability != nil:
		p.Capability, err = askedCapability(*p.Capability)
	case p.Kind == ProposalImage && p.Image != nil:
		p.Image, err = askedImage(*p.Image)
	default:
		err = fmt.Errorf("the kind %.20q does not go with what is asked for", p.Kind)
	}
	if err != nil {
		return Proposal{}, err
	}
	return p, nil
}

// askedRoute takes what an agent may say of a route, and refuses all else.
func askedRoute(r Route) (*Route, error) {
	if r.Upstream != nil || r.TLS != "" || r.DLP != "" || r.Inbound != "" || r.Role != "" || r.H2C || r.Rule != "" {
		return nil, errors.New("a proposal names a host, ports, methods, paths and a credential; how it is dialled and looked into is the operator's to say")
	}
	if len(r.Ports) > maxAskPorts || len(r.Methods) > maxAskMethods || len(r.Paths) > maxAskPaths {
		return nil, fmt.Errorf("it names more than %d ports, %d methods or %d paths", maxAskPorts, maxAskMethods, maxAskPaths)
	}
	parsed, err := ParsePattern(r.Host.String())
	if err != nil {
		return nil, err
	}
	out := &Route{Host: parsed, Ports: sorted(r.Ports)}
	if len(out.Ports) == 0 {
		out.Ports = []uint16{443}
	}
	if out.Ports[0] == 0 {
		return nil, errors.New("the port 0 is none: write 443")
	}
	for _, m := range r.Methods {
		if m == "" || len(m) > maxAskPath/8 || strings.Trim(m, "ABCDEFGHIJKLMNOPQRSTUVWXYZ-") != "" {
			return nil, fmt.Errorf("the method %.20q is not an upper-case HTTP method such as GET", m)
		}
	}
	out.Methods = sorted(r.Methods)
	for _, path := range r.Paths {
		canon, err := askedPath(path)
		if err != nil {
			return nil, err
		}
		out.Paths = append(out.Paths, canon)
	}
	out.Paths = sorted(out.Paths)
	if r.Auth != nil {
		out.Auth, err = askedAuth(*r.Auth)
	}
	return out, err
}

func askedPath(path string) (string, error) {
	canon, err := ParsePath(path)
	if err == nil && len(canon) > maxAskPath {
		err = fmt.Errorf("a path is longer than %d bytes", maxAskPath)
	}
	return canon, err
}

// askedAuth takes the name of a credential. Whether the bottle has it is for policy.
func askedAuth(a Auth) (*Auth, error) {
	plain := func(s string) bool {
		return len(s) <= maxAskToken && Said(s) == s && !strings.ContainsAny(s, " \t")
	}
	if a.TokenRef == "" || !plain(a.TokenRef) || a.Scheme == "" || !plain(a.Scheme) || !plain(a.Header) {
		return nil, errors.New("auth is {scheme, token_ref}: the name of a credential that the bottle has, never a value")
	}
	return &a, nil
}

func askedContent(c ContentAsk) (*ContentAsk, error) {
	host, err := ParseHost(string(c.Host))
	if err != nil {
		return nil, err
	}
	if c.Path == "" {
		c.Path = "/"
	}
	path, err := askedPath(c.Path)
	if err != nil {
		return nil, err
	}
	if c.Print != "" && !isDigest(c.Print) {
		return nil, errors.New("the fingerprint is not the 32 hex digits that the denial shows")
	}
	return &ContentAsk{Host: host, Path: path, Print: c.Print}, nil
}

func isDigest(s string) bool { return len(s) == 32 && strings.Trim(s, "0123456789abcdef") == "" }

func askedPush(p PushAsk) (*PushAsk, error) {
	if p.Repo == "" || len(p.Repo) > maxAskRepo || Said(p.Repo) != p.Repo {
		return nil, errors.New("the repository has no name that can be shown")
	}
	if len(p.Refs) == 0 || len(p.Refs) > maxAskRefs {
		return nil, fmt.Errorf("a push that is asked for moves from 1 to %d refs", maxAskRefs)
	}
	for _, r := range p.Refs {
		if r.Name == "" || len(r.Name) > maxAskRef || Said(r.Name) != r.Name || !isObject(r.Old) || !isObject(r.New) {
			return nil, errors.New("a ref has a name that can't be shown, or an id that is none")
		}
	}
	out := PushAsk{Repo: p.Repo, Refs: slices.Clone(p.Refs), Diff: cut(SaidLines(p.Diff), MaxDiff)}
	slices.SortFunc(out.Refs, func(a, b PushRef) int { return strings.Compare(a.Name, b.Name) })
	for i, f := range p.Failures {
		if i == maxAskFailures {
			out.Failures[i-1] = fmt.Sprintf("and %d more", len(p.Failures)-i+1)
			break
		}
		out.Failures = append(out.Failures, cut(Said(f), maxAskFailure))
	}
	return &out, nil
}

func isObject(id string) bool {
	return (len(id) == 40 || len(id) == 64) && strings.Trim(id, "0123456789abcdef") == ""
}

func sorted[T interface{ ~string | ~uint16 }](in []T) []T {
	if len(in) == 0 {
		return nil
	}
	return slices.Compact(slices.Sorted(slices.Values(in)))
}

// Grant is what an approval became: it holds until it ends by time, by use, by the
// operator's word, or with the bottle.
type Grant struct {
	ID       string    `json:"id"`
	Proposal string    `json:"proposal"`
	Since    time.Time `json:"since"`
	Until    time.Time `json:"until,omitzero"` // zero: as long as the bottle
	Uses     int       `json:"uses,omitempty"` // how often it may still be used; 0: it is not counted, or used up where Ended says so
	By       string    `json:"by,omitempty"`
	Reason   string    `json:"reason,omitempty"`  // the operator's note
	Treated  []string  `json:"treated,omitempty"` // how what it opens was dialled, looked into and given a credential when it was given (policy.Treated)
	Adds     []Route   `json:"adds,omitempty"`    // what it newly let through when it was given (policy.Lacking): it never opens more
	Ended    time.Time `json:"ended,omitzero"`
	EndedBy  string    `json:"ended_by,omitempty"` // why or by whom
}

// Holds reports whether the grant is in force at now.
func (g *Grant) Holds(now time.Time) bool {
	return g != nil && g.Ended.IsZero() && (g.Until.IsZero() || now.Before(g.Until))
}

// Asked is a proposal with the grant that it became, as the queue keeps it.
type Asked struct {
	Proposal
	Lease *Grant `json:"lease,omitempty"` // nil: none was given
}

// ParseAsked reads what MarshalAsked wrote. Unknown keys, a second value, a proposal that
// is not canonical, and a state that no decision leads to are errors: who changed the file
// by hand gets nothing from it.
func ParseAsked(b []byte) (Asked, error) {
	if len(b) > MaxProposal {
		return Asked{}, fmt.Errorf("read proposal: it is longer than %d bytes", MaxProposal)
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	var a Asked
	if err := dec.Decode(&a); err != nil {
		return Asked{}, fmt.Errorf("read proposal: %w", err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return Asked{}, errors.New("read proposal: something follows it")
	}
	if err := a.check(); err != nil {
		return Asked{}, fmt.Errorf("read proposal: %w", err)
	}
	return a, nil
}

// MarshalAsked writes a proposal for ParseAsked; what that would refuse is an error.
func MarshalAsked(a Asked) ([]byte, error) {
	if err := a.check(); err != nil {
		return nil, fmt.Errorf("write proposal: %w", err)
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false) // a diff of angle brackets would be six times as long
	err := enc.Encode(a)
	b := bytes.TrimSuffix(out.Bytes(), []byte("\n"))
	if err == nil && len(b) > MaxProposal {
		err = fmt.Errorf("it is longer than %d bytes", MaxProposal)
	}
	if err != nil {
		return nil, fmt.Errorf("write proposal: %w", err)
	}
	return b, nil
}

func (a Asked) check() error {
	canon, err := a.Canonical()
	switch {
	case err != nil:
		return err
	case canon.Key() != a.Key() || canon.Why != a.Why || a.Push != nil && (canon.Push.Diff != a.Push.Diff || !slices.Equal(canon.Push.Failures, a.Push.Failures)):
		return errors.New("it is not in canonical form")
	case !IsProposalID(a.ID) || a.Seq == 0 || a.Count < 1 || a.Created.IsZero():
		return errors.New("it has no id, no place in the queue or no time")
	case len(a.Note) > MaxNote || Said(a.Note) != a.Note || len(a.By) > maxBy || Said(a.By) != a.By:
		return errors.New("the operator's words are too long, or can't be shown")
	case a.Settled() == a.Decided.IsZero():
		return errors.New("it is decided without a time, or the other way round")
	case (a.Status == ProposalModified) != (a.Given != nil):
		return errors.New("it was modified to nothing, or the other way round")
	case (a.Bill != nil) != (a.Capability != nil && a.Approved()):
		return errors.New("it brings programs without a list of them, or the other way round")
	}
	if a.Bill != nil {
		if err := a.Bill.Check(*a.Capability); err != nil {
			return err
		}
	}
	if a.Given != nil {
		given, err := askedRoute(*a.Given)
		if err != nil || (Proposal{Route: given}).Key() != (Proposal{Route: a.Given}).Key() {
			return errors.New("what was given instead is not in canonical form")
		}
	}
	switch a.Status {
	case ProposalPending, ProposalRejected, ProposalExpired:
		if a.Lease != nil || a.Grant != "" {
			return errors.New("nothing was given, and there is a grant")
		}
	case ProposalApproved, ProposalModified:
		if g := a.Lease; g == nil || !IsGrantID(g.ID) || g.ID != a.Grant || g.Proposal != a.ID || g.Since.IsZero() || g.Uses < 0 || len(g.Treated) > maxTreated || slices.ContainsFunc(g.Treated, func(way string) bool { return !isDigest(way) }) ||
			len(g.By) > maxBy || Said(g.By+g.EndedBy+g.Reason) != g.By+g.EndedBy+g.Reason || len(g.Reason) > MaxNote || len(g.EndedBy) > MaxNote {
			return errors.New("it was approved, and its grant is missing or another's")
		}
		return a.checkAdds()
	default:
		return fmt.Errorf("the status %.20q is none", a.Status)
	}
	return nil
}

// checkAdds holds what a grant adds against what was asked for, or was given instead.
func (a Asked) checkAdds() error {
	asked := cmp.Or(a.Given, a.Route)
	if len(a.Lease.Adds) > maxTreated || asked == nil && len(a.Lease.Adds) > 0 {
		return errors.New("its grant adds more than it asks for")
	}
	for _, r := range a.Lease.Adds {
		canon, err := askedRoute(r)
		if err != nil || (Proposal{Route: canon}).Key() != (Proposal{Route: &r}).Key() || r.Host != asked.Host || !slices.Equal(r.Methods, asked.Methods) ||
			slices.ContainsFunc(r.Ports, func(p uint16) bool { return !slices.Contains(asked.Ports, p) }) ||
			slices.ContainsFunc(r.Paths, func(p string) bool { return !slices.Contains(asked.Paths, p) }) || len(r.Paths) == 0 && len(asked.Paths) > 0 {
			return errors.New("its grant adds something else than it asks for")
		}
	}
	return nil
}

// Denial is something that was denied in this session, folded: what was denied in the
// same way is one.
type Denial struct {
	Last   time.Time `json:"last"`
	Count  int       `json:"count"`
	Method string    `json:"method,omitempty"`
	Host   string    `json:"host"`
	Port   uint16    `json:"port,omitempty"`
	Path   string    `json:"path,omitempty"`
	Reason string    `json:"reason"`         // the code of the decision
	Rule   string    `json:"rule,omitempty"` // file:line of the route that decided
	Text   string    `json:"text"`           // the reason as a sentence
	Print  string    `json:"print,omitempty"`
	Ask    *Proposal `json:"ask,omitempty"` // what would mend it, if asking can: kind, and what it asks for
}
