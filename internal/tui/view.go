package tui

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"

	"bottle/internal/audit"
	"bottle/internal/bottle"
	"bottle/internal/plan"
)

// The smallest screen that shows anything, in cells.
const (
	leastWidth  = 40
	leastHeight = 12
	mostStatus  = 3 // lines of what is told below the lists
)

// line is one of the screen, before it is dressed: clean, and no wider than the screen.
type line struct {
	role plan.Role
	text string
}

// View implements tea.Model.
func (m *model) View() tea.View {
	v := tea.NewView("")
	v.AltScreen = true
	if m.width < leastWidth || m.height < leastHeight {
		v.Content = fit("too small; q quits", m.width)
		return v
	}
	var lines []line
	switch m.mode {
	case yes, partly:
		lines = m.question()
	case helping:
		lines = m.help()
	case picking:
		lines = m.choice()
	default:
		lines = m.overview()
	}
	status := m.status()
	rest := m.height - 1 - len(status)
	for len(lines) < rest {
		lines = append(lines, line{})
	}
	lines = append(append(lines[:rest], status...), m.keys())
	out := make([]string, len(lines))
	for i, l := range lines {
		out[i] = m.style(l.role, l.text)
	}
	v.Content = strings.Join(out, "\n")
	return v
}

// page is by how much a page is scrolled.
func (m *model) page() int { return max(1, m.height/3) }

// overview is the bottles, the proposals, the one under the cursor, and the log.
func (m *model) overview() []line {
	bottles, proposals := m.bottles(), m.proposals()
	title := fmt.Sprintf("bottle dashboard  %s, %s", plural(len(m.sight.Bottles), "bottle"), plural(len(m.sight.Proposals), "proposal"))
	if m.filter != "" {
		title += "  filter: " + clean(m.filter)
	}
	out := []line{{plan.Strong, fit(title, m.width)}}
	left := m.height - 2 - len(m.status())
	at := 0
	for i, b := range bottles {
		if b.Identity == m.bottle {
			at = i
		}
	}
	part := m.window(listBottles(bottles, m.bottle, m.onBottles(), m.width, m.now()), at, max(1, m.height/6))
	if len(bottles) == 0 && len(m.sight.Bottles) > 0 {
		part[1] = line{plan.Faint, fit("  none with the filter's text; Esc puts it away", m.width)}
	}
	if !m.looked {
		part = []line{{plan.Faint, "looking..."}}
	}
	out, left = append(out, part...), left-len(part)
	at = 0
	for i, p := range proposals {
		if key(p) == m.proposal {
			at = i
		}
	}
	part = m.window(listProposals(proposals, m.proposal, !m.onBottles(), m.width), at, max(1, m.height/5))
	if len(proposals) == 0 && len(m.sight.Proposals) > 0 {
		part[1] = line{plan.Faint, fit("  none with the filter's text; Esc puts it away", m.width)}
	}
	out, left = append(out, part...), left-len(part)
	log := m.log(min(len(m.sight.Log), max(2, left/3)))
	out = append(out, m.detail(left-len(log))...)
	return append(out, log...)
}

// window is the head of a list and so many of its lines, around the one at the cursor.
func (m *model) window(list []line, at, size int) []line {
	rows := list[1:]
	if len(rows) <= size {
		return list
	}
	from := min(max(0, at-size/2), len(rows)-size)
	return append([]line{{list[0].role, fit(fmt.Sprintf("%s  (%d to %d of %d)", strings.TrimRight(list[0].text, " "), from+1, from+size, len(rows)), m.width)}}, rows[from:from+size]...)
}

// detail is the proposal under the cursor, in exactly so many lines.
func (m *model) detail(size int) []line {
	var all []line
	if p, ok := m.chosen(); ok {
		all = append(tell(p.Identity, p.Proposal, m.width), m.errand(key(p))...)
	} else if m.gone {
		all = []line{{plan.Warn, fit("the proposal that stood here waits no longer; the arrow keys choose another", m.width)}}
	}
	return m.scrolled(all, size)
}

