package gateway

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"bottle/internal/audit"
	"bottle/internal/egress"
	"bottle/internal/gateway/refused"
)

// The weakness: the agent decides how large the log becomes. The attack: fill it.
// This proves that the gate shuts when the log comes to its bound, that the log
// itself and the control socket say why, and that it does not open again.
func TestInvariant4AFullLogShutsTheGate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	l, err := audit.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Append(audit.Record{Kind: "http"}); err != nil {
		t.Fatal(err)
	}
	last, err := os.ReadFile(path)
	if err == nil {
		err = l.Close()
	}
	// As if it had grown to shortly before its end: a hole, and the last line.
	f, openErr := os.OpenFile(path, os.O_WRONLY, 0)
	if err = errors.Join(err, openErr); err != nil {
		t.Fatal(err)
	}
	const before = audit.MaxSize - 1<<20 - 900
	_, err = f.WriteAt(append([]byte{'\n'}, last...), before-int64(len(last))-1)
	if err = errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	if l, err = audit.Open(path); err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var open []bool
	r := &recorder{log: l, gate: func(o bool) { open = append(open, o) }}
	if r.set(l.Room()); len(open) != 0 || r.recording() != nil {
		t.Fatalf("shut with room for some records: %v", r.recording())
	}
	for range 8 {
		if err := r.egress(egress.Record{Kind: egress.KindHTTP, Verdict: audit.Allow, Reason: "listed"}); err != nil {
			t.Errorf("the reserve took no record: %v", err)
		}
	}
	if len(open) != 1 || open[0] || !errors.Is(r.recording(), audit.ErrFull) {
		t.Errorf("the gate went %v, because %v", open, r.recording())
	}
	g := &gateway{rec: r, log: l, packets: &refused.Packets{}}
	if st := g.status(); st.Recording || st.NotRecording == "" {
		t.Errorf("the control socket says %+v", st)
	}
	end := make([]byte, 8<<10)
	if f, err = os.Open(path); err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.ReadAt(end, before); err != nil && err != io.EOF {
		t.Fatal(err)
	}
	said := bytes.Count(end, []byte(`"verdict":"deny","rule":"","reason":"log_full"`))
	if said != 1 {
		t.Errorf("the log says %d times that it is full", said)
	}
}

// A bottle that is over before does not wait for the engine and the certificates.
func TestWarmingDoesNotHoldUpTheEnd(t *testing.T) {
	start := time.Now()
	(&gateway{}).warm(cancelled(t))
	if took := time.Since(start); took >= warmAfter {
		t.Errorf("it took %v", took)
	}
}

func cancelled(t testing.TB) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}

// A stream's end is the second record of one decision, and counts only where it
// is another decision: the stream was cut.
func TestAStreamThatWasCutCountsAsDenied(t *testing.T) {
	l, err := audit.Open(filepath.Join(t.TempDir(), "audit.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	r := &recorder{log: l, gate: func(bool) {}}
	for _, rec := range []egress.Record{
		{Kind: egress.KindHTTP, Verdict: audit.Allow}, {Kind: egress.KindStreamEnd, Verdict: audit.Allow},
		{Kind: egress.KindHTTP, Verdict: audit.Allow}, {Kind: egress.KindStreamEnd, Verdict: audit.Deny, Reason: "websocket_protocol"},
	} {
		if err := r.egress(rec); err != nil {
			t.Fatal(err)
		}
	}
	if a, d := r.allowed.Load(), r.denied.Load(); a != 2 || d != 1 {
		t.Errorf("%d allowed and %d denied, want 2 and 1", a, d)
	}
}

// TestTheTrialOfTheWallsIsNotCounted: what the start's probes were denied stays in the log,
// and is no denial of the agent's, also where it is recorded late. Nobody begins anew.
func TestTheTrialOfTheWallsIsNotCounted(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	l, err := audit.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	r := &recorder{log: l, gate: func(bool) {}}
	probe := egress.Record{Kind: egress.KindHTTP, Verdict: audit.Deny, Reason: "host_not_listed"}
	for range 3 {
		_ = r.egress(probe)
	}
	now := time.Now()
	if !r.begin(now, "") {
		t.Error("it does not begin")
	}
	probe.Time = now.Add(-time.Millisecond)
	_ = r.egress(probe)
	late := egress.Record{Kind: egress.KindConnect, Verdict: audit.Deny, Reason: "bad_request", Duration: time.Since(now) + time.Hour}
	_ = r.egress(late)
	if n := r.denied.Load(); n != 0 {
		t.Errorf("%d probes are counted", n)
	}
	_ = r.egress(egress.Record{Kind: egress.KindHTTP, Verdict: audit.Deny, Reason: "host_not_listed"})
	_ = r.egress(egress.Record{Kind: egress.KindHTTP, Verdict: audit.Allow, Reason: "listed", Time: time.Now()})
	if r.begin(time.Now().Add(time.Hour), "") || r.denied.Load() != 1 || r.allowed.Load() != 1 {
		t.Errorf("%d denied, %d allowed", r.denied.Load(), r.allowed.Load())
	}
	var begun []audit.Record
	all := 0
	for rec, err := range audit.Read(t.Context(), path, audit.Filter{}, false) {
		if all++; err != nil {
			t.Fatal(err)
		}
		if rec.Reason == audit.ReasonBegun {
			begun = append(begun, rec)
		}
	}
	if len(begun) != 1 || begun[0].Count != 3 || begun[0].Seq != 4 || all != 8 {
		t.Errorf("%+v of %d", begun, all)
	}
}
