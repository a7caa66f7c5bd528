package gateway

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"

	"bottle/internal/audit"
	"bottle/internal/plan"
	"bottle/internal/secret"
)

// Reasons of the records about credentials, of the kind "log". They deny nothing.
const (
	reasonRenewed = "credential_renewed" // from here on requests carry another value
	reasonLapsed  = "credential_lapsed"  // it has expired without a new one; requests still carry it
	reasonUpdate  = "update_refused"     // what the caller said later can't be read; all stays as it is
)

// vault holds the values that are injected at this moment, by token_ref. Its keys
// never change. A request takes its value once and keeps it.
type vault struct {
	values atomic.Pointer[map[string]secret.Value]
}

func newVault(values map[string]secret.Value) *vault {
	v := &vault{}
	v.values.Store(&values)
	return v
}

func (v *vault) get(ref string) (secret.Value, bool) {
	value, ok := (*v.values.Load())[ref]
	return value, ok && !value.Empty()
}

// renew replaces some values, all in one moment. Only one goroutine may call it.
func (v *vault) renew(fresh map[string]secret.Value) {
	next := maps.Clone(*v.values.Load())
	maps.Copy(next, fresh)
	v.values.Store(&next)
}

// check refuses what plan.Update says is void.
func (v *vault) check(u plan.Update) error {
	known := *v.values.Load()
	for ref, value := range u.Secrets {
		if _, ok := known[ref]; !ok || value == "" {
			return errors.New("it is about a credential that nobody named, or has no value")
		}
	}
	for _, ref := range u.Lapsed {
		if _, ok := known[ref]; !ok {
			return errors.New("it is about a credential that nobody named")
		}
	}
	if len(u.Secrets)+len(u.Lapsed) == 0 {
		return errors.New("it says nothing")
	}
	return nil
}

// update is one line that came later, read or not.
type update struct {
	plan.Update
	err error
}

// listen reads what is said after the secrets, until standard input ends or holds a
// line without end; then it ends the gateway. It hands on and does nothing itself:
// what is updated may not be there yet.
func (g *gateway) listen(ctx context.Context, in *bufio.Reader, end context.CancelFunc) {
	defer end()
	for {
		line, err := readLine(in)
		if err != nil {
			return
		}
		var u update
		if strictly(line, &u.Update) != nil { // the cause could quote a secret
			u = update{err: errors.New("it is not one update on one line")}
		}
		clear(line)
		select {
		case g.updates <- u:
		case <-ctx.Done():
			return
		}
	}
}

// keepUp applies updates until ctx ends.
func (g *gateway) keepUp(ctx context.Context) {
	for {
		select {
		case u := <-g.updates:
			g.apply(u)
		case <-ctx.Done():
			return
		}
	}
}

// apply takes an update as a whole or not at all. The mask and the scanner
// learn the new values before any request can carry one, or an upstream's echo of it could slip through.
func (g *gateway) apply(u update) {
	err := u.err
	if err == nil {
		err = g.vault.check(u.Update)
	}
	if err != nil {
		g.rec.news(reasonUpdate, "", fmt.Sprintf("what was said later is void: %v; all stays as it was", err))
		return
	}
	fresh := make(map[string]secret.Value, len(u.Secrets))
	for ref, value := range u.Secrets {
		fresh[ref] = secret.New([]byte(value))
	}
	g.proxy.Relearn(fresh)
	g.scanner.learn(fresh)
	g.vault.renew(fresh)
	for _, ref := range slices.Sorted(maps.Keys(fresh)) {
		g.rec.news(reasonRenewed, ref, "")
	}
	for _, ref := range u.Lapsed {
		g.rec.news(reasonLapsed, ref, "it has expired and could not be renewed; the old value stays in use")
	}
}

// news records what happened to a credential. It is no decision and is not counted
// as one; where it can't be written, nothing depends on it.
func (r *recorder) news(reason, ref, note string) {
	_ = r.log.Append(audit.Record{Kind: audit.KindLog, Verdict: audit.Allow, Reason: reason, Credential: ref, Note: note})
}
