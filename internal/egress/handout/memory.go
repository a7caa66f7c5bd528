// Package handout remembers what services hand out: session cookies, tokens, presigned
// URLs. Such a value looks like a secret, and is one; but the service that gave it has
// it already, so it may go back there, and only there.
//
//	answer of H ──▶ Header, Body: cookies, tokens, URLs ──▶ Memory: keyed sums of them, under H
//	request to H ─▶ Field, Member, Target: is this whole value one of them?
//
// What an agent makes a service say, that service was told first. So nothing is learnt by
// sending it there once more. It is only looked for where a credential is presented:
// in a field of the head, a parameter, or a member of a body whose name says so. A value
// that was read in one place of a service can't be published in another by it.
package handout

import (
	"container/list"
	"crypto/rand"
	"crypto/sha256"
	"net/url"
	"strings"
	"sync"
	"time"

	"bottle/internal/bottle"
)

// Bounds of what is remembered.
const (
	mostValues = 4096           // of one bottle; the one that was used longest ago is forgotten
	lasts      = 24 * time.Hour // from when it was handed out last
	mostOfOne  = 256            // values of one answer, so that one does not push out all others
	shortest   = 8              // bytes of a value
	longest    = 8 << 10        // the same, and of a URL
)

// Memory is what the services of one bottle handed out. It holds no value, only sums of
// them under a random key. Make it with New; it is safe for many goroutines.
type Memory struct {
	key [32]byte
	now func() time.Time

	mu     sync.Mutex
	values map[sum]*list.Element // of value
	order  *list.List            // the one that was used last is the first
}

type sum [sha256.Size]byte

type value struct {
	sum   sum
	until time.Time
}

// The kinds of what is remembered.
const (
	isValue  = 'v' // may be sent in a field
	isTarget = 't' // path and query, which may be asked for as they are
	isTold   = 'f' // is in a record already
)

// New makes a memory of nothing.
func New(now func() time.Time) *Memory {
	m := &Memory{now: now, values: map[sum]*list.Element{}, order: list.New()}
	_, _ = rand.Read(m.key[:]) // never fails
	return m
}

// At is the memory's part that belongs to one host, by its exact name.
func (m *Memory) At(h bottle.Host) Party { return Party{m, h} }

// add remembers; it gives whether that is new.
func (m *Memory) add(kind byte, h bottle.Host, v string) bool {
	s := m.sum(kind, h, v)
	m.mu.Lock()
	defer m.mu.Unlock()
	until := m.now().Add(lasts)
	if e, ok := m.values[s]; ok {
		had := e.Value.(value)
		e.Value = value{s, until}
		m.order.MoveToFront(e)
		return !m.now().Before(had.until)
	}
	if m.order.Len() >= mostValues {
		last := m.order.Back()
		delete(m.values, last.Value.(value).sum)
		m.order.Remove(last)
	}
	m.values[s] = m.order.PushFront(value{s, until})
	return true
}

// has looks something up, and keeps it from being forgotten, but not from ending.
func (m *Memory) has(kind byte, h bottle.Host, v string) bool {
	s := m.sum(kind, h, v)
	m.mu.Lock()
	defer m.mu.Unlock()
	e, ok := m.values[s]
	if !ok {
		return false
	}
	if !m.now().Before(e.Value.(value).until) {
		delete(m.values, s)
		m.order.Remove(e)
		return false
	}
	m.order.MoveToFront(e)
	return true
}

// sum is of one text only: a host has no zero byte. Nobody ever sees it, so a key in
// front is enough to make it one.
func (m *Memory) sum(kind byte, h bottle.Host, v string) sum {
	b := make([]byte, 0, 256)
	b = append(b, m.key[:]...)
	b = append(b, kind)
	b = append(b, h...)
	b = append(b, 0)
	return sha256.Sum256(append(b, v...))
}

// Party is one host, as who hands out and to whom it goes back. The zero Party hands out
// nothing, and nothing goes back to it.
type Party struct {
	m    *Memory
	host bottle.Host
}

// None reports whether this is the zero Party.
func (p Party) None() bool { return p.m == nil }

// First reports whether this is asked for the first time: a pass is recorded once.
func (p Party) First(fingerprint string) bool {
	return p.m == nil || p.m.add(isTold, p.host, fingerprint)
}

// Target reports whether the host, or another, handed out a URL with exactly this path
// and query at this host.
func (p Party) Target(t string) bool {
	return p.m != nil && len(t) <= longest && p.m.has(isTarget, p.host, t)
}

// gave reports whether the host handed out exactly this value.
func (p Party) gave(v string) bool {
	return p.m != nil && len(v) >= shortest && len(v) <= longest && p.m.has(isValue, p.host, v)
}

// learner takes what is in one answer, within its bound.
type learner struct {
	Party
	left int
}

// value remembers a value that may be presented again.
func (l *learner) value(v string) {
	if len(v) < shortest || len(v) > longest || strings.Count(v, " ") > 1 || strings.ContainsFunc(v, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return
	}
	if l.left--; l.left >= 0 {
		l.m.add(isValue, l.host, v)
	}
}

// url remembers a URL, to be asked for as it is, and for this host the values of its
// query. base is nil for one that must be absolute.
func (l *learner) url(s string, base *url.URL) {
	if len(s) > longest || strings.IndexByte(s, '?') < 0 && !longSegment(s) {
		return
	}
	u, err := url.Parse(s)
	if err == nil && base != nil {
		u = base.ResolveReference(u)
	}
	if err != nil || u.Scheme != "https" || u.User != nil || u.Opaque != "" {
		return
	}
	host, err := bottle.ParseHost(u.Hostname())
	if err != nil || u.RawQuery == "" && !longSegment(u.EscapedPath()) {
		return
	}
	if l.left--; l.left < 0 {
		return
	}
	l.m.add(isTarget, host, u.RequestURI())
	if host != l.host {
		return
	}
	for field := range strings.SplitSeq(u.RawQuery, "&") {
		_, v, _ := strings.Cut(field, "=")
		l.value(unescaped(v))
	}
}

// longSegment: a path without one looks like no secret.
func longSegment(path string) bool {
	for s := range strings.SplitSeq(path, "/") {
		if len(s) >= 16 {
			return true
		}
	}
	return false
}

// unescaped decodes a part of a query; what can't be decoded stays as it is.
func unescaped(s string) string {
	if clear, err := url.QueryUnescape(s); err == nil {
		return clear
	}
	return s
}
