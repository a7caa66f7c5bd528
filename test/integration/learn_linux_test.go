package integration

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bottle/test/require"
)

// TestASessionTeachesItsManifest: an agent in a native bottle is denied this and that; what
// its own gateway recorded is learnt into the manifest while it runs, without the credential
// going to more, and a reload lets it through. Replayed, nothing of it is denied any more;
// what the operator gave for the session alone is gone under the manifest of before.
func TestASessionTeachesItsManifest(t *testing.T) {
	require.Tool(t, "curl")
	everybody(t, func(t *testing.T, uid int) {
		_, h := upstream(t, uid)
		path := filepath.Join(h.home(), "bottles", "box.md")
		before, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		b := h.begin(asker)
		b.says("ready")
		for _, url := range []string{"https://api.example.com/v1/a", "https://api.example.com/v9/b", "https://new.fetched.net/x", "http://plain.fetched.net/a/1", "http://plain.fetched.net/a/2", "http://plain.fetched.net/a/3",
			"http://plain.fetched.net/o/r/git-receive-pack", "http://10.0.0.1/"} {
			b.types(url)
			b.says(url + " ")
		}
		if s := finish(t, h.command("replay", h.agent)); s.code != 0 || !strings.Contains(s.out, "0 newly denied, 0 newly allowed, 0 with another") {
			t.Errorf("under its own manifest: %+v", s)
		}
		out := h.tool("learn", h.agent)
		for _, want := range []string{"GET, HEAD to new.fetched.net (every path)\n      look: only tunnels were seen", "GET to plain.fetched.net:80/a/\n", "credential API_TOKEN, and nothing is learnt", "+    - host: plain.fetched.net\n+      ports: [80]\n+      methods: [GET]\n+      path_allowlist: [\"/a/\"]\n"} {
			if !strings.Contains(out, want) {
				t.Errorf("%q is not in\n%s", want, out)
			}
		}
		for _, never := range []string{"+    - host: api.example.com", "10.0.0.1\n", "probe.invalid", "git-receive", "gateway.bottle"} {
			if strings.Contains(out, never) {
				t.Errorf("%q is in\n%s", never, out)
			}
		}
		if now, _ := os.ReadFile(path); string(now) != string(before) {
			t.Fatalf("a look changed it:\n%s", now)
		}
		if s := finish(t, h.command("learn", h.agent, "--write", "--yes")); s.code != 0 || !strings.Contains(s.err, "to put it in force now: bottle reload ") {
			t.Errorf("%+v", s)
		}
		if now, _ := os.ReadFile(path); !strings.Contains(string(now), "host: new.fetched.net") || len(now) <= len(before) {
			t.Errorf("%s", now)
		}
		h.tool("validate")
		h.tool("reload", h.agent, "--yes")
		for _, url := range []string{"http://plain.fetched.net/a/4", "https://new.fetched.net/y"} {
			b.types(url)
			b.says(url + " ")
			if strings.Contains(b.out.String(), url+" gives 403") {
				t.Errorf("%s is denied all the same", url)
			}
		}
		b.types("https://api.example.com/v9/b")
		b.says("/v9/b gives 403")
		b.types("bye")
		if code := b.ends(); code != 0 {
			t.Errorf("the agent ended with %d", code)
		}
		var again struct {
			Denied  int `json:"newly_denied"`
			Allowed int `json:"newly_allowed"`
		}
		if err := json.Unmarshal([]byte(h.tool("replay", h.agent, "--format", "json")), &again); err != nil || again.Denied != 0 || again.Allowed < 4 {
			t.Errorf("%+v %v", again, err)
		}
		if out := h.tool("learn", h.agent); !strings.Contains(out, "nothing to propose") {
			t.Errorf("learnt again: %s", out)
		}
		h.write("old.md", string(before))
		if s := finish(t, h.command("replay", h.agent, "--bottle", filepath.Join(h.base, "old.md"))); s.code > 1 {
			t.Errorf("under the manifest of before: %+v", s)
		}
	})
}
