package gateway

import (
	"cmp"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"bottle/internal/audit"
	"bottle/internal/bottle"
	"bottle/internal/dlp"
	"bottle/internal/dlp/known"
	"bottle/internal/dlp/once"
	dlprule "bottle/internal/dlp/rule"
	"bottle/internal/plan"
	"bottle/internal/secret"
)

// Reasons of the records about what is looked for in what leaves, of the kind "log".
const (
	reasonUnscanned  = "dlp_failed"             // there is no engine: whatever is to be scanned is denied
	reasonSkipped    = "dlp_skipped"            // these watched values would be found by chance, and are not looked for
	reasonUnwatched  = "credential_not_watched" // the same of a value that is injected
	cleanChunks      = 16 << 10                 // remembered: 2.5 MiB of memory for some 40 MiB of text
	skippedBytes     = 400                      // of names in one record, whose note holds 512
	skippedRecords   = 50                       // after them, all that is left is counted in one
	mostValues       = 32                       // of one credential; what was replaced so often has expired
	proxyPassword    = "the proxy's password"
	credentialSuffix = " (Basic)"
)

// scanner makes the engine that looks for secrets in what leaves. It knows every value
// that the gateway was ever told: what was replaced may still be good.
type scanner struct {
	rules  func() (*dlprule.Set, error)
	record func(audit.Record)
	key    [32]byte // of fingerprints, the same for all engines: approvals outlive a renewal

	first  sync.Once
	engine atomic.Pointer[dlp.Engine]

	making  sync.Mutex
	basic   map[string]bool           // by token_ref: it is sent as user:password in base64
	values  map[string][]secret.Value // by token_ref, the newest last
	proxy   secret.Value
	watched map[string][]secret.Value // by name, the newest last
	set     *dlprule.Set
	told    map[string]bool // what was skipped and has been told
}

func newScanner(t told, record func(audit.Record)) *scanner {
	s := &scanner{rules: dlp.DefaultRules, record: record, proxy: t.proxy, watched: map[string][]secret.Value{}, basic: map[string]bool{}, values: map[string][]secret.Value{}, told: map[string]bool{}}
	_, _ = rand.Read(s.key[:]) // never fails
	for ref, v := range t.secrets {
		s.values[ref] = []secret.Value{v}
	}
	for name, v := range t.watched {
		s.watched[name] = []secret.Value{v}
	}
	note := func(a *bottle.Auth) {
		if a != nil && strings.EqualFold(a.Scheme, "Basic") {
			s.basic[a.TokenRef] = true
		}
	}
	for _, r := range t.Routes {
		note(r.Auth)
	}
	for _, r := range t.Repos {
		note(r.Auth)
	}
	if t.Onward != nil {
		note(t.Onward.Auth)
	}
	return s
}

// newest is the engine of this moment. The first call makes it, some milliseconds, and
// others wait for that. Nil: it could not be made.
func (s *scanner) newest() *dlp.Engine {
	s.first.Do(func() { s.learn(nil) })
	return s.engine.Load()
}

// learn makes an engine that looks for these values, too, and for all before. When it
// has returned, every later request is held against them. If none can be made, none is
// there: an older one would let the new values pass.
func (s *scanner) learn(fresh map[string]secret.Value) {
	s.making.Lock()
	defer s.making.Unlock()
	add(s.values, fresh)
	s.remake()
}

// watch is learn for values that are only watched; it gives how many of them are looked
// for, how many are new under their name, how many of before are not among them, and
// which are not looked for. False: there is no engine any more.
func (s *scanner) watch(fresh map[string]secret.Value) (w plan.Watching, ok bool) {
	s.making.Lock()
	defer s.making.Unlock()
	had := map[string]bool{} // by name, of what is looked for
	for name, v := range fresh {
		had[name] = slices.ContainsFunc(s.watched[name], v.Equal)
	}
	add(s.watched, fresh)
	for name, list := range s.watched {
		if w.Before += len(list); !fresh[name].Empty() {
			w.Before--
		}
	}
	e := s.remake()
	if e == nil {
		return w, false
	}
	for _, line := range e.Skipped() {
		if at := strings.LastIndex(line, ": "); at >= 0 && !fresh[line[:at]].Empty() {
			w.Skipped = append(w.Skipped, line)
			delete(had, line[:at])
		}
	}
	for _, before := range had {
		if w.Watched++; !before {
			w.New++
		}
	}
	return w, true
}

// add puts each value behind those that it replaces, of which some are kept.
func add(to map[string][]secret.Value, fresh map[string]secret.Value) {
	for name, v := range fresh {
		list := slices.DeleteFunc(to[name], v.Equal)
		to[name] = append(list, v)[max(0, len(list)+1-mostValues):]
	}
}

