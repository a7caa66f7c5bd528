package secret

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

const (
	digits  = "0123456789"
	upper   = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	base62  = digits + upper + "abcdefghijklmnopqrstuvwxyz"
	urlsafe = base62 + "-_"
	base32  = upper + "234567"

	shortest = 16 // a shorter random part could be guessed from its length, and be met by chance
	run      = 4  // as many bytes of the real value never stand in its lookalike
	tries    = 64
)

// family is one kind of token whose make is public. Nothing else of a token is
// taken over: a prefix that is not listed here may be the secret itself.
type family struct {
	prefix   string
	alphabet string // of the random part
	keep     string // bytes outside of it that separate parts; they stay where they are
	mark     string // a text that every token of the kind has in its middle
	tail     string // the end of every token of the kind
}

// families is a list to be searched from its beginning: the longer prefix first.
func families() []family {
	return []family{
		{prefix: "sk-ant-oat01-", alphabet: urlsafe, tail: "AA"}, // 70 random bytes end so in base64
		{prefix: "sk-ant-ort01-", alphabet: urlsafe, tail: "AA"},
		{prefix: "sk-ant-api03-", alphabet: urlsafe, tail: "AA"},
		{prefix: "sk-ant-admin01-", alphabet: urlsafe, tail: "AA"},
		{prefix: "sk-proj-", alphabet: urlsafe, mark: "T3BlbkFJ"}, // "OpenAI" in base64
		{prefix: "sk-svcacct-", alphabet: urlsafe, mark: "T3BlbkFJ"},
		{prefix: "sk-admin-", alphabet: urlsafe, mark: "T3BlbkFJ"},
		{prefix: "sk-or-v1-", alphabet: "0123456789abcdef"},
		{prefix: "sk-", alphabet: base62, mark: "T3BlbkFJ"},
		{prefix: "github_pat_", alphabet: base62, keep: "_"},
		{prefix: "ghp_", alphabet: base62}, {prefix: "gho_", alphabet: base62}, {prefix: "ghu_", alphabet: base62},
		{prefix: "ghs_", alphabet: base62}, {prefix: "ghr_", alphabet: base62},
		{prefix: "glpat-", alphabet: urlsafe, keep: "."},
		{prefix: "xoxb-", alphabet: base62, keep: "-"}, {prefix: "xoxp-", alphabet: base62, keep: "-"},
		{prefix: "AKIA", alphabet: base32}, {prefix: "ASIA", alphabet: base32},
		{prefix: "npm_", alphabet: base62}, {prefix: "hf_", alphabet: base62}, {prefix: "AIza", alphabet: urlsafe},
		{prefix: "sk_live_", alphabet: base62}, {prefix: "sk_test_", alphabet: base62}, {prefix: "rk_live_", alphabet: base62},
	}
}

// Lookalike makes what an agent may hold in place of v: a text with the public
// prefix, the length and the alphabet of v, drawn from random (crypto/rand.Reader),
// so that a program which checks the shape of its token takes it. No four bytes
// that follow each other in the random part of v stand in it. A JSON Web Token
// (RFC 7519) keeps the claims that clients read, see publicClaims, and gets another
// signature. ok is false if v is of no known kind: then nothing of v may be told.
func (v Value) Lookalike(random io.Reader) (like string, ok bool) {
	d := drawer{bufio.NewReaderSize(random, 64)}
	real := v.Reveal()
	if strings.HasPrefix(real, "eyJ") { // {" in base64
		return d.token(real)
	}
	for _, f := range families() {
		if body, found := strings.CutPrefix(real, f.prefix); found {
			return d.like(f, body)
		}
	}
	return "", false
}

type drawer struct{ random *bufio.Reader }

// like draws a token of the family whose random part has body's shape.
func (d drawer) like(f family, body string) (string, bool) {
	if f.tail != "" {
		cut, found := strings.CutSuffix(body, f.tail)
		if !found {
			f.tail = ""
		}
		body = cut
	}
	parts := []string{body}
	if f.mark != "" && strings.Count(body, f.mark) == 1 {
		parts = strings.SplitN(body, f.mark, 2)
	}
	if len(body) < shortest {
		return "", false
	}
	for _, c := range []byte(strings.Join(parts, "")) {
		if strings.IndexByte(f.alphabet, c) < 0 && strings.IndexByte(f.keep, c) < 0 {
			return "", false
		}
	}
	for range tries {
		drawn := make([]string, len(parts))
		for i, p := range parts {
			text, err := d.shaped(p, f)
			if err != nil {
				return "", false
			}
			drawn[i] = text
		}
		if apart(strings.Join(drawn, ""), strings.Join(parts, "")) {
			return f.prefix + strings.Join(drawn, f.mark) + f.tail, true
		}
	}
	return "", false
}

