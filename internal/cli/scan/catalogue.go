package scan

import (
	"crypto/rand"
	"io"
	"slices"
	"strings"

	"bottle/internal/bottle"
	"bottle/internal/cli/ui"
	"bottle/internal/dlp"
	"bottle/internal/dlp/once"
	"bottle/internal/dlp/own"
	"bottle/internal/dlp/rule"
	"bottle/internal/plan"
)

// known is one kind of finding, for a person.
type known struct {
	ID          string `json:"id"`
	Description string `json:"description"`
	Source      string `json:"source"`
}

// catalogue is every kind, in the order of ids.
type catalogue []known

func (c catalogue) describe(id string) string {
	if i, ok := c.find(id); ok {
		return c[i].Description
	}
	return id
}

func (c catalogue) find(id string) (int, bool) {
	return slices.BinarySearchFunc(c, id, func(k known, id string) int { return strings.Compare(k.ID, id) })
}

func (c catalogue) ids() []string {
	ids := make([]string, len(c))
	for i, k := range c {
		ids[i] = k.ID
	}
	return ids
}

func (c catalogue) print(w io.Writer, style plan.Style, width int) {
	var rows [][]ui.Cell
	for _, k := range c {
		rows = append(rows, []ui.Cell{ui.As(plan.Strong, k.ID), ui.As(plan.Faint, k.Source), ui.As(plan.Plain, bottle.Printable(k.Description))})
	}
	ui.Fold(w, style, width, []string{"rule", "from", "what it finds"}, rows)
}

// undecodable is a kind that is no rule's.
func undecodable() known {
	return known{dlp.Undecodable, "Encoded deeper, more often or larger than is looked into: nobody can say what is in it.", "bottle"}
}

// kinds is the catalogue of what the gateway's engine finds.
func kinds() (catalogue, error) {
	theirs, err := rule.Gitleaks()
	if err != nil {
		return nil, err
	}
	c := catalogue{undecodable()}
	add := func(r *rule.Rule, source string) {
		if i := slices.IndexFunc(c, func(k known) bool { return k.ID == r.ID }); i >= 0 { // two rules may find one kind
			return
		}
		c = append(c, known{r.ID, r.Description, source})
	}
	for i := range theirs {
		add(&theirs[i], "gitleaks")
	}
	for _, r := range own.Rules() {
		add(&r, "bottle")
	}
	for _, r := range own.Scanned() {
		add(r, "bottle")
	}
	slices.SortFunc(c, func(a, b known) int { return strings.Compare(a.ID, b.ID) })
	return c, nil
}

// Engine makes an engine as the gateway has it, that knows no value. Its fingerprints
// have a random key.
func Engine() (*dlp.Engine, error) {
	var key [32]byte
	rand.Read(key[:]) // never fails (crypto/rand)
	return engineOf(key)
}

func engineOf(key [32]byte) (*dlp.Engine, error) {
	set, err := dlp.DefaultRules()
	if err != nil {
		return nil, err
	}
	hash := make([]byte, once.KeySize)
	rand.Read(hash) // never fails (crypto/rand)
	return dlp.New(dlp.Config{Rules: set, Key: key, Clean: once.New(hash, remember), Limits: dlp.Limits{Report: perWindow}})
}

const (
	perWindow = 1024    // findings of one window that are told apart before the next look
	remember  = 1 << 15 // clean chunks, for copies of files: 5 MB
)
