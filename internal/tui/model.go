package tui

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	tea "charm.land/bubbletea/v2"

	"bottle/internal/bottle"
	"bottle/internal/plan"
)

// mode is what keys mean now.
type mode int

const (
	browsing  mode = iota
	filtering      // the filter is typed
	leasing        // how long is chosen
	reasoning      // why not is typed
	waiting        // for the house; nothing else is begun meanwhile
	yes            // an approval is shown, and wants a yes
	partly         // the same, of which only a part is shown: it wants that said in words
	stopping       // the same of a bottle's end
	helping
	picking // an agent to start
)

const (
	lookEvery  = time.Second
	lookAtMost = 20 * time.Second
	settle     = 300 * time.Millisecond // a yes that comes sooner was typed before the question was read
	mostErrors = 50
	mostTyped  = 500         // bytes of a reason or a filter
	notWhole   = "not whole" // what is typed by who approves a push that he saw a part of
)

// model is the dashboard's state. All of it belongs to the library's one goroutine.
type model struct {
	ctx           context.Context
	house         House
	style         plan.Style
	now           func() time.Time
	width, height int

	sight   Sight
	looked  bool // once at least
	looking bool
	known   map[string]bool // proposals that were seen; nil: nothing was yet

	bottle   bottle.Identity // under the cursor
	proposal string          // under the cursor, with its bottle in front; empty: none
	gone     bool            // it was, and was decided or ended: the cursor waits for the operator
	focus    bool            // on the bottles, else on the proposals
	scroll   int             // of what is told of the proposal
	filter   string

	mode    mode
	typed   string
	answer  Answer
	weighed Weighed
	pick    pick
	wanted  bottle.Identity // a bottle that was started here, and is not seen yet
	opened  time.Time       // when the question was put
	read    bool            // all of it was on the screen

	errands map[string]*errand // by the proposal, as key gives it
	work    sync.WaitGroup     // of what must end with the dashboard

	errs []string // the oldest first: none is lost before somebody put it away
	said string   // what was done last
}

type (
	tick   struct{}
	looked struct {
		of    bottle.Identity
		sight Sight
	}
	weighed struct {
		answer  Answer
		weighed Weighed
		err     error
	}
	done struct {
		said string
		err  error
	}
	modified struct {
		answer Answer
		route  *bottle.Route
		err    error
	}
)

// Init implements tea.Model.
func (m *model) Init() tea.Cmd { return tea.Batch(m.look(), wait()) }

func wait() tea.Cmd { return tea.Tick(lookEvery, func(time.Time) tea.Msg { return tick{} }) }

// look asks the house, if it is not asked already.
func (m *model) look() tea.Cmd {
	if m.looking {
		return nil
	}
	m.looking = true
	house, ctx, of := m.house, m.ctx, m.bottle
	return func() tea.Msg {
		ctx, cancel := context.WithTimeout(ctx, lookAtMost)
		defer cancel()
		return looked{of, house.Look(ctx, of)}
	}
}

// Update implements tea.Model.
func (m *model) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height = msg.Width, msg.Height
	case tick:
		return m, tea.Batch(m.look(), wait())
	case looked:
		return m, m.see(msg)
	case weighed:
		m.mode = browsing
		if msg.err != nil {
			m.fail(msg.err.Error())
			return m, m.look()
		}
		m.ask(msg.answer, msg.weighed)
	case done:
		m.mode = browsing
		if msg.err != nil {
			m.fail(msg.err.Error())
		} else if msg.said != "" {
			m.said = msg.said
		}
		return m, m.look()
	case modified:
		m.mode = browsing
		switch {
		case msg.err != nil:
			m.fail(msg.err.Error())
		case msg.route == nil:
			m.said = "nothing was changed"
		default:
			msg.answer.Route = msg.route
			return m, m.weigh(msg.answer)
		}
	case agents, begun, attended:
		return m, m.session(msg)
	case fetched:
		return m, m.came(msg.of)
	case tea.PasteMsg: // never a key: only where text is typed
		if m.mode == filtering || m.mode == reasoning || m.mode == picking { // never what says that a part is enough
			m.put(msg.Content)
		}
	case tea.KeyPressMsg:
		return m, m.key(msg)
	}
	return m, nil
}

// see takes what the house saw. The cursor stays on what it stood on: news must not move
// a key press to something else.
func (m *model) see(msg looked) tea.Cmd {
	m.looking = false
	if msg.of != m.bottle && m.looked { // the cursor went on meanwhile: this log is another bottle's
		msg.sight.Log = nil
	}
	m.sight, m.looked = msg.sight, true
	for _, p := range m.sight.Problems {
		m.fail(p)
	}
	m.arrive()
	again := msg.of != m.bottle
	if bottles := m.bottles(); !slices.ContainsFunc(bottles, func(b Bottle) bool { return b.Identity == m.bottle }) {
		m.bottle = ""
		if len(bottles) > 0 {
			m.bottle, again = bottles[0].Identity, true
		}
		if m.mode == stopping {
			m.mode, m.said = browsing, "the bottle has ended by itself"
		}
	}
	m.follow()
	cmds := []tea.Cmd{m.recall()}
	if text := m.news(); text != "" {
		cmds = append(cmds, tea.Raw(ring(text)))
	}
	if again {
		cmds = append(cmds, m.look())
	}
	return tea.Batch(cmds...)
}

// follow keeps the cursor on its proposal, or on none where that is gone.
func (m *model) follow() {
	list := m.proposals()
	at := slices.IndexFunc(list, func(p Asking) bool { return key(p) == m.proposal })
	switch {
	case at >= 0:
		m.gone = false
	case m.proposal != "":
		m.proposal, m.gone, m.scroll = "", true, 0
	case len(list) == 0:
		m.gone = false
	case !m.gone:
		m.proposal, m.scroll = key(list[0]), 0
	}
}

// key is a proposal and whose: two bottles may draw the same id.
func key(p Asking) string { return string(p.Identity) + " " + p.ID }

// fail keeps an error until the operator puts it away.
func (m *model) fail(text string) {
	text = clean(text)
	if slices.Contains(m.errs, text) {
		return
	}
	if len(m.errs) == mostErrors {
		m.errs[mostErrors-1] = "and more errors, which are not kept"
		return
	}
	m.errs = append(m.errs, text)
}

// bottles are those that the filter picks.
func (m *model) bottles() (out []Bottle) {
	for _, b := range m.sight.Bottles {
		if m.picks(string(b.Identity), string(b.Bottle), b.Backend) {
			out = append(out, b)
		}
	}
	return out
}

// proposals are those that the filter picks.
func (m *model) proposals() (out []Asking) {
	for _, p := range m.sight.Proposals {
		if m.picks(string(p.Identity), p.ID, p.Says, p.Why) {
			out = append(out, p)
		}
	}
	return out
}

func (m *model) picks(texts ...string) bool {
	return m.filter == "" || strings.Contains(strings.ToLower(strings.Join(texts, " ")), strings.ToLower(m.filter))
}

// chosen is the proposal under the cursor.
func (m *model) chosen() (Asking, bool) {
	list := m.proposals()
	at := slices.IndexFunc(list, func(p Asking) bool { return key(p) == m.proposal })
	if at < 0 {
		return Asking{}, false
	}
	return list[at], true
}
