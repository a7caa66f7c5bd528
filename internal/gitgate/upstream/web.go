package upstream

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
)

// window is how much of a request is looked at before it is decided how to send it:
// what is smaller goes as one body of known length, as git's http.postBuffer.
const window = 1 << 20

// Larger negotiations are compressed, as git does.
const worthCompressing = 1024

// web is a service behind smart HTTP.
type web struct {
	ctx     context.Context
	r       *Remote
	service Service
	login   login
	conn    *webConn // kept for the next request
}

func (r *Remote) openWeb(ctx context.Context, s Service) (wire, error) {
	l, err := r.auth.login()
	if err != nil {
		return nil, err
	}
	return &web{ctx: ctx, r: r, service: s, login: l}, nil
}

func (w *web) stateless() bool { return true }

func (w *web) close() {
	if w.conn != nil {
		w.conn.close()
	}
}

func (w *web) hide(words string) string { return w.login.hide(words) }

func (w *web) begun(words string) int { return w.login.begun(words) }

// shown are the server's words, fit to be told: the secret goes before anything is cut.
func (w *web) shown(words string) string { return printable(w.hide(words)) }

// said has nothing to add: an answer has it all.
func (w *web) said(err error) error {
	if errors.Is(err, errSilent) {
		return fmt.Errorf("%w: %s: %w", ErrProtocol, w.r.at.host, err)
	}
	return err
}

// advert asks for the list of refs, and reads the line before it that names the service.
func (w *web) advert() (io.ReadCloser, error) {
	resp, err := w.send(http.MethodGet, "/info/refs", "service="+string(w.service), nil, 0, nil)
	if err != nil {
		return nil, err
	}
	if err := w.isGit(resp, "application/x-"+string(w.service)+"-advertisement"); err != nil {
		return nil, err
	}
	banner := "# service=" + string(w.service)
	want := fmt.Sprintf("%04x%s\n0000", len(banner)+5, banner)
	in := bufio.NewReader(resp.Body)
	got, err := in.Peek(len(want))
	if err != nil && err != io.EOF {
		return nil, err
	}
	if string(got) != want {
		return nil, fmt.Errorf("%w: %s does not begin with %q", ErrProtocol, w.r.at.host, banner)
	}
	_, _ = in.Discard(len(want))
	return &body{Reader: in, end: resp.Body}, nil
}

// ask posts a request. One that is small is sent with its length. For a larger one an
// empty request goes first, so that a refusal costs nothing; then it is streamed.
func (w *web) ask(request func(io.Writer) error, kind requestKind) (io.ReadCloser, error) {
	from, to := io.Pipe()
	go func() {
		out := newBuffered(to)
		err := request(out)
		if err == nil {
			err = out.Flush()
		}
		_ = to.CloseWithError(err)
	}()
	resp, err := w.post(from, kind)
	if err != nil {
		_ = from.CloseWithError(err)
		return nil, err
	}
	if err := w.isGit(resp, "application/x-"+string(w.service)+"-result"); err != nil {
		_ = resp.Body.Close()
		_ = from.CloseWithError(err)
		return nil, err
	}
	return &body{Reader: resp.Body, end: resp.Body, also: from}, nil
}

func (w *web) post(from io.Reader, kind requestKind) (*http.Response, error) {
	var start bytes.Buffer
	_, err := io.CopyN(&start, from, window)
	if err != nil && err != io.EOF {
		return nil, err
	}
	head := http.Header{
		"Content-Type": {"application/x-" + string(w.service) + "-request"},
		"Accept":       {"application/x-" + string(w.service) + "-result"},
	}
	if err == nil {
		probe, err := w.send(http.MethodPost, "/"+string(w.service), "", strings.NewReader("0000"), 4, head)
		if err != nil {
			return nil, err
		}
		_, err = io.Copy(io.Discard, io.LimitReader(probe.Body, maxWords))
		_ = probe.Body.Close()
		if err != nil {
			return nil, err
		}
		return w.send(http.MethodPost, "/"+string(w.service), "", io.MultiReader(&start, from), -1, head)
	}
	if kind == negotiation && start.Len() > worthCompressing {
		var small bytes.Buffer
		z := gzip.NewWriter(&small)
		_, _ = z.Write(start.Bytes()) // a bytes.Buffer takes all
		_ = z.Close()
		start = small
		head.Set("Content-Encoding", "gzip")
	}
	return w.send(http.MethodPost, "/"+string(w.service), "", &start, int64(start.Len()), head)
}