// scrolled is a part of what does not fit, and says how much there is.
func (m *model) scrolled(all []line, size int) []line {
	m.scroll = max(0, min(m.scroll, len(all)-size))
	end := min(len(all), m.scroll+size)
	out := append([]line{}, all[m.scroll:end]...)
	if more := len(all) - end; more > 0 && len(out) > 0 {
		out[len(out)-1] = line{plan.Faint, fit(fmt.Sprintf("  ... %s more: PgDn", plural(more+1, "line")), m.width)}
	} else {
		m.read = true
	}
	for len(out) < size {
		out = append(out, line{})
	}
	return out
}

// log is the last decisions of the bottle under the cursor.
func (m *model) log(rows int) []line {
	if m.bottle == "" {
		return nil
	}
	out := []line{{plan.Label, fit("decisions of "+string(m.bottle), m.width)}}
	if len(m.sight.Log) == 0 {
		return append(out, line{plan.Faint, "  none yet"})
	}
	for _, r := range m.sight.Log[len(m.sight.Log)-rows:] {
		out = append(out, decision(r, m.width))
	}
	return out
}

func decision(r audit.Record, width int) line {
	role := plan.Plain
	if r.Verdict != audit.Allow {
		role = plan.Warn
	}
	return line{role, fit("  "+clean(audit.Text(r, time.Local)), width)}
}

// question is an approval as it would be, and wants a yes.
func (m *model) question() []line {
	w, verb := m.weighed, "Approve"
	switch {
	case m.answer.Bill != nil:
		verb = "Put into the bottle what was fetched for"
	case w.Capability != nil:
		verb = "Look them up and fetch them (nothing of theirs is run), for"
	}
	var out []line
	term := long(m.answer)
	if w.Image != nil {
		term = "from its next resume on"
	}
	ask := fmt.Sprintf("%s %s of %s, %s?", verb, clean(w.ID), m.answer.Bottle, term)
	if m.answer.Route != nil {
		ask = fmt.Sprintf("Give what stands below instead of what %s of %s asks for, %s?", clean(w.ID), m.answer.Bottle, long(m.answer))
	}
	for _, l := range wrap(ask, m.width) {
		out = append(out, line{plan.Strong, l})
	}
	out = append(out, line{})
	all := append(tell(m.answer.Bottle, w.Proposal, m.width)[1:], m.list()...)
	if w.File != "" {
		for _, l := range wrap("and behind the routes of "+clean(w.File)+":", m.width-2) {
			all = append(all, line{plan.Plain, "  " + l})
		}
		for _, l := range w.Lines {
			for _, part := range cleanLines("+" + l) {
				all = append(all, broken(plan.Warn, part, m.width)...)
			}
		}
	} else if m.answer.Always {
		all = append(all, line{plan.Plain, "  the manifest says it already"})
	}
	return append(out, m.scrolled(all, m.height-len(out)-2)...)
}

// long is how long an approval holds, in words.
func long(a Answer) string {
	switch {
	case a.Always:
		return "for this bottle and all that are started after it"
	case a.For > 0:
		return "for " + lasting(a.For)
	}
	return "for as long as the bottle runs"
}

// status is the oldest error that nobody put away, a question, or what was done last. Where
// the lists are, it has as many lines as it needs: its end is the next step.
func (m *model) status() []line {
	switch {
	case m.mode == filtering:
		return []line{{plan.Strong, m.prompt("filter: ")}}
	case m.mode == picking:
		return []line{{plan.Strong, m.prompt("agent: ")}}
	case m.mode == reasoning:
		return []line{{plan.Strong, m.prompt("reject " + m.answer.Proposal + ", the agent is told: ")}}
	case m.mode == partly:
		return []line{{plan.Shout, m.prompt("only a part was shown; to approve it all the same, type " + notWhole + ": ")}}
	case m.mode == leasing:
		return []line{{plan.Strong, fit("approve "+m.answer.Proposal+" for: 1) 15m  2) 1h  3) session  4) always", m.width)}}
	case m.mode == stopping:
		return []line{{plan.Warn, fit("stop "+string(m.answer.Bottle)+" and take its walls down? y/n", m.width)}}
	case len(m.errs) == 1:
		return m.told(plan.Shout, m.errs[0], "")
	case len(m.errs) > 1:
		return m.told(plan.Shout, m.errs[0], fmt.Sprintf(" (and %d more: Esc)", len(m.errs)-1))
	}
	return m.told(plan.Faint, clean(m.said), "")
}

