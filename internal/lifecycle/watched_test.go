package lifecycle_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"bottle/internal/bottle"
	"bottle/internal/plan"
)

// TestInvariant2WatchedValuesReachTheGatewayAlone: what must not leave is read from the
// operator's files, key files and env; a dry run tells names and no value; the gateway
// gets the values on its standard input, and no argv, file or environment of anything
// else does, but for what env gives to the agent.
func TestInvariant2WatchedValuesReachTheGatewayAlone(t *testing.T) {
	f := newFixture(t)
	write := func(path, content string) string {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	const api, aws, dsn, key = "k7Qm2xVw9Tz8Rp4Ls1", "a8Wn3yUe0Sx7Qo5Mr2Zk", "d9Xp4zTf1Ry6Pn6Nq3", "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQ\n-----END OPENSSH PRIVATE KEY-----\n"
	write(filepath.Join(f.req.Workspace, ".env"), "API_KEY="+api+"\nNODE_ENV=production\n")
	write(filepath.Join(f.req.UserHome, ".aws/credentials"), "[default]\naws_secret_access_key = "+aws+"\n")
	f.req.Spec.Watch = []string{".env", ".env.local", "~/.aws", "~/.nothing"}
	f.req.Spec.Env = append(f.req.Spec.Env, bottle.EnvVar{Name: "SENTRY_DSN", Kind: bottle.EnvLiteral, Value: dsn}, bottle.EnvVar{Name: "NODE_ENV", Kind: bottle.EnvLiteral, Value: "production"})
	f.req.Spec.Repos = []bottle.Repo{
		{Name: "app", Upstream: "ssh://git@git.example.com/app.git", KeyFile: write(filepath.Join(f.req.UserHome, "key"), key)},
	}
	p := f.prepare()
	want := []string{".env:API_KEY", "env:SENTRY_DSN", "git:app key_file", "~/.aws/credentials:default.aws_secret_access_key"}
	if !slices.Equal(p.Plan.Egress.Watched, want) {
		t.Errorf("watched %q", p.Plan.Egress.Watched)
	}
	if not := []string{".env:NODE_ENV: plain words", "env:FROM_HOST: shorter than 8 bytes", "env:NODE_ENV: plain words"}; !slices.Equal(p.Plan.Egress.NotWatched, not) {
		t.Errorf("not watched %q", p.Plan.Egress.NotWatched)
	}
	var text bytes.Buffer
	if err := p.Plan.Text(&text, nil); err != nil {
		t.Fatal(err)
	}
	dry, err := json.Marshal(p.Plan)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"watches 4 values of env, git keys, .env, ~/.aws so that they do not leave", "does not look for 3 values: .env:NODE_ENV: plain words; env:FROM_HOST: shorter than 8 bytes; env:NODE_ENV: plain words", "~/.nothing is not there", ".env.local is not there"} {
		if !strings.Contains(strings.Join(strings.Fields(text.String()), " "), part) {
			t.Errorf("%q is not in\n%s", part, &text)
		}
	}
	values := []string{api, aws, dsn, "b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQ"}
	for _, v := range values {
		if strings.Contains(text.String()+string(dry), v) {
			t.Errorf("the dry run tells %s", v)
		}
	}
	if _, err := f.start(); err != nil {
		t.Fatal(err)
	}
	gateway, line, command, files := f.fake.Told()
	var told plan.Secrets
	if err := json.Unmarshal(line, &told); err != nil {
		t.Fatal(err)
	}
	if told.Watched[".env:API_KEY"] != api || told.Watched[want[3]] != aws || told.Watched["env:SENTRY_DSN"] != dsn || told.Watched["git:app key_file"] != key || told.Values["THE_TOKEN"] != theSecret {
		t.Errorf("the gateway was told of %d values", len(told.Watched))
	}
	command.Env = slices.DeleteFunc(command.Env, func(e string) bool { return strings.HasPrefix(e, "SENTRY_DSN=") })
	elsewhere := fmt.Sprintf("%+v %+v", gateway, command)
	for _, f := range files {
		elsewhere += string(f.Content)
	}
	for _, v := range values {
		if strings.Contains(elsewhere, v) {
			t.Errorf("%s is elsewhere, too", v)
		}
	}
}
