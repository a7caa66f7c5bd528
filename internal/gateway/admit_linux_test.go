package gateway

import (
	"strings"
	"testing"

	"bottle/internal/plan"
)

// TestAdmissions: the operator's word is taken for one value, one host of the policy and
// a time, and stands in the log; anything else changes nothing and leaves no record.
func TestAdmissions(t *testing.T) {
	r := inProcess(t)
	u := newUpstream(t, r.dir)
	r.start(t, u)
	what := r.what(u)
	print := strings.Repeat("0a", 16)
	for _, c := range []struct {
		req  plan.Control
		want string
	}{
		{plan.Control{Fingerprint: "0a", Host: "example.com", Seconds: 60}, "32 hex digits"},
		{plan.Control{Fingerprint: strings.ToUpper(print), Host: "example.com", Seconds: 60}, "32 hex digits"},
		{plan.Control{Fingerprint: print, Seconds: 60}, "the host is none"},
		{plan.Control{Fingerprint: print, Host: "Example.com", Seconds: 60}, "one form: example.com"},
		{plan.Control{Fingerprint: print, Host: "evil.example.net", Seconds: 60}, "no route and no repository leads to evil.example.net"},
		{plan.Control{Fingerprint: print, Host: "example.com"}, "from 1 to 86400 seconds"},
		{plan.Control{Fingerprint: print, Host: "example.com", Seconds: 86401}, "from 1 to 86400 seconds"},
		{plan.Control{Fingerprint: print, Host: "example.com", Seconds: -1}, "from 1 to 86400 seconds"},
	} {
		c.req.Op = plan.OpAdmit
		var got refusal
		ctl(t, what.Control, c.req, &got)
		if !strings.Contains(got.Error, c.want) {
			t.Errorf("%+v: %q, want %q", c.req, got.Error, c.want)
		}
	}
	if list := logged(t, what.Audit, "dlp_admitted"); len(list) > 0 {
		t.Fatalf("recorded %+v", list)
	}
	var got plan.Admitted
	ctl(t, what.Control, plan.Control{Op: plan.OpAdmit, Fingerprint: print, Host: "example.com", Seconds: 3600}, &got)
	list := logged(t, what.Audit, "dlp_admitted")
	if got.Host != "example.com" || got.Fingerprint != print || got.Until.IsZero() || len(list) != 1 || list[0].Host != "example.com" || !strings.Contains(list[0].Note, print) {
		t.Errorf("%+v, recorded %+v", got, list)
	}
}

// TestRevocations: what is in force is told; what is taken back is gone, and in the log;
// what is not in force changes nothing.
func TestRevocations(t *testing.T) {
	r := inProcess(t)
	u := newUpstream(t, r.dir)
	r.start(t, u)
	socket, log := r.what(u).Control, r.what(u).Audit
	print := strings.Repeat("0a", 16)
	var no refusal
	if ctl(t, socket, plan.Control{Op: plan.OpAdmit, Fingerprint: print, Host: "example.com", Seconds: 60, By: strings.Repeat("x", 65)}, &no); !strings.Contains(no.Error, "64 bytes") {
		t.Errorf("%q", no.Error)
	}
	var one plan.Admitted
	ctl(t, socket, plan.Control{Op: plan.OpAdmit, Fingerprint: print, Host: "example.com", Seconds: 60, By: "ann\x1b[2J"}, &one)
	var list plan.Approvals
	if ctl(t, socket, plan.Control{Op: plan.OpAdmits}, &list); len(list.List) != 1 || list.List[0] != one || one.By != `ann\x1b[2J` || one.Until.Sub(one.Since).Seconds() != 60 {
		t.Errorf("%+v", list)
	}
	for _, c := range []plan.Control{{Fingerprint: print[:8]}, {Fingerprint: print, Host: "Example.com"}, {Fingerprint: print, Host: "other.example.com"}, {Fingerprint: strings.Repeat("0b", 16)}} {
		c.Op, no = plan.OpRevoke, refusal{}
		if ctl(t, socket, c, &no); no.Error == "" {
			t.Errorf("%+v was obeyed", c)
		}
	}
	if got := logged(t, log, "dlp_revoked"); len(got) > 0 {
		t.Fatalf("recorded %+v", got)
	}
	var gone plan.Approvals
	ctl(t, socket, plan.Control{Op: plan.OpRevoke, Fingerprint: print, By: "bob"}, &gone)
	got := logged(t, log, "dlp_revoked")
	if len(gone.List) != 1 || !gone.Recorded || len(got) != 1 || got[0].Host != "example.com" || !strings.Contains(got[0].Note, "(bob) no longer lets the value "+print) {
		t.Errorf("%+v, recorded %+v", gone, got)
	}
	if ctl(t, socket, plan.Control{Op: plan.OpAdmits}, &list); len(list.List) != 0 {
		t.Errorf("%+v", list)
	}
}

// TestWatchOverTheControlSocket: the operator's reload tells values; a void one changes
// nothing, none is in the log, and the next reload knows what was read.
func TestWatchOverTheControlSocket(t *testing.T) {
	r := inProcess(t)
	u := newUpstream(t, r.dir)
	r.start(t, u)
	socket, log := r.what(u).Control, r.what(u).Audit
	var no refusal
	if ctl(t, socket, plan.Control{Op: plan.OpWatch, Watched: map[string]string{".env:A": tokenB, "": tokenC}}, &no); no.Error == "" || strings.Contains(no.Error, tokenB) {
		t.Errorf("%q", no.Error)
	}
	var w plan.Watching
	ctl(t, socket, plan.Control{Op: plan.OpWatch, Watched: map[string]string{".env:A": tokenB}, Watch: []string{".env"}}, &w)
	list := logged(t, log, "dlp_watched")
	if w.Watched != 1 || w.New != 1 || len(list) != 1 || strings.Contains(list[0].Note, tokenB[:8]) {
		t.Errorf("%+v, %+v", w, list)
	}
	var now plan.InForce
	if ctl(t, socket, plan.Control{Op: plan.OpPolicy}, &now); len(now.Watch) != 1 || now.Watch[0] != ".env" {
		t.Errorf("%q", now.Watch)
	}
}
