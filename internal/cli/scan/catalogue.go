package scan

import (
	"crypto/rand"
	"fmt"
	"io"
	"slices"
	"strings"

	"bottle/internal/bottle"
	"bottle/internal/cli/ui"
	"bottle/internal/dlp"
	"bottle/internal/dlp/once"
	ownrules "bottle/internal/dlp/own"
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

// ruleSet is the rules of the gateway, and the catalogue of them.
func ruleSet() (*rule.Set, catalogue, error) {
	set, err := dlp.DefaultRules()
	if err != nil {
		return nil, nil, fmt.Errorf("compile rules: %w", err)
	}
	own := map[string]bool{}
	for _, r := range ownrules.Rules() {
		own[r.ID] = true
	}
	c := catalogue{undecodable()}
	for _, r := range set.Rules() {
		k := known{r.ID, r.Description, "gitleaks"}
		if own[r.ID] {
			k.Source = "bottle"
		}
		c = append(c, k)
	}
	slices.SortFunc(c, func(a, b known) int { return strings.Compare(a.ID, b.ID) })
	return set, c, nil
}

// engine is one that knows no value.
func engine(set *rule.Set) (*dlp.Engine, error) {
	var key [32]byte
	hash := make([]byte, once.KeySize)
	rand.Read(key[:]) // never fails (crypto/rand)
	rand.Read(hash)
	e, err := dlp.New(dlp.Config{Rules: set, Key: key, Clean: once.New(hash, remember), Limits: dlp.Limits{Report: perWindow}})
	if err != nil {
		return nil, fmt.Errorf("make engine: %w", err)
	}
	return e, nil
}
