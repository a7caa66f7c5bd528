package upstream

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"bottle/internal/gitgate/pktline"
)

const (
	id1 = "1111111111111111111111111111111111111111"
	id2 = "2222222222222222222222222222222222222222"
)

// advertised is an honest list of refs with the given capabilities.
func advertised(caps string) string {
	var out bytes.Buffer
	w := pktline.NewWriter(&out)
	_ = w.Text(id1 + " refs/heads/main\x00" + caps)
	_ = w.Flush()
	return out.String()
}

const (
	readCaps  = "multi_ack_detailed side-band-64k thin-pack ofs-delta agent=x"
	writeCaps = "report-status delete-refs side-band-64k ofs-delta atomic"
)

// scripted is a server that answers the list of refs honestly and each POST by post.
func scripted(post http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			service := r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:]
			w.Header().Set("Content-Type", "application/x-"+service+"-result")
			post(w, r)
			return
		}
		service, caps := r.URL.Query().Get("service"), readCaps
		if service == string(ReceivePack) {
			caps = writeCaps
		}
		w.Header().Set("Content-Type", "application/x-"+service+"-advertisement")
		lines := pktline.NewWriter(w)
		_ = lines.Text("# service=" + service)
		_ = lines.Flush()
		_, _ = io.WriteString(w, advertised(caps))
	}
}

var update = Push{Commands: []Command{{"refs/heads/main", id1, id2}}}

func small(w io.Writer) error { _, err := io.WriteString(w, "PACK"); return err }

func TestRefusalsOfAServer(t *testing.T) {
	other := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the redirect was followed") }))
	defer other.Close()
	echo := func(w http.ResponseWriter, r *http.Request, status int) {
		_, password, _ := r.BasicAuth()
		http.Error(w, "no way \x1b[31m for "+r.Header.Get("Authorization")+" "+password, status)
	}
	for name, c := range map[string]struct {
		serve http.HandlerFunc
		want  error
		words string
	}{
		"unauthorized": {func(w http.ResponseWriter, r *http.Request) { echo(w, r, 401) }, ErrAuth, "no way"},
		"forbidden":    {func(w http.ResponseWriter, r *http.Request) { echo(w, r, 403) }, ErrAuth, "403"},
		"not found":    {func(w http.ResponseWriter, r *http.Request) { echo(w, r, 404) }, ErrNotFound, "404"},
		"broken":       {func(w http.ResponseWriter, r *http.Request) { echo(w, r, 502) }, ErrUnreachable, "502"},
		"redirect": {func(w http.ResponseWriter, r *http.Request) {
			_, password, _ := r.BasicAuth()
			http.Redirect(w, r, other.URL+"/"+password, http.StatusMovedPermanently)
		}, ErrProtocol, "127.0.0.1"},
		"web page": {func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "<html>") }, ErrProtocol, "text/html"},
		"silence":  {func(w http.ResponseWriter, r *http.Request) { panic(http.ErrAbortHandler) }, ErrUnreachable, "no answer"},
		"huge head": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X", strings.Repeat("x", 2*maxHead))
		}, ErrProtocol, "larger"},
		"1xx": {func(w http.ResponseWriter, r *http.Request) {
			for range 20 {
				w.WriteHeader(http.StatusEarlyHints)
			}
		}, ErrProtocol, "1xx"},
		"dumb": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/x-git-upload-pack-advertisement")
			_, _ = io.WriteString(w, id1+"\trefs/heads/main\n")
		}, ErrProtocol, "service="},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := served(t, "/x.git", c.serve).Refs(context.Background(), UploadPack)
			if !errors.Is(err, c.want) || !strings.Contains(fmt.Sprint(err), c.words) {
				t.Errorf("%v, want %v with %q", err, c.want, c.words)
			}
			if text := fmt.Sprint(err); strings.Contains(text, token) || strings.Contains(text, "eC1hY2Nlc3M") || strings.Contains(text, "\x1b") {
				t.Errorf("the words show a secret or an escape: %q", text)
			}
		})
	}
}

func TestCertificateThatIsNotTrusted(t *testing.T) {
	r := served(t, "/x.git", scripted(nil))
	r.auth.Roots = x509.NewCertPool()
	if _, err := r.Refs(context.Background(), UploadPack); !errors.Is(err, ErrCertificate) || errors.Is(err, ErrHostKey) {
		t.Errorf("%v", err)
	}
}

func TestSuffixIsKeptAsWritten(t *testing.T) {
	for _, path := range []string{"/a/b.git", "/a/b", "/a%2Fb/c"} {
		got := ""
		_, _ = served(t, path, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = r.RequestURI })).Refs(context.Background(), UploadPack)
		if got != path+"/info/refs?service=git-upload-pack" {
			t.Errorf("asked for %s", got)
		}
	}
}

