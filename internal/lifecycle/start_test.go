package lifecycle_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"bottle/internal/backend"
	"bottle/internal/backend/backendtest"
	"bottle/internal/bottle"
	"bottle/internal/lifecycle"
	"bottle/internal/plan"
	"bottle/internal/secret"
	"bottle/internal/store"
)

const theSecret = "s3cret-value-that-must-stay-out"

type fixture struct {
	t     *testing.T
	home  string
	fake  *backendtest.Fake
	house *lifecycle.House
	req   lifecycle.Request
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{t: t, home: t.TempDir(), fake: &backendtest.Fake{Fail: map[string]error{}}}
	st, err := store.Open(f.home)
	if err != nil {
		t.Fatal(err)
	}
	env := func(name string) (string, bool) {
		v, ok := map[string]string{"THE_TOKEN": theSecret, "FROM_HOST": "hosts"}[name]
		return v, ok
	}
	f.house = &lifecycle.House{Backend: f.fake, Store: st, Secrets: secret.Resolver{Lookup: env}, Host: env, Root: os.DirFS("/")}
	pattern, err := bottle.ParsePattern("api.example.com")
	if err != nil {
		t.Fatal(err)
	}
	f.req = lifecycle.Request{
		Agent: bottle.Agent{Name: "tester", Bottle: "box", Command: []string{"/bin/sh"}, File: "tester.md"},
		Spec: bottle.Spec{
			Name: "box", Workspace: "overlay", Provider: bottle.Provider{Template: "command"},
			Env: []bottle.EnvVar{{Name: "FROM_HOST", Kind: bottle.EnvHost, Value: "FROM_HOST"}},
			Routes: []bottle.Route{{Host: pattern, Ports: []uint16{443}, TLS: "intercept", DLP: "off", Rule: "box.md:3",
				Auth: &bottle.Auth{Scheme: "Bearer", TokenRef: "THE_TOKEN"}}},
		},
		Workspace: t.TempDir(), UserHome: t.TempDir(), Skills: map[string]fs.FS{},
	}
	return f
}

func (f *fixture) prepare() *lifecycle.Prepared {
	f.t.Helper()
	p, err := f.house.Prepare(context.Background(), f.req)
	if err != nil {
		f.t.Fatal(err)
	}
	return p
}

func pipes() lifecycle.Terminal {
	return lifecycle.OnPipes(strings.NewReader(""), &bytes.Buffer{}, &bytes.Buffer{})
}

func (f *fixture) start() (lifecycle.Outcome, error) {
	f.t.Helper()
	return f.house.Start(context.Background(), f.prepare(), pipes())
}

// entries is the state folder, of which a stopped bottle keeps its folder.
func (f *fixture) entries() []store.Entry {
	f.t.Helper()
	list, err := f.house.Store.List()
	if err != nil {
		f.t.Fatal(err)
	}
	return list
}

// TestInvariant6PrepareCreatesNothing: what a dry run does.
func TestInvariant6PrepareCreatesNothing(t *testing.T) {
	f := newFixture(t)
	p := f.prepare()
	if p.Plan.Identity == "" || len(p.Plan.Resources) == 0 {
		t.Errorf("the plan says little: %+v", p.Plan)
	}
	list, err := os.ReadDir(f.home)
	if err != nil || len(list) != 0 {
		t.Errorf("the home holds %v, %v", list, err)
	}
	if calls := f.fake.Calls(); !slices.Equal(calls, []string{"facts"}) {
		t.Errorf("the backend was asked %v", calls)
	}
}

