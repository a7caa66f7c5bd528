package secret

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"bottle/internal/bottle"
)

// helper is a Resolver whose helper ends as ran says; it keeps what was run.
func helper(ran Ran, argv *[]string) Resolver {
	return Resolver{
		Lookup: func(name string) (string, bool) { return "/home/me", name == "HOME" },
		Now:    func() time.Time { return time.Unix(1_800_000_000, 0) },
		Hands: Hands{Run: func(_ context.Context, a []string) Ran {
			if argv != nil {
				*argv = a
			}
			return ran
		}},
	}
}

func TestHelperForms(t *testing.T) {
	at := func(s int64) time.Time { return time.Unix(1_800_000_000+s, 0).UTC() }
	for out, until := range map[string]time.Time{
		canary:                       {},
		canary + "\n":                {},
		"\n  " + canary + "\r\n":     {},
		canary + "\nuser: me\n":      {}, // a password store's entry
		`{"token":"` + canary + `"}`: {},
		`{"token":"` + canary + `","expires_in":90,"more":[1]}`:                                                          at(90),
		`{"token":"` + canary + `","expires_at":"2027-01-15T08:01:40Z"}`:                                                 at(100),
		`{"access_token":"` + canary + `","expires_in":"3600","token_type":"Bearer"}`:                                    at(3600),
		`{"accessToken":"` + canary + `","expiresOn":"2027-01-15 09:00:00.000000","expires_on":1800000700}`:              at(700),
		`{"credential":{"access_token":"` + canary + `","token_expiry":"2027-01-15T08:10:00Z"},"configuration":{"a":1}}`: at(600),
		`{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","spec":{},"status":{"token":"` + canary +
			`","expirationTimestamp":"2027-01-15T08:05:00Z"}}`: at(300),
		`{"token":"` + canary + `","expires_at":null,"expires_in":40}`:                  at(40),
		`{"token":"` + canary + `","expires_at":"2027-01-15T08:01:40Z","expires_in":4}`: at(4),
	} {
		l, err := helper(Ran{Out: []byte(out)}, nil).Resolve(t.Context(), "cmd:x")
		if err != nil || l.Reveal() != canary || !l.Until.Equal(until) || l.Until.IsZero() != until.IsZero() {
			t.Errorf("%s: until %v, want %v, %v", out, l.Until, until, err)
		}
	}
}

// TestInvariant2HelpersErrorsHoldNoValue: whatever goes wrong with a helper, what
// it printed stays out of the message.
func TestInvariant2HelpersErrorsHoldNoValue(t *testing.T) {
	for out, want := range map[string]string{
		"":                                     "is empty",
		" \n\n":                                "is empty",
		canary + "\x00":                        "control character",
		canary + "\xff":                        "not UTF-8",
		"{" + canary:                           "JSON that can't be read",
		`{"token":"` + canary + `"} ` + canary: "JSON that can't be read",
		`{"token":["` + canary + `"]}`:         "JSON that can't be read",
		`{"password":"` + canary + `"}`:        "without a token",
		`{"token":"` + canary + `\nX: 1"}`:     "line break",
		`{"token":"` + canary + `","expires_in":0}`:                                    "has expired",
		`{"token":"` + canary + `","expires_in":-5}`:                                   "JSON that can't be read",
		`{"token":"` + canary + `","expires_in":"` + canary + `"}`:                     "JSON that can't be read",
		`{"token":"` + canary + `","expires_at":"2001-01-01T00:00:00Z"}`:               "has expired",
		`{"token":"` + canary + `","expires_at":"` + canary + `"}`:                     "gave expires_at a value that can't be read",
		`{"token":"` + canary + `","status":{"expirationTimestamp":"` + canary + `"}}`: "gave status.expirationTimestamp a value",
		`{"token":"` + canary + `","expires_on":-1}`:                                   "gave expires_on a value",
		`{"token":"` + canary + `","expires_at":1e300}`:                                "gave expires_at a value",
		"-----BEGIN OPENSSH PRIVATE KEY-----\n" + canary + "\n-----END---":             "several lines",
	} {
		l, err := helper(Ran{Out: []byte(out)}, nil).Resolve(t.Context(), "cmd:tool "+canary)
		wantProblem(t, err, want, "")
		if !l.Empty() || strings.Contains(err.Error(), "2001") {
			t.Errorf("%s: %v beside %v", out, l, err)
		}
	}
	for want, ran := range map[string]Ran{
		"helper tool is not there":     {Code: -1, Missing: true, Out: []byte(canary)},
		"printed more than 64 KiB":     {Code: -1, TooMuch: true, Out: []byte(canary)},
		"ended with 3":                 {Code: 3, Out: []byte(canary)},
		"ended with -1; what it said ": {Code: -1},
	} {
		_, err := helper(ran, nil).Resolve(t.Context(), "cmd:tool "+canary)
		wantProblem(t, err, want, "")
	}
	// The command line itself may be what was pasted.
	for _, ref := range []string{"cmd:" + canary + "-0123456789", "cmd:'" + canary, "cmd:", "cmd: ", "cmd:a | " + canary} {
		_, err := helper(Ran{Code: 1}, nil).Resolve(t.Context(), ref)
		wantProblem(t, err, "", "")
	}
}

func TestHelperIsRunWithoutAShell(t *testing.T) {
	var argv []string
	r := helper(Ran{Out: []byte("v-0123456789")}, &argv)
	if _, err := r.Resolve(t.Context(), `cmd:~/bin/tok 'a b' ~/.key "c"`); err != nil || !slices.Equal(argv, []string{"/home/me/bin/tok", "a b", "/home/me/.key", "c"}) {
		t.Errorf("%q, %v", argv, err)
	}
	argv = nil
	_, err := r.Resolve(t.Context(), "cmd:tok | tail")
	wantProblem(t, err, "no shell runs it", "cmd:")
	if argv != nil {
		t.Errorf("ran %q", argv)
	}
}

