package judge

import (
	"context"
	"crypto/sha1"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"bottle/internal/gitgate/object"
	"bottle/internal/policy"
)

// The weakness: nothing has to stand behind the id of a submodule. The attack: 20 bytes of
// a secret for each. This proves that the ids are looked at, one by one and together, as
// bytes and as digits, and that real ids are nothing.
func TestSecretInSubmoduleIDs(t *testing.T) {
	half := token + "xxxx"
	for name, ids := range map[string][]string{
		"a whole value": {fmt.Sprintf("%x", kept)},
		"two halves":    {fmt.Sprintf("%x", half[:20]), fmt.Sprintf("%x", half[20:40])},
		"among others":  slices.Concat(noise(50), []string{fmt.Sprintf("%x", half[:20]), fmt.Sprintf("%x", half[20:40])}, noise(50)),
	} {
		p := newPush(t)
		raw := ""
		for i, id := range ids {
			raw += entry("160000", fmt.Sprintf("m%04d", i), id)
		}
		f := only(t, p.judge(Policy{}, nil, p.snapshot(p.object("tree", raw))), policy.SecretFound)
		if !strings.Contains(f.Words, "the id of a submodule (") || strings.Contains(f.String(), kept) {
			t.Errorf("%s: %s", name, f)
		}
	}
	p := newPush(t)
	raw := ""
	for i := range 40 {
		p.write("f", fmt.Sprint(i))
		raw += entry("160000", fmt.Sprintf("m%02d", i), p.commit(fmt.Sprint(i)))
	}
	if got := p.judge(Policy{}, nil, p.snapshot(p.object("tree", raw))); len(got) != 0 {
		t.Errorf("real ids: %v", got)
	}
	j := New(Policy{}, engine(t), nil)
	for i := range mostLinks + 1 {
		if err := j.Tree(object.At{ID: strings.Repeat("1", 40), Commit: strings.Repeat("2", 40)}, []byte(entry("160000", "m", fmt.Sprintf("%040x", i)))); err != nil {
			t.Fatal(err)
		}
	}
	if got := j.Done(); len(got) != 1 || got[0].Reason != policy.NotScannable {
		t.Errorf("more than are looked at: %v", got)
	}
}

// noise are n ids that are as random as real ones.
func noise(n int) (ids []string) {
	for i := range n {
		ids = append(ids, fmt.Sprintf("%x", sha1.Sum(fmt.Append(nil, i))))
	}
	return ids
}

// The weakness: a path is as long as all its folders' names, and each file holds it anew.
// The attack: one name of many bytes, and many files below. This proves that the walk ends
// at once, and names no more of it than a person can read.
func TestLongPath(t *testing.T) {
	p := newPush(t)
	blob := p.object("blob", "x")
	files := ""
	for i := range 500 {
		files += entry("100644", fmt.Sprintf("f%04d", i), blob)
	}
	tree := p.object("tree", entry("40000", strings.Repeat("n", 5000), p.object("tree", files)))
	j := New(Policy{}, engine(t), nil)
	w := p.quarantine(p.snapshot(tree))
	if err := w.Run(context.Background(), j); !errors.Is(err, object.ErrLong) || len(err.Error()) > 300 {
		t.Errorf("%v", err)
	}
	deep := p.object("tree", files)
	for range 45 {
		deep = p.object("tree", entry("40000", strings.Repeat("d", 100), deep))
	}
	w = p.quarantine(p.snapshot(deep))
	if err := w.Run(context.Background(), New(Policy{}, engine(t), nil)); !errors.Is(err, object.ErrLong) {
		t.Errorf("many folders: %v", err)
	}
}

// What is protected has many names, and can be put elsewhere behind a link.
func TestProtectedUnderOtherNames(t *testing.T) {
	pol := Policy{Protected: []string{".github/workflows/*.yml", "dépôt/**", "**/secret.txt"}}
	target := "elsewhere"
	for path, mode := range map[string]string{
		"GITHUB~1/workflows/a.yml": "100644", "github~2/WORKFL~1/a.yml": "100644", "de\u0301po\u0302t/x": "100644",
		".github": "120000", ".github/workflows": "120000", ".GitHub": "120000", "d\u00e9p\u00f4t": "120000",
	} {
		p := newPush(t)
		id := p.object("blob", target)
		parts := strings.Split(path, "/")
		tree := entry(mode, parts[len(parts)-1], id)
		for i := len(parts) - 2; i >= 0; i-- {
			tree = entry("40000", parts[i], p.object("tree", tree))
		}
		if got := p.judge(pol, nil, p.snapshot(p.object("tree", tree))); len(got) == 0 || got[0].Reason != policy.ProtectedPath && got[len(got)-1].Reason != policy.ProtectedPath {
			t.Errorf("%s: %v", path, got)
		}
	}
	for _, path := range []string{"github/workflows/a.yml", "git~x/workflows/a.yml", "x"} {
		p := newPush(t)
		parts := strings.Split(path, "/")
		tree := entry("120000", parts[len(parts)-1], p.object("blob", target))
		for i := len(parts) - 2; i >= 0; i-- {
			tree = entry("40000", parts[i], p.object("tree", tree))
		}
		if got := p.judge(pol, nil, p.snapshot(p.object("tree", tree))); len(got) != 0 {
			t.Errorf("%s: %v", path, got)
		}
	}
}

// A secret cut over several options goes upstream whole.
func TestSecretOverOptions(t *testing.T) {
	j := New(Policy{}, engine(t), nil)
	j.Extra("a push option", kept[:9], kept[9:])
	only(t, j.Done(), policy.SecretFound)
}
