package plan

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"

	"bottle/internal/bottle"
)

// Style dresses a piece of text for its role; nil leaves everything plain. It
// must not change how wide the text is on the screen.
type Style func(role Role, text string) string

// Role is what a piece of the preflight means to its reader.
type Role int

// The roles. The zero Role is ordinary text.
const (
	Plain  Role = iota
	Label       // what a line is about
	Strong      // what the eye should find first
	Faint       // what can be skipped
	Warn        // what deserves a second look
	Shout       // what takes a protection away
)

const (
	labelWidth = 11
	lineWidth  = 79 // of a terminal as it opens; a table of routes may be wider
	cellWidth  = 30
)

// Text writes the preflight: what a person reads before saying y. It shows
// whatever the manifests say without trusting it: control characters, which
// could repaint a terminal, are spelt out.
func (p Plan) Text(w io.Writer, style Style) error {
	return p.write(w, style, p.head, p.sees, p.reaches, p.limits, p.walls, p.warnings)
}

// Brief writes what the manifests alone say: the preflight without the walls,
// which only a backend knows.
func (p Plan) Brief(w io.Writer, style Style) error {
	return p.write(w, style, p.head, p.sees, p.reaches, p.limits, p.warnings)
}

func (p Plan) write(w io.Writer, style Style, parts ...func(*text)) error {
	if style == nil {
		style = func(_ Role, s string) string { return s }
	}
	t := &text{style: style}
	for _, part := range parts {
		part(t)
	}
	_, err := io.WriteString(w, t.b.String())
	return err
}

// head says who runs what, and behind which walls.
func (p Plan) head(t *text) {
	from := p.AgentFile
	if p.InRepo {
		from = t.style(Shout, "FROM THIS REPOSITORY") + ", " + clean(p.AgentFile)
	} else {
		from = t.style(Faint, clean(from))
	}
	t.line("agent", t.style(Strong, clean(string(p.Agent)))+"  "+from)
	t.line("bottle", t.style(Strong, clean(string(p.Bottle)))+p.chosen(t))
	if p.Identity != "" {
		t.line("identity", clean(string(p.Identity)))
	}
	backend := p.Backend
	if p.Runtime != nil {
		backend += ", runtime " + *p.Runtime
	}
	if p.Image != nil {
		backend += ", image " + *p.Image
	}
	if backend == "" {
		backend = "the platform's default"
	}
	t.line("backend", clean(backend))
	if len(p.Command) > 0 {
		p.runs(t)
	}
}

// runs shows the agent's command line: with which flags it runs is what a person
// says yes to. A prompt in it is cut, and all of it to a few lines.
func (p Plan) runs(t *text) {
	const most = 4
	var words []string
	for _, w := range p.Command {
		words = append(words, cut(w, lineWidth-labelWidth))
	}
	lines := wrap(words, lineWidth-labelWidth)
	if len(lines) > most {
		lines = append(lines[:most], "…")
	}
	for i, l := range lines {
		if p.InRepo { // its words may be the repository's, too
			l = t.style(Warn, l)
		}
		t.line(first(i, "runs"), l)
	}
}

// chosen marks what a repository chose: its author is not the operator.
func (p Plan) chosen(t *text) string {
	if !p.InRepo {
		return ""
	}
	return "  " + t.style(Warn, "the repository chose this")
}

// sees says what the agent is shown of this machine.
func (p Plan) sees(t *text) {
	switch p.Workspace.Mode {
	case "overlay":
		t.beside("workspace", path(p.Workspace.Source)+" at "+path(p.Workspace.Target), Faint, "overlay: changes stay in a private copy")
	case "bind":
		t.beside("workspace", path(p.Workspace.Source)+" at "+path(p.Workspace.Target), Warn, "bind: the agent changes your files")
	default:
		t.line("workspace", "none")
	}
	for i, m := range p.Mounts {
		s := clean(m.Source)
		if m.Target != m.Source {
			s += " at " + clean(m.Target)
		}
		if m.Mode == "ro" {
			s += "  read-only"
		} else {
			s += "  " + t.style(Warn, "WRITABLE")
		}
		t.line(first(i, "mounts"), s)
	}
	t.words("env", p.EnvNames)
	t.words("skills", p.Skills)
}

// reaches says what the agent can talk to.
func (p Plan) reaches(t *text) {
	switch len(p.Egress.Routes) {
	case 0:
		t.line("egress", t.style(Strong, "nothing")+": no route, every request is refused")
	default:
		t.line("egress", t.style(Strong, count(len(p.Egress.Routes), "route"))+"; all else is refused")
		p.routes(t)
	}
	for _, l := range wrap(quotaWords(p.Egress.Limits), lineWidth-labelWidth) {
		t.line("", l)
	}
	p.onward(t)
	for _, l := range wrap(strings.Fields(p.watches()), lineWidth-labelWidth) {
		t.line("", l)
	}
	for _, l := range wrap(strings.Fields(p.watchesNot()), lineWidth-labelWidth) {
		t.line("", t.style(Warn, l))
	}
	p.repositories(t)
	if p.Supervise {
		words := "the agent may ask you for more"
		if p.Wait > 0 {
			words += fmt.Sprintf(", and waits %d s for you", p.Wait)
		}
		t.line("supervise", words)
	} else {
		t.line("supervise", "no: the agent cannot ask for more")
	}
}

