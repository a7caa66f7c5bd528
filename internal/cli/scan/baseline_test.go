package scan

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bottle/internal/cli/ui"
)

// A team accepts what is there, commits the file, and is told of what is new only: also
// when lines move, from another folder, and when the same secret stands there again.
func TestBaselineTellsWhatIsNew(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("old.env", "TOKEN="+secret+"\n")
	code, out, errs := ran(t, "", ".", "--baseline", "base.json", "--write-baseline")
	if code != 0 || out != "" || !strings.Contains(errs, "1 that the baseline accepts") {
		t.Fatalf("%d %q %q", code, out, errs)
	}
	text, err := os.ReadFile("base.json")
	var b baseline
	if err != nil || json.Unmarshal(text, &b) != nil || len(b.Findings) != 1 || b.Findings[0].File != "old.env" || len(b.Findings[0].Hash) != 2*hashSize || strings.Contains(string(text), secret[:8]) {
		t.Fatalf("%v: %s", err, text)
	}
	write("old.env", "A=1\nB=2\nTOKEN="+secret+"\nAGAIN="+secret+"\n")
	if code, out, errs = ran(t, "", ".", "--baseline", "base.json"); code != 0 || out != "" || !strings.Contains(errs, "besides 2 that the baseline accepts") {
		t.Errorf("%d %q %q", code, out, errs)
	}
	t.Chdir(t.TempDir())
	if code, _, _ = ran(t, "", dir, "--baseline", filepath.Join(dir, "base.json")); code != 0 {
		t.Errorf("from elsewhere: %d", code)
	}
	t.Chdir(dir)
	other := secret[:20] + "Z" + secret[21:]
	write("new.env", "TOKEN="+secret+"\n") // the same, in another file
	write("old.env", "TOKEN="+other+"\n")
	code, out, errs = ran(t, "", ".", "--baseline", "base.json")
	if code != 1 || strings.Count(out, "github-pat") != 2 || !strings.Contains(errs, "1 of the baseline were not met") {
		t.Errorf("%d %q %q", code, out, errs)
	}
	_, again, _ := ran(t, "", ".", "--baseline", "base.json")
	if out == again {
		t.Error("fingerprints that are printed have no key of their run: who has the salt can try values on them")
	}
	salt := b.Salt
	if code, _, _ = ran(t, "", ".", "--baseline", "base.json", "--write-baseline"); code != 0 {
		t.Errorf("%d", code)
	}
	if text, _ = os.ReadFile("base.json"); json.Unmarshal(text, &b) != nil || b.Salt != salt || len(b.Findings) != 2 {
		t.Errorf("%s", text)
	}
	code, out, _ = ran(t, "", ".", "--baseline", "base.json", "--format", "json")
	if code != 0 || !strings.Contains(out, `"accepted": 2`) || !strings.Contains(out, `"findings": []`) {
		t.Errorf("%d %s", code, out)
	}
}

// What is not wholly understood accepts nothing, and a file of another kind is not
// overwritten.
func TestBaselineIsStrict(t *testing.T) {
	t.Chdir(t.TempDir())
	good := `{"version":1,"salt":"00112233445566778899aabbccddeeff","findings":[]}`
	for name, text := range map[string]string{
		"empty": "", "another kind": `{"name":"package"}`, "another version": strings.Replace(good, "1", "2", 1), "short salt": strings.Replace(good, "0011", "", 1),
		"unknown key": strings.Replace(good, `"salt"`, `"all":true,"salt"`, 1), "more behind": good + good, "a list": "[]",
	} {
		if err := os.WriteFile("b", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, args := range [][]string{{"-", "--baseline", "b"}, {"-", "--baseline", "b", "--write-baseline"}} {
			if code, _, errs := ran(t, "TOKEN="+secret, args...); code != ui.CodeUsage {
				t.Errorf("%s: %d %s", name, code, errs)
			}
		}
		if now, _ := os.ReadFile("b"); string(now) != text {
			t.Errorf("%s was overwritten", name)
		}
	}
	for _, args := range [][]string{{"-", "--baseline", "none"}, {"-", "--write-baseline"}, {"-", "--baseline", "c", "--write-baseline", "--rule", "github-pat"}, {"--list-rules", "--baseline", "c"}} {
		if code, _, errs := ran(t, "", args...); code != ui.CodeUsage {
			t.Errorf("%q: %d %s", args, code, errs)
		}
	}
}

// TestANarrowRunKeepsTheRestOfABaseline: what was accepted in files that were not looked at
// stays, but for those that are gone; and the file that was written is told.
func TestANarrowRunKeepsTheRestOfABaseline(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, name := range []string{"a", "b", "c", "locked"} {
		if err := os.WriteFile(name, []byte("TOKEN="+secret+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, errs := ran(t, "", ".", "--baseline", "base.json", "--write-baseline"); !strings.Contains(errs, "wrote base.json: 4 findings\n") {
		t.Fatal(errs)
	}
	if err := os.WriteFile("a", []byte("clean"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove("b"); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove("locked"); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("locked", "locked"); err != nil { // there, and can't be read
		t.Fatal(err)
	}
	if _, _, errs := ran(t, "", "a", "locked", "--baseline", "base.json", "--write-baseline"); !strings.Contains(errs, "wrote base.json: 2 findings, 2 of them in files that were not looked at") {
		t.Error(errs)
	}
	var b baseline
	if text, err := os.ReadFile("base.json"); err != nil || json.Unmarshal(text, &b) != nil || len(b.Findings) != 2 || b.Findings[0].File != "c" || b.Findings[1].File != "locked" {
		t.Errorf("%v: %s", err, text)
	}
	if code, _, errs := ran(t, "", "c", "--baseline", "base.json"); code != 0 {
		t.Errorf("%d: %s", code, errs)
	}
}
