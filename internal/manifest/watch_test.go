package manifest

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// TestWatchIsPutTogether: what a parent watches, its children watch; a path is told as
// it is shown, whichever way it was written.
func TestWatchIsPutTogether(t *testing.T) {
	tr := tree(map[string]string{
		"bottles/base.md": "---\negress: {watch: [~/.aws, .env]}\n---\n",
		"bottles/dev.md":  "---\nextends: base\negress: {watch: [/home/op/.netrc, ./.env, /etc/app//keys]}\n---\n",
	})
	spec, problems := tr.Bottle("dev")
	if len(problems) > 0 || !slices.Equal(spec.Watch, []string{".env", "/etc/app/keys", "~/.aws", "~/.netrc"}) {
		t.Errorf("%q, %v", spec.Watch, problems)
	}
}

func TestWatchIsBounded(t *testing.T) {
	var list []string
	for i := range 51 {
		list = append(list, fmt.Sprintf("f%d", i))
	}
	tr := tree(map[string]string{"bottles/dev.md": "---\negress: {watch: [" + strings.Join(list, ", ") + "]}\n---\n"})
	if _, problems := tr.Bottle("dev"); !problems.Fatal() || !strings.Contains(problems.Error(), "more than 50") {
		t.Errorf("%v", problems)
	}
}

// TestModelRoutesRedact: the agent's own model gets what the agent reads, so what only
// looks like a secret is taken out there and does not stop the work; every other route
// blocks. What is written counts.
func TestModelRoutesRedact(t *testing.T) {
	tr := tree(map[string]string{"bottles/dev.md": "---\negress:\n  routes:\n" +
		"    - {host: a.example.com, role: anthropic-api-key, auth: {scheme: Bearer, token_ref: A}}\n" +
		"    - {host: b.example.com, auth: {scheme: Bearer, token_ref: A}}\n" +
		"    - {host: c.example.com, role: openai-api-key, dlp: block, auth: {scheme: Bearer, token_ref: A}}\n---\n"})
	spec, problems := tr.Bottle("dev")
	if len(problems) > 0 || len(spec.Routes) != 3 {
		t.Fatal(problems)
	}
	for i, want := range []string{"redact", "block", "block"} {
		if got := spec.Routes[i].DLP; got != want {
			t.Errorf("%s has dlp: %s, want %s", spec.Routes[i].Host, got, want)
		}
	}
}
