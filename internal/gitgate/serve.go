package gitgate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"bottle/internal/bottle"
	"bottle/internal/gitgate/confined"
	"bottle/internal/gitgate/pktline"
	"bottle/internal/gitgate/upstream"
	"bottle/internal/policy"
)

const (
	infoRefs   = "info/refs"
	uploadPack = string(upstream.UploadPack)
	receive    = string(upstream.ReceivePack)
	maxAsk     = 64 << 20         // bytes of what a fetch wants and has, unpacked
	freshFor   = 30 * time.Second // a conversation that began with a refresh needs no other
)

// Takes reports whether Serve answers a request: who counts requests asks before.
func (g *Gate) Takes(r *http.Request, host bottle.Host, port uint16) bool {
	if policy.IsGitHost(host) {
		return true
	}
	to, rest := g.declared(host, port, r.URL.Path)
	return to != nil && policy.SpeaksGit(r.Method, rest)
}

// Serve answers a request that is for one of the repositories, by the gate's own name
// or by the repository's https URL. False: it is for none, and nothing was written.
func (g *Gate) Serve(w http.ResponseWriter, r *http.Request, host bottle.Host, port uint16) bool {
	var to *repo
	var rest string
	if !policy.IsGitHost(host) {
		if to, rest = g.declared(host, port, r.URL.Path); to == nil || !policy.SpeaksGit(r.Method, rest) {
			return false
		}
	} else if to, rest = g.named(r.URL.Path); to == nil && g.sendOn(w, r) {
		return true
	} else if to == nil {
		g.unknown(w, r)
		return true
	}
	switch {
	case rest == infoRefs && r.Method == http.MethodGet:
		to.advertise(w, r)
	case rest == uploadPack && r.Method == http.MethodPost:
		to.upload(w, r)
	case rest == receive && r.Method == http.MethodPost:
		to.receive(w, r)
	case (rest == "policy" || rest == "") && (r.Method == http.MethodGet || r.Method == http.MethodHead):
		to.page(w, r)
	case strings.HasPrefix(rest, "info/lfs"):
		plain(w, http.StatusNotImplemented, `{"message": "the git gate does not carry Git LFS objects: push without LFS (git lfs uninstall --local), or keep the large files elsewhere"}`, "application/vnd.git-lfs+json")
	default:
		plain(w, http.StatusNotFound, "the git gate speaks git's smart HTTP protocol here, and GET /"+to.Name+"/policy\n", "")
	}
	return true
}

// sendOn leads a reader of app-docs to where that is, whom a rule for app led here. git
// follows a redirect where a conversation begins.
func (g *Gate) sendOn(w http.ResponseWriter, r *http.Request) bool {
	path := strings.TrimPrefix(r.URL.Path, "/")
	for one := range g.served() {
		rest, ok := strings.CutPrefix(path, one.Name+".git")
		if !ok || rest == "" || rest[0] == '/' || !strings.HasSuffix(path, "/"+infoRefs) {
			continue
		}
		to := url.URL{Scheme: "https", Host: string(one.at.Host), Path: "/" + one.at.Bare() + rest, RawQuery: r.URL.RawQuery}
		if !one.ssh() && one.at.DialPort() != 443 {
			to.Host += ":" + strconv.Itoa(int(one.at.DialPort()))
		}
		w.Header().Set("Location", to.String())
		plain(w, http.StatusTemporaryRedirect, "this repository is not behind the git gate\n", "")
		return true
	}
	return false
}

// unknown tells an agent which repositories there are.
func (g *Gate) unknown(w http.ResponseWriter, r *http.Request) {
	var b strings.Builder
	code := http.StatusOK
	if strings.Trim(r.URL.Path, "/") != "" {
		code = http.StatusNotFound
		fmt.Fprintf(&b, "%s (%s). ", policy.RepoNotListed.Text(), policy.RepoNotListed)
	}
	begin := "The repositories of this bottle:\n"
	for one := range g.served() {
		fmt.Fprintf(&b, "%shttp://%s/%s.git  %s\n", begin, policy.GitHost, one.Name, one.Upstream)
		begin = ""
	}
	if begin != "" {
		b.WriteString("This bottle has no repository any more.\n")
	}
	b.WriteString("An operator adds others under `git` in the bottle's manifest.\n")
	plain(w, code, b.String(), "")
}

