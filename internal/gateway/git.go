package gateway

import (
	"context"
	"crypto/x509"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"

	"bottle/internal/audit"
	"bottle/internal/bottle"
	"bottle/internal/dlp"
	"bottle/internal/egress"
	"bottle/internal/gitgate"
	"bottle/internal/gitgate/confined"
	"bottle/internal/plan"
	"bottle/internal/policy"
	"bottle/internal/secret"
)

// GitWord is the first argument that makes this program a confined git; the gateway
// itself starts it so.
const GitWord = confined.Word

// Git is what follows GitWord. It returns on an error only.
func Git(args []string) error { return confined.Main(args) }

// gitDoor is the git gate as the egress sees it. The gate dials through the egress, so
// it is made second, before anything is served.
type gitDoor struct {
	gate   *gitgate.Gate
	keys   atomic.Pointer[map[string]secret.Value] // by repository
	listed atomic.Pointer[[]bottle.Repo]           // by the manifest as it was read last; nil: as at the start
}

// Serve implements the egress's view of the gate.
func (d *gitDoor) Serve(w http.ResponseWriter, r *http.Request, host bottle.Host, port uint16) bool {
	return d.gate.Serve(w, r, host, port)
}

// Takes implements it, too.
func (d *gitDoor) Takes(r *http.Request, host bottle.Host, port uint16) bool {
	return d.gate.Takes(r, host, port)
}

// Near implements it, too.
func (d *gitDoor) Near(host bottle.Host, port uint16) bool { return d.gate.Near(host, port) }

// gitService is the git gate's door, behind which nothing is yet.
func (g *gateway) gitService() *gitDoor {
	g.git = &gitDoor{}
	keys := make(map[string]secret.Value, len(g.told.Repos))
	for _, r := range g.told.Repos {
		keys[r.Name] = g.told.watched[keyOf(r.Name)]
	}
	g.git.keys.Store(&keys)
	return g.git
}

// keyOf is the name of what a repository's key_file holds.
func keyOf(repo string) string { return "git:" + repo + " key_file" }

// repos are the repositories in force.
func (g *gateway) repos() []bottle.Repo {
	if g.git != nil {
		if l := g.git.listed.Load(); l != nil {
			return *l
		}
	}
	return g.told.Repos
}

// weigh tells what of a manifest's git would be taken over.
func (g *gateway) weigh(want *plan.Repositories) (next []bottle.Repo, changes []plan.GitChange) {
	if want == nil {
		return g.repos(), nil
	}
	next, changes = policy.ChangeRepos(g.told.Repos, g.repos(), want.Repos)
	if u := want.User; u != nil && *u != g.told.GitUser && len(g.told.Repos)+len(want.Repos) > 0 {
		changes = append(changes, plan.GitChange{Key: "git_user", Old: person(g.told.GitUser), New: person(*u), Waits: true})
	}
	return next, changes
}

func person(u bottle.GitUser) string {
	if u.Email != "" {
		return strings.TrimSpace(u.Name + " <" + u.Email + ">")
	}
	return u.Name
}

// amend puts next in force. Only the holder of g.reloading may call it.
func (g *gateway) amend(next []bottle.Repo) {
	if g.git != nil {
		g.git.gate.Amend(next)
		g.git.listed.Store(&next)
	}
}

// rekey takes over what key files hold now, and names the repositories whose key is
// another one. A key that is gone stays: a push under way may want it. Only the holder
// of g.reloading may call it, after the scanner knows the values.
func (g *gateway) rekey(fresh map[string]secret.Value) (renewed []string) {
	if g.git == nil {
		return nil
	}
	keys := maps.Clone(*g.git.keys.Load())
	for _, r := range g.told.Repos {
		if v, ok := fresh[keyOf(r.Name)]; ok && r.KeyFile != "" && !v.Equal(keys[r.Name]) {
			keys[r.Name] = v
			renewed = append(renewed, r.Name)
		}
	}
	g.git.keys.Store(&keys)
	for _, name := range renewed {
		g.rec.news(reasonRenewed, keyOf(name), "")
	}
	return renewed
}

// openGit makes the gate behind the door.
func (g *gateway) openGit() (err error) {
	if g.git == nil {
		return nil
	}
	if g.told.Git == "" {
		return errors.New("told of repositories and of no folder for their mirrors")
	}
	ask := g.askPush
	if g.told.Asked == "" {
		ask = nil
	}
	g.git.gate, err = gitgate.New(gitgate.Config{
		Identity: string(g.told.Identity), Repos: g.told.Repos, Committer: g.told.GitUser, Folder: g.told.Git, Token: g.vault.get, DLP: g.scanner.newest, Record: g.recordGit,
		Dial: func(ctx context.Context, host bottle.Host, port uint16, address string) (gitgate.Conn, error) {
			return g.proxy.DialGit(ctx, host, port, address)
		},
		Roots: g.rootsOf,
		Fits:  func(host bottle.Host, n int64) error { return g.proxy.GitAccount(host).Fits(n) },
		Key: func(repo string) (secret.Value, bool) {
			v := (*g.git.keys.Load())[repo]
			return v, !v.Empty()
		},
		Pass: func(host bottle.Host) dlp.Pass {
			return func(f dlp.Finding) dlp.Passing {
				if f.Print != "" && g.proxy.Approved().Has(f.Print, host) {
					return dlp.Passes
				}
				return dlp.Stops
			}
		},
		Ask:  ask,
		Open: g.rec.recording,
	})
	return err
}

// rootsOf is what vouches for a repository's https server: the proxy that it is reached
// through may intercept TLS under a CA of its own.
func (g *gateway) rootsOf(r bottle.Repo) (*x509.CertPool, error) {
	files := []string{r.CAFile}
	u, err := url.Parse(r.Upstream)
	if err != nil {
		return nil, errors.New("its upstream is no URL")
	}
	if on := g.told.Onward; on != nil && r.ExtraHosts[u.Hostname()] == "" {
		files = append(files, on.CAFile)
	}
	return egress.Roots(files...)
}

// recordGit writes what became of a fetch or push.
func (g *gateway) recordGit(r gitgate.Record) error {
	rec := audit.Record{
		Time: r.Time, Kind: audit.KindGit, Method: r.Method, Host: string(r.Host), Port: r.Port, Path: r.Path, Verdict: audit.Deny, Rule: r.Rule,
		Reason: string(r.Reason), Policy: g.hash(), BytesOut: r.BytesOut, BytesIn: r.BytesIn, Micros: r.Duration.Microseconds(),
		Credential: r.Credential, Note: r.Note,
	}
	if r.Allowed {
		rec.Verdict = audit.Allow
		g.proxy.Measured().Allowed(rec.Host, r.BytesOut, r.BytesIn, r.Credential != "")
	}
	for _, f := range r.Findings {
		found := audit.Finding{Rule: f.Rule, Place: f.Place, Encoding: f.Chain, Length: f.Length, Fingerprint: f.Print, Secret: f.Name}
		if f.Approved {
			found.Outcome = "approved"
		}
		rec.Findings = append(rec.Findings, found)
	}
	return g.rec.append(rec)
}
