package backendtest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"sync"

	"bottle/internal/backend"
	"bottle/internal/bottle"
	"bottle/internal/plan"
)

// Fake is a backend in memory. Its zero value holds every wall and its agents
// exit with 0. It is safe for use by many goroutines.
type Fake struct {
	Fail    map[string]error // by method: "facts", "create", "place", "verify", "run", "close"
	Broken  string           // the name of a wall that does not hold
	Missing string           // the name of a needed check that this machine fails
	Agent   func(context.Context, plan.Command, backend.Stdio) int

	mu      sync.Mutex
	calls   []string
	made    map[string]plan.Bottle
	files   []plan.File
	gateway plan.Gateway
	secrets []byte
	updates [][]byte
	command plan.Command
}

func (f *Fake) note(call string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, call)
	return f.Fail[call]
}

// Calls is what was asked of it, in order.
func (f *Fake) Calls() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.calls)
}

// Standing is how many bottles have been created and not been closed.
func (f *Fake) Standing() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.made)
}

// Told is what the last Create and Run were given.
func (f *Fake) Told() (plan.Gateway, []byte, plan.Command, []plan.File) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.gateway, slices.Clone(f.secrets), f.command, slices.Clone(f.files)
}

// Updates are the lines that the gateways were told later.
func (f *Fake) Updates() [][]byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.updates)
}

// Kind implements backend.Backend.
func (f *Fake) Kind() string { return "fake" }

// Facts implements backend.Backend.
func (f *Fake) Facts(context.Context) (backend.Facts, error) {
	if err := f.note("facts"); err != nil {
		return backend.Facts{}, err
	}
	facts := backend.Facts{
		Kind:   "fake",
		Checks: []backend.Check{{Wall: "air", OK: true, Needed: true, Found: "it is there"}},
		Walls:  []plan.Wall{{Name: "air", Holds: "nothing", Probe: "none"}},
	}
	if f.Missing != "" {
		facts.Checks = append(facts.Checks, backend.Check{Wall: f.Missing, Needed: true, Found: "it is not there", Fix: "make it so"})
	}
	return facts, nil
}

// Create implements backend.Backend.
func (f *Fake) Create(_ context.Context, b plan.Bottle, gw plan.Gateway, secrets []byte) (backend.Bottle, error) {
	if err := f.note("create"); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.made == nil {
		f.made = map[string]plan.Bottle{}
	}
	if _, ok := f.made[b.Identity]; ok {
		return nil, fmt.Errorf("create %s: it is there already", b.Identity)
	}
	ca, err := authority()
	if err != nil {
		return nil, err
	}
	f.made[b.Identity], f.gateway, f.secrets = b, gw, slices.Clone(secrets)
	return &fakeBottle{fake: f, id: b.Identity, ca: ca}, nil
}

// Find implements backend.Backend.
func (f *Fake) Find(context.Context) ([]backend.Leftover, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []backend.Leftover
	for id := range f.made {
		out = append(out, backend.Leftover{Identity: bottle.Identity(id), Resource: plan.Resource{Kind: "process", Name: "fake of " + id}})
	}
	return out, nil
}

// Remove implements backend.Backend.
func (f *Fake) Remove(_ context.Context, l backend.Leftover) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.made, string(l.Identity))
	return nil
}

type fakeBottle struct {
	fake   *Fake
	id, ca string
}

// authority makes a certificate that programs can read; its key is thrown away.
func authority() (string, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", fmt.Errorf("make a certificate: %w", err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "fake"}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		return "", fmt.Errorf("make a certificate: %w", err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), nil
}

func (b *fakeBottle) Hello() plan.Hello { return plan.Hello{Version: bottle.Version, CA: b.ca} }

func (b *fakeBottle) Ready() plan.Ready { return plan.Ready{} }

func (b *fakeBottle) Place(_ context.Context, files []plan.File) error {
	if err := b.fake.note("place"); err != nil {
		return err
	}
	b.fake.mu.Lock()
	defer b.fake.mu.Unlock()
	b.fake.files = append(b.fake.files, files...)
	return nil
}

func (b *fakeBottle) Verify(_ context.Context, p plan.Probes) ([]plan.ProbeResult, error) {
	if err := b.fake.note("verify"); err != nil {
		return nil, err
	}
	if p.Sentinel == "" || p.Identity != b.id {
		return nil, errors.New("verify: no sentinel, or another's identity")
	}
	out := []plan.ProbeResult{{Name: "air", OK: true}}
	if w := b.fake.Broken; w != "" {
		out = append(out, plan.ProbeResult{Name: w, Detail: "it was not there"})
	}
	return out, nil
}

func (b *fakeBottle) Tell(line []byte) error {
	if err := b.fake.note("tell"); err != nil {
		return err
	}
	b.fake.mu.Lock()
	defer b.fake.mu.Unlock()
	b.fake.updates = append(b.fake.updates, slices.Clone(line))
	return nil
}

func (b *fakeBottle) Run(ctx context.Context, c plan.Command, s backend.Stdio) (int, error) {
	if err := b.fake.note("run"); err != nil {
		return 0, err
	}
	b.fake.mu.Lock()
	b.fake.command = c
	agent := b.fake.Agent
	b.fake.mu.Unlock()
	if s.Started != nil {
		s.Started()
	}
	if agent == nil {
		return 0, nil
	}
	return agent(ctx, c, s), nil
}

func (b *fakeBottle) Close() error {
	b.fake.mu.Lock()
	delete(b.fake.made, b.id)
	b.fake.mu.Unlock()
	return b.fake.note("close")
}
