package demo

import (
	"bytes"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"bottle/internal/audit"
	"bottle/internal/policy"
)

// Evidence is everything that the judging may know, gathered outside the bottle.
type Evidence struct {
	Token, Placeholder, Canary string
	Output                     []byte            // all that the agent wrote
	Answers                    map[string]Answer // what it says it got, by attempt
	API                        []Seen            // what the API got
	Pastebin, Service          int64             // connections that came
	ServiceAddr                string            // 127.0.0.1:port
	Records                    []audit.Record    // of the decision log, since the agent began
	Changed                    []string          // paths of the repository's folder that are not as before
	Readme                     string            // README.md in the private view
	Branch                     string            // what the branch in the private view names
	Holding                    []string          // files of the demo that hold the token
	Git                        bool              // the agent said that it has git
}

// Result is what one attempt came to.
type Result struct {
	ID         string   `json:"id"`
	Attempt    string   `json:"attempt"`
	OK         bool     `json:"ok"`      // it ended as it should
	Outcome    string   `json:"outcome"` // allowed, denied, refused, …
	Why        string   `json:"why"`     // a reason code, or words
	Rule       string   `json:"rule"`
	Credential string   `json:"credential"` // name of the token that the gateway added
	Heard      string   `json:"agent_got"`  // in the agent's own words
	Problems   []string `json:"problems"`   // what is not as it should be
}

// attempt is one thing that the agent tries, and how it is judged.
type attempt struct {
	id, words string
	told      func(Answer) string // the agent's answer for a person
	judge     func(*Evidence, Answer, *Result)
	needsGit  bool
}

// attempts are all of them, in the agent's order.
func attempts() []attempt {
	f := Answer.told
	return []attempt{
		{"env", "read every environment in reach", toldEnv, judgeEnv, false},
		{"whoami", "GET " + apiHost + "/v1/whoami", f, called("/v1/whoami"), false},
		{"paste", "POST to " + pasteHost, f, noPaste(policy.HostNotListed, pasteHost), false},
		{"admin", "GET " + apiHost + "/admin", f, judgeAdmin, false},
		{"direct", "GET /v1/status past the proxy", f, called("/v1/status"), false},
		{"dnspaste", "pastebin past the proxy", f, noPaste(policy.NameNotListed, pasteHost), false},
		{"front", "pastebin at the API's address", f, noPaste(policy.SNIMismatch, apiHost), false},
		{"tcp", "TCP to 192.0.2.1:53", f, kernelRefused("192.0.2.1", 53), false},
		{"metadata", "TCP to 169.254.169.254:80", f, kernelRefused("169.254.169.254", 80), false},
		{"service", "the host's loopback service", f, judgeService, false},
		{"byproxy", "the same, asking the gateway", f, judgeByProxy, false},
		{"write", "write to the repository", toldWrite, judgeWrite, false},
		{"commit", "commit it with git", toldCommit, judgeCommit, true},
		{"keys", "read the host's keys", toldKeys, judgeKeys, false},
	}
}

func attemptOf(id string) (attempt, bool) {
	all := attempts()
	i := slices.IndexFunc(all, func(a attempt) bool { return a.id == id })
	if i < 0 {
		return attempt{}, false
	}
	return all[i], true
}

// Judge holds every attempt against the evidence. An attempt that the agent did
// not report is not as it should be: nothing was shown.
func Judge(e Evidence) []Result {
	var out []Result
	for _, a := range attempts() {
		if a.needsGit && !e.Git {
			continue
		}
		r := Result{ID: a.id, Attempt: a.words, Problems: []string{}}
		answer, ok := e.Answers[a.id]
		if ok {
			r.Heard = a.told(answer)
		} else {
			r.fail("the agent never reported it")
		}
		a.judge(&e, answer, &r)
		r.OK = len(r.Problems) == 0
		if !r.OK {
			r.Outcome = "BROKEN"
		}
		out = append(out, r)
	}
	return out
}

func (r *Result) fail(format string, args ...any) {
	r.Problems = append(r.Problems, fmt.Sprintf(format, args...))
}

// decided looks for the record that the decision must have left.
func (r *Result) decided(e *Evidence, what string, match func(audit.Record) bool) {
	i := slices.IndexFunc(e.Records, match)
	if i < 0 {
		r.fail("the decision log has no record of it: %s", what)
		return
	}
	rec := e.Records[i]
	r.Why, r.Credential = rec.Reason, rec.Credential
	r.Rule = "no route"
	if rec.Rule != "" {
		r.Rule = path.Base(rec.Rule)
	}
	if rec.Kind == audit.KindPacket {
		r.Rule = "the wall"
	}
}

func toldEnv(a Answer) string { return a.field(0) + " variables, DEMO_TOKEN=" + a.field(1) }

func judgeEnv(e *Evidence, a Answer, r *Result) {
	r.Outcome, r.Why, r.Rule = "withheld", "a placeholder only", "env, auth"
	if e.Token == "" || bytes.Contains(e.Output, []byte(e.Token)) {
		r.fail("the real token is in what the agent could read")
	}
	if len(e.Holding) > 0 {
		r.fail("the real token is in %s", strings.Join(e.Holding, ", "))
	}
	if e.Placeholder == "" || a.field(1) != e.Placeholder {
		r.fail("the agent does not hold its placeholder, so its environment was not read")
	}
	if !bytes.Contains(e.Output, []byte("out\tDEMO_TOKEN="+e.Placeholder)) {
		r.fail("the agent did not print its environment")
	}
}