// TestInvariant11ExitCodePasses: every code of an agent is the outcome's.
func TestInvariant11ExitCodePasses(t *testing.T) {
	for _, code := range []int{0, 1, 2, 125, 137, 255} {
		f := newFixture(t)
		f.fake.Agent = func(context.Context, plan.Command, backend.Stdio) int { return code }
		out, err := f.start()
		if err != nil || out.Code != code {
			t.Errorf("code %d: %+v, %v", code, out, err)
		}
		if f.fake.Standing() != 0 {
			t.Error("a bottle stands")
		}
		list := f.entries()
		if len(list) != 1 || list[0].Live || list[0].Metadata.Status != store.Stopped {
			t.Errorf("state %+v", list)
		}
	}
}

// TestInvariant7FailedStepLeavesNothing fails each step in turn, before and in it.
func TestInvariant7FailedStepLeavesNothing(t *testing.T) {
	boom := errors.New("boom")
	steps := lifecycle.Steps()
	if len(steps) < 5 {
		t.Fatalf("steps %v", steps)
	}
	check := func(f *fixture, name string) {
		t.Helper()
		if _, err := f.start(); !errors.Is(err, boom) {
			t.Errorf("%s: %v", name, err)
		}
		if f.fake.Standing() != 0 {
			t.Errorf("%s: a bottle stands", name)
		}
		for _, e := range f.entries() {
			// The agent of a bottle that cannot be closed has ended well: its state says so.
			if e.Live || e.Metadata.Status != store.Failed && name != "in close" {
				t.Errorf("%s: %+v", name, e)
			}
			if _, err := os.Stat(filepath.Join(f.house.Store.Layout(e.Metadata.Identity).Dir, "overlay")); err == nil {
				t.Errorf("%s: the layers are left", name)
			}
		}
	}
	for _, step := range steps {
		f := newFixture(t)
		f.house.Before = func(s string) error {
			if s == step {
				return boom
			}
			return nil
		}
		check(f, "before "+step)
	}
	for _, call := range []string{"create", "place", "verify", "run", "close"} {
		f := newFixture(t)
		f.fake.Fail[call] = boom
		check(f, "in "+call)
	}
}

// TestInvariant8BrokenWallStopsTheStart: the agent never runs behind it.
func TestInvariant8BrokenWallStopsTheStart(t *testing.T) {
	f := newFixture(t)
	f.fake.Broken = "metadata"
	var seen []plan.ProbeResult
	term := pipes()
	term.Checked = func(r []plan.ProbeResult) { seen = r }
	_, err := f.house.Start(context.Background(), f.prepare(), term)
	if err == nil || !strings.Contains(err.Error(), "metadata") || !strings.Contains(err.Error(), "does not hold") {
		t.Errorf("start: %v", err)
	}
	if slices.Contains(f.fake.Calls(), "run") || f.fake.Standing() != 0 {
		t.Errorf("calls %v", f.fake.Calls())
	}
	if len(seen) != 2 {
		t.Errorf("the operator was shown %+v", seen)
	}
}

// TestInvariant8MissingCapabilityIsAnError, never a downgrade.
func TestInvariant8MissingCapabilityIsAnError(t *testing.T) {
	f := newFixture(t)
	f.fake.Missing = "user-namespaces"
	_, err := f.house.Prepare(context.Background(), f.req)
	var broken *lifecycle.Broken
	if !errors.As(err, &broken) || !strings.Contains(err.Error(), "user-namespaces") || !strings.Contains(err.Error(), "make it so") {
		t.Errorf("prepare: %v", err)
	}
}

