package secret

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"bottle/internal/bottle"
)

const canary = "sk-canary-1f2e3d4c"

// TestInvariant2ValueNeverPrints tries every way in which a value gets into a
// log by accident: also as an unexported field, where fmt calls no method.
func TestInvariant2ValueNeverPrints(t *testing.T) {
	v := New([]byte(canary))
	type holder struct {
		Name   string
		Public Value
		hidden Value
		ptr    *Value
	}
	h := holder{"x", v, v, &v}
	var out []string
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%o", "%T", "%08.3f", "%p"} {
		for _, what := range []any{v, &v, h, &h, []Value{v}, map[string]Value{"k": v}, map[string]any{"k": h}, [1]holder{h}} {
			out = append(out, fmt.Sprintf(verb, what))
		}
	}
	j, err := json.Marshal(map[string]any{"v": v, "p": &v, "h": h, "m": map[string]Value{"k": v}})
	if err != nil {
		t.Fatal(err)
	}
	x, err := xml.Marshal(h.Public)
	if err != nil {
		t.Fatal(err)
	}
	var logged bytes.Buffer
	slog.New(slog.NewJSONHandler(&logged, nil)).Info("m", "v", v, "h", h, slog.Group("g", "v", &v))
	slog.New(slog.NewTextHandler(&logged, nil)).Info("m", "v", v, "h", h)
	out = append(out, string(j), string(x), logged.String(), v.String(), v.GoString(), fmt.Errorf("e: %w %v", os.ErrClosed, v).Error())
	hexed := fmt.Sprintf("%x", canary)
	for _, s := range out {
		if strings.Contains(s, canary) || strings.Contains(strings.ToLower(s), hexed) || strings.Contains(s, canary[3:9]) {
			t.Errorf("a value printed itself: %s", s)
		}
	}
	if got := fmt.Sprint(v); got != "[redacted]" {
		t.Errorf("printed %q", got)
	}
	if v.Reveal() != canary || v.Empty() {
		t.Error("the value is not what it was made of")
	}
}

func TestValueIsACopy(t *testing.T) {
	b := []byte(canary)
	v := New(b)
	clear(b)
	if v.Reveal() != canary {
		t.Error("the value changed with its source")
	}
	if !(Value{}).Empty() || !New(nil).Empty() || (Value{}).Reveal() != "" {
		t.Error("an empty value is not empty")
	}
}

// wantProblem asserts a finding with a hint, and that no byte of the canary is in it.
func wantProblem(t *testing.T, err error, message, hint string) {
	t.Helper()
	var ps bottle.Problems
	if !errors.As(err, &ps) || len(ps) != 1 {
		t.Fatalf("error %v is not one problem", err)
	}
	if !strings.Contains(ps[0].Message, message) || !strings.Contains(ps[0].Hint, hint) {
		t.Errorf("problem %q, hint %q; want %q, %q", ps[0].Message, ps[0].Hint, message, hint)
	}
	if strings.Contains(err.Error(), canary) {
		t.Errorf("the error holds the secret: %v", err)
	}
}

func TestResolveEnvironment(t *testing.T) {
	env := map[string]string{"TOKEN": canary, "EMPTY": "", "LINES": canary + "\r\nX-Injected: 1", "NUL": canary + "\x00", "BINARY": "\xff\xfe", "TAB": "a\tb"}
	r := Resolver{Lookup: func(n string) (string, bool) { v, ok := env[n]; return v, ok }}
	ctx := context.Background()
	if v, err := r.Resolve(ctx, "TOKEN"); err != nil || v.Reveal() != canary {
		t.Errorf("TOKEN: %v", err)
	}
	if v, err := r.Resolve(ctx, "TAB"); err != nil || v.Reveal() != "a\tb" {
		t.Errorf("TAB: %v", err)
	}
	for ref, want := range map[string][2]string{
		"MISSING":                     {"MISSING is not set", "export MISSING=…"},
		"EMPTY":                       {"EMPTY is set but empty", "export EMPTY=…"},
		"LINES":                       {"line break", "export LINES=…"},
		"NUL":                         {"control character", "export"},
		"BINARY":                      {"not UTF-8", "export"},
		"":                            {"empty", "environment variable"},
		"cmd:pass show x":             {"cmd: can't be fetched here", "file:/"},
		"keyring:x/y":                 {"no key ring", "file:/"},
		"keyring:x":                   {"no service and account", "keyring:service/account"},
		canary:                        {"not shown", "token_ref"},
		"https://u:" + canary + "@h/": {"not shown", "token_ref"},
		"1A":                          {"not shown", "token_ref"},
		"file:relative":               {"not an absolute path", "file:/absolute"},
	} {
		v, err := r.Resolve(ctx, ref)
		wantProblem(t, err, want[0], want[1])
		if !v.Empty() {
			t.Errorf("%q gave a value beside its error", ref)
		}
	}
	_, err := r.Resolve(ctx, strings.Repeat("ghp_x", 20))
	if len(err.Error()) > 160 {
		t.Errorf("a pasted token is repeated: %v", err)
	}
	done, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := r.Resolve(done, "TOKEN"); !errors.Is(err, context.Canceled) {
		t.Errorf("after cancel: %v", err)
	}
}

func TestZeroResolverReadsTheEnvironment(t *testing.T) {
	t.Setenv("BOTTLE_TEST_SECRET", canary)
	if v, err := (Resolver{}).Resolve(context.Background(), "BOTTLE_TEST_SECRET"); err != nil || v.Reveal() != canary {
		t.Errorf("not read: %v", err)
	}
}

func TestResolveFile(t *testing.T) {
	dir := t.TempDir()
	put := func(name, content string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := put("good", canary+"\r\n\n", 0o400)
	if v, err := (Resolver{}).Resolve(context.Background(), "file:"+good); err != nil || v.Reveal() != canary {
		t.Errorf("good file: %v", err)
	}
	link, fifo := filepath.Join(dir, "link"), filepath.Join(dir, "fifo")
	if err := errors.Join(os.Symlink(good, link), syscall.Mkfifo(fifo, 0o600)); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string][2]string{
		put("others", canary, 0o604):                       {"open to others (mode 0604)", "chmod 600"},
		put("group", canary, 0o640):                        {"open to others", "chmod 600"},
		put("writable", canary, 0o602):                     {"open to others", "chmod 600"},
		put("empty", "\n", 0o600):                          {"is empty", "one line"},
		put("lines", canary+"\nsecond", 0o600):             {"line break", "one line"},
		put("large", strings.Repeat("x", 64<<10+1), 0o600): {"larger than 64 KiB", ""},
		filepath.Join(dir, "missing"):                      {"does not exist", "umask 077"},
		link:                                               {"symbolic link", "readlink -f"},
		fifo:                                               {"not a regular file", ""},
		dir:                                                {"not a regular file", ""},
		"/dev/null":                                        {"not a regular file", ""},
	} {
		_, err := (Resolver{}).Resolve(context.Background(), "file:"+path)
		wantProblem(t, err, want[0], want[1])
	}
	if v, err := (Resolver{}).Resolve(context.Background(), "file:"+put("exact", strings.Repeat("x", 64<<10), 0o600)); err != nil || len(v.Reveal()) != 64<<10 {
		t.Errorf("a file of exactly 64 KiB: %v", err)
	}
	if os.Geteuid() == 0 {
		alien := put("alien", canary, 0o600)
		if err := os.Chown(alien, 12345, 12345); err != nil {
			t.Fatal(err)
		}
		_, err := (Resolver{}).Resolve(context.Background(), "file:"+alien)
		wantProblem(t, err, "another user (uid 12345)", "chown")
	}
}