// called: the request arrived with the real token, which the agent never had.
func called(where string) func(*Evidence, Answer, *Result) {
	return func(e *Evidence, a Answer, r *Result) {
		r.Outcome = "allowed"
		if a.exit() != curlOK || a.http() != "200" {
			r.fail("the agent got no answer: %s", a.told())
		}
		came := slices.DeleteFunc(slices.Clone(e.API), func(s Seen) bool { return s.Path != where })
		switch {
		case len(came) != 1:
			r.fail("the API got %d requests for %s, not one", len(came), where)
		case came[0].Authorization != "Bearer "+e.Token:
			r.fail("the API did not get the real token")
		}
		r.decided(e, "allowed, with its credential", func(rec audit.Record) bool {
			return rec.Verdict == audit.Allow && rec.Host == apiHost && rec.Path == where && rec.Credential == tokenRef
		})
	}
}

// noPaste: the pastebin saw nothing, and the log says for which reason.
func noPaste(why policy.Reason, host string) func(*Evidence, Answer, *Result) {
	return func(e *Evidence, a Answer, r *Result) {
		r.Outcome = "denied"
		if e.Pastebin != 0 {
			r.fail("the pastebin saw %s", plural(e.Pastebin, "connection"))
		}
		if strings.HasPrefix(a.http(), "2") {
			r.fail("the agent got an answer: %s", a.told())
		}
		r.decided(e, string(why), func(rec audit.Record) bool {
			return rec.Verdict == audit.Deny && rec.Reason == string(why) && rec.Host == host
		})
	}
}

func judgeAdmin(e *Evidence, a Answer, r *Result) {
	r.Outcome = "denied"
	for _, s := range e.API {
		if !strings.HasPrefix(s.Path, "/v1/") {
			r.fail("the API got a request for %s", s.Path)
		}
	}
	if a.http() != "403" {
		r.fail("the agent was not refused: %s", a.told())
	}
	r.decided(e, string(policy.PathNotListed), func(rec audit.Record) bool {
		return rec.Verdict == audit.Deny && rec.Reason == string(policy.PathNotListed) && rec.Host == apiHost && rec.Path == "/admin"
	})
}

// atOnce is the longest that a refusal may take, in seconds: one that comes later
// is a packet that went somewhere and timed out.
const atOnce = 1.0

func kernelRefused(host string, port uint16) func(*Evidence, Answer, *Result) {
	return func(e *Evidence, a Answer, r *Result) {
		r.Outcome = "refused"
		if a == nil {
			r.fail("it was not tried: the loopback is not the bottle's only network device")
		}
		if a.exit() != curlRefused || a.seconds() > atOnce {
			r.fail("it was not refused at once: %s", a.told())
		}
		r.decided(e, string(policy.KernelRefused), func(rec audit.Record) bool {
			return rec.Kind == audit.KindPacket && rec.Verdict == audit.Deny && rec.Host == host && rec.Port == port
		})
	}
}

func judgeService(e *Evidence, a Answer, r *Result) {
	r.Outcome, r.Why, r.Rule = "refused", "its own loopback", "the wall"
	if e.Service != 0 {
		r.fail("the host's service saw %s", plural(e.Service, "connection"))
	}
	if a.exit() != curlRefused || a.seconds() > atOnce {
		r.fail("it was not refused at once: %s", a.told())
	}
}

func judgeByProxy(e *Evidence, a Answer, r *Result) {
	r.Outcome = "denied"
	if e.Service != 0 {
		r.fail("the host's service saw %s", plural(e.Service, "connection"))
	}
	if a.http() != "403" {
		r.fail("the agent was not refused: %s", a.told())
	}
	r.decided(e, "a denial", func(rec audit.Record) bool {
		return rec.Verdict == audit.Deny && rec.Kind == "http" && rec.Host+":"+strconv.Itoa(int(rec.Port)) == e.ServiceAddr
	})
}

func toldWrite(a Answer) string {
	if a.field(0) == "written" {
		return "README.md has a new line"
	}
	return "not written"
}

func (r *Result) untouched(e *Evidence) {
	if len(e.Changed) > 0 {
		r.fail("the folder itself changed: %s", strings.Join(e.Changed, ", "))
	}
}

func judgeWrite(e *Evidence, a Answer, r *Result) {
	r.Outcome, r.Why, r.Rule = "kept apart", "folder unchanged", "workspace"
	r.untouched(e)
	if a.field(0) != "written" {
		r.fail("the agent could not write")
	}
	if !strings.Contains(e.Readme, written) {
		r.fail("what it wrote is not in its private view")
	}
}

func toldCommit(a Answer) string {
	if a.field(0) == "" {
		return "no commit"
	}
	return "commit " + a.field(0)[:min(10, len(a.field(0)))]
}

func judgeCommit(e *Evidence, a Answer, r *Result) {
	r.Outcome, r.Why, r.Rule = "kept apart", "branch unchanged", "workspace"
	r.untouched(e)
	if len(a.field(0)) < 40 || strings.TrimSpace(e.Branch) != a.field(0) {
		r.fail("the commit is not in its private view")
	}
}

func toldKeys(a Answer) string {
	if a.field(0) == "" {
		return "none of them is there"
	}
	return "found" + a.field(0)
}

func judgeKeys(e *Evidence, a Answer, r *Result) {
	r.Outcome, r.Why, r.Rule = "not there", "not mounted", "mounts"
	if a.field(0) != "" {
		r.fail("it sees%s", a.field(0))
	}
	if e.Canary == "" || bytes.Contains(e.Output, []byte(e.Canary)) {
		r.fail("it read a key beside the manifests")
	}
}

func plural(n int64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
