// Package watch reads the operator's own secrets out of the files that he names, so
// that the gateway can keep them from leaving: .env files, AWS credentials, gh's
// hosts.yml, .netrc, .npmrc, Docker's config.json, private keys. Of a file that it
// knows no form of, it takes whatever looks random.
//
// What it reads is not to be trusted: a .env may be a repository's. Everything is
// bounded, nothing waits for a pipe, and a name is made fit to be printed.
package watch
