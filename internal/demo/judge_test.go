package demo

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"bottle/internal/audit"
	"bottle/internal/plan"
)

const commit = "0123456789abcdef0123456789abcdef01234567"

// held is the evidence of a bottle that held.
func held() Evidence {
	allow := func(path string) audit.Record {
		return audit.Record{Kind: "http", Verdict: audit.Allow, Reason: "listed", Host: apiHost, Port: 443, Path: path, Credential: tokenRef, Rule: "/tmp/x/bottles/demo.md:9"}
	}
	deny := func(kind, reason, host, path string, port uint16) audit.Record {
		return audit.Record{Kind: kind, Verdict: audit.Deny, Reason: reason, Host: host, Port: port, Path: path}
	}
	ok := Answer{"0", "200", "200", "0.010", `{"token":"valid"}`}
	refused := Answer{"7", "000", "000", "0.0003", ""}
	return Evidence{
		Token: "real-1", Placeholder: "placeholder-1", Canary: "key-1", Git: true, ServiceAddr: "127.0.0.1:4000",
		Output: []byte("out\tPATH=/bin\nout\tDEMO_TOKEN=placeholder-1\n"),
		Answers: map[string]Answer{
			"env": {"33", "placeholder-1"}, "whoami": ok, "paste": {"56", "000", "403", "0.01", ""},
			"admin":  {"0", "403", "200", "0.01", `{"error":"denied","reason":"path_not_listed"}`},
			"direct": ok, "dnspaste": {"6", "000", "000", "0.01", ""}, "front": {"0", "421", "000", "0.01", `{"reason":"sni_mismatch"}`},
			"tcp": refused, "metadata": refused, "service": refused, "byproxy": {"0", "403", "000", "0.01", `{"reason":"private_address"}`},
			"write": {"written"}, "commit": {commit}, "keys": {""},
		},
		API: []Seen{{"GET", "/v1/whoami", "Bearer real-1", ""}, {"GET", "/v1/status", "Bearer real-1", ""}},
		Records: []audit.Record{
			allow("/v1/whoami"), deny("connect", "host_not_listed", pasteHost, "", 443), deny("http", "path_not_listed", apiHost, "/admin", 443),
			allow("/v1/status"), deny("dns", "dns_name_not_listed", pasteHost, "", 0), deny("tls", "sni_mismatch", apiHost, "", 443),
			deny(audit.KindPacket, "kernel_refused", "192.0.2.1", "", 53), deny(audit.KindPacket, "kernel_refused", "169.254.169.254", "", 80),
			deny("http", "private_address", "127.0.0.1", "/", 4000),
		},
		Readme: "# A repository\n" + written + "\n", Branch: commit + "\n",
	}
}

func broken(results []Result) []string {
	var out []string
	for _, r := range results {
		if !r.OK {
			out = append(out, r.ID)
		}
	}
	return out
}

func TestJudgeABottleThatHeld(t *testing.T) {
	results := Judge(held())
	if len(results) != len(attempts()) {
		t.Fatalf("%d results for %d attempts", len(results), len(attempts()))
	}
	for _, r := range results {
		if !r.OK || r.Outcome == "" || r.Why == "" || r.Rule == "" || r.Heard == "" {
			t.Errorf("%+v", r)
		}
	}
	e := held()
	e.Git = false
	if got := Judge(e); len(got) != len(results)-1 || broken(got) != nil {
		t.Errorf("without git: %d results, broken %v", len(got), broken(got))
	}
}

