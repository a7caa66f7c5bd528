package gateway

import (
	"context"
	"crypto/x509"
	"errors"
	"net/http"
	"net/url"

	"bottle/internal/audit"
	"bottle/internal/bottle"
	"bottle/internal/dlp"
	"bottle/internal/egress"
	"bottle/internal/gitgate"
	"bottle/internal/gitgate/confined"
	"bottle/internal/secret"
)

// kindGit is the kind of the records about fetches and pushes.
const kindGit = "git"

// GitWord is the first argument that makes this program a confined git; the gateway
// itself starts it so.
const GitWord = confined.Word

// Git is what follows GitWord. It returns on an error only.
func Git(args []string) error { return confined.Main(args) }

// gitDoor is the git gate as the egress sees it. The gate dials through the egress, so
// it is made second, before anything is served.
type gitDoor struct{ gate *gitgate.Gate }

// Serve implements the egress's view of the gate.
func (d *gitDoor) Serve(w http.ResponseWriter, r *http.Request, host bottle.Host, port uint16) bool {
	return d.gate.Serve(w, r, host, port)
}

// Near implements it, too.
func (d *gitDoor) Near(host bottle.Host, port uint16) bool { return d.gate.Near(host, port) }

// door is nil, and no interface of a nil pointer, where no repository is declared.
func (g *gateway) door() egress.Git {
	if len(g.told.Repos) == 0 {
		return nil
	}
	g.git = &gitDoor{}
	return g.git
}

// openGit makes the gate behind the door.
func (g *gateway) openGit() (err error) {
	if g.git == nil {
		return nil
	}
	if g.told.Git == "" {
		return errors.New("told of repositories and of no folder for their mirrors")
	}
	g.git.gate, err = gitgate.New(gitgate.Config{
		Repos: g.told.Repos, Committer: g.told.GitUser, Folder: g.told.Git, Token: g.vault.get, DLP: g.scanner.newest, Record: g.recordGit,
		Dial: func(ctx context.Context, host bottle.Host, port uint16, address string) (gitgate.Conn, error) {
			return g.proxy.DialGit(ctx, host, port, address)
		},
		Roots: g.rootsOf,
		Fits:  func(host bottle.Host, n int64) error { return g.proxy.GitAccount(host).Fits(n) },
		Key: func(repo string) (secret.Value, bool) {
			v, ok := g.told.watched["git:"+repo+" key_file"]
			return v, ok && !v.Empty()
		},
		Pass: func(host bottle.Host) dlp.Pass {
			return func(f dlp.Finding) dlp.Passing {
				if f.Print != "" && g.proxy.Approved().Has(f.Print, host) {
					return dlp.Passes
				}
				return dlp.Stops
			}
		},
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
		Time: r.Time, Kind: kindGit, Method: r.Method, Host: string(r.Host), Port: r.Port, Path: r.Path, Verdict: audit.Deny, Rule: r.Rule,
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
