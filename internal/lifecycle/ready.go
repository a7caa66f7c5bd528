package lifecycle

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"bottle/internal/bottle"
	"bottle/internal/hostexec"
	"bottle/internal/watch"
)

// place is where a reference to something on the host was written, and for what.
type place struct{ file, what string }

// credentials calls do with each credential that a bottle needs, once, and with the
// first place that wants it.
func credentials(s bottle.Spec, do func(ref string, at place)) {
	seen := map[string]bool{}
	once := func(auth *bottle.Auth, at place) {
		if auth != nil && !seen[auth.TokenRef] {
			seen[auth.TokenRef] = true
			do(auth.TokenRef, at)
		}
	}
	for _, r := range s.Routes {
		once(r.Auth, ofRoute(r))
	}
	if s.Onward != nil {
		once(s.Onward.Auth, ofOnward(s))
	}
	for _, r := range s.Repos {
		once(r.Auth, ofRepo(s, r))
	}
}

func ofRepo(s bottle.Spec, r bottle.Repo) place {
	return place{file: ofOnward(s).file, what: "git " + bottle.Printable(r.Name)}
}

func ofRoute(r bottle.Route) place { return place{r.Rule, "route " + r.Host.String()} }

func ofOnward(s bottle.Spec) place {
	at := place{what: "upstream_proxy"}
	if n := len(s.Files); n > 0 {
		at.file = s.Files[n-1] // the bottle itself, or what it extends: a start knows no more
	}
	return at
}

// tell adds err to the problems, with the place that it is about.
func tell(problems *bottle.Problems, at place, err error) {
	var list bottle.Problems
	if !errors.As(err, &list) {
		list = bottle.Problems{{Message: err.Error()}}
	}
	for _, p := range list {
		if p.File == "" {
			p.File = at.file
		}
		if at.what != "" {
			p.Message = at.what + ": " + p.Message
		}
		*problems = append(*problems, p)
	}
}

// ready finds what a start of this bottle lacks on the host, all of it at once: CA
// files, variables, secret files and the programs of helpers. Nothing is run, asked
// or made, so it can come before a person is asked.
func (h *House) ready(s bottle.Spec) bottle.Problems {
	var problems bottle.Problems
	check := func(at place, err error) {
		if err != nil {
			tell(&problems, at, err)
		}
	}
	for _, r := range s.Routes {
		if r.Upstream != nil {
			check(ofRoute(r), checkCA(r.Upstream.CAFile))
		}
	}
	if s.Onward != nil {
		check(ofOnward(s), checkCA(s.Onward.CAFile))
	}
	for _, r := range s.Repos {
		check(ofRepo(s, r), checkCA(r.CAFile))
		check(ofRepo(s, r), checkKey(r.KeyFile))
	}
	if len(s.Repos) > 0 {
		check(ofRepo(s, s.Repos[0]), h.hasGit())
	}
	credentials(s, func(ref string, at place) { check(at, h.Secrets.Check(ref)) })
	for _, e := range s.Env {
		check(place{}, h.findable(e))
	}
	return problems
}

// hasGit says that the git gate lacks what it serves repositories with. Where no
// repository is declared nothing of it is needed.
func (h *House) hasGit() error {
	for _, dir := range hostexec.Places() {
		if _, err := fs.Stat(h.Root, strings.TrimPrefix(dir, "/")+"/git"); err == nil {
			return nil
		}
	}
	return bottle.Problems{{Message: "the git gate needs git on this machine, in " + strings.Join(hostexec.Places()[:2], " or ") + ", and there is none",
		Hint: "apt-get install git, or dnf install git; or take `git` out of the bottle"}}
}

// checkCA says why a ca_file cannot be used; an empty name is none. It takes what
// the gateway takes: a PEM file in which a certificate can be read.
func checkCA(file string) error {
	if file == "" {
		return nil
	}
	const hint = "name a PEM file that you can read"
	text, err := os.ReadFile(file)
	if err != nil {
		return bottle.Problems{{Message: fmt.Sprintf("read ca_file: %v", err), Hint: hint}}
	}
	if !x509.NewCertPool().AppendCertsFromPEM(text) {
		what := "no certificate in it"
		if b, _ := pem.Decode(text); b != nil && b.Type != "CERTIFICATE" {
			what = fmt.Sprintf("it begins with a %.40s, and there is no certificate in it", b.Type)
		}
		return bottle.Problems{{Message: fmt.Sprintf("read ca_file %s: %s", file, what), Hint: hint}}
	}
	return nil
}

// checkKey says why a key_file cannot be used; an empty name is none. Like ssh it takes
// no key that others may read.
func checkKey(file string) error {
	if file == "" {
		return nil
	}
	const hint = "name the private key that the repository is reached with"
	info, err := os.Stat(file)
	if err != nil {
		return bottle.Problems{{Message: fmt.Sprintf("read key_file: %v", err), Hint: hint}}
	}
	if info.Mode().Perm()&0o077 != 0 {
		return bottle.Problems{{Message: fmt.Sprintf("the key_file %s is open to others (mode %04o)", file, info.Mode().Perm()), Hint: "chmod 600 " + file}}
	}
	if _, err := watch.Key(file); err != nil { // regular, and of a key's size
		return bottle.Problems{{Message: err.Error(), Hint: hint}}
	}
	text, err := os.ReadFile(file)
	defer clear(text)
	if err != nil || !bytes.Contains(text, []byte("PRIVATE KEY-----")) {
		return bottle.Problems{{Message: "there is no private key in the key_file " + file, Hint: hint}}
	}
	return nil
}

// findable says why the value of a variable will not be had.
func (h *House) findable(e bottle.EnvVar) error {
	switch e.Kind {
	case bottle.EnvLiteral:
		return nil
	case bottle.EnvHost:
		if _, ok := h.Host(e.Value); !ok {
			return bottle.Problems{{Message: fmt.Sprintf("env %s wants the host's variable %s, which is not set", e.Name, e.Value), Hint: "export " + e.Value + "=…"}}
		}
		return nil
	case bottle.EnvAsk:
		if h.Ask == nil {
			return bottle.Problems{{Message: fmt.Sprintf("env %s must be asked (%s), and there is no terminal to ask on", e.Name, e.Value), Hint: "start it from a terminal, or take the value from the host: \"${" + e.Name + "}\""}}
		}
		return nil
	}
	return bottle.Problems{{Message: fmt.Sprintf("env %s has no known kind", e.Name)}}
}
