package audit

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestLastReadsTheEnd: whatever stands before it, and without what is not whole.
func TestLastReadsTheEnd(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	l, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 600 {
		if err := l.Append(Record{Kind: "http", Host: fmt.Sprintf("h%d.example.com", i), Path: "/" + strings.Repeat("x", 900), Verdict: Allow}); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Size() < 2*lastBytes {
		t.Fatalf("the log is too short for the test: %v", err)
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("no record\n{\"seq\":601"); err != nil {
		t.Fatal(err)
	}
	f.Close()
	got, err := Last(path, 3)
	if err != nil || len(got) != 3 || got[0].Host != "h597.example.com" || got[2].Host != "h599.example.com" {
		t.Errorf("%v, %+v", err, got)
	}
	all, err := Last(path, 1<<20)
	if err != nil || len(all) < 100 || len(all) >= 600 || all[len(all)-1].Seq != 600 || all[0].Seq != 601-uint64(len(all)) {
		t.Errorf("%v, %d records", err, len(all))
	}
	if _, err := Last(filepath.Join(t.TempDir(), "none"), 3); err == nil {
		t.Error("there is no log")
	}
}
