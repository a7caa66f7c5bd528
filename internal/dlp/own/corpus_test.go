package own

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"bottle/internal/dlp/rule"
)

// TestCorpus prints what the rules find in the folders of BOTTLE_CORPUS, as a person
// would look for false positives:
//
//	BOTTLE_CORPUS=/usr/local/go/src:/usr/share go test -run TestCorpus -v ./internal/dlp/own
func TestCorpus(t *testing.T) {
	folders := os.Getenv("BOTTLE_CORPUS")
	if folders == "" {
		t.Skip("set BOTTLE_CORPUS to folders, with a colon between them")
	}
	c := newCorpus()
	for _, folder := range filepath.SplitList(folders) {
		_ = filepath.WalkDir(folder, func(p string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !d.Type().IsRegular() {
				return nil // what cannot be read is no part of the corpus
			}
			text, err := os.ReadFile(p)
			if err != nil || len(text) > 64<<20 || bytes.IndexByte(text[:min(len(text), 8192)], 0) >= 0 {
				return nil
			}
			c.scan(t, p, text)
			return nil
		})
	}
	t.Logf("%d MB, %d findings, %d of them private keys", c.size>>20, c.all, c.keys)
	for id, n := range c.byRule {
		t.Logf("%6d %s", n, id)
	}
}

type corpus struct {
	rules           []rule.Rule
	res             []*regexp.Regexp
	byWord          map[string][]int
	size, all, keys int
	byRule          map[string]int
	seen            map[string]bool
}

func newCorpus() *corpus {
	c := &corpus{rules: Rules(), byWord: map[string][]int{}, byRule: map[string]int{}, seen: map[string]bool{}}
	for i, r := range c.rules {
		c.res = append(c.res, regexp.MustCompile(r.Regexp))
		for _, k := range r.Keywords {
			c.byWord[k] = append(c.byWord[k], i)
		}
	}
	return c
}

func (c *corpus) scan(t *testing.T, path string, text []byte) {
	c.size += len(text)
	for _, m := range Scan(nil, text) {
		c.report(t, path, m.Rule.ID, text[m.Start:m.End])
	}
	low := bytes.ToLower(text)
	for k, owners := range c.byWord {
		for at := 0; ; {
			i := bytes.Index(low[at:], []byte(k))
			if i < 0 {
				break
			}
			at += i + len(k)
			if len(low) != len(text) {
				break // a letter whose lower case has another length
			}
			window := text[max(0, at-1024):min(len(text), at+4096)]
			for _, o := range owners {
				if s, ok := judge(t, c.res[o], c.rules[o], string(window)); ok {
					c.report(t, path, c.rules[o].ID, []byte(s))
				}
			}
		}
	}
}

func (c *corpus) report(t *testing.T, path, id string, secret []byte) {
	key := path + id + string(secret)
	if c.seen[key] {
		return
	}
	c.seen[key] = true
	c.all++
	c.byRule[id]++
	if slices.Contains([]string{"pem-private-key", "der-private-key"}, id) {
		c.keys++
		return
	}
	if c.byRule[id] < 40 {
		t.Logf("%s %q %s", id, strings.ToValidUTF8(string(secret[:min(90, len(secret))]), "?"), path)
	}
}
