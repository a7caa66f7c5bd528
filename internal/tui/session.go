package tui

import (
	"strings"

	tea "charm.land/bubbletea/v2"

	"bottle/internal/bottle"
	"bottle/internal/plan"
)

// Agent is one that can be started.
type Agent struct {
	Name   bottle.Name
	Bottle bottle.Name
	About  string // one line of whoever wrote its manifest
}

type (
	agents struct {
		list []Agent
		err  error
	}
	begun struct {
		id  bottle.Identity
		err error
	}
	attended struct {
		said string
		err  error
	}
)

// pick is the list of agents, of which one is to be started.
type pick struct {
	all []Agent
	at  int // the cursor, among those that the filter leaves
}

// some are the agents that what is typed leaves.
func (p pick) some(typed string) (out []Agent) {
	for _, a := range p.all {
		if strings.Contains(strings.ToLower(string(a.Name)+" "+string(a.Bottle)+" "+a.About), strings.ToLower(typed)) {
			out = append(out, a)
		}
	}
	return out
}

// attach gives the terminal to the agent under the cursor, until it has ended or the operator
// detaches.
func (m *model) attach() tea.Cmd {
	if m.bottle == "" {
		m.said = "no bottle is chosen"
		return nil
	}
	house, ctx, id := m.house, m.ctx, m.bottle
	m.mode, m.said = waiting, ""
	var out attended
	return tea.Exec(terminal(func() (err error) { out.said, err = house.Attach(ctx, id); return err }),
		func(err error) tea.Msg { out.err = err; return out })
}

// choose asks which agents there are.
func (m *model) choose() tea.Cmd {
	m.mode, m.said = waiting, ""
	house := m.house
	return func() tea.Msg {
		list, err := house.Agents()
		return agents{list, err}
	}
}

// session takes what came of these.
func (m *model) session(msg tea.Msg) tea.Cmd {
	m.mode = browsing
	switch msg := msg.(type) {
	case agents:
		switch {
		case msg.err != nil:
			m.fail(msg.err.Error())
		case len(msg.list) == 0:
			m.said = "there is no agent yet: bottle init writes a first one"
		default:
			m.mode, m.typed, m.pick = picking, "", pick{all: msg.list}
		}
		return nil
	case begun:
		if msg.err != nil {
			m.fail(msg.err.Error())
			break
		}
		m.said, m.wanted = "started "+string(msg.id)+"; Enter attaches", msg.id
	case attended:
		if m.said = msg.said; msg.err != nil {
			m.fail(msg.err.Error())
		}
	}
	return m.look()
}

// arrive puts the cursor on the bottle that was started here, as soon as it is seen.
func (m *model) arrive() {
	for _, b := range m.sight.Bottles {
		if m.wanted != "" && b.Identity == m.wanted {
			if !m.picks(string(b.Identity), string(b.Bottle), b.Backend) {
				m.filter = ""
			}
			m.bottle, m.wanted, m.focus = b.Identity, "", true
		}
	}
}

// picked is a key where an agent is chosen.
func (m *model) picked(k, text string) tea.Cmd {
	list := m.pick.some(m.typed)
	switch k {
	case "up":
		m.pick.at = max(0, m.pick.at-1)
	case "down":
		m.pick.at = min(max(0, len(list)-1), m.pick.at+1)
	case "enter":
		if len(list) == 0 {
			return nil
		}
		house, ctx, name := m.house, m.ctx, list[min(m.pick.at, len(list)-1)].Name
		m.mode = waiting
		var out begun
		return tea.Exec(terminal(func() (err error) { out.id, err = house.Start(ctx, name); return err }),
			func(err error) tea.Msg { out.err = err; return out })
	default:
		m.pick.at = 0
		return m.letter(k, text)
	}
	return nil
}

// choice is the list of agents on the screen.
func (m *model) choice() []line {
	list := m.pick.some(m.typed)
	first := 5
	for _, a := range m.pick.all {
		first = max(first, min(len(a.Name), mostName))
	}
	row := func(name, of, about string) string {
		return fit("  "+pad(name, first)+" "+pad(of, 16)+" "+about, m.width)
	}
	rows := []line{{plan.Label, row("agent", "of", "about")}}
	at := min(m.pick.at, max(0, len(list)-1))
	for i, a := range list {
		rows = append(rows, marked(line{plan.Plain, row(string(a.Name), string(a.Bottle), clean(a.About))}, i == at, true))
	}
	if len(list) == 0 {
		rows = append(rows, line{plan.Faint, "  none is called so"})
	}
	out := []line{{plan.Strong, fit("Start which agent? It is shown and asked about before it runs.", m.width)}, {}}
	return append(out, m.window(rows, at, max(1, m.height-6))...)
}
