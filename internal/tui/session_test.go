package tui

import (
	"errors"
	"strings"
	"testing"

	tea "charm.land/bubbletea/v2"
)

// TestAnAgentIsChosen: by what is typed and by the arrows; Esc leaves the list, nothing that is
// typed there is a key, and what goes wrong is told.
func TestAnAgentIsChosen(t *testing.T) {
	p := play(t)
	p.press("s")
	p.shows("there is no agent yet: bottle init")
	p.house.agents = []Agent{{"alpha", "dev", "writes\x1b[2Jcode"}, {"beta", "dev", "reads"}, {"gamma", "open", "looks"}}
	p.press("s")
	p.shows("> alpha")
	p.shows("beta")
	p.press("x", "q")
	p.shows("none is called so")
	if p.press("enter"); p.mode != picking || p.quit {
		t.Error("nothing was chosen, and is started")
	}
	p.press("esc")
	p.press("s", "d")
	for range 5 {
		p.send(tea.KeyPressMsg{Code: tea.KeyDown})
	}
	p.shows("> beta")
	if strings.Contains(p.View().Content, "gamma") {
		t.Error("the filter leaves what it should not")
	}
	p.send(tea.KeyPressMsg{Code: tea.KeyUp})
	p.shows("> alpha")
	if _, cmd := p.Update(tea.KeyPressMsg{Code: tea.KeyEnter}); cmd == nil || p.mode != waiting {
		t.Error("it is not started")
	}
	p.send(begun{"", errors.New("no room")})
	p.shows("no room")
	p.press("esc")

	p.filter = "other"
	p.house.sight.Bottles = append(p.house.sight.Bottles, Bottle{Identity: "beta-new12"})
	p.send(begun{"beta-new12", nil})
	p.shows("> beta-new12")
	if p.bottle != "beta-new12" || !p.focus {
		t.Errorf("the cursor is on %q", p.bottle)
	}
	if _, cmd := p.Update(tea.KeyPressMsg{Code: tea.KeyEnter}); cmd == nil || p.mode != waiting {
		t.Error("it is not attached to")
	}
	p.send(attended{"detached from beta-new12", nil})
	p.shows("detached from beta-new12")
	p.house.err = errors.New("no manifests")
	p.press("s")
	p.shows("no manifests")
}
