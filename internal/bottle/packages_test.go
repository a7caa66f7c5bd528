package bottle

import (
	"slices"
	"strings"
	"testing"
)

// TestPackageNames. The weakness: apt and npm read more into a name than a name. The
// attacks: options, ranges, patterns, addresses, git, files, aliases, names that apt takes
// for removing a package, and text that a terminal obeys. What this proves: none of them is
// a package here, and what is one is in one form.
func TestPackageNames(t *testing.T) {
	for s, want := range map[string]string{
		"deb:jq": "deb:jq", "deb:g++": "deb:g++", "deb:libfoo1.2-dev": "deb:libfoo1.2-dev", "npm:prettier": "npm:prettier", "npm:prettier@3.3.3": "npm:prettier@3.3.3",
		"npm:@scope/name@1.0.0-rc.1+b2": "npm:@scope/name@1.0.0-rc.1+b2", "npm:x@latest": "npm:x@latest", "npm:a.b_c-d": "npm:a.b_c-d",
	} {
		p, err := ParsePackage(s)
		if err != nil || p.String() != want {
			t.Errorf("%s: %s, %v", s, p, err)
		}
		if again, err := ParsePackage(p.String()); err != nil || again != p {
			t.Errorf("%s: read again as %+v, %v", s, again, err)
		}
	}
	for _, s := range []string{
		"", "jq", ":jq", "deb:", "npm:", "apt:jq", "DEB:jq", "pip:x", "deb:-oDir=/", "deb:--", "deb:-y", "npm:--registry=http://evil", "npm:-g", "deb:jq-", "deb:jq.", "deb:JQ", "deb:j", "deb:jq/stable",
		"deb:jq=1.0", "deb:jq:i386", "deb:jq*", "deb:?name", "deb:~n", "deb:./x.deb", "deb:/tmp/x.deb", "deb:a b", "deb:jq\n", "npm:x@", "npm:x@^1", "npm:x@>1", "npm:x@1 || 2", "npm:x@*", "npm:x@npm:y", "npm:x@file:../y",
		"npm:x@git+ssh://y", "npm:x@-1", "npm:github:a/b", "npm:a/b", "npm:/etc", "npm:../x", "npm:./x", "npm:.", "npm:..", "npm:.bin", "npm:_x", "npm:https://evil/x.tgz", "npm:@/x", "npm:@a/", "npm:@a", "npm:@a/b/c", "npm:@../x",
		"npm:@a/../b", "npm:node_modules", "npm:favicon.ico", "npm:X", "npm:x\x1b[2J", "npm:x\u202e", "npm:x\x00", "npm:" + strings.Repeat("x", 128), "npm:%2e%2e", "npm:x@1/../2", "npm:x@1@2:3",
	} {
		if p, err := ParsePackage(s); err == nil {
			t.Errorf("%q was taken: %+v", s, p)
		}
	}
	ask := func(names ...string) (*CapabilityAsk, error) {
		p, err := Proposal{Kind: ProposalCapability, Capability: &CapabilityAsk{Packages: names}}.Canonical()
		return p.Capability, err
	}
	if c, err := ask("npm:b", "deb:a1", "npm:b"); err != nil || !slices.Equal(c.Packages, []string{"deb:a1", "npm:b"}) {
		t.Errorf("%+v, %v", c, err)
	}
	if _, err := ask("npm:b@1", "npm:b@2"); err == nil {
		t.Error("two versions of one")
	}
}

// TestBill: a list that nobody can be held to is none, and neither is one of what was not
// asked for, or one that writes on a terminal.
func TestBill(t *testing.T) {
	ask := CapabilityAsk{Packages: []string{"deb:jq"}}
	item := BillItem{Ecosystem: "deb", Name: "jq", Version: "1:1.6", Hash: "sha256:" + strings.Repeat("a", 64), Size: 5, From: "http://deb.example.com/jq.deb"}
	with := func(change func(*BillItem)) Bill {
		i := item
		change(&i)
		return Bill{Items: []BillItem{i}, Programs: []string{"jq"}}
	}
	if err := with(func(*BillItem) {}).Check(ask); err != nil {
		t.Error(err)
	}
	for name, b := range map[string]Bill{
		"nothing": {}, "too many": {Items: make([]BillItem, MaxItems+1)}, "less than nothing": {Items: []BillItem{item}, Unpacked: -1},
		"a path":            {Items: []BillItem{item}, Programs: []string{"../x"}},
		"a hidden one":      {Items: []BillItem{item}, Programs: []string{".x"}},
		"an option":         {Items: []BillItem{item}, Programs: []string{"-x"}},
		"another ecosystem": with(func(i *BillItem) { i.Ecosystem = "npm" }), "no ecosystem": with(func(i *BillItem) { i.Ecosystem = "" }),
		"no name": with(func(i *BillItem) { i.Name = "" }), "no version": with(func(i *BillItem) { i.Version = "" }), "no size": with(func(i *BillItem) { i.Size = 0 }),
		"SHA-1": with(func(i *BillItem) { i.Hash = "sha1:" + strings.Repeat("a", 40) }), "no hash": with(func(i *BillItem) { i.Hash = "" }), "a short hash": with(func(i *BillItem) { i.Hash = "sha512:" + strings.Repeat("a", 64) }),
		"a password": with(func(i *BillItem) { i.From = "http://me:secret@deb.example.com/" }), "a query": with(func(i *BillItem) { i.From = "http://deb.example.com/?token=secret" }),
		"an escape": with(func(i *BillItem) { i.Version = "1\x1b[2J" }), "a long name": with(func(i *BillItem) { i.Name = strings.Repeat("x", 600) }),
	} {
		if b.Check(ask) == nil {
			t.Errorf("%s was taken", name)
		}
	}
}

func FuzzParsePackage(f *testing.F) {
	for _, s := range []string{"deb:jq", "npm:@a/b@1.2.3", "npm:x@latest", "deb:g++"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ParsePackage(s)
		if err != nil {
			return
		}
		if p.String() != s || Said(s) != s || strings.ContainsAny(p.Name+p.Version, " :\\\"'$`*?~^<>|&;") || strings.HasPrefix(p.Name, "-") || strings.HasPrefix(p.Name, ".") || strings.HasPrefix(p.Name, "/") || strings.Contains(p.Name, "..") && strings.Contains(p.Name, "/..") {
			t.Errorf("%q is %+v", s, p)
		}
	})
}
