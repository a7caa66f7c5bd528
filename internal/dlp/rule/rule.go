// Package rule says what a secret of each kind looks like, and judges one place in a
// text by it.
package rule

// Rule is one kind of secret, as data.
type Rule struct {
	ID          string                   // stable, kebab-case: it stands in records and in `[redacted:<id>]`
	Description string                   // for a person
	Keywords    []string                 // in lower case; a text without any of them holds none of these (compared without case)
	Regexp      string                   // RE2 syntax
	Group       int                      // the group that is the secret; 0: the first one that is not empty, or all
	Entropy     float64                  // bits per byte that the secret must exceed; 0: any
	Allow       []Allow                  // what is no secret after all
	Check       func(secret []byte) bool // a checksum, or another test of the value alone; nil: none

	Hits, Misses []string // texts that hold one, and texts that nearly do
}

// Allow is a set of exceptions of a rule. They look at the text alone, never at
// paths, commits or comments, which are the sender's to choose.
type Allow struct {
	Target    string   // "secret", "match" or "line": what the expressions look at
	Regexps   []string // RE2 syntax
	Stopwords []string // in lower case: a secret that contains one is none
	All       bool     // every condition must hold, not any
}

// Match is one secret in a text.
type Match struct {
	Rule       *Rule
	Start, End int // of the secret
	From, To   int // of all that the expression took
}
