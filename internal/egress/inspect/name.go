package inspect

import (
	"bytes"
	"strings"

	"bottle/internal/bottle"
	"bottle/internal/dlp"
	"bottle/internal/dlp/own"
	"bottle/internal/dlp/place"
	"bottle/internal/egress/decision"
	"bottle/internal/egress/measure"
	"bottle/internal/policy"
)

// Name looks at a host's name on its way to be resolved: every resolver on the way
// would read it. route is the one by which it is allowed; nil: it is denied, and goes
// nowhere, but a known secret in it is worth an alarm all the same.
//
// A name that a route lists as it is carries nothing, and costs nothing.
func (i *Inspector) Name(name string, route *bottle.Route) (*Refusal, []decision.Finding) {
	if route != nil && (route.DLP == modeOff || !strings.HasPrefix(route.Host.String(), "*")) {
		return nil, nil
	}
	if end := strings.LastIndexByte(name, ':'); end > 0 { // of CONNECT, the port
		name = name[:end]
	}
	s := i.current()
	switch {
	case s == nil && route == nil:
		return nil, nil
	case s == nil:
		return &Refusal{Reason: policy.NotScannable, Message: "there is nothing that could look for secrets in the name"}, nil
	}
	l := &Look{i: i, state: s, host: bottle.Host(name), dest: "name"}
	if route != nil {
		l.mode, l.dest = route.DLP, route.Host.String()
	}
	low := bytes.ToLower([]byte(name))
	text := append(append(low, '\n'), bytes.ReplaceAll(low, []byte("."), nil)...)
	l.scanned(len(text))
	found := s.engine.Scan(text, l.lets)
	switch {
	case route == nil:
		found = l.unlisted(found)
	case len(found) == 0 && own.Host([]byte(name)):
		found = []dlp.Finding{{Rule: highEntropyHost, Length: len(name)}}
	case len(found) == 0:
		found = l.remember(text[:len(name)], place.Host)
	}
	for n := range found {
		found[n].Place = place.Host
	}
	bad := l.sort(found)
	return l.refuse(bad), l.Findings()
}

// Path looks at the path, escaped, of a request that is refused before anybody looked into
// it: it goes nowhere, but its record must not hold what looks like a secret.
func (i *Inspector) Path(path string) []decision.Finding {
	s := i.current()
	if s == nil {
		return nil
	}
	l := &Look{i: i, state: s}
	w := i.heads.Get().(*head)
	defer i.heads.Put(w)
	w.Reset()
	w.Target(path)
	l.scanned(len(w.Bytes))
	found := s.engine.Scan(w.Bytes, nil)
	w.place(found)
	for _, f := range found {
		if !l.harmless[f.Print] {
			l.note(f, measure.OutcomeDenied)
		}
	}
	return l.Findings()
}

// unlisted are the known secrets in a name that is refused anyhow. What looks like a
// secret besides is no alarm, but no record shows it either.
func (l *Look) unlisted(found []dlp.Finding) []dlp.Finding {
	for _, f := range found {
		if !f.Known() && !l.harmless[f.Print] {
			f.Place = place.Host
			l.note(f, measure.OutcomeDenied)
		}
	}
	return onlyKnown(found)
}

// onlyKnown are the known secrets among findings.
func onlyKnown(found []dlp.Finding) []dlp.Finding {
	out := found[:0]
	for _, f := range found {
		if f.Known() {
			out = append(out, f)
		}
	}
	return out
}