func TestLargePushIsProbedFirst(t *testing.T) {
	var bodies []int64
	r := served(t, "/x.git", scripted(func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		bodies = append(bodies, n)
		w.WriteHeader(http.StatusForbidden)
	}))
	_, err := r.Push(context.Background(), update, func(w io.Writer) error {
		for range 64 {
			if _, err := w.Write(make([]byte, 1<<20)); err != nil {
				return err
			}
		}
		return nil
	}, nil)
	if !errors.Is(err, ErrAuth) || errors.Is(err, ErrUnsure) || !slices.Equal(bodies, []int64{4}) {
		t.Errorf("%v, bodies %v", err, bodies)
	}
}

func TestLargeNegotiationIsCompressed(t *testing.T) {
	got := 0
	r := served(t, "/x.git", scripted(func(w http.ResponseWriter, r *http.Request) {
		z, err := gzip.NewReader(r.Body)
		if err != nil || r.Header.Get("Content-Encoding") != "gzip" {
			t.Errorf("not compressed: %v", err)
			return
		}
		text, _ := io.ReadAll(z)
		got = strings.Count(string(text), "want ")
		_, _ = io.WriteString(w, "0008NAK\n0009\x01PACK0000")
	}))
	var want []string
	for i := range 100 {
		want = append(want, fmt.Sprintf("%040x", i+1))
	}
	var pack bytes.Buffer
	if err := r.Fetch(context.Background(), want, nil, &pack, nil); err != nil || got != 100 || pack.String() != "PACK" {
		t.Errorf("%v, %d wants, pack %q", err, got, pack.String())
	}
}

func TestAnswersOfHostileServers(t *testing.T) {
	status := func(report string) string {
		var out bytes.Buffer
		w := pktline.NewWriter(&out)
		_, _ = w.Band(pktline.Main, pktline.SideBand64K).Write([]byte(report))
		_ = w.Flush()
		return out.String()
	}
	for name, c := range map[string]struct {
		answer string
		want   error
		unsure bool
	}{
		"nothing":             {"", ErrUnreachable, true},
		"cut off":             {status("000eunpack ok\n"), ErrUnreachable, true},
		"cut off in a line":   {status("000eunpa"), ErrUnreachable, true},
		"no pkt-line":         {"hello", ErrProtocol, true},
		"no report":           {status("0000"), ErrProtocol, true},
		"report of others":    {status("0017ok refs/heads/main\n0000"), ErrProtocol, true},
		"endless report":      {status("000eunpack ok\n" + strings.Repeat("000aok xx\n", 500)), ErrProtocol, true},
		"last words":          {"0010\x03disk full!\n", ErrRefused, false},
		"band out of nowhere": {"0006\x07x", ErrProtocol, true},
	} {
		t.Run(name, func(t *testing.T) {
			r := served(t, "/x.git", scripted(func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				_, _ = io.WriteString(w, c.answer)
			}))
			report, err := r.Push(context.Background(), update, small, nil)
			if !errors.Is(err, c.want) || errors.Is(err, ErrUnsure) != c.unsure || report.accepts() {
				t.Errorf("push: %+v %v", report, err)
			}
			if err := r.Fetch(context.Background(), []string{id1}, nil, io.Discard, nil); err == nil {
				t.Error("fetch: no error")
			}
		})
	}
	t.Run("unreported ref", func(t *testing.T) {
		r := served(t, "/x.git", scripted(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			_, _ = io.WriteString(w, status("000eunpack ok\n0018ok refs/heads/other\n0000"))
		}))
		report, err := r.Push(context.Background(), update, small, nil)
		if err != nil || report.Refs[0].OK || report.Refs[0].Message != silence {
			t.Errorf("%+v %v", report, err)
		}
	})
}

func TestSuccessBeforeAllWasSentIsNone(t *testing.T) {
	run := func(_ string, ch ssh.Channel) uint32 {
		_, _ = io.WriteString(ch, advertised("report-status"))
		_, _ = io.ReadFull(ch, make([]byte, 4)) // the request has begun
		_, _ = io.WriteString(ch, "000eunpack ok\n0017ok refs/heads/main\n0000")
		return 0
	}
	stop := make(chan struct{})
	defer close(stop)
	_, err := startSSH(t, "ed25519", "ed25519", run).remote(t, "x").Push(context.Background(), update, func(w io.Writer) error {
		_, _ = w.Write(make([]byte, 128<<10))
		<-stop
		return nil
	}, nil)
	if err == nil {
		t.Error("taken for a success")
	}
}

