package decision

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// book is a log that can be full, and a clock.
type book struct {
	t       *testing.T
	now     time.Time
	records []Record
	full    bool
}

func newBook(t *testing.T) (*book, *Gate) {
	b := &book{t: t, now: time.Unix(1e9, 0)}
	return b, NewGate(func() time.Time { return b.now }, func(r Record) error {
		if b.full {
			return errors.New("no room")
		}
		b.records = append(b.records, r)
		return nil
	})
}

// sum is how many decisions the records stand for.
func (b *book) sum() int {
	n := 0
	for _, r := range b.records {
		n += max(r.Count, 1)
	}
	return n
}

func refusal(host, path string) Record {
	return Record{Kind: KindHTTP, Method: "GET", Host: host, Port: 443, Path: path, Verdict: "deny", Reason: "host_not_listed", Status: 403}
}

// The same secret in other places is counted with the first; the record of the count says
// where they stood.
func TestCountedFindingsKeepTheirPlaces(t *testing.T) {
	b, g := newBook(t)
	at := func(place string) {
		r := refusal("a.example.net", "/x")
		r.Findings = []Finding{{Rule: "r", Fingerprint: "f", Place: place}}
		if err := g.Decided(r); err != nil {
			t.Fatal(err)
		}
	}
	places := func() string {
		said := ""
		for _, f := range b.records[len(b.records)-1].Findings {
			said += f.Place + " "
		}
		return said
	}
	for _, place := range []string{"one", "two", "three", "two"} {
		at(place)
	}
	g.Flush(AtTheEnd)
	if n := len(b.records); n != 2 || b.records[1].Count != 3 || places() != "two three " {
		t.Errorf("%d records, %q", n, places())
	}
	at("four")
	b.now = b.now.Add(time.Hour)
	at("five")
	if r := b.records[len(b.records)-1]; r.Count != 2 || places() != "four five " {
		t.Errorf("%+v", r)
	}
	for i := range 1000 {
		at(fmt.Sprint(i))
	}
	g.Flush(AtTheEnd)
	if n := len(b.records[len(b.records)-1].Findings); n != maxMerged {
		t.Errorf("%d findings", n)
	}
}

// The weakness: each refused request is a record on the operator's disk. The
// attack: the same one, 30,000 times. This proves that it is recorded at once, then
// ever more seldom, and that no single one is lost from the count.
func TestLikeRefusalsAreCounted(t *testing.T) {
	b, g := newBook(t)
	for i := range 30000 {
		b.now = b.now.Add(10 * time.Millisecond) // five minutes
		if err := g.Decided(refusal("evil.example.net", "/x")); err != nil {
			t.Fatal(err)
		}
		if i == 0 && len(b.records) != 1 {
			t.Fatal("the first is not recorded at once")
		}
		if i%100 == 0 {
			g.Flush(0)
		}
	}
	g.Flush(AtTheEnd)
	if b.sum() != 30000 || len(b.records) > 14 {
		t.Errorf("%d records for %d refusals", len(b.records), b.sum())
	}
	b.now = b.now.Add(time.Hour)
	if open := g.Flush(0); open != 0 {
		t.Errorf("%d windows stay open", open)
	}
}

// The attack: each refusal another one, by host and path, with paths of 10 KB.
// This proves that records and memory are bounded, and the count is still true.
func TestUnlikeRefusalsAreBounded(t *testing.T) {
	b, g := newBook(t)
	for i := range 20000 {
		b.now = b.now.Add(time.Millisecond)
		_ = g.Decided(refusal(fmt.Sprintf("h%d.example.net", i), fmt.Sprintf("/%d/", i)+strings.Repeat("%01", 3400)))
	}
	if n := len(g.seen); n > maxKinds+1 {
		t.Errorf("%d are remembered", n)
	}
	g.Flush(AtTheEnd)
	if b.sum() != 20000 || len(b.records) > burst+20*rate+20 {
		t.Errorf("%d records for %d refusals", len(b.records), b.sum())
	}
	together := 0
	for _, r := range b.records {
		if len(r.Path) > keptPath+16 || len(r.Path) > 0 && !strings.Contains(r.Path, "…(+") {
			t.Fatalf("a path of %d bytes, %q", len(r.Path), r.Path[max(0, len(r.Path)-20):])
		}
		if r.Host == others {
			together++
		}
	}
	if together == 0 {
		t.Error("nothing is counted together")
	}
}

// What differs in anything that a person would look for has a record of its own,
// and what was allowed always has.
func TestWhatIsToldApart(t *testing.T) {
	b, g := newBook(t)
	base := refusal("a.example.net", "/x")
	for _, change := range []func(*Record){
		func(*Record) {}, func(r *Record) { r.Kind = KindConnect }, func(r *Record) { r.Host = "b.example.net" },
		func(r *Record) { r.Port = 80 }, func(r *Record) { r.Method = "PUT" }, func(r *Record) { r.Path = "/y" },
		func(r *Record) { r.Reason = "bad_path" }, func(r *Record) { r.Policy = "other" },
		func(r *Record) { r.Credential = "KEY" }, func(r *Record) { r.Status = 502 },
	} {
		r := base
		change(&r)
		before := len(b.records)
		if _ = g.Decided(r); len(b.records) != before+1 {
			t.Errorf("%+v is not told apart", r)
		}
	}
	before := len(b.records)
	for range 5 {
		_ = g.Decided(Record{Kind: KindHTTP, Verdict: "allow", Path: strings.Repeat("/", 9)})
	}
	if len(b.records) != before+5 {
		t.Error("what was allowed is counted together")
	}
}

// A refusal that could not be recorded is tried again with the next one: by it the
// gateway learns that its log works again.
func TestWhatCouldNotBeRecordedIsTriedAgain(t *testing.T) {
	b, g := newBook(t)
	b.full = true
	for range 3 {
		if g.Decided(refusal("a.example.net", "/")) == nil {
			t.Error("no record, and no error")
		}
	}
	b.full = false
	if err := g.Decided(refusal("a.example.net", "/")); err != nil || len(b.records) != 1 {
		t.Errorf("%d records, %v", len(b.records), err)
	}
	_ = g.Decided(refusal("a.example.net", "/"))
	b.full = true
	g.Flush(AtTheEnd)
	b.full = false
	g.Flush(AtTheEnd)
	if b.sum() != 2 {
		t.Errorf("a count was lost: %+v", b.records)
	}
}