func plain(w http.ResponseWriter, code int, text, kind string) {
	if kind == "" {
		kind = "text/plain; charset=utf-8"
	}
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	_, _ = io.WriteString(w, text) // the client may be gone
}

// advertise begins every conversation: the mirror is refreshed, or the client is told why not.
func (r *repo) advertise(w http.ResponseWriter, req *http.Request) {
	begun := time.Now()
	service := req.URL.Query().Get("service")
	if service != uploadPack && service != receive {
		plain(w, http.StatusForbidden, "the git gate speaks the smart protocol only (git 1.6.6 and later)\n", "")
		return
	}
	var body bytes.Buffer
	out := pktline.NewWriter(&body)
	var err error
	if service == receive {
		err = r.refreshAndOffer(req.Context(), &body)
	} else if err = r.mirror.Refresh(req.Context()); err == nil {
		if err = r.list(req, &body); err != nil && req.Context().Err() == nil {
			r.mirror.Doubt()
		}
	}
	if err != nil {
		reason := reasonOf(err)
		method := "fetch"
		if service == receive {
			method = "push"
		}
		if r.record(Record{Time: begun, Method: method, Reason: reason, Note: noteOf(err)}) != nil {
			return
		}
		body.Reset()
		_ = out.Text("# service=" + service)
		_ = out.Flush()
		_ = out.Line([]byte(words("ERR bottle: " + string(reason) + ": " + unserved(r.plainly(err), service))))
	}
	noCache(w, "application/x-"+service+"-advertisement")
	_, _ = w.Write(body.Bytes()) // the client may be gone
}

// unserved says why nothing is served, and to a reader that nothing older is.
func unserved(why, service string) string {
	if service == receive {
		return why
	}
	if strings.HasSuffix(why, "?") || strings.HasSuffix(why, ".") {
		return why + " Nothing older is served in its place"
	}
	return why + "; nothing older is served in its place"
}

// refreshAndOffer asks upstream as a reader and as a writer at once: each is a connection
// of its own. Where both fail, the reader's error counts.
func (r *repo) refreshAndOffer(ctx context.Context, to *bytes.Buffer) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	type answer struct {
		text []byte
		err  error
	}
	offered := make(chan answer, 1)
	go func() {
		text, err := r.offers.get(ctx, r.offer)
		offered <- answer{text, err}
	}()
	if err := r.mirror.Refresh(ctx); err != nil {
		stop()
		<-offered
		return err
	}
	got := <-offered
	to.Write(got.text)
	return got.err
}

// list is what upload-pack says first.
func (r *repo) list(req *http.Request, to *bytes.Buffer) error {
	protocol := protocol(req)
	if protocol != "version=2" {
		out := pktline.NewWriter(to)
		_ = out.Text("# service=" + uploadPack)
		_ = out.Flush()
	}
	ctx, stop := context.WithTimeout(req.Context(), time.Minute)
	defer stop()
	leave, err := enter(ctx, r.reads)
	if err != nil {
		return err
	}
	defer leave()
	return r.mirror.Run(ctx, confined.Command{Protocol: protocol, Args: []string{"upload-pack", "--stateless-rpc", "--http-backend-info-refs", "."}, Stdout: to})
}

// protocol is what of the header git is told.
func protocol(req *http.Request) string {
	for p := range strings.SplitSeq(req.Header.Get("Git-Protocol"), ":") {
		if p == "version=1" || p == "version=2" {
			return p
		}
	}
	return ""
}