// Each spoils one fact, and says which verdicts must turn; no other may.
func TestJudgeSeesEachWallFall(t *testing.T) {
	drop := func(reason string) func(*Evidence) {
		return func(e *Evidence) {
			e.Records = slices.DeleteFunc(e.Records, func(r audit.Record) bool { return r.Reason == reason })
		}
	}
	answer := func(id string, a ...string) func(*Evidence) { return func(e *Evidence) { e.Answers[id] = a } }
	turned := map[string]bool{}
	for _, c := range []struct {
		name  string
		spoil func(*Evidence)
		want  string
	}{
		{"the token in its environment", func(e *Evidence) { e.Output = append(e.Output, "out\tX=real-1\n"...) }, "env"},
		{"the token in some file it showed", func(e *Evidence) { e.Output = append(e.Output, "...real-1..."...) }, "env"},
		{"no token was ever made", func(e *Evidence) { e.Token = ""; e.API[0].Authorization, e.API[1].Authorization = "Bearer ", "Bearer " }, "env"},
		{"the token in a file", func(e *Evidence) { e.Holding = []string{"home/state/x/audit.jsonl"} }, "env"},
		{"it printed nothing", func(e *Evidence) { e.Output = nil }, "env"},
		{"another placeholder", answer("env", "33", "placeholder-2"), "env"},
		{"the API refused the token", answer("whoami", "0", "401", "200", "0.1", ""), "whoami"},
		{"the API got the placeholder", func(e *Evidence) { e.API[0].Authorization = "Bearer placeholder-1" }, "whoami"},
		{"the API got nothing", func(e *Evidence) { e.API = e.API[1:] }, "whoami"},
		{"the API got it twice", func(e *Evidence) { e.API = append(e.API, e.API[1]) }, "direct"},
		{"the direct way is shut", answer("direct", "7", "000", "000", "0.1", ""), "direct"},
		{"an allowed call is not in the log", drop("listed"), "whoami direct"},
		{"a call without its credential's name", func(e *Evidence) { e.Records[0].Credential = "" }, "whoami"},
		{"the pastebin was reached", func(e *Evidence) { e.Pastebin = 1 }, "paste dnspaste front"},
		{"the pastebin answered", answer("paste", "0", "201", "200", "0.1", ""), "paste"},
		{"the pastebin answered past the proxy", answer("dnspaste", "0", "200", "000", "0.1", ""), "dnspaste"},
		{"the front let it through", answer("front", "0", "200", "000", "0.1", ""), "front"},
		{"a denial without a record", drop("host_not_listed"), "paste"},
		{"a denied name without a record", drop("dns_name_not_listed"), "dnspaste"},
		{"a front without a record", drop("sni_mismatch"), "front"},
		{"a denied path without a record", drop("path_not_listed"), "admin"},
		{"denied for another reason", func(e *Evidence) { e.Records[1].Reason = "internal" }, "paste"},
		{"the log says that it was allowed", func(e *Evidence) { e.Records[2].Verdict = audit.Allow }, "admin"},
		{"the API got /admin", func(e *Evidence) { e.API = append(e.API, Seen{Method: "GET", Path: "/admin"}) }, "admin"},
		{"/admin answered", answer("admin", "0", "200", "200", "0.1", ""), "admin"},
		{"an address answered", answer("tcp", "0", "200", "000", "0.1", ""), "tcp"},
		{"an address timed out", answer("tcp", "28", "000", "000", "5.0", ""), "tcp"},
		{"an address refused late: it was asked", answer("tcp", "7", "000", "000", "1.5", ""), "tcp"},
		{"the metadata address answered", answer("metadata", "0", "200", "000", "0.1", ""), "metadata"},
		{"an odd time", answer("metadata", "7", "000", "000", "soon", ""), "metadata"},
		{"refusals without records", drop("kernel_refused"), "tcp metadata"},
		{"not tried, for fear of the network", func(e *Evidence) { delete(e.Answers, "metadata") }, "metadata"},
		{"the host's service was reached", func(e *Evidence) { e.Service = 2 }, "service byproxy"},
		{"something answered on the loopback", answer("service", "0", "200", "000", "0.1", ""), "service"},
		{"the gateway fetched the host's service", answer("byproxy", "0", "200", "000", "0.1", ""), "byproxy"},
		{"no record of it", drop("private_address"), "byproxy"},
		{"a record of another port", func(e *Evidence) { e.Records[8].Port = 4001 }, "byproxy"},
		{"the folder changed", func(e *Evidence) { e.Changed = []string{"README.md"} }, "write commit"},
		{"it could not write", answer("write", "refused"), "write"},
		{"what it wrote is nowhere", func(e *Evidence) { e.Readme = "" }, "write"},
		{"it could not commit", answer("commit", ""), "commit"},
		{"the commit is nowhere", func(e *Evidence) { e.Branch = "" }, "commit"},
		{"it saw a key", answer("keys", " /root/.ssh"), "keys"},
		{"it read the key", func(e *Evidence) { e.Output = append(e.Output, "out\tkey-1\n"...) }, "keys"},
		{"no key was ever there", func(e *Evidence) { e.Canary = "" }, "keys"},
	} {
		e := held()
		c.spoil(&e)
		got := Judge(e)
		if strings.Join(broken(got), " ") != c.want {
			t.Errorf("%s: broken %v, want %s", c.name, broken(got), c.want)
		}
		for _, r := range got {
			if r.OK != (len(r.Problems) == 0) || !r.OK && r.Outcome != "BROKEN" {
				t.Errorf("%s: %+v", c.name, r)
			}
		}
		for _, id := range broken(got) {
			turned[id] = true
		}
	}
	for _, a := range attempts() {
		if !turned[a.id] {
			t.Errorf("nothing above turns %s: it could not fail", a.id)
		}
	}
}