// remake makes the engine of all that is known by now.
func (s *scanner) remake() *dlp.Engine {
	e, err := s.make()
	s.engine.Store(e)
	if err != nil {
		s.record(audit.Record{Kind: audit.KindLog, Verdict: audit.Deny, Reason: reasonUnscanned,
			Note: fmt.Sprintf("what leaves can't be looked at, so nothing leaves but where dlp is off: %v", err)})
		return nil
	}
	s.tell(e.Skipped())
	return e
}

// make compiles an engine with a memory of its own: what was clean of the old values
// may hold the new ones, also where a request of the old engine is on its way.
func (s *scanner) make() (*dlp.Engine, error) {
	var err error
	if s.set == nil {
		if s.set, err = s.rules(); err != nil {
			return nil, err
		}
	}
	key := make([]byte, once.KeySize)
	_, _ = rand.Read(key) // never fails
	return dlp.New(dlp.Config{Rules: s.set, Known: s.known(), Key: s.key, Clean: once.New(key, cleanChunks)})
}

// known are the values in the order of their weight, since there is a bound: what is
// injected, the operator's own, and last what lay in the folder that he stood in.
func (s *scanner) known() []known.Secret {
	var out []known.Secret
	for _, ref := range slices.Sorted(maps.Keys(s.values)) {
		for _, v := range slices.Backward(s.values[ref]) {
			if s.basic[ref] {
				out = append(out, spellBasic(ref, v)...)
			} else {
				out = append(out, spell(ref, v, true))
			}
		}
	}
	out = append(out, spell(proxyPassword, s.proxy, true))
	for _, name := range slices.SortedFunc(maps.Keys(s.watched), func(a, b string) int { return cmp.Or(cmp.Compare(foreign(a), foreign(b)), cmp.Compare(a, b)) }) {
		for _, v := range slices.Backward(s.watched[name]) {
			k := spell(name, v, false)
			k.Foreign = foreign(name) > 0
			out = append(out, k)
		}
	}
	rename(out)
	return slices.DeleteFunc(out, func(k known.Secret) bool { return len(k.Value) == 0 })
}

// foreign is 1 for a value that may be another's than the operator's: its file lay
// below the folder that he stood in.
func foreign(name string) int {
	for _, own := range []string{"env:", "git:", "~/", "/"} {
		if strings.HasPrefix(name, own) {
			return 0
		}
	}
	return 1
}

func spell(name string, v secret.Value, certain bool) known.Secret {
	return known.Secret{Name: name, Value: []byte(v.Reveal()), Certain: certain}
}

// spellBasic is the password of user:password, and what a server is sent of both (RFC
// 7617), from where it no longer says the user's name alone: that is no secret. A value
// without a colon is a password; it stands behind a name of 15 bytes there, so it is
// the same in base64 as alone, and that is decoded.
func spellBasic(ref string, v secret.Value) []known.Secret {
	user, password, ok := strings.Cut(v.Reveal(), ":")
	if !ok {
		return []known.Secret{spell(ref, v, true)}
	}
	code := base64.StdEncoding.EncodeToString([]byte(v.Reveal()))
	return []known.Secret{
		{Name: ref, Value: []byte(password), Certain: true},
		{Name: ref + credentialSuffix, Value: []byte(code[(len(user)+1)*8/6:]), Certain: true},
	}
}

// tell records, once, which values are not looked for, each as "name: why". That of a
// value that is injected is an alarm: it should be another one.
func (s *scanner) tell(skipped []string) {
	var quiet []string
	for _, line := range skipped {
		if s.told[line] {
			continue
		}
		s.told[line] = true
		ref, injected := s.injected(line)
		if !injected {
			quiet = append(quiet, line)
			continue
		}
		s.record(audit.Record{Kind: audit.KindLog, Verdict: audit.Deny, Reason: reasonUnwatched, Credential: ref,
			Note: "this credential is injected, and nobody looks whether it leaves by another way: " + strings.TrimPrefix(line, ref+": ")})
	}
	for n := 0; len(quiet) > 0; n++ {
		part, size := 1, len(quiet[0])
		for part < len(quiet) && (size+len(quiet[part]) < skippedBytes || n == skippedRecords) {
			size += len(quiet[part]) + 2
			part++
		}
		s.record(audit.Record{Kind: audit.KindLog, Verdict: audit.Allow, Reason: reasonSkipped, Count: uint64(part),
			Note: "not looked for, since they would be found by chance: " + strings.Join(quiet[:part], "; ")})
		quiet = quiet[part:]
	}
}

func (s *scanner) injected(line string) (ref string, ok bool) {
	for ref := range s.values {
		if strings.HasPrefix(line, ref+": ") {
			return ref, true
		}
	}
	return "", false
}