func TestHelperHasATimeLimit(t *testing.T) {
	r := Resolver{Patience: time.Millisecond, Hands: Hands{Run: func(ctx context.Context, _ []string) Ran {
		<-ctx.Done()
		return Ran{Code: -1}
	}}}
	_, err := r.Resolve(t.Context(), "cmd:tool x")
	wantProblem(t, err, "helper tool did not end within 1ms", "unlock")
	ctx, cancel := context.WithCancel(t.Context())
	r.Patience = time.Hour
	time.AfterFunc(10*time.Millisecond, cancel)
	if _, err := r.Resolve(ctx, "cmd:tool x"); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

func TestKeyringAnswers(t *testing.T) {
	var asked []string
	r := Resolver{Hands: Hands{Keyring: func(_ context.Context, service, account string) ([]byte, error) {
		asked = append(asked, service, account)
		if account == "gone" {
			return nil, bottle.Problems{{Message: "nothing there", Hint: "put it there"}}
		}
		return []byte(canary), nil
	}}}
	if l, err := r.Resolve(t.Context(), "keyring:https://h/x/me"); err != nil || l.Reveal() != canary || !l.Until.IsZero() {
		t.Errorf("%v, %v", l, err)
	}
	_, err := r.Resolve(t.Context(), "keyring:s/gone")
	wantProblem(t, err, "nothing there", "put it there")
	if !slices.Equal(asked, []string{"https://h/x", "me", "s", "gone"}) {
		t.Errorf("asked %q", asked)
	}
}

func TestInvariant2LeaseNeverPrints(t *testing.T) {
	l := Lease{Value: New([]byte(canary)), Until: time.Unix(9, 0)}
	j, err := json.Marshal(map[string]any{"a": l, "b": &l})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{fmt.Sprintf("%v %+v %#v %s %q %x", l, l, l, l, l, l), fmt.Sprint(map[string]Lease{"x": l}), fmt.Sprintf("%+v", struct{ l Lease }{l}), string(j)} {
		if strings.Contains(s, canary) || strings.Contains(s, fmt.Sprintf("%x", canary)) {
			t.Errorf("it printed itself: %s", s)
		}
	}
	if a := New([]byte(canary)); !a.Equal(l.Value) || a.Equal(New([]byte("x"))) || a.Equal(Value{}) || !(Value{}).Equal(Value{}) {
		t.Error("equality")
	}
}

// TestLine: the line holds the values that are injected, and apart from them those that
// only must not leave.
func TestLine(t *testing.T) {
	v := New([]byte(canary))
	line, err := Line(map[string]Value{"A": v}, map[string]Value{".env:B": v}, v)
	if want := `{"values":{"A":"` + canary + `"},"watched":{".env:B":"` + canary + `"},"proxy":"` + canary + `"}`; err != nil || string(line) != want {
		t.Errorf("%s, %v", line, err)
	}
	if v.Len() != len(canary) || (Value{}).Len() != 0 {
		t.Errorf("%d bytes", v.Len())
	}
}

func TestUpdateLine(t *testing.T) {
	line, err := UpdateLine(map[string]Value{"A": New([]byte(canary))}, nil)
	if err != nil || string(line) != `{"secrets":{"A":"`+canary+`"}}` {
		t.Errorf("%s, %v", line, err)
	}
	if line, err := UpdateLine(nil, []string{"A"}); err != nil || string(line) != `{"lapsed":["A"]}` {
		t.Errorf("%s, %v", line, err)
	}
}

// TestCheckRunsNothing: what is known without a run is told, and nothing is run.
func TestCheckRunsNothing(t *testing.T) {
	dir := t.TempDir()
	plain, good, open := filepath.Join(dir, "plain"), filepath.Join(dir, "good"), filepath.Join(dir, "open")
	for path, mode := range map[string]os.FileMode{plain: 0o600, good: 0o700, open: 0o644} {
		if err := os.WriteFile(path, []byte(canary), mode); err != nil {
			t.Fatal(err)
		}
	}
	r := Resolver{Lookup: func(name string) (string, bool) { return canary, name == "SET" }, Hands: Hands{
		Run: func(context.Context, []string) Ran { t.Error("a helper was run"); return Ran{} },
		Keyring: func(context.Context, string, string) ([]byte, error) {
			t.Error("the key ring was asked")
			return nil, nil
		},
	}}
	for ref, want := range map[string][2]string{
		"UNSET":                  {"UNSET is not set", "export UNSET=…"},
		"file:" + dir + "/none":  {"does not exist", ""},
		"file:" + open:           {"open to others", "chmod 600 " + open},
		"cmd:" + plain + " word": {"may not be run", "chmod +x " + plain},
		"cmd:" + dir:             {"is a folder", ""},
		"cmd:" + dir + "/none":   {"is not there", ""},
		"cmd:a | b":              {"can't be read", ""},
		"keyring:x":              {"no service and account", ""},
	} {
		wantProblem(t, r.Check(ref), want[0], want[1])
	}
	for _, ref := range []string{"SET", "file:" + plain, "cmd:" + good + " word", "cmd:pass show x", "keyring:service/account"} {
		if err := r.Check(ref); err != nil {
			t.Errorf("%s: %v", ref, err)
		}
	}
	r.Run = func(context.Context, []string) Ran { return Ran{Code: -1, Missing: true} }
	_, err := r.Resolve(t.Context(), "cmd:"+plain)
	wantProblem(t, err, "may not be run", "chmod +x "+plain)
}
