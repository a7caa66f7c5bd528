package packages

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bottle/internal/bottle"
)

var sum512 = "sha512-" + base64.StdEncoding.EncodeToString(make([]byte, 64))

func lockfile(t testing.TB, packages map[string]map[string]any) []byte {
	t.Helper()
	b, err := json.Marshal(map[string]any{"lockfileVersion": 3, "packages": packages})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// fromRegistry is an honest package with what change makes of it.
func fromRegistry(change map[string]any) map[string]any {
	p := map[string]any{"version": "1.0.0", "resolved": "https://registry.example.com/a/-/a-1.0.0.tgz", "integrity": sum512}
	for k, v := range change {
		p[k] = v
	}
	return p
}

// TestLockTakesOnlyWhatARegistryHolds. The weakness: npm takes a dependency from git, from
// any address, and from folders of the machine. The attacks: a package that needs such a
// one, a place in the tree that climbs, a hash that is weak. What this proves: all of it is
// refused before anything is fetched.
func TestLockTakesOnlyWhatARegistryHolds(t *testing.T) {
	ask := []bottle.Package{{Ecosystem: "npm", Name: "a"}}
	read := func(packages map[string]map[string]any) (*Load, error) {
		l := &Load{}
		return l, l.readLock(lockfile(t, packages), ask)
	}
	for name, c := range map[string]map[string]any{
		"git":              {"resolved": "git+ssh://git@example.com/x.git#abc"},
		"file":             {"resolved": "file:../../etc/passwd"},
		"a folder":         {"link": true, "resolved": "../x"},
		"no place":         {"resolved": ""},
		"a password":       {"resolved": "https://user:secret@registry.example.com/a.tgz"},
		"SHA-1":            {"integrity": "sha1-2jmj7l5rSw0yVb/vlWAYkK/YBwk="},
		"half a hash":      {"integrity": "sha512-AAAA"},
		"no hash":          {"integrity": ""},
		"an odd version":   {"version": "file:x"},
		"an option":        {"version": "--registry=http://evil.example.com"},
		"needs an address": {"dependencies": map[string]string{"x": "https://evil.example.com/x.tgz"}},
		"needs git":        {"dependencies": map[string]string{"x": "github:evil/x"}},
		"needs a folder":   {"optionalDependencies": map[string]string{"x": "../../x"}},
		"an odd alias":     {"name": "../../x"},
	} {
		if _, err := read(map[string]map[string]any{"": {}, "node_modules/a": fromRegistry(c)}); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	for _, at := range []string{"a", "../node_modules/a", "node_modules/../a", "node_modules/a/../../x", "node_modules/.bin", "node_modules/a/node_modules/", "node_modules//a", "/node_modules/a", "node_modules/@x", "node_modules/-g", "node_modules/node_modules"} {
		if _, err := read(map[string]map[string]any{"node_modules/a": fromRegistry(nil), at + "": fromRegistry(nil)}); at != "node_modules/a" && err == nil {
			t.Errorf("%q: taken", at)
		}
	}
	if _, err := read(map[string]map[string]any{"node_modules/b": fromRegistry(nil)}); err == nil {
		t.Error("what was asked for is not in it")
	}
	if _, err := read(map[string]map[string]any{"node_modules/a": fromRegistry(map[string]any{"name": "evil"})}); err == nil {
		t.Error("another package stands in its place")
	}
	l, err := read(map[string]map[string]any{"": {}, "node_modules/a": fromRegistry(map[string]any{"bin": map[string]string{"a": "./bin/a.js", "../b": "x", "c": "../../c", "-d": "x"}, "hasInstallScript": true, "dependencies": map[string]string{"@s/b": "^1 || >2 <3", "c": "npm:@s/b@1"}}),
		"node_modules/a/node_modules/@s/b": fromRegistry(nil), "node_modules/c": fromRegistry(map[string]any{"name": "@s/b"}),
		"node_modules/bundled": {"inBundle": true}, "node_modules/other": fromRegistry(map[string]any{"optional": true, "os": []string{"aix"}}), "node_modules/neither": fromRegistry(map[string]any{"optional": true, "cpu": []string{"!x64", "!arm64"}})})
	if err != nil || len(l.npm) != 3 || !l.npm[0].asked || l.npm[1].asked || l.npm[2].name != "@s/b" || !strings.Contains(strings.Join(l.Notes, ""), "install script, which is not run") {
		t.Fatalf("%+v, %v", l, err)
	}
	if got := fmt.Sprint(l.npm[0].programs()); got != "map[a:bin/a.js]" {
		t.Error(got)
	}
}

// Two packages whose archives npm would write to one file are fetched apart.
func TestBatchesKeepNamesApart(t *testing.T) {
	var all []module
	for _, name := range []string{"@a/b-c", "@a-b/c", "a-b-c", "x"} {
		all = append(all, module{archive: archive{name: name, version: "1.0.0"}})
	}
	for i := range 60 {
		all = append(all, module{archive: archive{name: fmt.Sprint("n", i), version: "1.0.0"}})
	}
	n := 0
	for _, part := range batches(all) {
		seen := map[string]bool{}
		for _, m := range part {
			file := strings.ReplaceAll(strings.TrimPrefix(m.name, "@"), "/", "-")
			if seen[file] || len(part) > batch {
				t.Errorf("%s twice, or %d", file, len(part))
			}
			seen[file] = true
			n++
		}
	}
	if n != len(all) {
		t.Errorf("%d of %d", n, len(all))
	}
}

// TestURIs: what apt says is read strictly: a repository that gives no strong hash, or a
// package of an odd name, is refused.
func TestURIs(t *testing.T) {
	sum := strings.Repeat("ab", 32)
	got, err := parseURIs("NOTE: something\n'http://deb.example.com/pool/j/jq_1%3a1.6-2%2bdeb_amd64.deb' jq_1%3a1.6-2+deb_amd64.deb 100 SHA256:" + sum + "\n\n")
	if err != nil || len(got) != 1 || got[0].name != "jq" || got[0].version != "1:1.6-2+deb" || got[0].arch != "amd64" || got[0].size != 100 || got[0].hashed() != "sha256:"+sum {
		t.Errorf("%+v, %v", got, err)
	}
	for name, line := range map[string]string{
		"no hash":      "'http://d/x_1_all.deb' x_1_all.deb 100 ",
		"MD5":          "'http://d/x_1_all.deb' x_1_all.deb 100 MD5Sum:" + sum[:32],
		"short":        "'http://d/x_1_all.deb' x_1_all.deb 100 SHA256:" + sum[:62],
		"no size":      "'http://d/x_1_all.deb' x_1_all.deb -5 SHA256:" + sum,
		"an option":    "'http://d/x' -oDir=x_1_all.deb 100 SHA256:" + sum,
		"two parts":    "'http://d/x' x_1.deb 100 SHA256:" + sum,
		"a slash":      "'http://d/x' x%2f..%2f_1_all.deb 100 SHA256:" + sum,
		"a new line":   "'http://d/x' x_1%0a_all.deb 100 SHA256:" + sum,
		"an empty one": "'http://d/x' _1_all.deb 100 SHA256:" + sum,
	} {
		if got, err := parseURIs(line + "\n"); err == nil {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func FuzzURIs(f *testing.F) {
	f.Add("'http://d/x_1_all.deb' x_1_all.deb 100 SHA256:" + strings.Repeat("ab", 32))
	f.Fuzz(func(t *testing.T, text string) {
		got, err := parseURIs(text)
		for _, a := range got {
			if err == nil && (!debWord(a.name) || !debWord(a.version) || !debWord(a.arch) || len(a.sum) != 64 || a.size <= 0) {
				t.Errorf("%+v", a)
			}
		}
	})
}

func FuzzLock(f *testing.F) {
	f.Add(lockfile(f, map[string]map[string]any{"": {}, "node_modules/a": fromRegistry(map[string]any{"bin": map[string]string{"a": "a.js"}})}))
	f.Fuzz(func(t *testing.T, text []byte) {
		l := &Load{}
		if l.readLock(text, nil) != nil {
			return
		}
		for _, m := range l.npm {
			for name, file := range m.programs() {
				if !bottle.IsProgram(name) || !filepath.IsLocal(file) {
					t.Errorf("%q: %q", name, file)
				}
			}
			if !filepath.IsLocal(m.at) || !strings.HasPrefix(m.at, "node_modules/") || len(m.sum) != 128 || strings.HasPrefix(spec(m.name, m.version), "-") {
				t.Errorf("%+v", m)
			}
		}
	})
}

// TestAnotherArchiveIsRefused: what was fetched is held against the hash that was shown.
func TestAnotherArchiveIsRefused(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/x_1_all.deb", []byte("another"), 0o600); err != nil {
		t.Fatal(err)
	}
	a := archive{name: "x", version: "1", sum: strings.Repeat("0", 64)}
	if err := collect(dir, ".deb", []*archive{&a}); err == nil || !strings.Contains(err.Error(), "is not what it was when it was looked up") || a.path != "" {
		t.Errorf("%v, %+v", err, a)
	}
	if _, all, err := sums(dir + "/x_1_all.deb"); err != nil {
		t.Error(err)
	} else {
		a.sum = all[0]
	}
	if err := collect(dir, ".deb", []*archive{&a}); err != nil || a.path == "" || a.size != 7 {
		t.Errorf("%v, %+v", err, a)
	}
}

// TestStagesOfTheKilledAreSwept: a stage whose command lives stays, one whose command was
// killed goes, and so does what nobody ever locked, once it is old.
func TestStagesOfTheKilledAreSwept(t *testing.T) {
	dir := t.TempDir()
	first, err := OpenStage(dir, "p234567")
	if err != nil {
		t.Fatal(err)
	}
	for _, old := range []string{"p234567-dead", "gone-1", "fresh", "p234567.ready"} {
		if err := os.MkdirAll(filepath.Join(dir, old, "tree"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(dir+"/p234567-dead/lock", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(dir+"/gone-1", time.Time{}, time.Now().Add(-2*time.Hour)); err != nil {
		t.Fatal(err)
	}
	second, err := OpenStage(dir, "p234567")
	if err != nil {
		t.Fatal(err)
	}
	var left []string
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		left = append(left, e.Name())
	}
	if len(left) != 4 || first.Name == second.Name {
		t.Errorf("%q", left)
	}
	first.Close()
	second.Close()
	if entries, _ := os.ReadDir(dir); len(entries) != 2 {
		t.Errorf("%v", entries)
	}
}