func TestWrongHostKey(t *testing.T) {
	for _, kind := range []string{"ed25519", "ecdsa"} {
		s := startSSH(t, kind, "ed25519", gitShell(t))
		_, stranger := keys(t, "ed25519")
		real := s.host
		s.host = stranger
		_, err := s.remote(t, "x").Refs(context.Background(), UploadPack)
		text := fmt.Sprint(err)
		if !errors.Is(err, ErrHostKey) || !strings.Contains(text, ssh.FingerprintSHA256(real)) || !strings.Contains(text, ssh.FingerprintSHA256(stranger)) {
			t.Errorf("%s: %v", kind, err)
		}
	}
}

func TestKeyThatIsNotLetIn(t *testing.T) {
	s := startSSH(t, "ed25519", "ed25519", gitShell(t))
	var public ssh.PublicKey
	s.private, public = keys(t, "ed25519")
	_, err := s.remote(t, "x").Refs(context.Background(), UploadPack)
	if !errors.Is(err, ErrAuth) || !strings.Contains(fmt.Sprint(err), ssh.FingerprintSHA256(public)) {
		t.Errorf("%v", err)
	}
}

func TestKindsOfKeys(t *testing.T) {
	_, bare := repository(t)
	for _, kind := range []string{"ed25519", "ecdsa", "rsa"} {
		if _, err := startSSH(t, kind, kind, gitShell(t)).remote(t, bare).Refs(context.Background(), ReceivePack); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
	}
}

func TestServiceThatEndsWithWords(t *testing.T) {
	s := startSSH(t, "ed25519", "ed25519", func(command string, ch ssh.Channel) uint32 {
		if command != `git-upload-pack 'it'\''s here'\!'.git'` {
			t.Errorf("ran %s", command)
		}
		_, _ = io.WriteString(ch.Stderr(), "ERROR: no\x1b[2J such thing\n"+strings.Repeat("x", 1<<20))
		return 1
	})
	_, err := s.remote(t, "it's here!.git").Refs(context.Background(), UploadPack)
	if text := fmt.Sprint(err); !errors.Is(err, ErrNotFound) || !strings.Contains(text, "such thing") || strings.Contains(text, "\x1b") || len(text) > 1000 {
		t.Errorf("%.300v", err)
	}
}

func TestServerThatFallsSilent(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0") // it accepts, and never says a word
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	hang := make(chan struct{})
	defer close(hang)
	private, public := keys(t, "ed25519")
	mute, err := New("git@h:x", Auth{SSHKey: bytesOf(private), HostKey: line(public)}, to(listener.Addr().String()), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	for name, r := range map[string]*Remote{
		"tls or ssh": mute,
		"http":       served(t, "/x", http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })),
		"service": startSSH(t, "ed25519", "ed25519", func(string, ssh.Channel) uint32 {
			<-hang
			return 0
		}).remote(t, "x"),
	} {
		begun := time.Now()
		_, err := shorter(r, 300*time.Millisecond).Refs(context.Background(), UploadPack)
		if !errors.Is(err, ErrUnreachable) || time.Since(begun) > 5*time.Second {
			t.Errorf("%s: %v after %v", name, err, time.Since(begun))
		}
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		if _, err := r.Refs(ctx, UploadPack); !errors.Is(err, ErrUnreachable) {
			t.Errorf("%s, given up: %v", name, err)
		}
		cancel()
	}
}

func TestNegotiation(t *testing.T) {
	for name, c := range map[string]struct {
		first  string // the answer to the first round
		asked  int    // how many rounds of ids are taken
		errors bool
	}{
		"ready":          {"0038ACK " + id1 + " common\n0037ACK " + id1 + " ready\n0008NAK\n", 2, false},
		"nothing common": {"0008NAK\n", 4, false},
		"id never sent":  {"0038ACK " + id2 + " common\n0008NAK\n", 1, true},
		"more after NAK": {"0008NAK\n0008NAK\n", 1, true},
		"no end":         {"0038ACK " + id1 + " common\n", 1, true},
	} {
		rounds, asked := 0, 0
		r := served(t, "/x.git", scripted(func(w http.ResponseWriter, r *http.Request) {
			text, _ := io.ReadAll(r.Body)
			if rounds++; rounds == 1 {
				_, _ = io.WriteString(w, c.first)
			} else if bytes.HasSuffix(text, []byte("done\n")) {
				_, _ = io.WriteString(w, "0008NAK\n0009\x01PACK0000")
			} else {
				_, _ = io.WriteString(w, "0008NAK\n")
			}
		}))
		err := r.Fetch(context.Background(), []string{id2}, func(yield func([]string) bool) {
			for i := range 4 {
				if asked++; !yield([]string{strings.Repeat(fmt.Sprint([]int{1, 3, 4, 5}[i]), 40)}) {
					return
				}
			}
		}, io.Discard, nil)
		if (err != nil) != c.errors || asked != c.asked {
			t.Errorf("%s: %v, %d rounds", name, err, asked)
		}
	}
}

