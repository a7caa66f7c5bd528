package gateway

import (
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"bottle/internal/audit"
	"bottle/internal/bottle"
	"bottle/internal/dlp"
	dlprule "bottle/internal/dlp/rule"
	"bottle/internal/secret"
)

// Values of the make of tokens.
const (
	tokenA = "a7Qm2xVw9Tz8Rp4Ls1Kd"
	tokenB = "b8Wn3yUe0Sx7Qo5Mr2Zk"
	tokenC = "c9Xp4zTf1Ry6Pn6Nq3Hj"
	tokenD = "d0Yq5aSg2Pz5Om7Op4Gh"
)

func values(m map[string]string) map[string]secret.Value {
	out := map[string]secret.Value{}
	for name, v := range m {
		out[name] = secret.New([]byte(v))
	}
	return out
}

// ears keep what a scanner records.
type ears struct {
	mu   sync.Mutex
	list []audit.Record
}

func (e *ears) hear(r audit.Record) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.list = append(e.list, r)
}

func found(t *testing.T, e *dlp.Engine, text string) []string {
	t.Helper()
	if e == nil {
		t.Fatal("there is no engine")
	}
	names := []string{}
	for _, f := range e.Scan([]byte(text), nil) {
		if f.Known() {
			names = append(names, f.Name)
		}
	}
	return names
}

// TestScannerKnowsEverythingThatIsTold: credentials, what is watched, the password of
// the proxy, and what a server is sent of user:password; by name, and in a text that
// holds a part.
func TestScannerKnowsEverythingThatIsTold(t *testing.T) {
	user := "somebody-with-a-long-name"
	login := user + ":" + tokenC
	g := told{secrets: values(map[string]string{"KEY": tokenA, "LOGIN": login}), watched: values(map[string]string{".env:API": tokenB}), proxy: secret.New([]byte(tokenD))}
	g.Routes = []bottle.Route{{Auth: &bottle.Auth{Scheme: "Basic", TokenRef: "LOGIN"}}}
	var heard ears
	e := newScanner(g, heard.hear).newest()
	code := base64.StdEncoding.EncodeToString([]byte(login))
	for text, want := range map[string]string{
		"x " + tokenA + " y": "KEY", "x" + tokenB[2:]: ".env:API", "p=" + tokenD: proxyPassword, "l=" + tokenC: "LOGIN", user + ":" + tokenC: "LOGIN",
		"part " + code[len(code)-20:len(code)-2]: "LOGIN" + credentialSuffix,
	} {
		if got := found(t, e, text); !slices.Contains(got, want) {
			t.Errorf("%q: %q, want %s", text, got, want)
		}
	}
	for _, text := range []string{user, code[:20], base64.StdEncoding.EncodeToString([]byte("x-access-token:")) + "cGxhY2Vob2xkZXI="} {
		if got := found(t, e, text); len(got) > 0 {
			t.Errorf("%q is no secret, and is %q", text, got)
		}
	}
	if len(heard.list) > 0 {
		t.Errorf("recorded %+v", heard.list)
	}
}

// TestScannerLearnsBeforeItIsAsked: a new value is looked for when learn has returned,
// the old ones are still, and nothing that was found clean before counts.
func TestScannerLearnsBeforeItIsAsked(t *testing.T) {
	var heard ears
	s := newScanner(told{secrets: values(map[string]string{"KEY": tokenA})}, heard.hear)
	before := s.newest()
	body := []byte(strings.Repeat("nothing to see here, move on. ", 500) + tokenB + strings.Repeat(" and more of the same text", 500))
	clean := func(e *dlp.Engine) bool {
		b := e.Body()
		b.Write(body)
		return len(b.Scan(true)) == 0
	}
	if !clean(before) {
		t.Fatal("the value is known before it was told")
	}
	s.learn(values(map[string]string{"KEY": tokenB}))
	after := s.newest()
	if after == before || clean(after) {
		t.Error("the new value passes")
	}
	if !clean(before) { // a request under way remembers its clean chunks meanwhile
		t.Error("the old engine changed")
	}
	if clean(after) || !slices.Equal(found(t, after, tokenA+" "+tokenB), []string{"KEY", "KEY"}) {
		t.Errorf("found %q", found(t, after, tokenA+" "+tokenB))
	}
	for i := range 2 * mostValues {
		s.learn(values(map[string]string{"KEY": fmt.Sprintf("%s%02dxK", tokenC, i)}))
	}
	if n := len(s.values["KEY"]); n != mostValues {
		t.Errorf("%d values of one credential are kept", n)
	}
}

