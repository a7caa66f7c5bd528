package tui

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	tea "charm.land/bubbletea/v2"

	"bottle/internal/plan"
)

// mostErrands is how many proposals' packages are fetched, or lie fetched and undecided.
const mostErrands = 4

// errand is one proposal's packages, from the first yes to the second answer. The dashboard
// goes on meanwhile; when it ends, so does the errand, with all that was fetched.
type errand struct {
	answer Answer
	begun  time.Time
	said   atomic.Pointer[string] // how far it is
	cancel context.CancelFunc
	over   chan struct{} // closed when the two below are set
	got    *Brought
	err    error
}

// fetched is said when an errand is over.
type fetched struct{ of string }

func (a Answer) key() string { return string(a.Bottle) + " " + a.Proposal }

// here reports whether what was sent for has come.
func (e *errand) here() bool {
	select {
	case <-e.over:
		return e.got != nil
	default:
		return false
	}
}

// fetching hears the first keys of an answer. Of packages that have come it is about those;
// true: they are on their way, and there is nothing to answer yet.
func (m *model) fetching(k string) bool {
	e := m.errands[m.answer.key()]
	switch {
	case e == nil || k == "r":
		return false
	case !e.here():
		m.said = "it is being fetched, and shown when it is here; r rejects it and ends that"
		return true
	}
	m.answer.Bill, m.answer.Stage = &e.got.Bill, e.got.Stage
	return false
}

// fetch sends the house for the packages of an answer.
func (m *model) fetch(a Answer) tea.Cmd {
	m.mode, m.scroll = browsing, 0
	if len(m.errands) >= mostErrands {
		m.fail(fmt.Sprintf("%d proposals' packages are being fetched, or wait for your second answer: answer one of them first", len(m.errands)))
		return nil
	}
	ctx, cancel := context.WithCancel(m.ctx)
	e := &errand{answer: a, begun: m.now(), cancel: cancel, over: make(chan struct{})}
	if m.errands == nil {
		m.errands = map[string]*errand{}
	}
	m.errands[a.key()] = e
	m.said = a.Proposal + " is being fetched; go on meanwhile"
	house := m.house
	m.work.Go(func() {
		defer close(e.over)
		e.got, e.err = house.Fetch(ctx, a, func(text string) { e.said.Store(&text) })
	})
	return func() tea.Msg { <-e.over; return fetched{a.key()} }
}

// came asks the second question, where the operator still looks at that proposal and does
// nothing else; else it tells him.
func (m *model) came(of string) tea.Cmd {
	e := m.errands[of]
	if e == nil { // it was given up
		return nil
	}
	if e.err != nil {
		m.fail(e.err.Error())
		return m.give(of)
	}
	if m.mode == browsing && m.proposal == of {
		a := e.answer
		a.Bill, a.Stage = &e.got.Bill, e.got.Stage
		return m.weigh(a)
	}
	text := e.answer.Proposal + " is fetched: the key a shows what it is, and asks"
	m.said = text
	return tea.Raw(ring(text))
}

// recall ends the errands of proposals that wait no longer.
func (m *model) recall() tea.Cmd {
	if len(m.sight.Problems) > 0 || m.mode == yes || m.mode == waiting {
		return nil // not seen is not gone, and what is being answered is its answer's
	}
	waits := map[string]bool{}
	for _, p := range m.sight.Proposals {
		waits[key(p)] = true
	}
	var cmds []tea.Cmd
	for of, e := range m.errands {
		if !waits[of] {
			m.said = e.answer.Proposal + " waits no longer: what was fetched for it is removed"
			cmds = append(cmds, m.give(of))
		}
	}
	return tea.Batch(cmds...)
}

// give gives an errand up: what it brought is removed.
func (m *model) give(of string) tea.Cmd {
	e := m.errands[of]
	if e == nil {
		return nil
	}
	delete(m.errands, of)
	e.cancel()
	return m.run(func() tea.Msg { e.close(); return nil })
}

// run has f run, and the end of the dashboard wait for it.
func (m *model) run(f func() tea.Msg) tea.Cmd {
	out := make(chan tea.Msg, 1)
	m.work.Go(func() { out <- f() })
	return func() tea.Msg { return <-out }
}

func (e *errand) close() {
	<-e.over
	if e.got != nil {
		e.got.Close()
	}
}

// drop gives all of them up, and returns when nothing of them runs any more. The dashboard
// has ended.
func (m *model) drop() {
	for _, e := range m.errands {
		e.cancel()
		e.close()
	}
	m.work.Wait()
}

// errand is how far one is, in lines.
func (m *model) errand(of string) []line {
	e := m.errands[of]
	if e == nil {
		return nil
	}
	text := "fetched: the key a shows what it is, and asks"
	if !e.here() {
		text = "being fetched for " + lasting(m.now().Sub(e.begun))
		if said := e.said.Load(); said != nil {
			text += ": " + *said
		}
	}
	return append([]line{{}}, paragraph(plan.Strong, clean(text), m.width)...)
}

// list is exactly what a yes puts into the bottle.
func (m *model) list() (out []line) {
	e := m.errands[m.answer.key()]
	if m.answer.Bill == nil || e == nil || !e.here() {
		return nil
	}
	for _, l := range e.got.Lines {
		for _, part := range cleanLines(strings.TrimRight(l.Text, " ")) {
			out = append(out, broken(l.Role, part, m.width)...)
		}
	}
	return out
}
