package provider

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"sort"
	"strconv"
	"strings"

	"bottle/internal/bottle"
)

// The roles that a route may have.
const (
	RoleClaudeOAuth  = bottle.RoleClaudeOAuth
	RoleAnthropicKey = bottle.RoleAnthropicKey
	RoleOpenAIKey    = bottle.RoleOpenAIKey
	RoleGitHub       = bottle.RoleGitHub
)

// Roles lists the known roles in the order in which they are shown.
func Roles() []string { return bottle.Roles() }

// roleEnv names the variables that carry a role's placeholder; nil means that
// the role is unknown.
func roleEnv(role string) []string {
	switch role {
	case RoleClaudeOAuth:
		return []string{"CLAUDE_CODE_OAUTH_TOKEN"}
	case RoleAnthropicKey:
		return []string{"ANTHROPIC_API_KEY"}
	case RoleOpenAIKey:
		// `codex exec` reads CODEX_API_KEY, every other client of the API OPENAI_API_KEY.
		return []string{"CODEX_API_KEY", "OPENAI_API_KEY"}
	case RoleGitHub:
		return []string{"GH_TOKEN", "GITHUB_TOKEN"} // gh reads the first, Actions' tools the second
	}
	return nil
}

const (
	base62    = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	base64url = base62 + "-_"
)

// Placeholder is what the agent holds instead of the secret that tokenRef names.
// It has a real token's prefix, length and alphabet, so that a CLI which checks
// the shape takes it, and it is no secret: it is derived from seed by SHA-256.
// The same three inputs give the same value. A role that is not known has none:
// the answer is then empty.
func Placeholder(role, tokenRef string, seed []byte) string {
	s := newStream(role, tokenRef, seed)
	switch role {
	case RoleClaudeOAuth:
		return "sk-ant-oat01-" + s.take(93, base64url) + "AA"
	case RoleAnthropicKey:
		return "sk-ant-api03-" + s.take(93, base64url) + "AA"
	case RoleOpenAIKey:
		// T3BlbkFJ is "OpenAI" in base64: every real key has it in its middle.
		return "sk-proj-" + s.take(74, base64url) + "T3BlbkFJ" + s.take(74, base64url)
	case RoleGitHub:
		return "ghp_" + s.take(36, base62)
	}
	return ""
}

// stream is SHA-256 in counter mode over length-prefixed inputs, so that no two
// different inputs make the same stream.
type stream struct {
	key   [sha256.Size]byte
	count uint64
	buf   []byte
}

func newStream(role, tokenRef string, seed []byte) *stream {
	h := sha256.New()
	for _, part := range []string{"bottle placeholder v1", role, tokenRef, string(seed)} {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(part))))
		h.Write([]byte(part))
	}
	s := &stream{}
	h.Sum(s.key[:0])
	return s
}

func (s *stream) next() byte {
	if len(s.buf) == 0 {
		block := sha256.Sum256(binary.BigEndian.AppendUint64(s.key[:], s.count))
		s.count++
		s.buf = block[:]
	}
	b := s.buf[0]
	s.buf = s.buf[1:]
	return b
}

// take draws n characters of alphabet, each equally likely.
func (s *stream) take(n int, alphabet string) string {
	limit := 256 - 256%len(alphabet)
	out := make([]byte, 0, n)
	for len(out) < n {
		if b := int(s.next()); b < limit {
			out = append(out, alphabet[b%len(alphabet)])
		}
	}
	return string(out)
}

// roles turns the roles on the bottle's routes into placeholders.
func (p *preparation) roles() {
	p.Placeholders, p.Result.roles = map[string]string{}, map[string]string{}
	holder := map[string]bottle.Route{} // role -> the first route that has it
	for _, route := range p.Spec.Routes {
		if route.Role == "" {
			continue
		}
		if p.roleRefused(route, holder) {
			continue
		}
		holder[route.Role] = route
	}
	known := make([]string, 0, len(holder))
	for role := range holder {
		known = append(known, role)
	}
	sort.Strings(known)
	for _, role := range known {
		route := holder[role]
		value := Placeholder(role, route.Auth.TokenRef, p.Seed)
		p.Placeholders[route.Auth.TokenRef], p.Result.roles[route.Auth.TokenRef] = value, role
		for _, name := range roleEnv(role) {
			p.setEnv(name, value)
		}
	}
	p.held = holder
}

// roleRefused reports one route's role that can't be served, as a problem.
func (p *preparation) roleRefused(route bottle.Route, holder map[string]bottle.Route) bool {
	refuse := func(message, hint string) bool {
		file, line := position(route.Rule)
		p.Problems = append(p.Problems, bottle.Problem{File: file, Line: line, Message: message, Hint: hint})
		return true
	}
	names := roleEnv(route.Role)
	switch {
	case names == nil:
		return refuse("unknown role "+quote(route.Role), "the known roles are "+strings.Join(Roles(), ", "))
	case route.Auth == nil || route.Auth.TokenRef == "":
		return refuse("the role "+quote(route.Role)+" needs a credential on the same route", "add auth: {scheme: …, token_ref: …}")
	case len(p.Seed) < minSeed:
		return refuse("no seed to derive the placeholder of role "+quote(route.Role)+" from", "this is a fault of the tool, not of the manifest")
	}
	if first, ok := holder[route.Role]; ok {
		if first.Auth.TokenRef != route.Auth.TokenRef {
			return refuse("two routes with the role "+quote(route.Role)+" name different secrets: "+quote(first.Auth.TokenRef)+" and "+quote(route.Auth.TokenRef),
				"the agent has one such credential: use one token_ref")
		}
		return true // the same thing twice is no fault
	}
	if other, ok := p.refHolder(route.Auth.TokenRef, holder); ok {
		return refuse("the secret "+quote(route.Auth.TokenRef)+" has two roles: "+quote(other)+" and "+quote(route.Role),
			"a secret has one shape: give it one role")
	}
	for _, v := range p.Spec.Env {
		if slices.Contains(names, v.Name) {
			return refuse("env sets "+v.Name+", which the role "+quote(route.Role)+" sets to a placeholder", "remove one of the two")
		}
	}
	return false
}

// refHolder finds the role that a secret already has.
func (p *preparation) refHolder(ref string, holder map[string]bottle.Route) (string, bool) {
	for role, route := range holder {
		if route.Auth.TokenRef == ref {
			return role, true
		}
	}
	return "", false
}

// position splits a rule's "file:line".
func position(rule string) (string, int) {
	cut := strings.LastIndexByte(rule, ':')
	if cut < 0 {
		return rule, 0
	}
	line, err := strconv.Atoi(rule[cut+1:])
	if err != nil || line < 1 {
		return rule, 0
	}
	return rule[:cut], line
}
