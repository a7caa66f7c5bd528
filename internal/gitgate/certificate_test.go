package gitgate

import (
	"bytes"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"bottle/internal/bottle"
	"bottle/internal/gitgate/upstream"
	"bottle/test/require"
)

// send posts a push that is made of these lines, of which an empty one is a flush packet,
// and of a pack.
func (w *world) send(pack []byte, lines ...string) string {
	w.t.Helper()
	var b bytes.Buffer
	for _, l := range lines {
		if l == "" {
			b.WriteString("0000")
		} else {
			b.WriteString(pkt(l))
		}
	}
	b.Write(pack)
	answer, err := w.post(&b)
	if err != nil {
		w.t.Fatal(err)
	}
	return answer
}

// TestCertificateIsNotReadAnewByUpstream: the weakness: upstream's git looks for the
// commands of a certificate by rules of its own. The attack: an empty first line, a line
// that begins a signature for the gate alone, or a certificate that ends and begins again,
// and behind it commands that nobody judged. This proves, with git's own server, that
// nothing of it is sent, and that what git itself signs is.
func TestCertificateIsNotReadAnewByUpstream(t *testing.T) {
	w := newWorld(t, "https", func(_ *limits, r *bottle.Repo) { r.Push.Branches = []string{"agent/*"} })
	w.git(w.bare, "config", "receive.certNonceSeed", "seed")
	old := w.ref("refs/heads/trunk")
	w.git(w.bare, "branch", "doomed", "trunk")
	evil := w.write(w.work, "evil", "evil\n")
	pack, before := w.pack(evil), w.state()
	good, first := zeroID+" "+evil+" refs/heads/agent/ok\n", "push-cert\x00report-status"
	bad := []string{"\n", old + " " + evil + " refs/heads/trunk\n", old + " " + zeroID + " refs/heads/doomed\n", "push-cert-end\n", ""}
	for name, head := range map[string][]string{
		"an empty first line":      {first, "\n", good, "-----BEGIN FOO-----\n"},
		"an end and a new begin":   {first, "push-cert-end\n", "push-cert\n", "\n", good, "-----BEGIN FOO-----\n"},
		"the same behind its head": {first, certVersion, "push-cert-end\n", "push-cert\n", "\n", good, "-----BEGIN FOO-----\n"},
		"a signature of its own":   {first, certVersion, "\n", good, "-----BEGIN FOO-----\n"},
	} {
		answer := w.send(pack, append(head, bad...)...)
		if strings.Contains(answer, "ok refs") || w.posted.Load() != 0 || w.ref("refs/heads/trunk") != old || w.ref("refs/heads/doomed") != old {
			t.Errorf("%s: %q; %d pushes, upstream has\n%s\nand had\n%s", name, answer, w.posted.Load(), w.state(), before)
		}
	}
	key := filepath.Join(w.root, "key")
	if out, err := exec.Command(require.Tool(t, "ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-f", key).CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	if out, err := w.try(w.work, "-c", "gpg.format=ssh", "-c", "user.signingkey="+key, "push", "--signed", "origin", "HEAD:refs/heads/agent/signed"); err != nil || w.ref("refs/heads/agent/signed") != evil {
		t.Errorf("git's own: %v %s", err, out)
	}
	w.rests()
}

// FuzzCertificate: whatever the gate takes, git reads the same commands out of what
// upstream is sent.
func FuzzCertificate(f *testing.F) {
	a, b := zeroID+" "+twoID+" refs/heads/a\n", oneID+" "+zeroID+" refs/heads/b\n"
	const begin = "-----BEGIN SSH SIGNATURE-----\n"
	for _, lines := range [][]string{
		{certVersion, "pusher a 1 +0000\n", "nonce 1-x\n", "push-option x\n", "\n", a, b, begin, "AAAA\n", "-----END SSH SIGNATURE-----\n"},
		{certVersion, "\n", a, begin, "\n", b},
		{"\n", a, "-----BEGIN FOO-----\n", "\n", b},
		{certVersion, "push-cert-end\n", "push-cert\n", "\n", a, begin},
		{certVersion, "\n", a, "\n", b, begin, "-----BEGIN PGP MESSAGE-----\n"},
		{certVersion, "\n", "shallow " + oneID + "\n", a, begin},
	} {
		f.Add(strings.Join(lines, ""))
	}
	f.Fuzz(func(t *testing.T, text string) {
		lines := []string{"push-cert\x00report-status"}
		for l := range strings.Lines(text) {
			if len(l) > 60_000 {
				return
			}
			lines = append(lines, l)
		}
		p, err := asked(t, &repo{}, append(lines, "push-cert-end\n", "")...)
		if err != nil {
			return
		}
		var sent []string // as the upstream side of the gate cuts it
		for l := range bytes.Lines(p.asked.Cert) {
			sent = append(sent, string(l))
		}
		if got := gitReads(append(sent, "push-cert-end\n")); !slices.Equal(got, p.asked.Commands) {
			t.Errorf("git reads %q, the gate %q", got, p.asked.Commands)
		}
	})
}

// gitReads gives the commands that git's receive-pack finds in the packets behind
// "push-cert" (read_head_info, queue_commands_from_cert, parse_signed_buffer). It dies of a
// line that is no command; here that is a command with no ref.
func gitReads(packets []string) (out []upstream.Command) {
	queue := func(line string) {
		f := strings.SplitN(strings.TrimSuffix(line, "\n"), " ", 3)
		if len(f) != 3 {
			f = []string{line, "", ""}
		}
		out = append(out, upstream.Command{Old: f[0], New: f[1], Ref: f[2]})
	}
	var cert string
	inside := true
	for _, l := range packets {
		switch {
		case inside && l == "push-cert-end\n":
			inside = false
		case inside:
			cert += l
		case strings.TrimSuffix(l, "\n") == "push-cert":
			inside = true
		default:
			queue(l)
		}
	}
	begin := strings.Index(cert, "\n\n") + 2
	end, at := len(cert), 0
	for at < len(cert) {
		for _, sig := range []string{"-----BEGIN PGP SIGNATURE-----", "-----BEGIN PGP MESSAGE-----", "-----BEGIN SIGNED MESSAGE-----", "-----BEGIN SSH SIGNATURE-----"} {
			if strings.HasPrefix(cert[at:], sig) {
				end = at
			}
		}
		n := strings.IndexByte(cert[at:], '\n') + 1
		if n == 0 {
			n = len(cert) - at
		}
		at += n
	}
	for begin < end {
		line, _, _ := strings.Cut(cert[begin:end], "\n")
		queue(line)
		begin += len(line) + 1
	}
	return out
}