// told is text on at most mostStatus lines, and what always stands at its end. Over a page that
// has to be read to its end it is one line, which takes nothing away from that.
func (m *model) told(role plan.Role, text, end string) (out []line) {
	most := max(1, min(mostStatus, m.height/8))
	if m.mode != browsing && m.mode != waiting {
		most = 1
	}
	parts := wrap(text, m.width-len(end))
	for i, part := range parts[:min(len(parts), most)] {
		if i == most-1 {
			part = fit(strings.Join(parts[i:], " "), m.width-len(end))
		}
		out = append(out, line{role, part})
	}
	out[len(out)-1].text += end
	return out
}

// prompt shows the end of what is typed.
func (m *model) prompt(before string) string {
	text := clean(m.typed)
	for text != "" && !fits(before+text+"_", m.width) { // what was typed first goes out of sight
		c, _ := ansi.FirstGraphemeCluster(text, ansi.GraphemeWidth)
		text = text[len(c):]
	}
	return fit(before+text+"_", m.width)
}

// keys are those that mean something now.
func (m *model) keys() line {
	text := "a approve  m modify  r reject  l lease  e edit  s start  x stop  Enter attach  / filter  ? help  q quit"
	if m.width < wide {
		text = "a approve m modify r reject l lease e edit s start x stop Enter attach ? help"
	}
	switch m.mode {
	case yes:
		text = "y yes  n no  PgUp PgDn scroll"
	case filtering, reasoning, partly:
		text = "Enter takes it  Esc leaves it"
	case leasing:
		text = "1 to 4 chooses  Esc leaves it"
	case stopping:
		text = "y yes  n no"
	case waiting:
		text = "working..."
	case picking:
		text = "arrows choose  Enter starts it  Esc leaves it"
	case helping:
		text = "any key goes back"
	case browsing:
		if len(m.errs) > 0 {
			text = "Esc puts the error away  " + text
		}
	}
	return line{plan.Faint, fit(text, m.width)}
}

func (m *model) help() (out []line) {
	for text := range strings.SplitSeq(`keys

  a          approve, as long as the bottle runs; it is shown once more first
  l          the same for a time, or for good: then manifest lines are shown
  m          give less: what is asked for is opened in $VISUAL or $EDITOR
  r          reject, with a reason that the agent reads
  e          edit the bottle's manifest, and put it in force
  s          choose an agent and start it, as bottle start --detach does
  x          stop the bottle
  Enter      attach to the agent; Ctrl-] comes back, and it goes on
  up, down   the next line; k and j, too
  Tab        from the proposals to the bottles, and back
  PgUp PgDn  scroll what is told of a proposal; Space, too
  /          show only what holds a text
  Esc        put an error away; then the filter
  q          leave the dashboard; nothing is stopped`, "\n") {
		out = append(out, line{plan.Plain, fit(text, m.width)})
	}
	return out
}

// plural is n and noun.
func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// lasting is a time in its two largest units.
func lasting(d time.Duration) string {
	d = d.Truncate(time.Second)
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", max(0, int(d.Seconds())))
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 24*time.Hour:
		return fmt.Sprintf("%dh%dm", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%dd%dh", int(d.Hours())/24, int(d.Hours())%24)
}

// size is a number of bytes, roughly.
func size(n uint64) string {
	f, unit := float64(n), 0
	for f >= 1024 && unit < 5 {
		f, unit = f/1024, unit+1
	}
	if unit == 0 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %ciB", f, "KMGTP"[unit-1])
}

func says(p plan.Proposal) string { return cmp.Or(p.Says, p.About()) }

func short(id string) string { return bottle.Printable(id[:min(len(id), 12)]) }
