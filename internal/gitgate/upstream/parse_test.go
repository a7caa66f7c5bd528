package upstream

import (
	"bytes"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"bottle/internal/gitgate/pktline"
	"bottle/internal/gitgate/ref"
)

func TestURLs(t *testing.T) {
	for text, want := range map[string]address{
		"https://h.example/a/b.git/":   {host: "h.example", port: 443, path: "/a/b.git"},
		"https://h.example:8443/a%20b": {host: "h.example", port: 8443, path: "/a%20b"},
		"ssh://h.example/a.git":        {ssh: true, user: "git", host: "h.example", port: 22, path: "/a.git"},
		"ssh://me@h.example:2222/~u/a": {ssh: true, user: "me", host: "h.example", port: 2222, path: "~u/a"},
		"git@h.example:a/b.git":        {ssh: true, user: "git", host: "h.example", port: 22, path: "a/b.git"},
		"git@[::1]:/a":                 {ssh: true, user: "git", host: "::1", port: 22, path: "/a"},
	} {
		if got, err := parse(text); err != nil || got != want {
			t.Errorf("%s: %+v %v", text, got, err)
		}
	}
	for _, text := range []string{
		"", "http://h/a", "git://h/a", "file:///a", "ext::sh -c x", "/a", "h:a", "https://u:pass-word@h/a", "https://u@h/a", "https://h/a?b", "https://h/a#b",
		"https://h/", "https://h", "https://h:0/a", "https://h:70000/a", "ssh://-oProxyCommand=x@h/a", "ssh://-h/a", "git@-h:a", "git@h:-a", "git@h:", "git@h:a\nb", "ssh://h/a\x00",
	} {
		if got, err := parse(text); !errors.Is(err, ErrConfig) || strings.Contains(fmt.Sprint(err), "pass-word") {
			t.Errorf("%q: %+v %v", text, got, err)
		}
	}
}

