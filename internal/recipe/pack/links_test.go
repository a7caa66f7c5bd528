package pack

import (
	"path"
	"strings"
	"testing"
)

// outside walks name as a kernel would, from the folder on, through links: whether that ever
// stands above the folder. What is no link is taken for a folder.
func outside(links map[string]string, name string) bool {
	at, rest := "", strings.Split(name, "/")
	for hops := 0; len(rest) > 0 && hops < 1000; hops++ {
		part := rest[0]
		rest = rest[1:]
		switch part {
		case "", ".":
			continue
		case "..":
			if at == "" {
				return true
			}
			if at = path.Dir(at); at == "." {
				at = ""
			}
			continue
		}
		next := path.Join(at, part)
		target, link := links[next]
		if !link {
			at = next
			continue
		}
		if path.IsAbs(target) {
			return true
		}
		rest = append(strings.Split(target, "/"), rest...)
	}
	return false
}

// Links that are each taken for inside lead nowhere else, also one through another.
func FuzzLinks(f *testing.F) {
	f.Add("d/m", "../l/../..", "../../l/x")
	f.Add("d/e/n", "../..", "../m/../..")
	f.Add("../x", "/etc", "..//.././x")
	f.Fuzz(func(t *testing.T, a, b, c string) {
		links := map[string]string{}
		for p, target := range map[string]string{"l": a, "d/m": b, "d/e/n": c} {
			if inside(p, target) {
				links[p] = target
			}
		}
		for p := range links {
			if outside(links, p) {
				t.Errorf("%s of %q leads out", p, links)
			}
		}
	})
}

func TestInside(t *testing.T) {
	for target, want := range map[string]bool{"x": true, "./x": true, "../x": true, "..": true, "../..": false, "x/../y": false, "../../x": false, "/x": false, "": false, "a\x00b": false, "..//x": true} {
		if inside("d/m", target) != want {
			t.Errorf("%q: %v", target, !want)
		}
	}
	if !outside(map[string]string{"a": "d/e", "l": "a/../../.."}, "l") {
		t.Error("the walk sees nothing")
	}
}
