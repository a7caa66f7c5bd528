// Package own finds the secrets that the maintained rule set of gitleaks has no rule
// for, or too narrow a one.
//
// Three ways, by what a secret gives away of itself. Rules has those with a literal
// near them: a keyword and an expression. Scan has those with none but a checksum, a
// dictionary or the grammar of a URL: payment cards, IBANs, seed phrases, wallet keys,
// passwords in URLs. Label, Segment and Host judge the parts of a URL, where even
// unknown data must not be carried away.
//
// What a rule lets pass is decided by the secret itself, never by words around it: the
// sender chooses those.
package own

import "bottle/internal/dlp/rule"

// Rules gives the rules that have keywords. Every call builds them anew, so the caller
// may keep and change them. Keywords are in lower case and at least three bytes long;
// the expressions compile by RE2 and need the text around a keyword only: 1 KiB before
// it and 8 KiB after it are enough for each.
func Rules() []rule.Rule {
	var all []rule.Rule
	for _, group := range [][]rule.Rule{privateKeys(), wallets(), clouds(), logins(), connections(), providers(), shapes()} {
		all = append(all, group...)
	}
	return all
}