// upload answers what a client wants to read.
func (r *repo) upload(w http.ResponseWriter, req *http.Request) {
	begun := time.Now()
	rec := Record{Time: begun, Method: "fetch", Allowed: true, Reason: policy.Listed}
	in, err := r.gate.body(w, req)
	if err == nil && !r.mirror.Fresh(freshFor) {
		err = r.mirror.Refresh(req.Context())
	}
	ctx, stop := context.WithTimeout(req.Context(), r.gate.limits.push)
	defer stop()
	leave := func() {}
	if err == nil {
		leave, err = enter(ctx, r.reads)
	}
	if err != nil {
		rec.Allowed, rec.Reason, rec.Note = false, reasonOf(err), noteOf(err)
		_ = r.record(rec)
		plain(w, http.StatusBadGateway, "bottle: "+words(r.plainly(err))+"\n", "")
		return
	}
	defer leave()
	if r.gate.cfg.Open() != nil {
		plain(w, http.StatusForbidden, "bottle: decisions can't be recorded, so nothing goes through\n", "")
		return
	}
	noCache(w, "application/x-"+uploadPack+"-result")
	out := r.gate.outgoing(w)
	err = r.mirror.Run(ctx, confined.Command{Protocol: protocol(req), Args: []string{"upload-pack", "--stateless-rpc", "."},
		Stdin: http.MaxBytesReader(w, io.NopCloser(in), maxAsk), Stdout: out})
	rec.BytesIn = out.n
	if err != nil {
		rec.Note = bottle.Printable(err.Error()) // a client that goes away in the middle is one
		if out.err != nil {
			rec.Note = bottle.Printable(out.err.Error())
		} else if ctx.Err() == nil {
			r.mirror.Doubt()
		}
	}
	_ = r.record(rec)
}

func noCache(w http.ResponseWriter, kind string) {
	h := w.Header()
	h.Set("Content-Type", kind)
	h.Set("Expires", "Fri, 01 Jan 1980 00:00:00 GMT")
	h.Set("Pragma", "no-cache")
	h.Set("Cache-Control", "no-cache, max-age=0, must-revalidate")
	w.WriteHeader(http.StatusOK)
}

// record completes rec and writes it.
func (r *repo) record(rec Record) error {
	rec.Duration = time.Since(rec.Time)
	rec.Host, rec.Port, rec.Path, rec.Rule, rec.Credential = r.at.Host, r.at.DialPort(), "/"+r.at.Bare(), "git:"+r.Name, r.credential()
	return r.gate.cfg.Record(rec)
}

// reasonOf is the code for an upstream that did not do what was asked.
func reasonOf(err error) policy.Reason {
	var known interface{ Reason() policy.Reason }
	switch {
	case errors.As(err, &known):
		return known.Reason()
	case errors.Is(err, upstream.ErrAuth), errors.Is(err, upstream.ErrConfig):
		return policy.NoCredential
	case errors.Is(err, upstream.ErrHostKey):
		return policy.UpstreamHostKey
	case errors.Is(err, upstream.ErrCertificate):
		return policy.UpstreamTLS
	case errors.Is(err, upstream.ErrRefused):
		return policy.UpstreamRefused
	case errors.Is(err, upstream.ErrNotFound), errors.Is(err, upstream.ErrProtocol):
		return policy.UpstreamProtocol
	case errors.Is(err, upstream.ErrUnreachable), errors.Is(err, context.DeadlineExceeded):
		return policy.UpstreamUnreachable
	}
	return policy.Internal
}

// noteOf is an error as the operator's record has it.
func noteOf(err error) string {
	s := err.Error()
	var more interface{ Cause() string }
	if errors.As(err, &more) && more.Cause() != "" {
		s += " (" + more.Cause() + ")"
	}
	return words(s)
}

// plainly is an error for the agent, which need not know where the mirrors are.
func (r *repo) plainly(err error) string {
	return strings.ReplaceAll(err.Error(), r.gate.cfg.Folder, "")
}

// words are safe on a terminal and not too long.
func words(s string) string {
	const most = 900
	s = bottle.Printable(s)
	if len(s) > most {
		s = s[:most]
	}
	return s
}
