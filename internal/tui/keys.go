package tui

import (
	"io"
	"slices"
	"time"
	"unicode/utf8"

	tea "charm.land/bubbletea/v2"

	"bottle/internal/plan/sight"
)

// key is what a key press does.
func (m *model) key(msg tea.KeyPressMsg) tea.Cmd {
	k := msg.String()
	if k == "ctrl+c" {
		return tea.Quit
	}
	switch m.mode {
	case browsing:
		return m.browse(k)
	case filtering, reasoning, partly:
		return m.letter(k, msg.Text)
	case picking:
		return m.picked(k, msg.Text)
	case leasing:
		return m.lease(k)
	case yes:
		return m.confirm(k)
	case stopping:
		return m.end(k)
	case helping:
		m.mode = browsing
	case waiting: // what is typed ahead is for a question that nobody has read
	}
	return nil
}

func (m *model) browse(k string) tea.Cmd {
	switch k {
	case "q":
		return tea.Quit
	case "?":
		m.mode = helping
	case "/":
		m.mode, m.typed = filtering, m.filter
	case "esc":
		if len(m.errs) > 0 {
			m.errs = m.errs[1:]
		} else {
			m.said, m.filter = "", ""
			m.follow()
		}
	case "tab", "shift+tab":
		m.focus = !m.focus
	case "up", "k":
		return m.move(-1)
	case "down", "j":
		return m.move(1)
	case "pgup":
		m.scroll = max(0, m.scroll-m.page())
	case "pgdown", "space":
		m.scroll += m.page() // what is drawn bounds it
	case "a", "l", "m", "r":
		return m.begin(k)
	case "e", "x":
		return m.about(k)
	case "enter":
		return m.attach()
	case "s":
		return m.choose()
	}
	return nil
}

// onBottles is whether the arrows move in the list of bottles: they do where nothing else is.
func (m *model) onBottles() bool { return m.focus || len(m.proposals()) == 0 }

// move goes to the next line of the list that has the cursor.
func (m *model) move(by int) tea.Cmd {
	if m.onBottles() {
		list := m.bottles()
		at := slices.IndexFunc(list, func(b Bottle) bool { return b.Identity == m.bottle })
		if at+by < 0 || at+by >= len(list) {
			return nil
		}
		m.bottle, m.sight.Log = list[at+by].Identity, nil
		return m.look()
	}
	list := m.proposals()
	at := slices.IndexFunc(list, func(p Asking) bool { return key(p) == m.proposal })
	if len(list) == 0 {
		return nil
	}
	m.proposal, m.gone, m.scroll = key(list[min(max(at+by, 0), len(list)-1)]), false, 0
	return nil
}

// begin starts an answer to the proposal under the cursor, as it is drawn.
func (m *model) begin(k string) tea.Cmd {
	p, ok := m.chosen()
	if !ok {
		m.said = "no proposal is chosen: the arrow keys choose one"
		return nil
	}
	m.said = ""
	m.answer = Answer{Bottle: p.Identity, Proposal: p.ID, Seen: sight.Of(p.Proposal.Proposal, p.Says, p.Diff)}
	if p.Push != nil { // it was drawn without what it changes, which is seen when it is weighed
		m.answer.Seen = ""
	}
	if m.fetching(k) {
		return nil
	}
	switch k {
	case "a":
		return m.weigh(m.answer)
	case "l":
		m.mode = leasing
	case "r":
		m.mode, m.typed = reasoning, ""
	case "m":
		if p.Route == nil {
			m.said = "only requests can be given in part: this asks for something else"
			return nil
		}
		m.answer.Seen = "" // what is given instead is seen when it is weighed
		return m.modify(m.answer)
	}
	return nil
}

// about is what keys do with the bottle under the cursor.
func (m *model) about(k string) tea.Cmd {
	if m.bottle == "" {
		m.said = "no bottle is chosen"
		return nil
	}
	m.said = ""
	if k == "x" {
		m.mode, m.answer, m.opened = stopping, Answer{Bottle: m.bottle}, m.now()
		return nil
	}
	house, ctx, id := m.house, m.ctx, m.bottle
	m.mode = waiting
	return tea.Exec(terminal(func() error { return house.Edit(ctx, id) }), func(err error) tea.Msg {
		return done{"the manifest of " + string(id) + " was edited, and is in force", err}
	})
}

// weigh asks what an approval would come to; then it is shown, and asked about.
func (m *model) weigh(a Answer) tea.Cmd {
	m.mode = waiting
	house, ctx := m.house, m.ctx
	return func() tea.Msg {
		w, err := house.Weigh(ctx, a)
		return weighed{a, w, err}
	}
}

// ask shows an approval. What is drawn from now on is what a yes means.
func (m *model) ask(a Answer, w Weighed) {
	a.Seen, a.Lines = w.Seen, w.Lines
	m.mode, m.answer, m.weighed, m.opened, m.scroll, m.read = yes, a, w, m.now(), 0, false
}

