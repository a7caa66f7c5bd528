package gitgate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"bottle/internal/bottle"
	"bottle/internal/gitgate/judge"
	"bottle/internal/gitgate/object"
	"bottle/internal/gitgate/ref"
	"bottle/internal/gitgate/upstream"
	"bottle/internal/policy"
)

const maxLost = 10_000 // commits that one ref may lose and still be known as the bottle's own

// policy is what may be pushed here, by the rules of one moment.
func (r *repo) policy(may bottle.Push) judge.Policy {
	p := judge.For(may)
	if u := r.gate.cfg.Committer; u.Name != "" || u.Email != "" {
		p.Committer = &u
	}
	return p
}

// judge looks at the refs and at every object that upstream does not have. What speaks
// against the push stands in p.failed; an error means that it could not be judged.
func (p *push) judge(ctx context.Context) error {
	engine := p.r.gate.cfg.DLP()
	if engine == nil {
		return errors.New("nothing can be scanned for secrets, so nothing is pushed")
	}
	p.may = p.r.may()
	rules := p.r.policy(p.may)
	rules.Declared, rules.Own = p.r.declares(ctx), p.r.gate.own
	p.gives = nil
	j := judge.New(rules, engine, p.r.gate.cfg.Pass(p.r.at.Host))
	updates, err := p.updates(ctx)
	if err != nil {
		return err
	}
	j.Refs(updates)
	if guarded := j.Guarded(); guarded != nil {
		for _, u := range updates {
			if err := p.unmade(ctx, j, u, guarded); err != nil {
				return err
			}
		}
	}
	if len(p.asked.Cert) > 0 {
		j.Extra("the push certificate", string(p.asked.Cert))
	}
	j.Extra("a push option", p.asked.Options...)
	if len(p.news()) > 0 {
		if err := p.walk(ctx, j); err != nil {
			return fmt.Errorf("judge the push: %w", err)
		}
	}
	p.failed, p.passed = append(j.Done(), p.misread()...), j.Passed()
	p.asks = j.Asks()
	p.looked, p.objects = j.Seen()
	if slices.ContainsFunc(p.failed, func(f judge.Failure) bool { return f.Reason == policy.WrongCommitter }) {
		p.base = p.stands(ctx)
	}
	p.hint = j.Hint()
	return nil
}

func (p *push) walk(ctx context.Context, j *judge.Judge) error {
	indexes, err := p.q.Indexes()
	if err != nil {
		return err
	}
	var packs []io.Reader
	for _, f := range indexes {
		defer f.Close()
		packs = append(packs, f)
	}
	return object.Walk{Git: p.q.Git, Mirror: p.r.mirror.Git, New: p.news(), Packs: packs, Guarded: j.Guarded()}.Run(ctx, j)
}

// unmade tells the judge what a ref that is rewound or deleted gives up of protected paths:
// one that is deleted could be created anew, with less.
func (p *push) unmade(ctx context.Context, j *judge.Judge, u judge.Update, guarded func(string) bool) error {
	if u.Created() || !u.Forced || !p.q.Has(ctx, u.Old) { // an old id that is not there is none of upstream's
		return nil
	}
	var paths []string
	var err error
	if u.Deleted() {
		paths, err = p.dropped(ctx, u.Old, guarded)
	} else {
		paths, err = object.Undone(ctx, p.q.Git, u.Old, u.New, guarded)
	}
	if err != nil {
		return fmt.Errorf("look at what the push would undo: %w", err)
	}
	for _, path := range paths {
		j.Unmade(u.Ref, "", path)
	}
	if len(paths) > 0 {
		p.gives = append(p.gives, u)
	}
	return nil
}

// updates tells of each command what it would lose.
func (p *push) updates(ctx context.Context) ([]judge.Update, error) {
	var out []judge.Update
	refs := p.r.mirror.Refs()
	for _, c := range p.asked.Commands {
		u := judge.Update{Ref: c.Ref, Old: c.Old, New: c.New}
		if !u.Created() {
			u.Forced = u.Deleted() || !p.q.Ancestor(ctx, c.Old, c.New)
			if (u.Forced || strings.HasPrefix(c.Ref, "refs/tags/")) && p.may.Force == "own" {
				own, err := p.own(ctx, c, refs)
				if err != nil {
					return nil, err
				}
				u.Own = own
			}
		}
		out = append(out, u)
	}
	return out, nil
}

// own reports whether all that the command would lose was pushed by this bottle: the ref,
// which it put where it is, and the commits. The commits alone say too little: a tag is
// more than its commit, none may be lost, and a copy of another's is pushed easily.
func (p *push) own(ctx context.Context, c upstream.Command, refs map[string]string) (bool, error) {
	if !p.r.mirror.OwnRef(c.Ref, c.Old) || !p.q.Has(ctx, c.Old) {
		return false, nil
	}
	next, keep := c.New, []string(nil)
	if ref.Zero(next) {
		next, keep = "", p.stays(refs)
	}
	lost, more, err := object.Lost(ctx, p.q.Git, c.Old, next, keep, maxLost)
	if err != nil {
		return false, fmt.Errorf("look at what the push would lose: %w", err)
	}
	return !more && p.r.mirror.Own(lost), nil
}

// stays gives the ids of the refs that this push does not touch. Those that it would set
// do not count: upstream may refuse them.
func (p *push) stays(refs map[string]string) (ids []string) {
	refs = maps.Clone(refs)
	for _, c := range p.asked.Commands {
		delete(refs, c.Ref)
	}
	return slices.Compact(slices.Sorted(maps.Values(refs)))
}

// dropped are the protected paths that commits change which nothing but old reaches.
func (p *push) dropped(ctx context.Context, old string, guarded func(string) bool) ([]string, error) {
	lost, more, err := object.Lost(ctx, p.q.Git, old, "", p.stays(p.r.mirror.Refs()), maxLost)
	if err != nil {
		return nil, err
	}
	if more {
		return nil, fmt.Errorf("there are more than %d commits", maxLost)
	}
	return object.Dropped(ctx, p.q.Git, lost, guarded)
}