// TestScannerWithoutAnEngine: where none can be made there is none, also no older one,
// and the log says why.
func TestScannerWithoutAnEngine(t *testing.T) {
	var heard ears
	s := newScanner(told{}, heard.hear)
	s.rules = func() (*dlprule.Set, error) { return nil, errors.New("no rules today") }
	if s.newest() != nil {
		t.Error("an engine without rules")
	}
	if len(heard.list) != 1 || heard.list[0].Reason != "dlp_failed" || heard.list[0].Verdict != audit.Deny || !strings.Contains(heard.list[0].Note, "no rules today") {
		t.Errorf("recorded %+v", heard.list)
	}
	s.rules = dlp.DefaultRules
	if s.learn(nil); s.newest() == nil {
		t.Error("it does not mend")
	}
}

// TestWhatIsNotLookedForIsTold: once; and where it is injected, as an alarm.
func TestWhatIsNotLookedForIsTold(t *testing.T) {
	var heard ears
	s := newScanner(told{secrets: values(map[string]string{"KEY": "short", "FINE": tokenA}), watched: values(map[string]string{"env:MODE": "production", "env:PORT": "8080"})}, heard.hear)
	s.newest()
	s.learn(values(map[string]string{"FINE": tokenB}))
	if len(heard.list) != 2 {
		t.Fatalf("recorded %+v", heard.list)
	}
	alarm, quiet := heard.list[0], heard.list[1]
	if alarm.Reason != "credential_not_watched" || alarm.Verdict != audit.Deny || alarm.Credential != "KEY" || !strings.Contains(alarm.Note, "shorter than 8 bytes") {
		t.Errorf("%+v", alarm)
	}
	if quiet.Reason != "dlp_skipped" || quiet.Verdict != audit.Allow || quiet.Count != 2 || !strings.Contains(quiet.Note, "env:MODE: ") || !strings.Contains(quiet.Note, "env:PORT: ") {
		t.Errorf("%+v", quiet)
	}
}

// TestAllThatIsNotLookedForIsNamed: a note has a bound, so many names take more records.
func TestAllThatIsNotLookedForIsNamed(t *testing.T) {
	var heard ears
	watched := map[string]string{}
	for i := range 100 {
		watched[fmt.Sprintf(".env:PORT_%03d", i)] = "8080"
	}
	s := newScanner(told{watched: values(watched)}, heard.hear)
	s.newest()
	count, notes := uint64(0), ""
	for _, r := range heard.list {
		count, notes = count+r.Count, notes+r.Note
		if r.Reason != "dlp_skipped" || len(r.Note) > 512 {
			t.Errorf("%+v", r)
		}
	}
	for name := range watched {
		if !strings.Contains(notes, name+": shorter") {
			t.Errorf("%s is not told", name)
		}
	}
	if count != 100 {
		t.Errorf("%d counted", count)
	}
}

// TestARepositoryCannotCrowdTheOperatorOut: the bound of what is looked for falls on
// what lay in the folder, whatever its files are called.
func TestARepositoryCannotCrowdTheOperatorOut(t *testing.T) {
	s := newScanner(told{secrets: values(map[string]string{"ZKEY": tokenA}), watched: values(map[string]string{".env:A": tokenB, "0.env:A": tokenB, "~/.aws/credentials:x": tokenC, "env:Z": tokenD})}, nil)
	var order []string
	for _, k := range s.known() {
		order = append(order, k.Name)
	}
	if want := []string{"ZKEY", "env:Z", "~/.aws/credentials:x", ".env:A", "0.env:A"}; !slices.Equal(order, want) {
		t.Errorf("in the order %q", order)
	}
}

