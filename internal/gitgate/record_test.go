package gitgate

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"bottle/internal/gitgate/upstream"
	"bottle/internal/policy"
)

func (w *world) recorded() []Record {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.records)
}

func (w *world) last() Record {
	all := w.recorded()
	return all[len(all)-1]
}

// TestRecordOfWhatWentUpstream: of a push that was refused here no byte went anywhere; what
// upstream refuses is recorded with its words.
func TestRecordOfWhatWentUpstream(t *testing.T) {
	bothWays(t, func(t *testing.T, scheme string) {
		w := newWorld(t, scheme)
		good := w.write(w.work, "a", "a")
		w.write(w.work, "leak", kept)
		_, err := w.try(w.work, "push", "origin", "HEAD:refs/heads/agent")
		if r := w.last(); err == nil || r.Reason != policy.SecretFound || r.BytesOut != 0 {
			t.Errorf("refused here: %v %+v", err, r)
		}
		_, err = w.try(w.work, "push", "-o", dryRun, "origin", good+":refs/heads/agent")
		if r := w.last(); err == nil || r.Reason != policy.DryRun || r.BytesOut != 0 {
			t.Errorf("dry run: %v %+v", err, r)
		}
		hook := filepath.Join(w.bare, "hooks", "pre-receive")
		script := "#!/bin/sh\nhead -c 100000 /dev/zero | tr '\\0' x >&2\nprintf '\\nno\\033[31m: \"late\"\\n' >&2\nexit 1\n"
		if err := os.WriteFile(hook, []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
		_, err = w.try(w.work, "push", "origin", good+":refs/heads/agent")
		r := w.last()
		if err == nil || r.Allowed || r.Reason != policy.UpstreamRefused || r.BytesOut == 0 || len(r.Note) > 2000 || strings.Contains(r.Note, "\x1b") {
			t.Errorf("refused there: %v %+v", err, r)
		}
		for _, want := range []string{"upstream refused 1 of 1 refs: pre-receive hook declined", `it said: `, `no`, `late`} {
			if !strings.Contains(r.Note, want) {
				t.Errorf("the note lacks %q: %s", want, r.Note)
			}
		}
		if err := os.Remove(hook); err != nil {
			t.Fatal(err)
		}
		if _, err := w.try(w.work, "push", "origin", good+":refs/heads/agent"); err != nil || w.last().BytesOut == 0 || !w.last().Allowed {
			t.Errorf("%v %+v", err, w.last())
		}
		w.rests()
	})
}

func TestTailKeepsTheLastWords(t *testing.T) {
	var l tail
	for range 1000 {
		_, _ = l.Write([]byte("Resolving deltas: 5%\rResolving deltas: 100% (3/3), done.\n"))
	}
	_, _ = l.Write([]byte("no\n\r\nlast\r\n"))
	if got := l.words(); !strings.HasSuffix(got, "no / last") || len(l.text) > mostHeard || strings.Contains(got, "%") && strings.Contains(got, "done.") {
		t.Errorf("%q of %d bytes", got, len(l.text))
	}
}

func TestReasonsOfAnUpstream(t *testing.T) {
	for err, want := range map[error]policy.Reason{upstream.ErrHostKey: policy.UpstreamHostKey, upstream.ErrCertificate: policy.UpstreamTLS,
		upstream.ErrRefused: policy.UpstreamRefused, upstream.ErrNotFound: policy.UpstreamProtocol, upstream.ErrAuth: policy.NoCredential} {
		if got := reasonOf(fmt.Errorf("%w: x", err)); got != want {
			t.Errorf("%v is %s, want %s", err, got, want)
		}
	}
}
