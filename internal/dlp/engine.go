package dlp

import (
	"strings"
	"sync"

	"bottle/internal/dlp/decode"
	"bottle/internal/dlp/find"
	"bottle/internal/dlp/known"
	"bottle/internal/dlp/once"
	"bottle/internal/dlp/profile"
	"bottle/internal/dlp/rule"
)

// Names of findings that are no rule's.
const (
	KnownSecret = "known-secret" // a value that the gateway knows, whole or in part
	Undecodable = "undecodable"  // encoded deeper, more often or larger than is looked into
)

// Finding is one secret in a text. It holds no byte of it.
type Finding struct {
	Rule       string   // the rule's id, or KnownSecret, or Undecodable
	Name       string   // of a known secret: its reference; else empty
	Start, End int      // what to take out of the text: the secret, or what it is encoded in
	Chain      []string // the encodings that it was in, the outermost first
	Length     int      // of the secret itself, in bytes; 0: not known
	Print      string   // keyed fingerprint of its exact value; empty: there is none
	From, To   int      // of a known secret: which bytes of its value
	Place      string   // where it stands, as words such as `body.json:$.messages[3].content`

	view, from, to int  // the value itself: the number of the view, and where in that
	spelled        bool // the view is but another spelling of the text
}

// Known reports whether the gateway knows the value: then it is certain.
func (f Finding) Known() bool { return f.Rule == KnownSecret }

// Limits bound what one text may cost. A zero field is its default.
type Limits struct {
	Depth  int // encodings within each other; 6
	Views  int // decoded texts; 4,096
	Bytes  int // of all decoded texts together; 16 times the text and 4 MiB
	Report int // findings of one text; 64. More are not told apart: it is refused anyway
}

func (l Limits) withDefaults() Limits {
	set := func(v *int, def int) {
		if *v <= 0 {
			*v = def
		}
	}
	set(&l.Depth, 6)
	set(&l.Views, 4096)
	set(&l.Report, 64)
	return l
}

// Config is what an engine is made of.
type Config struct {
	Rules  *rule.Set      // nil: known secrets alone are looked for
	Known  []known.Secret // the values that must not leave
	Key    [32]byte       // random: of fingerprints
	Clean  *once.Memory   // what was found clean by an engine of the same rules and values; nil: nothing is remembered
	Limits Limits
}

// Engine looks for secrets. It is immutable, and safe for many goroutines.
type Engine struct {
	rules    *rule.Set
	known    *known.Set
	finder   *find.Set
	decoder  *decode.Decoder
	ofRule   int   // literals below are the rules', the others the known secrets'
	literals []int // of each of the rules' literals, its number there
	cuts     bool  // there are known secrets, which may come in pieces
	key      [32]byte
	clean    *once.Memory
	limits   Limits
	scans    sync.Pool
	bodies   sync.Pool
}

// New compiles an engine. Regular expressions are compiled when they are first needed.
func New(c Config) (*Engine, error) {
	e := &Engine{rules: c.Rules, known: known.New(c.Known), decoder: decode.New(), key: c.Key, clean: c.Clean, limits: c.Limits.withDefaults()}
	var literals [][]byte
	var behind []int
	if c.Rules != nil {
		for i, l := range c.Rules.Literals() {
			literals = append(literals, []byte(l))
			e.literals = append(e.literals, i)
			behind = append(behind, c.Rules.Behind(i))
		}
		for i, l := range c.Rules.Literals() {
			if strings.Contains(l, `"`) { // see escaped
				literals = append(literals, []byte(strings.ReplaceAll(l, `"`, `\"`)))
				e.literals = append(e.literals, i)
			}
		}
	}
	e.ofRule = len(literals)
	e.cuts = len(e.known.Literals()) > 0
	literals = append(literals, e.known.Literals()...)
	var err error
	if e.finder, err = find.New(literals, behind); err != nil {
		return nil, err
	}
	e.bodies.New = func() any { return &Body{} }
	e.scans.New = func() any { return &scan{engine: e} }
	return e, nil
}

// literal is the number in the rules of one that was found.
func (e *Engine) literal(i int) int { return e.literals[i] }

// Skipped names the known values that are not looked for, with why: they would be
// found by chance.
func (e *Engine) Skipped() []string { return e.known.Skipped() }

// Known are the known secrets, for who remembers pieces of them. They belong to this
// engine.
func (e *Engine) Known() *known.Set { return e.known }

// Pass says what is done with a finding, by its rule, name and fingerprint: its place
// is not known yet.
type Pass func(Finding) Passing

// Passing is what is done with a finding.
type Passing uint8

const (
	Stops    Passing = iota // it is a finding
	Passes                  // it may pass: it is told once for each value, behind what may not, a few at most
	Harmless                // it is none
)

// Scan looks at a whole text, such as a URL or a header's value. It gives nil where
// there is nothing. pass may be nil.
func (e *Engine) Scan(text []byte, pass Pass) []Finding {
	c := e.scanner(pass)
	defer e.give(c)
	found, _ := c.scan(text, true)
	return found
}

// ScanPart looks at a part of a text that goes on and of which this part will not be
// looked at again. Something compressed that is not at its end is undecodable.
func (e *Engine) ScanPart(text []byte, pass Pass) []Finding {
	c := e.scanner(pass)
	defer e.give(c)
	c.more = true
	found, open := c.scan(text, true)
	if open < len(text) {
		found = append(found, Finding{Rule: Undecodable, Start: open, End: len(text)})
	}
	return found
}

func (e *Engine) scanner(pass Pass) *scan {
	c := e.scans.Get().(*scan)
	c.json, c.more, c.pass, c.body, c.quoting = false, false, pass, nil, 0
	c.ends, c.held, c.edges, c.before = c.ends[:0], c.held[:0], c.edges[:0], nil
	return c
}

func (e *Engine) give(c *scan) {
	c.pass, c.body, c.before = nil, nil, nil
	e.scans.Put(c)
}

// DefaultRules compiles the rules of the default profile: those of gitleaks and our own.
func DefaultRules() (*rule.Set, error) {
	rules, err := profile.Rules()
	if err != nil {
		return nil, err
	}
	return rule.Compile(rules)
}