func TestNoRefIsUpdatedByAPackThatWasRefused(t *testing.T) {
	report, err := readReport(update, pktline.NewReader(strings.NewReader("0013unpack no disk\n0017ok refs/heads/main\n0000")), printable)
	if err != nil || report.Refs[0].OK {
		t.Errorf("%+v %v", report, err)
	}
}

// TestEchoedCredentialIsInNoWords: the weakness: a server repeats what it got. The attack:
// where the gate quotes it, whole, in another spelling or cut in the middle, the agent
// reads the gateway's credential. This proves that no error, report or progress has it.
func TestEchoedCredentialIsInNoWords(t *testing.T) {
	token := "ghs_4Wq9Zr1Lm8/Tx2Yv6+Nb3Kc7" + strings.Repeat("0123456789", 12)
	got := func(r *http.Request) string { _, p, _ := r.BasicAuth(); return p }
	listing := func(line string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/x-git-receive-pack-advertisement")
			l := pktline.NewWriter(w)
			_ = l.Text("# service=git-receive-pack")
			_ = l.Flush()
			_ = l.Text(line + got(r))
		}
	}
	answering := func(write func(w *pktline.Writer, token string)) http.HandlerFunc {
		return scripted(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			write(pktline.NewWriter(w), got(r))
		})
	}
	report := func(form string) http.HandlerFunc {
		return answering(func(w *pktline.Writer, token string) {
			var b bytes.Buffer
			l := pktline.NewWriter(&b)
			for line := range strings.SplitSeq(strings.ReplaceAll(form, "TOKEN", token), "\n") {
				_ = l.Text(line)
			}
			_ = l.Flush()
			_, _ = w.Band(pktline.Main, pktline.SideBand64K).Write(b.Bytes())
			_ = w.Flush()
		})
	}
	long := strings.Repeat("x", 500-len(token)+1)
	for name, serve := range map[string]http.HandlerFunc{
		"content type": func(w http.ResponseWriter, r *http.Request) { w.Header().Set("Content-Type", got(r)) },
		"a cut location": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", long+got(r))
			w.WriteHeader(302)
		},
		"an escaped location": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", "https://x.example/?t="+url.QueryEscape(got(r)))
			w.WriteHeader(302)
		},
		"words that are cut": func(w http.ResponseWriter, r *http.Request) {
			http.Error(w, strings.Repeat(got(r)+" ", maxWords/len(token)+1), http.StatusForbidden)
		},
		"a status line": func(w http.ResponseWriter, r *http.Request) {
			c, _, _ := w.(http.Hijacker).Hijack()
			_, _ = io.WriteString(c, "HTTP/1.1 "+got(r)+" x\r\n\r\n")
			_ = c.Close()
		},
		"ERR":                  listing("ERR no access with "),
		"a cut ERR":            listing("ERR " + long),
		"no ref":               listing("bad credentials: "),
		"an object format":     listing(id1 + " refs/heads/main\x00object-format="),
		"a report's refusal":   report("unpack ok\nng refs/heads/main " + long + "TOKEN"),
		"a report's beginning": report("unpack " + long + "TOKEN"),
		"a report's error":     report("ERR " + long + "TOKEN"),
		"no report":            report("what is TOKEN"),
		"last words":           answering(func(w *pktline.Writer, token string) { _ = w.Line([]byte("\x03" + long + token)) }),
		"progress": answering(func(w *pktline.Writer, token string) {
			for _, part := range []string{"you are ", token[:9], token[9:12], token[12:] + "\n"} {
				_ = w.Line([]byte("\x02" + part))
			}
			_ = w.Flush()
		}),
	} {
		t.Run(name, func(t *testing.T) {
			r := served(t, "/app.git", serve)
			r.auth.Reveal = reveal(token)
			var words bytes.Buffer
			report, err := r.Push(context.Background(), update, small, &words)
			text := fmt.Sprintf("%v %v %s", report, err, words.String())
			for _, part := range []string{token[:len(token)-1], token[:10], token[12:], url.QueryEscape(token), url.QueryEscape(token)[12:]} {
				if strings.Contains(text, part) {
					t.Errorf("%q shows %q", text, part)
				}
			}
			if !strings.Contains(text, "***") {
				t.Errorf("the server repeated nothing: %s", text)
			}
		})
	}
}
