package audit

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"testing"
	"time"
)

// TestQuickReadsMostLines: the quick way is taken for the lines that a log has most, and
// gives what encoding/json gives. A line that is escaped, has findings, or is written
// otherwise is not for it.
func TestQuickReadsMostLines(t *testing.T) {
	r := Record{Seq: 7, Prev: genesis, Time: time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC), Kind: "http", Method: "GET", Host: "example.com", Port: 443, Path: "/a/b",
		Verdict: Allow, Rule: "bottles/dev.md:4", Reason: "listed", Policy: genesis, BytesOut: 1, BytesIn: 999_999_999_999, Micros: 5, Credential: "KEY"}
	for name, change := range map[string]func(*Record){
		"plain": func(*Record) {}, "status": func(r *Record) { r.Status = 403 }, "count": func(r *Record) { r.Count = 9 }, "note": func(r *Record) { r.Note = "why not" },
	} {
		r := r
		change(&r)
		for _, last := range []Record{{}, r} {
			got, ok := quick(r.JSON(), &last)
			var want Record
			if err := json.Unmarshal(r.JSON(), &want); err != nil || !ok || !reflect.DeepEqual(got, want) {
				t.Errorf("%s: %v, %v\n%+v\n%+v", name, ok, err, got, want)
			}
		}
	}
	for name, change := range map[string]func(*Record){
		"escaped": func(r *Record) { r.Path = `/"` }, "letters": func(r *Record) { r.Note = "ü" }, "negative": func(r *Record) { r.BytesIn = -1 },
		"findings": func(r *Record) { r.Findings = []Finding{{Rule: "x"}} }, "diff": func(r *Record) { r.Diff = "+x" },
	} {
		r := r
		change(&r)
		if got, ok := quick(r.JSON(), &r); ok {
			t.Errorf("%s: %+v", name, got)
		}
		if _, err := parse(r.JSON()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzQuick: whatever the quick way reads, encoding/json reads, and the same.
func FuzzQuick(f *testing.F) {
	r := Record{Seq: 7, Prev: genesis, Kind: "http", Method: "GET", Host: "example.com", Port: 443, Path: "/a", Verdict: Allow, Status: 200, Count: 2, Note: "x"}
	f.Add(r.JSON(), r.JSON())
	r.Path = `/\b`
	f.Add(r.JSON(), bytes.Replace(r.JSON(), []byte(`\\b`), []byte(`\b`), 1))
	f.Add([]byte(`{"seq":01`), r.JSON())
	f.Add(fmt.Appendf(nil, `%.60s`, r.JSON()), []byte{})
	f.Fuzz(func(t *testing.T, before, line []byte) {
		last := Record{}
		_ = json.Unmarshal(before, &last) // whatever came of it
		got, ok := quick(line, &last)
		if !ok {
			return
		}
		var want Record
		if err := json.Unmarshal(line, &want); err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("%v\n%s\n%+v\n%+v", err, line, got, want)
		}
	})
}

// BenchmarkParse reads the line that a log has most.
func BenchmarkParse(b *testing.B) {
	r := Record{Seq: 7, Prev: genesis, Time: time.Unix(1_767_000_000, 0), Kind: "http", Method: "GET", Host: "api.example.com", Port: 443, Path: "/v1/items/7", Verdict: Allow,
		Rule: "bottles/dev.md:4", Reason: "listed", Policy: genesis, Status: 200, BytesOut: 120, BytesIn: 4000, Micros: 51_000}
	line := r.JSON()
	b.SetBytes(int64(len(line)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := parseBehind(line, &r); err != nil {
			b.Fatal(err)
		}
	}
}