// onward says which proxy everything goes through.
func (p Plan) onward(t *text) {
	u := p.Egress.UpstreamProxy
	if u == nil {
		return
	}
	s := "through " + t.style(Strong, clean(u.URL))
	if u.Credential != nil {
		s += "  credential " + clean(*u.Credential)
	}
	t.line("onward", s)
	if u.CAFile != nil {
		t.line("", "  "+t.style(Faint, "trusts "+clean(*u.CAFile)))
	}
}

func (p Plan) routes(t *text) {
	rows := [][]cell{{{Faint, "host"}, {Faint, "methods"}, {Faint, "paths"}, {Faint, "credential"}, {Faint, "tls"}, {Faint, "dlp"}}}
	below := [][]string{nil}
	for _, r := range p.Egress.Routes {
		row := []cell{
			{Plain, clean(r.Host + ":" + ports(r.Ports))},
			{Plain, clean(anyOr(r.Methods, "any", ","))},
			{Plain, clean(anyOr(r.Paths, "any", " "))},
			{Plain, "-"},
			{Plain, clean(r.TLS)},
			{Plain, clean(r.DLP)},
		}
		var more []string
		if utf8.RuneCountInString(row[2].text) > cellWidth {
			more = append(more, wrap(r.Paths, lineWidth-labelWidth-4)...)
			row[2].text = count(len(r.Paths), "path") + ", below"
		}
		if r.Credential != nil && r.AuthScheme != nil {
			row[3].text = clean(*r.Credential + " (" + *r.AuthScheme + ")")
		}
		if r.TLS != "intercept" {
			row[4].role = Warn
		}
		if r.DLP == "off" {
			row[5] = cell{Shout, "OFF"}
		}
		if r.Inbound != "" {
			more = append(more, "inbound: "+clean(r.Inbound)+": answers are read for hidden text, terminal escapes and orders to an agent")
		}
		if r.H2C {
			more = append(more, "h2c: HTTP/2 without TLS may be spoken, by the agent and to the upstream")
		}
		if r.Upstream != nil {
			more = append(more, "dials "+clean(*r.Upstream))
		}
		if r.CAFile != nil {
			more = append(more, "trusts "+clean(*r.CAFile))
		}
		rows, below = append(rows, row), append(below, more)
	}
	t.table(rows, below)
}

func (p Plan) limits(t *text) { t.line("limits", limitWords(p.Limits, p.Scratch)) }

// walls says what holds the agent.
func (p Plan) walls(t *text) {
	names := []string{}
	for _, w := range p.Walls {
		names = append(names, w.Name)
	}
	if len(names) == 0 {
		t.line("walls", t.style(Shout, "NONE"))
	}
	t.words("walls", names)
	if p.PolicyHash != "" {
		t.line("policy", t.style(Faint, clean(cut(p.PolicyHash, 16))))
	}
}

// warnings says what the reader should know besides.
func (p Plan) warnings(t *text) {
	for i, n := range p.Notes {
		t.told(first(i, "notes"), Plain, n, "  ")
	}
	for i, w := range p.alarms() {
		t.told(first(i, "warnings"), Warn, strings.TrimPrefix(w, "warning: "), "  ")
	}
}

// alarms are the warnings of the reading, and what the routes give away.
func (p Plan) alarms() []string {
	out := list(p.Warnings)
	if u := p.Egress.UpstreamProxy; u != nil && u.CAFile != nil {
		out = append(out, u.URL+" can read everything that the agent sends and gets: its CA is trusted")
	}
	if u := p.Egress.UpstreamProxy; u != nil && u.Credential != nil && strings.HasPrefix(u.URL, "http://") {
		out = append(out, u.URL+" gets its credential unencrypted, as http:// proxies do")
	}
	for _, r := range p.Egress.Routes {
		switch {
		case r.TLS != "intercept":
			out = append(out, r.Host+": tls: "+r.TLS+": the gateway cannot read or scan what is sent there")
		case r.DLP == "off":
			out = append(out, r.Host+": dlp: off: secrets sent there are not looked for")
		}
	}
	return out
}

func limitWords(l Limits, scratch int64) string {
	var out []string
	if l.Memory > 0 {
		out = append(out, Size(l.Memory)+" memory")
	}
	if l.CPUs > 0 {
		out = append(out, strconv.FormatFloat(l.CPUs, 'g', -1, 64)+" CPUs")
	}
	if l.PIDs > 0 {
		out = append(out, strconv.FormatInt(l.PIDs, 10)+" processes")
	}
	if l.OpenFiles > 0 {
		out = append(out, strconv.FormatUint(l.OpenFiles, 10)+" open files")
	}
	if scratch > 0 {
		out = append(out, Size(scratch)+" outside the workspace")
	}
	return anyOr(out, "none asked for", ", ")
}

