package object

import (
	"bytes"
	"strings"
	"testing"
)

const one = "1111111111111111111111111111111111111111"

const person = "A U Thor <a@example.com> 1700000000 +0100\n"

func TestParseCommit(t *testing.T) {
	raw := "tree " + one + "\nparent " + one + "\nauthor " + person + "committer " + strings.Replace(person, "A U", "B", 1) + "gpgsig x\n y\n\nsubject\n\nbody\n"
	c, err := ParseCommit([]byte(raw))
	if err != nil || c.Parents != 1 || c.Tree != one || c.Committer.Name != "B Thor" || c.Author.Email != "a@example.com" {
		t.Fatalf("%+v, %v", c, err)
	}
	if !strings.HasPrefix(raw[c.Rest:], "author ") || !strings.HasPrefix(raw[c.Message:], "subject") {
		t.Errorf("rest %q, message %q", raw[c.Rest:], raw[c.Message:])
	}
	for _, bad := range []string{
		"", "tree x\n", "tree " + one + "\n", strings.Replace(raw, "committer", "commiter", 1), strings.Replace(raw, one, strings.ToUpper("aaaa")+one[4:], 1),
		strings.Replace(raw, "<a@example.com>", "a", 1), strings.Replace(raw, "1700000000", "x", 1), strings.Replace(raw, "A U", "A\x00U", 1),
		strings.Replace(raw, "parent "+one, "parent q8Zr4Lm1Wt6Yx0Nv3Bk7", 1),
	} {
		if _, err := ParseCommit([]byte(bad)); err == nil {
			t.Errorf("%q is read", bad)
		}
	}
}

func TestParseTag(t *testing.T) {
	raw := "object " + one + "\ntype commit\ntag v1\ntagger " + person + "\nmessage\n"
	got, err := ParseTag([]byte(raw))
	if err != nil || got.Name != "v1" || got.Tagger.Name != "A U Thor" || raw[got.Message:] != "message\n" || !strings.HasPrefix(raw[got.Rest:], "tag v1") {
		t.Fatalf("%+v, %v", got, err)
	}
	for _, bad := range []string{"", strings.Replace(raw, "commit", "secret", 1), strings.Replace(raw, "tag v1", "tag ", 1), strings.Replace(raw, "> 17", "> x", 1)} {
		if _, err := ParseTag([]byte(bad)); err == nil {
			t.Errorf("%q is read", bad)
		}
	}
}

func TestEntries(t *testing.T) {
	id := strings.Repeat("\x01", 20)
	good := "100644 a\x00" + id + "40000 b\x00" + id
	var names []string
	add := func(e Entry) error { names = append(names, string(e.Name)); return nil }
	if err := Entries([]byte(good), 20, add); err != nil || strings.Join(names, " ") != "a b" {
		t.Fatalf("%v, %v", names, err)
	}
	for _, bad := range []string{"100644 a\x00" + id[1:], "100644 \x00" + id, "x a\x00" + id, "999999 a\x00" + id, "20000 a\x00" + id, " a\x00" + id, "100644a", "1006440 a\x00" + id} {
		if Entries([]byte(bad), 20, add) == nil {
			t.Errorf("%q is read", bad)
		}
	}
	raw := []byte(good)
	if n := testing.AllocsPerRun(100, func() { Entries(raw, 20, func(Entry) error { return nil }) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestChangeParse(t *testing.T) {
	two := strings.Repeat("2", 40)
	for line, want := range map[string]Change{
		":100644 120000 " + one + " " + two + " T":                             {At: At{ID: two, Mode: ModeLink}},
		":100644 000000 " + one + " " + two + " D":                             {At: At{ID: two}, Deleted: true},
		"::100644 100644 100755 " + one + " " + one + " " + two + " MM":        {At: At{ID: two, Mode: 0o100755}},
		":::100644 100644 100644 100644 " + one + " " + one + " " + two + " M": {},
		"100644": {}, "": {}, ":100644 100644 x y M": {},
	} {
		var c Change
		if ok := c.parse([]byte(line)); ok != (want.ID != "") || ok && c != want {
			t.Errorf("%q: %v, %+v", line, ok, c)
		}
	}
}

func TestIndexRefusesWhatIsNone(t *testing.T) {
	head := append([]byte("\xfftOc\x00\x00\x00\x02"), make([]byte, 1024)...)
	keep := func(id) error { return nil }
	if _, err := index(bytes.NewReader(head), 10, keep); err != nil {
		t.Errorf("an empty pack: %v", err)
	}
	lies := bytes.Clone(head)
	lies[len(lies)-1] = 2 // two objects, of which there is nothing
	many := bytes.Clone(head)
	many[len(many)-4] = 0xff
	for _, bad := range [][]byte{nil, head[:100], []byte("PACK"), lies, many, append(bytes.Clone(lies), make([]byte, 40)...)} {
		if _, err := index(bytes.NewReader(bad), 10, keep); err == nil {
			t.Errorf("%d bytes are read", len(bad))
		}
	}
}

func FuzzObjects(f *testing.F) {
	f.Add([]byte("tree " + one + "\nparent " + one + "\nauthor " + person + "committer " + person + "\nx\n"))
	f.Add([]byte("object " + one + "\ntype commit\ntag v1\ntagger " + person + "\nmessage\n"))
	f.Add([]byte("100644 a\x00" + strings.Repeat("\x01", 20)))
	f.Add([]byte("::100644 100644 100755 " + one + " " + one + " " + one + " MM"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if c, err := ParseCommit(raw); err == nil && (c.Rest > c.Message || c.Message > len(raw)) {
			t.Errorf("%+v of %d bytes", c, len(raw))
		}
		if c, err := ParseTag(raw); err == nil && (c.Rest > c.Message || c.Message > len(raw)) {
			t.Errorf("%+v of %d bytes", c, len(raw))
		}
		for _, size := range []int{20, 32} {
			n := 0
			err := Entries(raw, size, func(e Entry) error { n += len(e.Name) + len(e.ID) + 2; return nil })
			if err == nil && n > len(raw) {
				t.Errorf("%d of %d bytes", n, len(raw))
			}
		}
		new(Change).parse(raw)
		index(bytes.NewReader(raw), 100, func(id) error { return nil })
	})
}
