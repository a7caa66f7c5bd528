package rule

import (
	"fmt"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/zricethezav/gitleaks/v8/config"
)

type leaksAllow struct {
	Condition   string   `toml:"condition"`
	Paths       []string `toml:"paths"`
	Commits     []string `toml:"commits"`
	RegexTarget string   `toml:"regexTarget"`
	Regexes     []string `toml:"regexes"`
	Stopwords   []string `toml:"stopwords"`
}

type leaksRule struct {
	ID          string       `toml:"id"`
	Description string       `toml:"description"`
	Regex       string       `toml:"regex"`
	SecretGroup int          `toml:"secretGroup"`
	Entropy     float64      `toml:"entropy"`
	Keywords    []string     `toml:"keywords"`
	Allowlists  []leaksAllow `toml:"allowlists"`
}

// Gitleaks gives the rules of the gitleaks module, as it ships them. Conditions on
// paths and commits are dropped, for both are the sender's to choose: a rule that looked
// at some files alone looks everywhere, one that looked at paths alone goes, and an
// exception goes if it needed a path. Exceptions that look at the text stay, those for
// all rules too.
func Gitleaks() ([]Rule, error) {
	var file struct {
		Allowlist  leaksAllow   `toml:"allowlist"`
		Allowlists []leaksAllow `toml:"allowlists"`
		Rules      []leaksRule  `toml:"rules"`
	}
	if err := toml.Unmarshal([]byte(config.DefaultConfig), &file); err != nil {
		return nil, fmt.Errorf("read the rules of gitleaks: %w", err)
	}
	everywhere := append(file.Allowlists, file.Allowlist)
	var out []Rule
	for _, l := range file.Rules {
		if l.Regex == "" {
			continue
		}
		r := Rule{ID: l.ID, Description: l.Description, Regexp: l.Regex, Group: l.SecretGroup, Entropy: l.Entropy}
		for _, k := range l.Keywords {
			if k = strings.ToLower(k); !slices.Contains(r.Keywords, k) {
				r.Keywords = append(r.Keywords, k)
			}
		}
		for _, a := range slices.Concat(everywhere, l.Allowlists) {
			if a, ok := a.allow(); ok {
				r.Allow = append(r.Allow, a)
			}
		}
		out = append(out, r)
	}
	return out, nil
}

// allow gives what the text alone decides, or false if that is nothing.
func (l leaksAllow) allow() (Allow, bool) {
	all := strings.EqualFold(l.Condition, "and") || l.Condition == "&&"
	if len(l.Regexes)+len(l.Stopwords) == 0 || all && len(l.Paths)+len(l.Commits) > 0 {
		return Allow{}, false
	}
	a := Allow{Target: l.RegexTarget, Regexps: l.Regexes, All: all}
	if a.Target == "" {
		a.Target = "secret"
	}
	for _, s := range l.Stopwords {
		a.Stopwords = append(a.Stopwords, strings.ToLower(s))
	}
	return a, true
}