// TestTheEngineIsMadeOnce: many first requests wait for one engine.
func TestTheEngineIsMadeOnce(t *testing.T) {
	s := newScanner(told{}, nil)
	made := 0
	s.rules = func() (*dlprule.Set, error) { made++; return dlp.DefaultRules() }
	var wg sync.WaitGroup
	engines := make([]*dlp.Engine, 16)
	for i := range engines {
		wg.Go(func() { engines[i] = s.newest() })
	}
	wg.Wait()
	if made != 1 || engines[0] == nil || slices.ContainsFunc(engines, func(e *dlp.Engine) bool { return e != engines[0] }) {
		t.Errorf("made %d times", made)
	}
}

// TestANameSaysWhatAValueIs: a copy of a value in some file, also in base64 or with
// something around it, gives a finding no other name than the one that somebody gave it.
func TestANameSaysWhatAValueIs(t *testing.T) {
	s := newScanner(told{watched: values(map[string]string{
		".env:GITHUB_TOKEN": tokenA, "~/p/a.py:line 1": base64.StdEncoding.EncodeToString([]byte(tokenA)), "~/p/a.py:line 2": tokenA,
		"~/p/b.py:line 3 2": base64.RawURLEncoding.EncodeToString([]byte("me:" + tokenA)), "~/p/c.py:line 9": tokenB,
	})}, func(audit.Record) {})
	e := s.newest()
	for text, want := range map[string]string{
		tokenA: ".env:GITHUB_TOKEN", base64.StdEncoding.EncodeToString([]byte(tokenA)): ".env:GITHUB_TOKEN",
		base64.RawURLEncoding.EncodeToString([]byte("me:" + tokenA)): ".env:GITHUB_TOKEN", tokenB: "~/p/c.py:line 9",
	} {
		found := e.Scan([]byte("x="+text+"&y"), nil)
		if len(found) == 0 || found[0].Name != want {
			t.Errorf("%d findings, %+v; want %s", len(found), found, want)
		}
	}
}

// A value that is told while the gateway runs is looked for from then on, where it was
// seen as clean before, too; what it replaces still is.
func TestWatchAddsAndForgetsNothing(t *testing.T) {
	var heard ears
	s := newScanner(told{secrets: values(map[string]string{"KEY": tokenA}), watched: values(map[string]string{".env:API": tokenB, ".env:GONE": tokenC})}, heard.hear)
	text := "see " + tokenD + " and " + tokenB + " and " + tokenC + " and " + tokenA
	if got := found(t, s.newest(), text); slices.Contains(got, ".env:NEW") || len(got) != 3 {
		t.Fatalf("%q", got)
	}
	w, ok := s.watch(values(map[string]string{".env:API": tokenD, "env:MODE": "production"}))
	if !ok || w.Watched != 1 || w.New != 1 || w.Before != 2 || len(w.Skipped) != 1 || !strings.HasPrefix(w.Skipped[0], "env:MODE: ") {
		t.Errorf("%+v", w)
	}
	if got := found(t, s.newest(), text); len(got) != 4 {
		t.Errorf("%q", got)
	}
	if w, _ := s.watch(values(map[string]string{".env:API": tokenD})); w.New != 0 || w.Watched != 1 || w.Before != 3 {
		t.Errorf("again: %+v", w)
	}
	s.set, s.rules = nil, func() (*dlprule.Set, error) { return nil, errors.New("no rules") }
	if _, ok := s.watch(nil); ok || s.newest() != nil {
		t.Error("without an engine it says that it watches")
	}
}

// What lay in the folder that the operator stood in may be a decoy; nothing else may.
func TestOnlyTheRepositorysValuesAreForeign(t *testing.T) {
	s := newScanner(told{secrets: values(map[string]string{"KEY": tokenA}), proxy: secret.New([]byte(tokenD)),
		watched: values(map[string]string{".env:A": tokenB, "~/.aws/credentials:x": tokenC, "env:Z": tokenB, "git:r key_file": tokenC, "/etc/x:y": tokenC})}, nil)
	for _, k := range s.known() {
		if k.Foreign != strings.HasPrefix(k.Name, ".env") {
			t.Errorf("%s: %v", k.Name, k.Foreign)
		}
	}
}
