package find

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bottle/test/require"
)

// source is real source code, that of package net and its neighbours.
func source(tb testing.TB) []byte {
	tb.Helper()
	var all bytes.Buffer
	root := filepath.Join(require.GoRoot(tb), "src")
	for _, dir := range []string{"net", "crypto"} {
		if err := fs.WalkDir(os.DirFS(root), dir, func(path string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") {
				return err
			}
			b, err := os.ReadFile(filepath.Join(root, path))
			all.Write(b)
			return err
		}); err != nil {
			tb.Fatal(err)
		}
	}
	return all.Bytes()
}

func keywords() [][]byte {
	words := strings.Fields(`a3- adobe age-secret-key-1 airtable akcp akia algolia alibaba api auth access key credential creds passwd password secret token
asana atlassian aws azure beamer bitbucket bittrex cloudflare codecov cohere coinbase confluent contentful curl dapi databricks datadog discord doppler dropbox
duffel_ dynatrace easypost etsy facebook fastly finicity finnhub flickr flutterwave freshbooks gcp ghp_ gho_ ghu_ ghs_ ghr_ github_pat_ gitlab glpat- gitter
gocardless grafana hashicorp heroku hf_ hubspot infracost intercom jfrog jira kraken kucoin kubernetes launchdarkly linear linkedin lob mailchimp mailgun mapbox mattermost
messagebird netlify new-relic npm_ nytimes okta openai plaid planetscale postman prefect private-key pulumi pypi rapidapi readme rubygems scalingo sendbird sendgrid sg. sk-ant-api03
sendinblue sentry shippo shpat_ sidekiq slack xoxb xoxp hooks.slack.com snyk sonar sourcegraph square squarespace stripe sumologic t3blbkfj telegram travis trello twilio twitch twitter typeform vault yandex zendesk -----begin eyj`)
	var out [][]byte
	for _, w := range words {
		out = append(out, []byte(w))
	}
	for i := range 60 { // pieces of known secrets
		out = append(out, []byte(strings.Repeat(string(rune('a'+i%26))+"Zq9x", 2)[i%3:]))
	}
	return out
}

func BenchmarkSource(b *testing.B) {
	text := source(b)
	s, err := New(keywords(), nil)
	if err != nil {
		b.Fatal(err)
	}
	var hits []Hit
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		hits = s.Find(hits[:0], text)
	}
	b.ReportMetric(float64(len(hits))/float64(len(text))*1e3, "hits/KB")
}

func BenchmarkProse(b *testing.B) {
	text := bytes.Repeat([]byte("The quick brown fox jumps over the lazy dog, and it sings of ships and shoes. "), 10000)
	s, err := New(keywords(), nil)
	if err != nil {
		b.Fatal(err)
	}
	var hits []Hit
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		hits = s.Find(hits[:0], text)
	}
}

func BenchmarkNew(b *testing.B) {
	words := keywords()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := New(words, nil); err != nil {
			b.Fatal(err)
		}
	}
}