func (m *model) modify(a Answer) tea.Cmd {
	m.mode = waiting
	house, ctx := m.house, m.ctx
	out := modified{answer: a}
	return tea.Exec(terminal(func() (err error) { out.route, err = house.Modify(ctx, a); return err }),
		func(err error) tea.Msg { out.err = err; return out })
}

func (m *model) decide(a Answer) tea.Cmd {
	m.mode = waiting
	house, ctx, e := m.house, m.ctx, m.errands[a.key()]
	delete(m.errands, a.key())
	return m.run(func() tea.Msg {
		said, err := house.Decide(ctx, a)
		if e != nil {
			e.cancel()
			e.close()
		}
		return done{said, err}
	})
}

// confirm takes a yes to what was read to its end, and not before it could be.
func (m *model) confirm(k string) tea.Cmd {
	switch k {
	case "y":
		if m.early() {
			return nil
		}
		if !m.read {
			m.said = "there is more to read: PgDn shows it, and then y approves it"
			return nil
		}
		if m.weighed.Capability != nil && m.answer.Bill == nil {
			return m.fetch(m.answer)
		}
		if !m.weighed.Whole() {
			m.mode, m.typed = partly, ""
			return nil
		}
		return m.decide(m.answer)
	case "n", "esc", "q":
		m.mode, m.scroll, m.said = browsing, 0, "nothing was decided"
		if m.answer.Bill != nil {
			m.said += ", and what was fetched is removed"
		}
		return m.give(m.answer.key())
	case "down", "j":
		m.scroll++
	case "up", "k":
		m.scroll = max(0, m.scroll-1)
	case "pgdown", "space":
		m.scroll += m.page()
	case "pgup":
		m.scroll = max(0, m.scroll-m.page())
	}
	return nil
}

// early is whether a yes comes before the question could be read. It starts that time
// anew: a key that is held down answers nothing.
func (m *model) early() bool {
	now := m.now()
	if now.Sub(m.opened) >= settle {
		return false
	}
	m.opened = now
	return true
}

// end is the answer to the question whether a bottle should.
func (m *model) end(k string) tea.Cmd {
	switch k {
	case "y":
		if m.early() {
			return nil
		}
		m.mode, m.said = waiting, "waiting for "+string(m.answer.Bottle)+" to end"
		house, ctx, id := m.house, m.ctx, m.answer.Bottle
		return func() tea.Msg { return done{"stopped " + string(id), house.Stop(ctx, id)} }
	case "n", "esc", "q":
		m.mode = browsing
	}
	return nil
}

// lease takes how long an approval holds.
func (m *model) lease(k string) tea.Cmd {
	a := m.answer
	switch k {
	case "1":
		a.For = 15 * time.Minute
	case "2":
		a.For = time.Hour
	case "3", "s":
	case "4", "w":
		a.Always = true
	case "esc", "q", "n":
		m.mode = browsing
		return nil
	default:
		return nil
	}
	return m.weigh(a)
}

// letter is a key where text is typed.
func (m *model) letter(k, text string) tea.Cmd {
	switch k {
	case "esc":
		m.mode = browsing
	case "backspace":
		_, size := utf8.DecodeLastRuneInString(m.typed)
		m.typed = m.typed[:len(m.typed)-size]
	case "ctrl+u":
		m.typed = ""
	case "enter":
		if m.mode == filtering {
			m.mode, m.filter = browsing, m.typed
			m.gone = false
			m.follow()
			return nil
		}
		a := m.answer
		switch {
		case m.mode == reasoning:
			a.Reject, a.Note = true, m.typed
		case m.typed != notWhole:
			m.mode, m.said = browsing, "nothing was decided; r rejects it, and tells the agent to push it in smaller parts"
			return nil
		default:
			a.NotWhole = true
		}
		return m.decide(a)
	default:
		m.put(text)
	}
	return nil
}

// put adds text on one line, as much as there is room for.
func (m *model) put(text string) {
	for _, r := range text {
		if r < ' ' || r == 0x7f {
			r = ' '
		}
		if len(m.typed)+utf8.RuneLen(r) > mostTyped {
			return
		}
		m.typed += string(r)
	}
}

// terminal is a function that has the terminal while it runs. The streams are those that
// the house has: the same ones.
type terminal func() error

// Run implements tea.ExecCommand.
func (t terminal) Run() error { return t() }

// SetStdin implements tea.ExecCommand.
func (terminal) SetStdin(io.Reader) {}

// SetStdout implements tea.ExecCommand.
func (terminal) SetStdout(io.Writer) {}

// SetStderr implements tea.ExecCommand.
func (terminal) SetStderr(io.Writer) {}