// send sends one request and judges the status of its answer. A length of -1 is
// sent in chunks.
func (w *web) send(method, path, query string, content io.Reader, length int64, head http.Header) (*http.Response, error) {
	u, err := url.Parse("https://" + w.authority() + w.r.at.path + path)
	if err != nil {
		return nil, fmt.Errorf("%w: the URL of %s cannot be read", ErrConfig, w.r.at.host)
	}
	u.RawQuery = query
	req := (&http.Request{Method: method, URL: u, Host: w.authority(), Header: head.Clone(), ContentLength: length}).WithContext(w.ctx)
	if req.Header == nil {
		req.Header = http.Header{}
	}
	if content != nil {
		req.Body = io.NopCloser(content)
	}
	req.Header.Set("User-Agent", agent)
	w.login.show(req.Header)
	conn, err := w.connection()
	if err != nil {
		return nil, err
	}
	resp, err := conn.do(req)
	if err != nil {
		conn.close()
		return nil, err
	}
	if resp.StatusCode == http.StatusOK {
		return resp, nil
	}
	defer resp.Body.Close()
	return nil, w.refused(resp)
}

func (w *web) authority() string {
	host := w.r.at.host
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if w.r.at.port != 443 {
		host = fmt.Sprintf("%s:%d", host, w.r.at.port)
	}
	return host
}

// maxWords is how much of an answer that is not git's is looked at, in bytes.
const maxWords = 8 << 10

// refused makes an error of a status other than 200.
func (w *web) refused(resp *http.Response) error {
	host, status := w.r.at.host, resp.StatusCode
	switch {
	case status == http.StatusUnauthorized && !w.login.set():
		return fmt.Errorf("%w: %s asks who we are, and the repository has no auth in the bottle's file", ErrAuth, host)
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		return fmt.Errorf("%w: %s answered %d%s. Is the token still valid, and may it use this repository?", ErrAuth, host, status, w.words(resp))
	case status == http.StatusNotFound || status == http.StatusGone:
		return fmt.Errorf("%w: %s answered %d%s. Is the URL right, and may the token see it?", ErrNotFound, host, status, w.words(resp))
	case status >= 300 && status < 400:
		return fmt.Errorf("%w: %s answered %d and points to %q. A redirect is not followed, for the token is only for this URL: write the new one into the bottle's file",
			ErrProtocol, host, status, w.shown(resp.Header.Get("Location")))
	case status == http.StatusRequestEntityTooLarge:
		return fmt.Errorf("%w: %s takes no push as large as this (413)", ErrRefused, host)
	case status == http.StatusTooManyRequests || status >= 500:
		return fmt.Errorf("%w: %s answered %d%s", ErrUnreachable, host, status, w.words(resp))
	}
	return fmt.Errorf("%w: %s answered %d%s", ErrRefused, host, status, w.words(resp))
}

// words is the text that came with a refusal.
func (w *web) words(resp *http.Response) string {
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if kind != "text/plain" {
		return ""
	}
	read, _ := io.ReadAll(io.LimitReader(resp.Body, maxWords))
	text := w.hide(string(read))
	if len(read) == maxWords { // it may have been cut off within the secret
		text = text[:len(text)-w.begun(text)]
	}
	if said := printable(text); said != "" {
		return " and said: " + said
	}
	return ""
}

func (w *web) isGit(resp *http.Response, want string) error {
	if resp.Header.Get("Content-Encoding") != "" {
		return fmt.Errorf("%w: %s compresses its answer, which was not asked for", ErrProtocol, w.r.at.host)
	}
	if got := resp.Header.Get("Content-Type"); got != want {
		return fmt.Errorf("%w: %s answered with %q instead of %s. Is this the URL of a repository?", ErrProtocol, w.r.at.host, w.shown(got), want)
	}
	return nil
}

// body is an answer that is still coming.
type body struct {
	io.Reader
	end  io.Closer
	also *io.PipeReader // the request, if it is still being sent
}

func (b *body) Close() error {
	if b.also != nil {
		_ = b.also.CloseWithError(errDone)
	}
	return b.end.Close()
}

// errDone ends a request whose answer is no longer read.
var errDone = errors.New("the answer was complete before the request")

func newBuffered(w io.Writer) *bufio.Writer { return bufio.NewWriterSize(w, 64<<10) }
