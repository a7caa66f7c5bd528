// Package rules says what single words of a manifest may be: names of variables,
// headers, repositories and branches, ssh host keys, and the host paths that no
// bottle may see. Each rule is a pure function of text; positions and files are
// the business of package manifest.
package rules