// shaped draws as many characters as part has, with its separators.
func (d drawer) shaped(part string, f family) (string, error) {
	out := []byte(part)
	for i := range out {
		if strings.IndexByte(f.keep, out[i]) >= 0 {
			continue
		}
		c, err := d.one(f.alphabet)
		if err != nil {
			return "", err
		}
		out[i] = c
	}
	return string(out), nil
}

// one draws a character, each equally likely.
func (d drawer) one(alphabet string) (byte, error) {
	limit := 256 - 256%len(alphabet)
	for {
		b, err := d.random.ReadByte()
		if err != nil {
			return 0, fmt.Errorf("draw a placeholder: %w", err)
		}
		if int(b) < limit {
			return alphabet[int(b)%len(alphabet)], nil
		}
	}
}

// apart reports whether no run of the real text stands in the drawn one.
func apart(drawn, real string) bool {
	for i := 0; i+run <= len(real); i++ {
		if strings.Contains(drawn, real[i:i+run]) {
			return false
		}
	}
	return true
}

// publicClaims are those of a token's claims that clients read and that are no
// secret: registered ones (RFC 7519 section 4.1), OAuth's (RFC 9068), and those by
// which Codex knows its account and plan. All others go, the token's own number too.
func publicClaims(name string) bool {
	switch name {
	case "iss", "aud", "exp", "iat", "nbf", "azp", "client_id", "scope", "scp", "email", "email_verified":
		return true
	}
	return false
}

// accountClaims are the objects that OpenAI puts its own claims into, and which of
// those stay.
func accountClaims(object, name string) bool {
	switch object {
	case "https://api.openai.com/auth":
		switch name {
		case "chatgpt_account_id", "chatgpt_plan_type", "chatgpt_user_id", "chatgpt_account_user_id", "user_id", "organization_id", "project_id",
			"chatgpt_subscription_active_start", "chatgpt_subscription_active_until", "completed_platform_onboarding", "is_org_owner", "localhost":
			return true
		}
	case "https://api.openai.com/profile":
		return name == "email" || name == "email_verified"
	}
	return false
}

// token is a lookalike of a JSON Web Token in its compact form (RFC 7515 section 3.1).
func (d drawer) token(real string) (string, bool) {
	parts := strings.Split(real, ".")
	if len(parts) != 3 {
		return "", false
	}
	var head, claims map[string]json.RawMessage
	if !decode(parts[0], &head) || !decode(parts[1], &claims) {
		return "", false
	}
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil || len(signature) < shortest {
		return "", false
	}
	for name := range head {
		if name != "alg" && name != "typ" {
			delete(head, name)
		}
	}
	kept := map[string]json.RawMessage{}
	for name, value := range claims {
		var inner map[string]json.RawMessage
		switch {
		case publicClaims(name):
			kept[name] = value
		case json.Unmarshal(value, &inner) == nil && len(inner) > 0:
			for within := range inner {
				if !accountClaims(name, within) {
					delete(inner, within)
				}
			}
			if len(inner) > 0 {
				kept[name] = encode(inner)
			}
		}
	}
	if !d.number(kept, len(parts[1])) {
		return "", false
	}
	signed, ok := d.signature(parts[2], len(signature))
	return base64.RawURLEncoding.EncodeToString(encode(head)) + "." + base64.RawURLEncoding.EncodeToString(encode(kept)) + "." + signed, ok
}

// number gives the claims a random number of their own (jti), long enough to make
// them as long as the real ones were, where those were longer.
func (d drawer) number(claims map[string]json.RawMessage, coded int) bool {
	claims["jti"] = json.RawMessage(`""`)
	size := max(shortest, base64.RawURLEncoding.DecodedLen(coded)-len(encode(claims)))
	text, err := d.shaped(strings.Repeat("x", size), family{alphabet: base62})
	claims["jti"] = encode(text)
	return err == nil
}

func (d drawer) signature(real string, size int) (string, bool) {
	b := make([]byte, size)
	for range tries {
		if _, err := io.ReadFull(d.random, b); err != nil {
			return "", false
		}
		if s := base64.RawURLEncoding.EncodeToString(b); apart(s, real) {
			return s, true
		}
	}
	return "", false
}

func decode(part string, into *map[string]json.RawMessage) bool {
	b, err := base64.RawURLEncoding.DecodeString(part)
	return err == nil && json.Unmarshal(b, into) == nil && *into != nil
}

// encode writes JSON with its keys in order.
func encode(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		return json.RawMessage("{}") // can't happen: it was read as JSON, or is a string
	}
	return b
}
