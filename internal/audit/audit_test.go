package audit

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"bottle/internal/bottle"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func sample(i int) Record {
	return Record{Time: time.Date(2026, 1, 2, 3, 4, 5, 678901000, time.UTC).Add(time.Duration(i) * time.Second),
		Kind: "http", Method: "GET", Host: "api.example.com", Port: 443, Path: fmt.Sprintf("/v1/items/%d", i), Verdict: Allow,
		Rule: "dev.md:7", Reason: "listed", Policy: "abcdef", Status: 200, BytesOut: 12, BytesIn: 345, Micros: 6789, Credential: "API_TOKEN"}
}

// newLog writes n records and gives the path and the open log.
func newLog(t *testing.T, n int) (string, *Log) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	l, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	for i := range n {
		if err := l.Append(sample(i)); err != nil {
			t.Fatal(err)
		}
	}
	return path, l
}

func lines(t *testing.T, path string) []string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return strings.SplitAfter(strings.TrimSuffix(string(b), "\n"), "\n")
}

func all(t *testing.T, path string, f Filter) []Record {
	t.Helper()
	var out []Record
	for r, err := range Read(context.Background(), path, f, false) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, r)
	}
	return out
}

// TestFormat holds the exact line: other programs read it.
func TestFormat(t *testing.T) {
	path, _ := newLog(t, 1)
	want := `{"seq":1,"prev":"0000000000000000000000000000000000000000000000000000000000000000","time":"2026-01-02T03:04:05.678901Z",` +
		`"kind":"http","method":"GET","host":"api.example.com","port":443,"path":"/v1/items/0","verdict":"allow","rule":"dev.md:7",` +
		`"reason":"listed","policy":"abcdef","status":200,"bytes_out":12,"bytes_in":345,"duration_us":6789,"credential":"API_TOKEN","check":"`
	got := lines(t, path)[0]
	if !strings.HasPrefix(got, want) || len(got) != len(want)+16+2 {
		t.Errorf("line is\n%s\nwant\n%s", got, want)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

func TestAppendReadVerify(t *testing.T) {
	path, l := newLog(t, 5)
	rep, err := Verify(path)
	if err != nil || !rep.OK || rep.Records != 5 || rep.Head != l.Head() {
		t.Fatalf("report %+v, %v; head %+v", rep, err, l.Head())
	}
	for i, r := range all(t, path, Filter{}) {
		want := sample(i)
		want.Seq, want.Prev, want.Check = r.Seq, r.Prev, r.Check
		if diff := cmp.Diff(want, r); diff != "" || r.Seq != uint64(i)+1 {
			t.Errorf("record %d: %s", i, diff)
		}
		if string(r.JSON())+"\n" != lines(t, path)[i]+strings.Repeat("\n", b2i(i == 4)) {
			t.Errorf("record %d does not print as its line", i)
		}
	}
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// TestVerifyFindsTampering: the attack on the log itself, one sort after the other.
func TestVerifyFindsTampering(t *testing.T) {
	path, _ := newLog(t, 6)
	orig := lines(t, path)
	orig[5] += "\n"
	reseal := func(line string, change func(*Record)) string { // an attacker who knows the format
		r, err := parse([]byte(strings.TrimSuffix(line, "\n")))
		if err != nil {
			t.Fatal(err)
		}
		change(&r)
		return string(r.JSON()) + "\n"
	}
	deny := func(r *Record) { r.Verdict = Deny }
	cases := []struct {
		name   string
		edit   func(l []string) []string
		line   int
		report string
	}{
		{"changed", func(l []string) []string { l[2] = strings.Replace(l[2], "allow", "deny", 1); return l }, 3, "own check"},
		{"last changed", func(l []string) []string { l[5] = strings.Replace(l[5], "allow", "deny", 1); return l }, 6, "own check"},
		{"changed and sealed", func(l []string) []string { l[2] = reseal(l[2], deny); return l }, 3, "changed"},
		{"first changed and sealed", func(l []string) []string { l[0] = reseal(l[0], deny); return l }, 1, "changed"},
		{"removed", func(l []string) []string { return append(l[:2], l[3:]...) }, 3, "removed"},
		{"first removed", func(l []string) []string { return l[1:] }, 1, "removed"},
		{"first removed, renumbered", func(l []string) []string {
			l[1] = reseal(l[1], func(r *Record) { r.Seq = 1 })
			return l[1:]
		}, 1, "chained to something before"},
		{"swapped", func(l []string) []string { l[2], l[3] = l[3], l[2]; return l }, 3, "moved"},
		{"repeated", func(l []string) []string { return append(l[:3], append([]string{l[2]}, l[3:]...)...) }, 4, "inserted"},
		{"inserted", func(l []string) []string { return append(l[:3], append([]string{"{}\n"}, l[3:]...)...) }, 4, "not a record"},
		{"empty line", func(l []string) []string { return append(l[:3], append([]string{"\n"}, l[3:]...)...) }, 4, "not a record"},
		{"cut in the middle", func(l []string) []string { l[3] = l[3][:40] + "\n"; return l }, 4, "not a record"},
		{"line end gone", func(l []string) []string { l[3] = strings.TrimSuffix(l[3], "\n"); return l }, 4, "not a record"},
		{"torn at the end", func(l []string) []string { l[5] = l[5][:60]; return l }, 6, "torn"},
		{"spaces", func(l []string) []string { l[1] = strings.Replace(l[1], ":", ": ", 1); return l }, 2, "own check"},
		{"second check", func(l []string) []string { l[1] = strings.Replace(l[1], `{"seq"`, `{"check":"0","seq"`, 1); return l }, 2, "own check"},
		{"endless line", func(l []string) []string { l[1] = strings.Repeat("x", 200<<10) + "\n"; return l }, 2, "longer"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			bad := filepath.Join(t.TempDir(), "audit.jsonl")
			if err := os.WriteFile(bad, []byte(strings.Join(c.edit(append([]string(nil), orig...)), "")), 0o600); err != nil {
				t.Fatal(err)
			}
			rep, err := Verify(bad)
			if err != nil || rep.OK || rep.Line != c.line || !strings.Contains(rep.Problem, c.report) {
				t.Errorf("report %+v, %v; want line %d, %q", rep, err, c.line, c.report)
			}
		})
	}
}

// TestVerifyAnyFlippedByte: no single byte of a log can change unseen.
func TestVerifyAnyFlippedByte(t *testing.T) {
	path, _ := newLog(t, 4)
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(rt *rapid.T) {
		b := bytes.Clone(good)
		i := rapid.IntRange(0, len(b)-1).Draw(rt, "at")
		b[i] ^= byte(rapid.IntRange(1, 255).Draw(rt, "flip"))
		if err := os.WriteFile(path, b, 0o600); err != nil {
			rt.Fatal(err)
		}
		if rep, err := Verify(path); err != nil || rep.OK {
			rt.Fatalf("byte %d changed to %q and the report is %+v, %v", i, b[i], rep, err)
		}
	})
}

// TestWhatOnlyAKeptHeadFinds: the chain alone cannot see its end removed, nor a
// whole new log; this is what the package comment says.
func TestWhatOnlyAKeptHeadFinds(t *testing.T) {
	path, l := newLog(t, 6)
	kept := l.Head()
	if rep, err := VerifyAgainst(path, kept); err != nil || !rep.OK {
		t.Fatalf("the untouched log: %+v, %v", rep, err)
	}
	if err := os.WriteFile(path, []byte(strings.Join(lines(t, path)[:4], "")), 0o600); err != nil {
		t.Fatal(err)
	}
	if rep, err := Verify(path); err != nil || !rep.OK {
		t.Errorf("the docs say that this is not found, but: %+v, %v", rep, err)
	}
	if rep, err := VerifyAgainst(path, kept); err != nil || rep.OK || rep.Line != 5 {
		t.Errorf("cut at the end: %+v, %v", rep, err)
	}
	other, m := newLog(t, 0)
	for range 8 {
		if err := m.Append(Record{Kind: "http", Verdict: Allow}); err != nil {
			t.Fatal(err)
		}
	}
	if rep, err := VerifyAgainst(other, kept); err != nil || rep.OK || rep.Line != 6 {
		t.Errorf("written anew: %+v, %v", rep, err)
	}
}

func TestOpenContinues(t *testing.T) {
	path, l := newLog(t, 3)
	head := l.Head()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := l.Append(sample(9)); !errors.Is(err, os.ErrClosed) {
		t.Errorf("append after close: %v", err)
	}
	l, err := Open(path)
	if err != nil || l.Head() != head {
		t.Fatalf("open again: %+v, %v; want %+v", l.Head(), err, head)
	}
	defer l.Close()
	if err := l.Append(sample(3)); err != nil {
		t.Fatal(err)
	}
	if rep, err := Verify(path); err != nil || !rep.OK || rep.Records != 4 {
		t.Errorf("report %+v, %v", rep, err)
	}
}

// TestCrashTornLine: what a crash tore is set aside and said, not dropped.
func TestCrashTornLine(t *testing.T) {
	for _, whole := range []int{0, 1, 3} {
		path, l := newLog(t, whole+1)
		l.Close()
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		all3 := lines(t, path)
		torn := all3[whole][:50]
		if err := os.WriteFile(path, append(b[:len(b)-len(all3[whole])-1], torn...), 0o600); err != nil {
			t.Fatal(err)
		}
		l, err = Open(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Append(sample(7)); err != nil {
			t.Fatal(err)
		}
		l.Close()
		rep, err := Verify(path)
		if err != nil || !rep.OK || rep.Records != uint64(whole)+2 {
			t.Errorf("%d whole: report %+v, %v", whole, rep, err)
		}
		said := all(t, path, Filter{Kind: KindLog})
		if len(said) != 1 || said[0].Reason != ReasonTorn || !strings.Contains(said[0].Note, "50 bytes") {
			t.Errorf("%d whole: records %+v", whole, said)
		}
		if aside, err := os.ReadFile(path + ".torn"); err != nil || string(aside) != torn+"\n" {
			t.Errorf("%d whole: set aside %q, %v", whole, aside, err)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	write := func(name, content string, mode os.FileMode) {
		if err := errors.Join(os.WriteFile(at(name), []byte(content), 0o600), os.Chmod(at(name), mode)); err != nil {
			t.Fatal(err)
		}
	}
	write("target", "", 0o600)
	write("open", "", 0o622)
	write("broken", "{\"seq\":1}\n", 0o600)
	write("binary", strings.Repeat("x", 300<<10), 0o600)
	write("long", "\n"+strings.Repeat("x", 300<<10)+"\n", 0o600)
	write("linked", "", 0o600)
	if err := errors.Join(os.Symlink(at("target"), at("link")), os.Symlink(at("nowhere"), at("dangling")),
		syscall.Mkfifo(at("fifo"), 0o600), os.Link(at("linked"), at("second"))); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"link": "symbolic link", "dangling": "symbolic link", "open": "writable by others", "broken": "not a record",
		"fifo": "not a regular file", "linked": "second name", "binary": "not made of lines", "long": "longer than any record", "no/folder": "no such file"} {
		l, err := Open(at(name))
		if err == nil {
			l.Close()
			t.Errorf("%s was opened", name)
			continue
		}
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %q", name, err, want)
		}
	}
	if _, err := os.Stat(at("nowhere")); err == nil {
		t.Error("a file was made through a dangling link")
	}
	if os.Geteuid() == 0 {
		write("alien", "", 0o600)
		if err := os.Chown(at("alien"), 12345, 12345); err != nil {
			t.Fatal(err)
		}
		var ps bottle.Problems
		if _, err := Open(at("alien")); !errors.As(err, &ps) || !strings.Contains(ps[0].Message, "another user") {
			t.Errorf("another user's log: %v", err)
		}
	}
}

// TestSecondWriter: two gateways on one log would break each other's chain.
func TestSecondWriter(t *testing.T) {
	path, _ := newLog(t, 1)
	if l, err := Open(path); err == nil || !strings.Contains(err.Error(), "another process writes it") {
		l.Close()
		t.Errorf("opened twice: %v", err)
	}
}

// TestFullDisk: an error surfaces, the log stays whole, and it goes on when
// there is room again. The file size limit stands for the disk.
func TestFullDisk(t *testing.T) {
	path, l := newLog(t, 2)
	head := l.Head()
	old := limitFileSize(t, uint64(l.size)+100)
	err := l.Append(sample(2))
	limitFileSize(t, old)
	if !errors.Is(err, syscall.EFBIG) && !strings.Contains(fmt.Sprint(err), "short write") {
		t.Errorf("append to a full disk: %v", err)
	}
	if l.Head() != head {
		t.Error("the head moved without a record")
	}
	if l.room != 0 {
		t.Error("room that was cut off still counts as promised")
	}
	if rep, err := Verify(path); err != nil || !rep.OK || rep.Records != 2 {
		t.Errorf("after the error: %+v, %v", rep, err)
	}
	if err := l.Append(sample(3)); err != nil {
		t.Errorf("with room again: %v", err)
	}
	if rep, err := Verify(path); err != nil || !rep.OK || rep.Records != 3 {
		t.Errorf("at the end: %+v, %v", rep, err)
	}
}

// TestRoomEndsBeforeTheDisk: the caller hears of a full disk while what is in
// flight can still be recorded, and when there is room again.
func TestRoomEndsBeforeTheDisk(t *testing.T) {
	path, l := newLog(t, 1)
	if err := l.Room(); err != nil {
		t.Fatal(err)
	}
	promise := l.allocate
	l.allocate = func(*os.File, int64, int64) error { return syscall.ENOSPC }
	n := 1
	for ; l.Room() == nil; n++ {
		if err := l.Append(sample(n)); err != nil {
			t.Fatal(err)
		}
	}
	if !errors.Is(l.Room(), syscall.ENOSPC) || l.room-l.size < ahead/2-maxLine {
		t.Errorf("room %v with %d bytes promised", l.Room(), l.room-l.size)
	}
	l.allocate = promise
	if err := errors.Join(l.Append(sample(n)), l.Room()); err != nil {
		t.Errorf("with room again: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if st := info.Sys().(*syscall.Stat_t); st.Blocks*512 > info.Size()+64<<10 {
		t.Errorf("%d bytes of disk kept for a log of %d bytes", st.Blocks*512, info.Size())
	}
}

func limitFileSize(t *testing.T, n uint64) (before uint64) {
	t.Helper()
	var lim syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &lim); err != nil {
		t.Fatal(err)
	}
	before, lim.Cur = lim.Cur, n
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &lim); err != nil {
		t.Fatal(err)
	}
	return before
}

func TestNothingIsBuffered(t *testing.T) {
	path, l := newLog(t, 0)
	for i := range 3 {
		if err := l.Append(sample(i)); err != nil {
			t.Fatal(err)
		}
		if got := len(all(t, path, Filter{})); got != i+1 {
			t.Fatalf("%d records in the file after %d appends", got, i+1)
		}
	}
}

func TestConcurrentAppends(t *testing.T) {
	path, l := newLog(t, 0)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 50 {
				if err := l.Append(sample(g*100 + i)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if rep, err := Verify(path); err != nil || !rep.OK || rep.Records != 400 {
		t.Errorf("report %+v, %v", rep, err)
	}
}

func TestFilter(t *testing.T) {
	path, l := newLog(t, 3)
	denied := sample(3)
	denied.Verdict, denied.Kind = Deny, KindPacket
	odd := sample(4)
	odd.Verdict = ""
	for _, r := range []Record{denied, odd} {
		if err := l.Append(r); err != nil {
			t.Fatal(err)
		}
	}
	for want, f := range map[int]Filter{5: {}, 2: {Denied: true}, 1: {Kind: KindPacket}, 4: {Since: sample(1).Time}, 0: {Kind: "dns"}} {
		if got := len(all(t, path, f)); got != want {
			t.Errorf("%+v picks %d, want %d", f, got, want)
		}
	}
}

func TestFollow(t *testing.T) {
	path, l := newLog(t, 2)
	got := make(chan uint64)
	go func() {
		defer close(got)
		for r, err := range Read(context.Background(), path, Filter{}, true) {
			if err != nil {
				t.Error(err)
			}
			got <- r.Seq
		}
	}()
	for want := uint64(1); want <= 2; want++ {
		if seq := <-got; seq != want {
			t.Errorf("got %d, want %d", seq, want)
		}
	}
	if err := l.Append(sample(2)); err != nil {
		t.Fatal(err)
	}
	if seq := <-got; seq != 3 {
		t.Errorf("followed to %d", seq)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, more := <-got; more {
		t.Error("a record after the log was removed")
	}
}

// TestReadGoesOn: a broken line is an error with its number, and the rest is read.
func TestReadGoesOn(t *testing.T) {
	path, _ := newLog(t, 3)
	l := lines(t, path)
	if err := os.WriteFile(path, []byte(l[0]+"rubbish\n"+l[2]+"\nto"), 0o600); err != nil {
		t.Fatal(err)
	}
	var seqs []uint64
	var errs []string
	for r, err := range Read(context.Background(), path, Filter{}, false) {
		if err != nil {
			errs = append(errs, err.Error())
			continue
		}
		seqs = append(seqs, r.Seq)
	}
	if !cmp.Equal(seqs, []uint64{1, 3}) || len(errs) != 2 || !strings.Contains(errs[0], "line 2") || !strings.Contains(errs[1], "line 4: torn") {
		t.Errorf("read %v, errors %v", seqs, errs)
	}
}

// FuzzRecord: whatever the agent chooses, a record is one line of JSON, holds
// nothing that a terminal obeys, has a bounded size, and reads back.
func FuzzRecord(f *testing.F) {
	f.Add("GET", "example.com", "/a\x1b]0;owned\x07", "\u202e")
	f.Add("\n", "\xff\xfe", "/\u0085\u2028", "\U000e0041")
	f.Add(strings.Repeat("é", 200), strings.Repeat("\x00", 3000), strings.Repeat("😀", 900), `"\`)
	f.Fuzz(func(t *testing.T, method, host, path, note string) {
		in := Record{Seq: 1, Prev: genesis, Time: time.Unix(1, 0), Method: method, Host: host, Path: path, Note: note}
		for range len(method) % 20 {
			in.Findings = append(in.Findings, Finding{Rule: host, Place: path, Encoding: []string{method, note}, Length: len(note), Fingerprint: note, Secret: path})
		}
		b := in.JSON()
		if bytes.ContainsFunc(b, func(r rune) bool {
			return r < ' ' || r == 0x7f || (r >= 0x80 && r < 0xa0) || r == 0x202e || r == 0x2028
		}) {
			t.Errorf("control characters in %q", b)
		}
		if len(b) > maxLine {
			t.Errorf("%d bytes", len(b))
		}
		if !json.Valid(b) {
			t.Errorf("not JSON: %q", b)
		}
		out, err := parse(b)
		if err != nil {
			t.Fatalf("%v: %q", err, b)
		}
		if len(method) <= maxShort && strings.ToValidUTF8(method, "") == method && out.Method != method {
			t.Errorf("method %q became %q", method, out.Method)
		}
		for _, s := range []string{Text(in, nil), Text(out, nil)} {
			if strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f || (r >= 0x80 && r < 0xa0) || r == 0x202e }) {
				t.Errorf("control characters in %q", s)
			}
		}
	})
}

// FuzzParse: a hostile log file never panics a reader.
func FuzzParse(f *testing.F) {
	r := sample(1)
	f.Add(r.JSON())
	f.Add([]byte(`{"check":""}`))
	f.Add([]byte(`,"check":"0123456789abcdef"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := parse(b)
		if err == nil && !bytes.Contains(b, []byte(r.Check)) {
			t.Errorf("accepted %q", b)
		}
	})
}

func TestText(t *testing.T) {
	r := sample(0)
	r.Path = "/a\x1b[2J\u202e"
	got := Text(r, nil)
	want := `03:04:05.678  allow  http    GET     api.example.com:443/a\x1b[2J\u202e            listed  dev.md:7  with API_TOKEN  12 B out, 345 B in  6.79ms`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	p := Record{Time: r.Time, Kind: KindPacket, Method: "udp", Host: "2001:db8::1", Port: 53, Verdict: Deny, Reason: "kernel_refused", Count: 3}
	if got := Text(p, nil); !strings.Contains(got, "deny   packet  udp     [2001:db8::1]:53") || !strings.HasSuffix(got, "kernel_refused  3 times") {
		t.Errorf("got %s", got)
	}
}

func BenchmarkAppend(b *testing.B) {
	l, err := Open(filepath.Join(b.TempDir(), "audit.jsonl"))
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	r := sample(1)
	b.ReportAllocs()
	for b.Loop() {
		if err := l.Append(r); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
}

func BenchmarkVerify(b *testing.B) {
	path := filepath.Join(b.TempDir(), "audit.jsonl")
	l, err := Open(path)
	if err != nil {
		b.Fatal(err)
	}
	for i := range 10000 {
		if err := l.Append(sample(i)); err != nil {
			b.Fatal(err)
		}
	}
	l.Close()
	for b.Loop() {
		if rep, err := Verify(path); err != nil || !rep.OK {
			b.Fatal(rep, err)
		}
	}
}

// The weakness: the log grew with what the agent did. The attack: do something for
// ever. This proves that Room ends before the bound, so that a caller can stop in
// time and still write why; that the file never passes the bound; and that a log
// which was full stays so when it is opened again.
func TestTheLogIsBounded(t *testing.T) {
	path, l := newLog(t, 1)
	l.bound = reserve + 20000
	n, roomy := 1, 0
	for ; ; n++ {
		if l.Room() == nil {
			roomy = n
		}
		if err := l.Append(sample(n)); err != nil {
			if !errors.Is(err, ErrFull) {
				t.Fatal(err)
			}
			break
		}
	}
	info, err := os.Stat(path)
	if err != nil || info.Size() > l.bound || info.Size() < l.bound-4096 {
		t.Errorf("%d bytes of %d, %v", info.Size(), l.bound, err)
	}
	if err := l.Room(); !errors.Is(err, ErrFull) || roomy == 0 || roomy > n/4 {
		t.Errorf("room ended at record %d of %d: %v", roomy, n, err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if rep, err := Verify(path); err != nil || !rep.OK || rep.Records != uint64(n) {
		t.Errorf("%+v, %v", rep, err)
	}
	if l, err = Open(path); err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if l.bound != MaxSize || l.Room() != nil {
		t.Errorf("with the bound of every log: %d, %v", l.bound, l.Room())
	}
	if err := l.file.Truncate(MaxSize); err != nil { // a hole: it takes no room on the disk
		t.Fatal(err)
	}
	l.size = MaxSize
	if err := l.Append(sample(1)); !errors.Is(err, ErrFull) || !errors.Is(l.Room(), ErrFull) {
		t.Errorf("at its bound it took a record: %v, %v", err, l.Room())
	}
}

// One record is bounded, whatever the agent puts into it, and says what was cut.
func TestARecordIsBounded(t *testing.T) {
	long := strings.Repeat("a", 1<<20)
	r := Record{Kind: long, Method: long, Host: long, Path: "/" + long, Rule: long, Reason: long, Policy: long, Credential: long, Note: long}
	line := r.JSON()
	if len(line) > 4096 {
		t.Errorf("%d bytes", len(line))
	}
	for _, part := range []string{strings.Repeat("a", 255) + "…(+1048321)", "/" + strings.Repeat("a", 1023) + "…(+1047553)"} {
		if !bytes.Contains(line, []byte(part+`"`)) {
			t.Errorf("no %.20q…%q in %s", part, part[len(part)-12:], line)
		}
	}
}
