package tui

import (
	"fmt"
	"strings"
)

const (
	mostTold  = 200   // bytes of a notification's text
	mostKnown = 10000 // proposals that it is remembered of that they were told
)

// ring is the bell, and a desktop notification by OSC 9 (iTerm2, and those that follow it)
// and OSC 777 (rxvt-unicode's). What it says is printable ASCII, and holds nothing that
// either of them takes for an end or a separator: no control character, no semicolon.
func ring(text string) string {
	plain := strings.Map(func(r rune) rune {
		switch {
		case r == ';':
			return ','
		case r < ' ' || r > '~':
			return '?'
		}
		return r
	}, clean(text))
	plain = plain[:min(len(plain), mostTold)]
	// In front stands a word of ours: OSC 9 with a digit there is a progress bar's.
	return "\a\x1b]9;bottle: " + plain + "\a\x1b]777;notify;bottle;" + plain + "\a"
}

// news is what the operator is told of proposals that were not there before; empty: there
// are none, or this is the first look.
func (m *model) news() string {
	first := m.known == nil
	if first || len(m.known) > mostKnown {
		m.known = map[string]bool{}
	}
	var fresh []Asking
	for _, p := range m.sight.Proposals {
		if !m.known[key(p)] && !first {
			fresh = append(fresh, p)
		}
		m.known[key(p)] = true
	}
	switch len(fresh) {
	case 0:
		return ""
	case 1:
		return fmt.Sprintf("%s of %s %s", fresh[0].ID, fresh[0].Identity, says(fresh[0].Proposal))
	}
	return fmt.Sprintf("%d new proposals", len(fresh))
}
