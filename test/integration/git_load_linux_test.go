package integration

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"bottle/test/require"
)

func heavy(t *testing.T) {
	t.Helper()
	if testing.Short() || require.Race {
		t.Skip("large: it takes some minutes under the race detector, and the detector sees nothing of the programs that do the work")
	}
}

// TestGitGateCarries200MiB: a push of files that nothing makes smaller. Upstream has them
// byte for byte, and the gateway's memory does not grow with them.
func TestGitGateCarries200MiB(t *testing.T) {
	t.Parallel()
	heavy(t)
	p := newProof(t)
	w := p.clone("-c", "core.compression=0", "-c", "pack.window=0") // the client's own work is not what is looked at
	// The same ones each time: among random bytes there is one in some 2 GiB that looks encoded
	// deeper than the gate looks.
	noise, blob := rand.NewChaCha8([32]byte{1}), make([]byte, 20<<20)
	for i := range 10 {
		_, _ = noise.Read(blob) // never fails
		put(t, w, fmt.Sprint("blob", i), string(blob))
	}
	id := p.write(w, "last", "last", "200 MiB")
	before, began := p.peak(), time.Now()
	if out, err := p.try(w, "push", "origin", "HEAD:refs/heads/agent"); err != nil || p.ref("refs/heads/agent") != id {
		t.Fatalf("%v %s", err, out)
	}
	took, grown := time.Since(began), p.peak()-before
	t.Logf("200 MiB: %v through the gate, and the gateway grew by %d MiB to %d MiB", took.Round(time.Millisecond), grown>>10, p.peak()>>10)
	if grown > 64<<10 {
		t.Errorf("the gateway grew by %d MiB", grown>>10)
	}
	if got, want := p.direct(p.bare, "ls-tree", "-r", "agent"), p.direct(w, "ls-tree", "-r", "HEAD"); got != want {
		t.Errorf("upstream has %s, want %s", got, want)
	}
	began = time.Now()
	w2 := p.clone("--branch", "agent")
	t.Logf("cloned in %v, and the gateway's peak is %d MiB", time.Since(began).Round(time.Millisecond), p.peak()>>10)
	if got := p.direct(w2, "rev-parse", "HEAD"); got != id {
		t.Errorf("the gate serves %s", got)
	}
	p.sound(t)
}

// TestGitGateCarries20000Commits: a long history is judged commit by commit, and a secret
// in the middle of it is found.
func TestGitGateCarries20000Commits(t *testing.T) {
	t.Parallel()
	heavy(t)
	p := newProof(t)
	w := p.clone()
	history := func(ref, secret string) string {
		var b strings.Builder
		fmt.Fprintf(&b, "reset %s\nfrom %s\n\n", ref, p.ref("refs/heads/trunk"))
		for i := range 20_000 {
			text := fmt.Sprintf("line %d of a file that changes, and nothing else\n", i)
			if i == 10_000 {
				text += secret
			}
			message := fmt.Sprintf("commit %d\n", i)
			fmt.Fprintf(&b, "commit %s\nauthor a <a@b.example> %d +0000\ncommitter a <a@b.example> %d +0000\ndata %d\n%s\nM 100644 inline dir%d/file%d\ndata %d\n%s\n",
				ref, 1700000000+i, 1700000000+i, len(message), message, i%40, i%900, len(text), text)
		}
		p.feed(w, b.String(), "fast-import", "--quiet", "--force")
		return p.direct(w, "rev-parse", ref)
	}
	bad := history("refs/heads/bad", knownSecret)
	p.untouched(t, func() {
		if out, err := p.try(w, "push", "origin", bad+":refs/heads/agent"); err == nil || !strings.Contains(out, "1 problem") || !strings.Contains(out, "dir0/file100:2") {
			t.Errorf("%v %s", err, out)
		}
	})
	id := history("refs/heads/good", "")
	before, began := p.peak(), time.Now()
	if out, err := p.try(w, "push", "origin", id+":refs/heads/agent"); err != nil || p.ref("refs/heads/agent") != id {
		t.Fatalf("%v %s", err, out)
	}
	took := time.Since(began)
	t.Logf("20,000 commits: %v through the gate; the gateway's peak went from %d to %d MiB", took.Round(time.Millisecond), before>>10, p.peak()>>10)
	if took > 4*time.Minute { // some 10 s on a machine at rest: what grows with the square of the commits takes hours
		t.Errorf("it took %v", took)
	}
	if got := p.direct(p.bare, "rev-list", "--count", "trunk..agent"); got != "20000" {
		t.Errorf("upstream has %s commits", got)
	}
	p.sound(t)
}
