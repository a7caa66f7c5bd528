package manifest

import (
	"strings"

	"bottle/internal/bottle"
	"bottle/internal/manifest/rules"
)

func (s *source) env(raw pairs) []bottle.EnvVar {
	var out []bottle.EnvVar
	for _, p := range raw.list {
		name := p.key.val
		if !rules.EnvName(name) {
			s.errorf(p.key.at, "use letters, digits and _, and no digit first", "%s is not the name of a variable", quoteKey(name))
			continue
		}
		if why := rules.Reserved(name); why != "" {
			s.errorf(p.key.at, "remove it", "`%s` cannot be set: %s", name, why)
			continue
		}
		if kind, value, ok := s.envValue(name, p.val); ok {
			out = append(out, bottle.EnvVar{Name: name, Kind: kind, Value: value})
		}
	}
	return out
}

// envValue tells the three forms of a value apart. Its messages never show the
// value: it may be a secret.
func (s *source) envValue(name string, v text) (bottle.EnvKind, string, bool) {
	if strings.ContainsRune(v.val, 0) {
		s.errorf(v.at, "remove it", "the value of `%s` holds a NUL byte", name)
		return "", "", false
	}
	if question, ok := strings.CutPrefix(v.val, "?"); ok {
		question = strings.TrimSpace(question)
		if question == "" || strings.ContainsFunc(question, rules.Hidden) || strings.ContainsAny(question, "\n\t") {
			s.errorf(v.at, `write what to ask for, such as "?Sentry DSN"`, "the value of `%s` asks no question of one line", name)
			return "", "", false
		}
		return bottle.EnvAsk, question, true
	}
	open := strings.Index(v.val, "${")
	if open < 0 {
		if rules.Pasted(v.val) {
			s.warnf(v.at, "let a route's auth: {token_ref: …} add it, or take it from the host: \"${"+name+"}\"",
				"the value of `%s` looks like a secret: the agent gets it as it stands", name)
		}
		return bottle.EnvLiteral, v.val, true
	}
	from := strings.TrimSuffix(v.val[2:], "}")
	if open > 0 || !strings.HasSuffix(v.val, "}") || !rules.EnvName(from) {
		s.errorf(v.at, `only the whole value can come from the host: "${NAME}"`, "the value of `%s` has ${ inside a text", name)
		return "", "", false
	}
	return bottle.EnvHost, from, true
}

func (s *source) gitUser(raw *userFile) bottle.GitUser {
	if raw == nil {
		return bottle.GitUser{}
	}
	u := bottle.GitUser{Name: raw.Name.val, Email: raw.Email.val}
	// git itself drops <, > and line ends from an identity, so two different
	// identities could become one.
	if raw.Name.set() && (!s.filled(raw.Name, "`name`") || strings.ContainsAny(u.Name, "<>")) {
		s.errorIf(strings.ContainsAny(u.Name, "<>"), raw.Name.at, "remove them", "a git user's name cannot hold < or >")
		u.Name = ""
	}
	if raw.Email.set() && s.filled(raw.Email, "`email`") {
		local, host, ok := strings.Cut(u.Email, "@")
		s.errorIf(!ok || local == "" || host == "" || strings.ContainsAny(u.Email, "<> \t"), raw.Email.at,
			"write it as name@example.com", "%s is not an e-mail address", quote(u.Email))
	}
	return u
}

// filled refuses an empty text and one with control characters.
func (s *source) filled(t text, key string) bool {
	switch {
	case strings.TrimSpace(t.val) == "":
		s.errorf(t.at, "give it a value, or remove the key", "%s is empty", key)
	case strings.ContainsFunc(t.val, rules.Hidden) || strings.ContainsAny(t.val, "\n\t"):
		s.errorf(t.at, "remove it", "%s holds a control character", key)
	default:
		return true
	}
	return false
}

func (s *source) errorIf(wrong bool, a at, hint, format string, args ...any) {
	if wrong {
		s.errorf(a, hint, format, args...)
	}
}
