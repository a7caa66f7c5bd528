// Package rule says what a secret of each kind looks like, and judges one place in a
// text by it.
//
// Regular expressions are slow, and keywords stand everywhere. So from a rule's
// expression Compile derives texts that each match holds (Literals), and for each of them
// a walk over the bytes to its right and left, which takes whatever the expression takes,
// and little else. Only where a walk comes through does the expression run, on the few
// bytes that the walk has measured.
//
// The verdicts are those of the gitleaks library, with these differences, all on purpose:
//   - Paths, commits and comments decide nothing: they are the sender's to choose.
//   - A keyword that a match does not hold must stand within 1 KiB of it, not anywhere.
//   - A secret that overlaps a match that was an exception is found all the same.
//   - Exceptions for matches look 128 bytes into the secret, and none looks at more than 2 KiB.
//   - A run of more than 16 KiB is no secret; other parts without a bound may take 2 KiB,
//     a private key 16 KiB.
//   - U+017F and U+212A, which RE2 folds onto s and k, are no letters of a secret.
//   - The generic rule speaks beside a better one for the same secret.
package rule

// Rule is one kind of secret, as data.
type Rule struct {
	ID          string                   // stable, kebab-case: it stands in records and in `[redacted:<id>]`
	Description string                   // for a person
	Keywords    []string                 // in lower case: where none of them is in the match or within 1 KiB of it (in any case), there is no secret
	Regexp      string                   // RE2 syntax
	Group       int                      // the group that is the secret; 0: the first one that is not empty, or all
	Entropy     float64                  // bits per byte that the secret must exceed; 0: any
	Allow       []Allow                  // what is no secret after all
	Check       func(secret []byte) bool // a checksum, or another test of the value alone, safe for concurrent use; nil: none

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