func TestKeysThatCannotBeUsed(t *testing.T) {
	private, public := keys(t, "ed25519")
	raw, err := ssh.ParseRawPrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	locked, err := ssh.MarshalPrivateKeyWithPassphrase(raw, "", []byte("phrase"))
	if err != nil {
		t.Fatal(err)
	}
	for words, text := range map[string][]byte{"passphrase": pem.EncodeToMemory(locked), "no private key": []byte(line(public))} {
		r, err := New("git@h:x", Auth{SSHKey: bytesOf(text), HostKey: line(public)}, to(""), Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.signer(); !errors.Is(err, ErrConfig) || !strings.Contains(fmt.Sprint(err), words) {
			t.Errorf("%v, want %q", err, words)
		}
	}
	for _, pinned := range []string{"", "ssh-ed25519 AAAA", "SHA256:abc", "ssh-dss AAAAB3NzaC1kc3M="} {
		if _, err := New("git@h:x", Auth{SSHKey: bytesOf(private), HostKey: pinned}, to(""), Limits{}); !errors.Is(err, ErrConfig) {
			t.Errorf("host key %q: %v", pinned, err)
		}
	}
	if _, err := New("git@h:x", Auth{HostKey: line(public)}, to(""), Limits{}); !errors.Is(err, ErrConfig) {
		t.Errorf("no key: %v", err)
	}
	for _, secret := range []string{"", "a\nb", "a\r\nX-Other: 1"} {
		if _, err := (Auth{Reveal: reveal(secret)}).login(); !errors.Is(err, ErrConfig) {
			t.Errorf("secret %q: %v", secret, err)
		}
	}
}

// adverts builds a list of refs of lines, of which the first has the capabilities.
func adverts(lines ...string) string {
	var out bytes.Buffer
	w := pktline.NewWriter(&out)
	for _, l := range lines {
		_ = w.Text(l)
	}
	_ = w.Flush()
	return out.String()
}

func TestAdverts(t *testing.T) {
	limits := Limits{AdvertBytes: 2000, Refs: 3}
	read := func(text string) (Advert, error) { return readAdvert(strings.NewReader(text), limits, printable) }

	a, err := read(adverts(zero + " capabilities^{}\x00report-status push-cert=17-abc"))
	if err != nil || len(a.Refs) != 0 || a.PushCertNonce != "17-abc" || !a.Has("report-status") {
		t.Errorf("empty: %+v %v", a, err)
	}
	a, err = read(adverts(
		id1+" HEAD\x00symref=HEAD:refs/heads/../../x", id1+" refs/heads/a\ndelete refs/heads/main", id1+" refs/heads/../x", id1+" refs/heads/a b", id1+" refs/heads/a\x01b", id1+" ../../config",
		id1+" refs/heads/ok", id2+" refs/heads/ok", id2+" .have", id2+" refs/heads/x.lock", "shallow "+id2))
	if err != nil || len(a.Refs) != 2 || a.Refs[1] != (Ref{Name: "refs/heads/ok", ID: id1}) || a.Refs[0].Target != "" || !a.Shallow {
		t.Errorf("names that must not pass: %+v %v", a, err)
	}
	for name, text := range map[string]string{
		"too many":    adverts(id1+" refs/a\x00", id1+" refs/b", id1+" refs/c", id1+" refs/d"),
		"too large":   adverts(id1 + " refs/a\x00" + strings.Repeat("x ", 2000)),
		"short id":    adverts("1234 refs/heads/a\x00"),
		"other id":    adverts(strings.Repeat("G", 40) + " refs/heads/a\x00"),
		"odd format":  adverts(id1 + " refs/heads/a\x00object-format=md5"),
		"sha1 as 256": adverts(id1 + " refs/heads/a\x00object-format=sha256"),
		"protocol v2": "000eversion 2\n0000",
		"delimiter":   "0001",
		"not git":     "<html></html>",
	} {
		if _, err := read(text); !errors.Is(err, ErrProtocol) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := read("0013ERR no access\n\n"); !errors.Is(err, ErrNotFound) || !strings.Contains(fmt.Sprint(err), "no access") {
		t.Errorf("ERR: %v", err)
	}
	if _, err := read(strings.TrimSuffix(adverts(id1+" refs/a\x00"), "0000")); !errors.Is(err, ErrUnreachable) {
		t.Errorf("cut off: %v", err)
	}
}

func TestWhatAnUpstreamCannotDoIsToldBeforehand(t *testing.T) {
	s := &Session{Advert: Advert{ObjectFormat: "sha1", Capabilities: []string{"report-status"}}}
	for words, p := range map[string]Push{
		"atomic":  {Commands: update.Commands, Atomic: true},
		"options": {Commands: update.Commands, Options: []string{"x"}},
		"delete":  {Commands: []Command{{"refs/heads/a", id1, zero}}},
		"signed":  {Commands: update.Commands, Cert: []byte("certificate version 0.1\n")},
	} {
		if _, err := s.agreed(p); !errors.Is(err, ErrRefused) || !strings.Contains(fmt.Sprint(err), words) {
			t.Errorf("%s: %v", words, err)
		}
	}
	for _, p := range []Push{
		{}, {Commands: []Command{{"refs/heads/a b", id1, id2}}}, {Commands: []Command{{"refs/heads/a", "x", id2}}}, {Commands: []Command{{"refs/heads/a", zero, zero}}},
		{Commands: update.Commands, Options: []string{"a\nb"}},
	} {
		if _, err := s.agreed(p); !errors.Is(err, ErrConfig) {
			t.Errorf("%+v: %v", p, err)
		}
	}
}

func TestCertificateIsSentAsMade(t *testing.T) {
	var out bytes.Buffer
	p := Push{Commands: update.Commands, Cert: []byte("certificate version 0.1\nnonce 1\n\nsig\n"), Options: []string{"o"}}
	if err := p.write(&out, "report-status"); err != nil {
		t.Fatal(err)
	}
	r, got := pktline.NewReader(&out), ""
	for {
		l, kind, err := r.Next()
		if err == io.EOF {
			break
		}
		if kind == pktline.Flush {
			l = []byte("|")
		}
		got += string(l)
	}
	if want := "push-cert\x00 report-status\ncertificate version 0.1\nnonce 1\n\nsig\npush-cert-end\n|o|"; got != want {
		t.Errorf("%q", got)
	}
}

func FuzzAdvert(f *testing.F) {
	f.Add([]byte(advertised(readCaps)))
	f.Add([]byte(adverts(id1+" HEAD\x00symref=HEAD:refs/heads/main object-format=sha1", id1+" refs/tags/v", id2+" refs/tags/v^{}", "shallow "+id1)))
	f.Fuzz(func(t *testing.T, in []byte) {
		a, err := readAdvert(bytes.NewReader(in), Limits{AdvertBytes: 1 << 16, Refs: 100}, printable)
		if err != nil {
			return
		}
		seen := map[string]bool{}
		for _, r := range a.Refs {
			if seen[r.Name] || !a.isID(r.ID) || r.Name != "HEAD" && !ref.Valid(r.Name) || r.Peeled != "" && !a.isID(r.Peeled) || r.Target != "" && !ref.Valid(r.Target) {
				t.Errorf("%q gave %+v", in, r)
			}
			seen[r.Name] = true
		}
	})
}

func FuzzReport(f *testing.F) {
	f.Add([]byte("000eunpack ok\n0017ok refs/heads/main\n0000"))
	f.Add([]byte("000eunpack ok\n0024ng refs/heads/main denied by me\n0000"))
	f.Fuzz(func(t *testing.T, in []byte) {
		report, err := readReport(update, pktline.NewReader(bytes.NewReader(in)), printable)
		if err != nil {
			return
		}
		if len(report.Refs) != 1 || report.Refs[0].Ref != "refs/heads/main" || report.Unpack == "" || report.Refs[0].OK && report.Unpack != "ok" {
			t.Errorf("%q gave %+v", in, report)
		}
		if text := report.Unpack + report.Refs[0].Message; strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			t.Errorf("%q gave a control character: %q", in, text)
		}
	})
}

func TestSchemesOfAuth(t *testing.T) {
	for want, a := range map[string]Auth{
		"Bearer abc":                     {Scheme: "Bearer", Reveal: reveal("abc")},
		"token abc":                      {Scheme: "token", Reveal: reveal(" abc")},
		"Basic bWU6YTpj":                 {Username: "other", Reveal: reveal("me:a:c")},
		"Basic bWU6YWJj":                 {Username: "me", Reveal: reveal("abc")},
		"Basic eC1hY2Nlc3MtdG9rZW46YWJj": {Reveal: reveal("abc")},
		"":                               {},
	} {
		l, err := a.login()
		h := map[string][]string{}
		l.show(h)
		if err != nil || strings.Join(h["Authorization"], "") != want {
			t.Errorf("%v %v, want %q", h, err, want)
		}
	}
	h := map[string][]string{}
	l, err := Auth{Scheme: "header", Header: "Private-Token", Reveal: reveal("abc")}.login()
	if l.show(h); err != nil || len(h) != 1 || strings.Join(h["Private-Token"], "") != "abc" {
		t.Errorf("%v %v", h, err)
	}
	for _, a := range []Auth{{Scheme: "Digest", Reveal: reveal("abc")}, {Scheme: "header", Reveal: reveal("abc")}} {
		if l, err := a.login(); err == nil || l.set() {
			t.Errorf("the scheme %q is taken", a.Scheme)
		}
	}
	if l, _ := (Auth{Reveal: reveal("me:passw0rd")}).login(); l.hide("passw0rd "+l.value) != "*** Basic ***" {
		t.Errorf("shown: %s", l.hide("passw0rd "+l.value))
	}
}