// TestInvariant2SecretReachesTheGatewayAlone: once, on its standard input.
func TestInvariant2SecretReachesTheGatewayAlone(t *testing.T) {
	f := newFixture(t)
	p := f.prepare()
	if _, err := f.house.Start(context.Background(), p, pipes()); err != nil {
		t.Fatal(err)
	}
	gw, secrets, cmd, files := f.fake.Told()
	if !bytes.Contains(secrets, []byte(theSecret)) {
		t.Errorf("the gateway was told %q", secrets)
	}
	var text strings.Builder
	if err := p.Plan.Text(&text, nil); err != nil {
		t.Fatal(err)
	}
	for name, v := range map[string]string{"argv": strings.Join(cmd.Args, " "), "environment": strings.Join(cmd.Env, " "), "plan": text.String(), "gateway": gw.Audit + gw.Control} {
		if strings.Contains(v, theSecret) {
			t.Errorf("the %s holds the secret", name)
		}
	}
	for _, file := range files {
		if bytes.Contains(file.Content, []byte(theSecret)) {
			t.Errorf("%s holds the secret", file.Path)
		}
	}
	if !slices.Contains(cmd.Env, "FROM_HOST=hosts") {
		t.Errorf("the manifest's own variable is missing: %v", cmd.Env)
	}
	err := filepath.WalkDir(f.home, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		body, err := os.ReadFile(path)
		if bytes.Contains(body, []byte(theSecret)) {
			t.Errorf("%s holds the secret", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// What the agent holds has the make of the credential that there is, and nothing of
// it; each start draws another; and the gateway is told what it is.
func TestInvariant2PlaceholderHasTheMakeOfTheValue(t *testing.T) {
	real := "github_pat_" + strings.Repeat("s3cr", 5) + "et_" + strings.Repeat("ABcd12", 9) + "xyzzy"
	var drawn []string
	for range 2 {
		f := newFixture(t)
		f.req.Spec.Routes[0].Role = "github-token"
		f.house.Secrets = secret.Resolver{Lookup: func(string) (string, bool) { return real, true }}
		p := f.prepare()
		if _, err := f.house.Start(context.Background(), p, pipes()); err != nil {
			t.Fatal(err)
		}
		gw, line, cmd, _ := f.fake.Told()
		held := gw.Placeholders["THE_TOKEN"]
		if len(held) != len(real) || !strings.HasPrefix(held, "github_pat_") || strings.Contains(held, "s3cr") || strings.Contains(held, "xyzz") {
			t.Errorf("the placeholder %q", held)
		}
		if !slices.Contains(cmd.Env, "GH_TOKEN="+held) || !slices.Contains(cmd.Env, "GITHUB_TOKEN="+held) || !bytes.Contains(line, []byte(real)) {
			t.Errorf("the agent holds %q", cmd.Env)
		}
		drawn = append(drawn, held)
	}
	if drawn[0] == drawn[1] {
		t.Error("two bottles hold the same placeholder")
	}
}

// TestMissingSecretsAreToldAllAtOnce, with the place that wants each, before anybody
// is asked, any helper is run and anything is made.
func TestMissingSecretsAreToldAllAtOnce(t *testing.T) {
	f := newFixture(t)
	f.house.Secrets.Run = func(context.Context, []string) secret.Ran { t.Error("a helper was run"); return secret.Ran{} }
	whole := f.prepare() // before they went missing
	second := f.req.Spec.Routes[0]
	second.Rule, second.Auth = "box.md:9", &bottle.Auth{Scheme: "Bearer", TokenRef: "cmd:pass show x"}
	f.req.Spec.Routes = append(slices.Clone(f.req.Spec.Routes), second)
	f.req.Spec.Routes[0].Auth = &bottle.Auth{Scheme: "Bearer", TokenRef: "NO_SUCH_TOKEN"}
	f.req.Spec.Routes[1].Host, _ = bottle.ParsePattern("other.example.com")
	f.req.Spec.Env = append(f.req.Spec.Env, bottle.EnvVar{Name: "A", Kind: bottle.EnvHost, Value: "NO_SUCH_VARIABLE"},
		bottle.EnvVar{Name: "B", Kind: bottle.EnvAsk, Value: "Which?"}, bottle.EnvVar{Name: "C"})
	_, err := f.house.Prepare(t.Context(), f.req)
	for _, word := range []string{"box.md:3: route api.example.com: the secret NO_SUCH_TOKEN", "NO_SUCH_VARIABLE", "Which?", "env C has no known kind"} {
		if err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("not told: %s in %v", word, err)
		}
	}
	// One that goes missing while a person thinks.
	f.house.Secrets.Lookup = func(string) (string, bool) { return "", false }
	if _, err := f.house.Start(t.Context(), whole, pipes()); err == nil || !strings.Contains(err.Error(), "box.md:3: route api.example.com: the secret THE_TOKEN") {
		t.Errorf("started, or not told where: %v", err)
	}
	if slices.Contains(f.fake.Calls(), "create") || len(f.entries()) != 0 {
		t.Errorf("something was made: %v %v", f.fake.Calls(), f.entries())
	}
}

// TestBadCAFilesAreToldBeforeAStart, also that of the proxy behind the gateway, and
// by a gateway alone. Without, every request would end in upstream_tls.
func TestBadCAFilesAreToldBeforeAStart(t *testing.T) {
	f := newFixture(t)
	none, key := filepath.Join(t.TempDir(), "none.pem"), filepath.Join(t.TempDir(), "key.pem")
	if err := os.WriteFile(key, []byte("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	f.req.Spec.Routes[0].Upstream = &bottle.Upstream{CAFile: none}
	f.req.Spec.Onward = &bottle.UpstreamProxy{Host: "proxy.example.com", Port: 3128, CAFile: key}
	f.req.Spec.Files = []string{"base.md", "box.md"}
	_, prepared := f.house.Prepare(t.Context(), f.req)
	alone := f.house.Proxy(t.Context(), lifecycle.Solo{Spec: f.req.Spec, Gateway: "/nonexistent", Listen: "127.0.0.1:0"})
	for _, err := range []error{prepared, alone} {
		for _, word := range []string{"box.md:3: route api.example.com: read ca_file: open " + none, "box.md: upstream_proxy: read ca_file " + key + ": it begins with a PRIVATE KEY", "name a PEM file"} {
			if err == nil || !strings.Contains(err.Error(), word) {
				t.Errorf("not told: %s in %v", word, err)
			}
		}
	}
	if len(f.entries()) != 0 {
		t.Errorf("something was made: %v", f.entries())
	}
}

func TestEndOfContextBeforeAStepStopsThere(t *testing.T) {
	f := newFixture(t)
	ctx, cancel := context.WithCancel(context.Background())
	f.house.Before = func(step string) error {
		if strings.Contains(step, "check") {
			cancel()
		}
		return nil
	}
	if _, err := f.house.Start(ctx, f.prepare(), pipes()); !errors.Is(err, context.Canceled) {
		t.Errorf("start: %v", err)
	}
	if slices.Contains(f.fake.Calls(), "run") || f.fake.Standing() != 0 {
		t.Errorf("calls %v", f.fake.Calls())
	}
}

// TestWorkOfTheAgentIsKept: what it changed in its private view is its work.
func TestWorkOfTheAgentIsKept(t *testing.T) {
	f := newFixture(t)
	p := f.prepare()
	upper := f.house.Store.Layout(p.Plan.Identity).Upper
	f.fake.Agent = func(context.Context, plan.Command, backend.Stdio) int {
		if err := os.WriteFile(filepath.Join(upper, "work"), nil, 0o600); err != nil {
			t.Error(err)
		}
		return 0
	}
	out, err := f.house.Start(context.Background(), p, pipes())
	if err != nil || out.Changed != upper {
		t.Errorf("%+v, %v", out, err)
	}
}

// TestInvariant7CleanupNeedsNoState: what the backend finds goes, also where the
// state folder is gone; what lives stays; a second time there is nothing.
func TestInvariant7CleanupNeedsNoState(t *testing.T) {
	f := newFixture(t)
	ctx := context.Background()
	for _, id := range []string{"tester-aaaaa", "tester-bbbbb"} {
		if _, err := f.fake.Create(ctx, plan.Bottle{Identity: id}, plan.Gateway{}, nil); err != nil {
			t.Fatal(err)
		}
	}
	live, err := f.house.Store.Reserve("tester-bbbbb")
	if err != nil {
		t.Fatal(err)
	}
	defer live.Release()
	dead, err := f.house.Store.Reserve("tester-ccccc")
	if err != nil {
		t.Fatal(err)
	}
	if err := dead.Release(); err != nil {
		t.Fatal(err)
	}
	rest, err := f.house.Leftovers(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range rest {
		got = append(got, r.Kind+" "+string(r.Identity))
	}
	if want := []string{"process tester-aaaaa", "folder tester-ccccc"}; !slices.Equal(got, want) {
		t.Errorf("leftovers %v, want %v", got, want)
	}
	for range 2 {
		if err := f.house.Clean(ctx, rest); err != nil {
			t.Error(err)
		}
	}
	if rest, err = f.house.Leftovers(ctx, nil); err != nil || len(rest) != 0 {
		t.Errorf("after cleaning: %v, %v", rest, err)
	}
	if f.fake.Standing() != 1 {
		t.Error("cleanup took what lives")
	}
}

// The weakness: cleanup shows a list and asks; meanwhile a bottle on it is resumed, whose parts
// have the same names. What lives is not taken, and once it has ended again, it is.
func TestCleanupOfAnOldList(t *testing.T) {
	f := newFixture(t)
	ctx := context.Background()
	dead, err := f.house.Store.Reserve("tester-aaaaa")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(dead.Write(store.Metadata{Agent: "tester", Backend: f.fake.Kind(), Status: store.Running}), dead.Release()); err != nil {
		t.Fatal(err)
	}
	if _, err := f.fake.Create(ctx, plan.Bottle{Identity: "tester-aaaaa"}, plan.Gateway{}, nil); err != nil {
		t.Fatal(err)
	}
	rest, err := f.house.Leftovers(ctx, nil)
	if err != nil || len(rest) != 2 {
		t.Fatal(rest, err)
	}
	r, _, err := f.house.Store.Again("tester-aaaaa")
	if err != nil {
		t.Fatal(err)
	}
	if err := f.house.Clean(ctx, rest); err != nil || f.fake.Standing() != 1 {
		t.Errorf("%v, %d stand", err, f.fake.Standing())
	}
	if _, err := os.Lstat(r.Layout.Metadata); err != nil {
		t.Error(err)
	}
	if err := r.Release(); err != nil {
		t.Fatal(err)
	}
	if err := f.house.Clean(ctx, rest); err != nil || f.fake.Standing() != 0 {
		t.Errorf("%v, %d stand", err, f.fake.Standing())
	}
}

// TestResumeTellsTheGateway: and only a resume does; what is left of a killed start goes first,
// and the first start's time stays, which changes are held against.
func TestResumeTellsTheGateway(t *testing.T) {
	f := newFixture(t)
	if _, err := f.start(); err != nil || told(f).Resumed {
		t.Fatal(err)
	}
	list, err := f.house.Store.List()
	if err != nil || len(list) != 1 {
		t.Fatal(list, err)
	}
	m := list[0].Metadata
	if _, err := f.fake.Create(context.Background(), plan.Bottle{Identity: string(m.Identity)}, plan.Gateway{}, nil); err != nil {
		t.Fatal(err)
	}
	f.req.Resume = &m
	if _, err := f.start(); err != nil || !told(f).Resumed || f.fake.Standing() != 0 {
		t.Fatal(err, f.fake.Standing())
	}
	now, err := f.house.Store.Load(m.Identity)
	if err != nil || !now.Started.Equal(m.Started) || !now.Resumed.After(m.Started) || now.Status != store.Stopped {
		t.Errorf("%+v, %v", now, err)
	}
	if f.house.Store.Live(m.Identity) {
		t.Error("what was refused is held")
	}
}

func told(f *fixture) plan.Gateway {
	gw, _, _, _ := f.fake.Told()
	return gw
}