// quotaWords are the limits of the way out that the manifest names.
func quotaWords(q Quota) (out []string) {
	add := func(written bool, what string) {
		if written && len(out) == 0 {
			what = "at most " + what
		} else if written {
			out[len(out)-1] += ","
		}
		if written {
			out = append(out, what)
		}
	}
	add(q.Connections > 0, count(q.Connections, "connection"))
	add(q.Tunnels > 0, count(q.Tunnels, "tunnel"))
	add(q.RequestsPerSecond > 0, rate(q.RequestsPerSecond)+" a second")
	add(q.HeaderSize > 0, Size(q.HeaderSize)+" of header")
	add(q.URLSize > 0, Size(q.URLSize)+" of URL")
	add(q.BytesOutPerHour > 0, Size(q.BytesOutPerHour)+" sent an hour")
	add(q.HostBytesOutPerHour > 0, Size(q.HostBytesOutPerHour)+" sent an hour to each host")
	return out
}

// Size is so many bytes for a person, in GiB, MiB, KiB or B, with one digit behind the point.
func Size(n int64) string {
	for _, u := range []struct {
		unit  string
		bytes int64
	}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}} {
		if n >= u.bytes {
			return strconv.FormatFloat(float64(n*10/u.bytes)/10, 'f', -1, 64) + " " + u.unit
		}
	}
	return strconv.FormatInt(n, 10) + " B"
}

func ports(ps []uint16) string {
	var out []string
	for _, p := range ps {
		out = append(out, strconv.Itoa(int(p)))
	}
	return anyOr(out, "none", ",")
}

func anyOr(words []string, none, sep string) string {
	if len(words) == 0 {
		return none
	}
	return strings.Join(words, sep)
}

func path(s *string) string {
	if s == nil {
		return "nothing"
	}
	return clean(*s)
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// rate is a number of requests, which need not be whole.
func rate(n float64) string {
	s := strconv.FormatFloat(n, 'g', -1, 64) + " request"
	if n != 1 {
		s += "s"
	}
	return s
}

// first is the label of a list's first line, and no label for the others.
func first(i int, label string) string {
	if i > 0 {
		return ""
	}
	return label
}

// cut shortens s to n runes.
func cut(s string, n int) string {
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	return string([]rune(s)[:n-1]) + "…"
}

// clean makes text safe to show: see bottle.Printable.
func clean(s string) string { return bottle.Printable(s) }

// wrap joins words with blanks into lines of at most width runes.
func wrap(words []string, width int) []string {
	var lines []string
	line := ""
	for _, w := range words {
		w = clean(w)
		if line != "" && utf8.RuneCountInString(line)+1+utf8.RuneCountInString(w) > width {
			lines, line = append(lines, line), ""
		}
		if line != "" {
			line += " "
		}
		line += w
	}
	if line != "" {
		lines = append(lines, line)
	}
	return lines
}

// text collects labelled lines.
type text struct {
	b     strings.Builder
	style Style
}

type cell struct {
	role Role
	text string
}

func (t *text) line(label, s string) {
	t.b.WriteString(t.style(Label, fmt.Sprintf("%-*s", labelWidth, label)))
	t.b.WriteString(s)
	t.b.WriteByte('\n')
}

// told writes a text, wrapped at its words. The blanks that it begins with stay; more is in
// front of its further lines.
func (t *text) told(label string, role Role, s, more string) {
	begin := s[:len(s)-len(strings.TrimLeft(s, " "))]
	lines := wrap(strings.Fields(s), lineWidth-labelWidth-max(len(begin), len(more)))
	if len(lines) == 0 {
		lines = []string{""} // the label stays
	}
	for i, l := range lines {
		if i == 0 {
			l = begin + l
		} else {
			label, l = "", more+l
		}
		t.line(label, t.style(role, l))
	}
}

// beside writes a text and, where it fits, a word on it beside; else below.
func (t *text) beside(label, s string, role Role, word string) {
	if utf8.RuneCountInString(s)+2+utf8.RuneCountInString(word) <= lineWidth-labelWidth {
		t.line(label, s+"  "+t.style(role, word))
		return
	}
	t.line(label, s)
	t.line("", "  "+t.style(role, word))
}

// words writes a wrapped list; nothing where there is none.
func (t *text) words(label string, words []string) {
	for i, l := range wrap(words, lineWidth-labelWidth) {
		t.line(first(i, label), l)
	}
}

// table writes aligned rows, and under each row its own further lines.
func (t *text) table(rows [][]cell, below [][]string) {
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, c := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(c.text))
		}
	}
	for n, row := range rows {
		s := ""
		for i, c := range row {
			s += t.style(c.role, c.text)
			if i < len(row)-1 {
				s += strings.Repeat(" ", widths[i]-utf8.RuneCountInString(c.text)+2)
			}
		}
		t.line("", "  "+s)
		for _, m := range below[n] {
			t.line("", "    "+t.style(Faint, m))
		}
	}
}
