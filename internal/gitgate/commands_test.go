package gitgate

import (
	"bytes"
	"strings"
	"testing"

	"bottle/internal/bottle"
	"bottle/internal/gitgate/pktline"
)

const (
	zeroID = "0000000000000000000000000000000000000000"
	oneID  = "1111111111111111111111111111111111111111"
	twoID  = "2222222222222222222222222222222222222222"
)

// asked reads a push that is made of these lines; an empty one is a flush packet.
func asked(t *testing.T, r *repo, lines ...string) (*push, error) {
	t.Helper()
	var b bytes.Buffer
	w := pktline.NewWriter(&b)
	for _, l := range lines {
		err := error(nil)
		if l == "" {
			err = w.Flush()
		} else {
			err = w.Line([]byte(l))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	p := &push{r: r, lines: pktline.NewReader(&b)}
	return p, p.read()
}

func TestCommandsOfAPush(t *testing.T) {
	p, err := asked(t, &repo{}, "shallow "+oneID+"\n", zeroID+" "+twoID+" refs/heads/a\x00report-status side-band-64k push-options", oneID+" "+zeroID+" refs/heads/b\n", "", "ci.skip\n", "")
	if err != nil || len(p.asked.Commands) != 2 || p.asked.Commands[0].Ref != "refs/heads/a" || !p.banded || len(p.shallow) != 1 || p.asked.Options[0] != "ci.skip" {
		t.Errorf("%+v %v", p.asked, err)
	}
	for name, lines := range map[string][]string{
		"shallow behind a command": {zeroID + " " + twoID + " refs/heads/a\x00x", "shallow " + oneID + "\n", ""},
		"no id":                    {"0 1 refs/heads/a\x00x", ""},
		"two lengths":              {zeroID + " " + twoID + "22222222222222222222222 refs/heads/a\x00x", ""},
		"no ref":                   {zeroID + " " + twoID + "\x00x", ""},
		"no flush":                 {zeroID + " " + twoID + " refs/heads/a\x00x"},
	} {
		if p, err := asked(t, &repo{}, lines...); err == nil {
			t.Errorf("%s: %+v", name, p.asked)
		}
	}
}

// TestCertificateHidesNoCommand: the weakness: the gate judges the commands that it reads
// in a push certificate, and upstream reads them anew. The attack: a certificate that the
// two read in different ways. This proves that such a one is refused.
func TestCertificateHidesNoCommand(t *testing.T) {
	const begin, end = "-----BEGIN SSH SIGNATURE-----\n", "-----END SSH SIGNATURE-----\n"
	head := []string{"push-cert\x00report-status", "certificate version 0.1\n", "pusher a <a@example.com> 1 +0000\n", "nonce 1-x\n", "\n"}
	good := zeroID + " " + twoID + " refs/heads/agent/a\n"
	bad := zeroID + " " + twoID + " refs/heads/main\n"
	of := func(lines ...string) []string { return append(append([]string{}, head...), lines...) }
	p, err := asked(t, &repo{}, of(good, begin, "AAAA\n", end, "push-cert-end\n", "")...)
	if err != nil || len(p.asked.Commands) != 1 || p.asked.Commands[0].Ref != "refs/heads/agent/a" || !strings.HasSuffix(string(p.asked.Cert), end) || !strings.HasPrefix(string(p.asked.Cert), "certificate") {
		t.Fatalf("%+v %v", p.asked, err)
	}
	for name, lines := range map[string][]string{
		"behind the first of two signatures": of(good, begin, bad, begin, "AAAA\n", end, "push-cert-end\n", ""),
		"beside the certificate":             append(of(good, begin, "AAAA\n", end, "push-cert-end\n"), bad, ""),
		"a signature before the commands":    {head[0], head[1], begin, "\n", bad, begin, "push-cert-end\n", ""},
		"two lines in one packet":            of(good, begin, "AAAA\n"+bad, end, "push-cert-end\n", ""),
		"no signature":                       of(good, "push-cert-end\n", ""),
		"no end":                             of(good, begin, ""),
		"no command":                         of("anything\n", begin, end, "push-cert-end\n", ""),
		"a blank line among the commands":    of(good, "\n", bad, begin, end, "push-cert-end\n", ""),
		"two certificates":                   append(of(good, begin, end, "push-cert-end\n"), of(bad, begin, end, "push-cert-end\n", "")...),
		"a NUL":                              of(good, begin, "A\x00A\n", end, "push-cert-end\n", ""),
		"an empty first line":                {head[0], "\n", good, begin, end, "push-cert-end\n", ""},
		"another version":                    {head[0], "certificate version 0.2\n", "\n", good, begin, end, "push-cert-end\n", ""},
		"an unknown line in its head":        {head[0], head[1], "push-cert-end\n", "push-cert\n", "\n", good, begin, end, "push-cert-end\n", ""},
		"a signature that git does not know": of(good, "-----BEGIN FOO-----\n", "\n", bad, "push-cert-end\n", ""),
		"a shallow commit in it":             of("shallow "+oneID+"\n", good, begin, end, "push-cert-end\n", ""),
		"one without commands, and another":  append(of(begin, end, "push-cert-end\n"), of(bad, begin, end, "push-cert-end\n", "")...),
		"a large one":                        of(append([]string{good, begin}, slicesOf(strings.Repeat("A", 60_000)+"\n", 6)...)...),
	} {
		if p, err := asked(t, &repo{}, lines...); err == nil {
			t.Errorf("%s: %+v", name, p.asked.Commands)
		}
	}
	if _, err := asked(t, &repo{at: bottle.Remote{Scheme: "ssh"}}, of(good, begin, end, "push-cert-end\n", "")...); err == nil {
		t.Error("a certificate for an upstream behind ssh is taken")
	}
}

func slicesOf(s string, n int) (out []string) {
	for range n {
		out = append(out, s)
	}
	return out
}