// An agent that says nothing has shown nothing.
func TestJudgeAnAgentThatNeverRan(t *testing.T) {
	for name, e := range map[string]Evidence{"no evidence at all": {}, "no word": func() Evidence { e := held(); e.Answers = nil; return e }()} {
		for _, r := range Judge(e) {
			if r.OK {
				t.Errorf("%s: %s passed", name, r.ID)
			}
		}
	}
}

func plain(_ plan.Role, s string) string { return s }

// No line wraps on a terminal of 80 columns, whatever the agent says and also
// where everything is broken; nothing that it says is obeyed by the terminal.
func TestScreenFitsEightyColumns(t *testing.T) {
	e := held()
	var out bytes.Buffer
	s := Screen{Out: &out, Style: plain, Width: 80, Typed: "/work/project/bin/bottle"}
	folder := "/tmp/bottle-demo-1234567890"
	r := Report{
		OK: true, Attempts: Judge(e), Identity: "demo-abcde", Folder: folder, Home: folder + "/home", Changed: folder + "/home/state/demo-abcde/overlay/upper",
		Bottle: folder + "/home/bottles/demo.md", Agent: folder + "/home/agents/demo.md", Script: folder + "/repository/agent.sh",
		Audit: Audit{Path: folder + "/home/state/demo-abcde/audit.jsonl", Records: 16, Whole: true},
	}
	s.Tell(Event{Kind: Made, Report: r})
	s.Tell(Event{Kind: Up, Walls: 30})
	for _, a := range attempts() {
		s.Tell(Event{Kind: Got, Attempt: a.words, Text: strings.Repeat("word ", 40) + "\x1b[2J"})
	}
	s.End(r)
	r.OK, r.Attempts, r.Audit.Whole, r.Audit.Problem = false, Judge(Evidence{Git: true}), false, "removed: record 3"
	s.End(r)
	for _, line := range strings.Split(out.String(), "\n") {
		if n := len([]rune(line)); n > 80 {
			t.Errorf("%d columns: %s", n, line)
		}
	}
	text := out.String()
	for _, want := range []string{"The bottle held: all 14", "The bottle did NOT hold: 0 of 14", "the chain is BROKEN", "✗ TCP to 192.0.2.1:53", "never reported it"} {
		if !strings.Contains(text, want) {
			t.Errorf("it does not say %q", want)
		}
	}
	if strings.ContainsAny(text, "\x1b\r") {
		t.Error("it holds what a terminal obeys")
	}
}
