package secret

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// Invariant 2, for placeholders: of a real token the agent learns its kind, its
// length and its alphabet. The test draws tokens of every kind and looks for any
// four bytes of their random part in what stands for them.
func TestInvariant2LookalikeHoldsNothingOfTheValue(t *testing.T) {
	all := families()
	rapid.Check(t, func(t *rapid.T) {
		f := all[rapid.IntRange(0, len(all)-1).Draw(t, "family")]
		body := rapid.StringOfN(rapid.RuneFrom([]rune(f.alphabet)), shortest, 200, -1).Draw(t, "body")
		if f.mark != "" && rapid.Bool().Draw(t, "mark") {
			body = body[:len(body)/2] + f.mark + body[len(body)/2:]
		}
		real := f.prefix + body + f.tail
		like, ok := New([]byte(real)).Lookalike(rand.Reader)
		if !ok {
			t.Fatalf("no lookalike of %q", real)
		}
		if len(like) != len(real) || !strings.HasPrefix(like, f.prefix) || !strings.HasSuffix(like, f.tail) {
			t.Fatalf("%q for %q", like, real)
		}
		drawn := strings.TrimSuffix(strings.TrimPrefix(like, f.prefix), f.tail)
		hidden := body
		if f.mark != "" && strings.Count(body, f.mark) == 1 {
			if strings.Index(drawn, f.mark) != strings.Index(body, f.mark) {
				t.Fatalf("the mark has moved: %q", like)
			}
			drawn, hidden = strings.Replace(drawn, f.mark, "", 1), strings.Replace(body, f.mark, "", 1)
		}
		if strings.Trim(drawn, f.alphabet+f.keep) != "" {
			t.Fatalf("another alphabet: %q", like)
		}
		for i := 0; i+4 <= len(hidden); i++ {
			if strings.Contains(drawn, hidden[i:i+4]) {
				t.Fatalf("%q is in %q", hidden[i:i+4], like)
			}
		}
		if again, _ := New([]byte(real)).Lookalike(rand.Reader); again == like {
			t.Fatal("two bottles hold the same placeholder")
		}
	})
}

// What is of no known kind tells nothing at all, not even its length.
func TestLookalikeOfTheUnknownIsNone(t *testing.T) {
	for _, real := range []string{
		"", "hunter2-hunter2-hunter2-hunter2", "ghp_short", "ghp_" + strings.Repeat("a", 30) + " b", "sk-ant-oat01-" + strings.Repeat("!", 40),
		"eyJhbGciOiJIUzI1NiJ9", "eyJhbGciOiJIUzI1NiJ9.e30.", "eyJhbGciOiJub25lIn0.e30.AAAA", "eyJ.e30." + strings.Repeat("A", 43),
		"eyJhbGciOiJIUzI1NiJ9.W10." + strings.Repeat("A", 43), "eyJhbGciOiJIUzI1NiJ9.e30." + strings.Repeat("A", 43) + ".e30.x",
		"AKIA" + strings.Repeat("A", 16) + "\"", "SECRET_sk-ant-oat01-" + strings.Repeat("a", 40),
	} {
		if like, ok := New([]byte(real)).Lookalike(rand.Reader); ok {
			t.Errorf("%q got %q", real, like)
		}
	}
	good := New([]byte("ghp_" + strings.Repeat("aB3d", 9)))
	if like, ok := good.Lookalike(io.LimitReader(rand.Reader, 5)); ok {
		t.Errorf("without randomness: %q", like)
	}
	// What can't be drawn apart is not drawn: here every four hexadecimal digits occur.
	var every strings.Builder
	for i := range 1 << 16 {
		every.WriteString(string([]byte{"0123456789abcdef"[i>>12], "0123456789abcdef"[i>>8&15], "0123456789abcdef"[i>>4&15], "0123456789abcdef"[i&15]}))
	}
	if _, ok := New([]byte("sk-or-v1-" + every.String())).Lookalike(rand.Reader); ok {
		t.Error("a lookalike that holds parts of the value")
	}
}

func sign(head, claims string, signature []byte) string {
	b := base64.RawURLEncoding
	return b.EncodeToString([]byte(head)) + "." + b.EncodeToString([]byte(claims)) + "." + b.EncodeToString(signature)
}

// A JSON Web Token keeps what clients read and loses all else: the signature, the
// key's number, and each claim that no client is known to need.
func TestInvariant2LookalikeOfAJSONWebToken(t *testing.T) {
	signature := make([]byte, 256)
	_, _ = rand.Read(signature)
	claims := `{"iss":"https://auth.openai.com","aud":["https://api.openai.com/v1"],"exp":1900000000,"iat":1800000000,"nbf":1800000000,"azp":"app_x","scope":"openid email",
		"email":"me@example.com","jti":"SECRETJTI-0123456789","sid":"SECRETSID","session_id":"SECRETSESSION","pwd_auth_time":1,"nested":{"a":{"b":"SECRETNESTED"}},
		"https://api.openai.com/auth":{"chatgpt_account_id":"acc-1","chatgpt_plan_type":"pro","user_id":"user-1","refresh":"SECRETREFRESH","groups":["SECRETGROUP"]},
		"https://api.openai.com/profile":{"email":"me@example.com","phone":"SECRETPHONE"}}`
	real := sign(`{"alg":"RS256","typ":"JWT","kid":"SECRETKID"}`, claims, signature)
	like, ok := New([]byte(real)).Lookalike(rand.Reader)
	parts, was := strings.Split(like, "."), strings.Split(real, ".")
	if !ok || len(parts) != 3 {
		t.Fatalf("%q, %v", like, ok)
	}
	if d := len(parts[1]) - len(was[1]); d < -2 || d > 2 || len(parts[2]) != len(was[2]) {
		t.Errorf("lengths %d and %d, were %d and %d", len(parts[1]), len(parts[2]), len(was[1]), len(was[2]))
	}
	var head, got map[string]any
	for part, into := range map[string]*map[string]any{parts[0]: &head, parts[1]: &got} {
		b, err := base64.RawURLEncoding.DecodeString(part)
		if err != nil || json.Unmarshal(b, into) != nil || bytes.Contains(b, []byte("SECRET")) {
			t.Errorf("%s, %v", b, err)
		}
	}
	if !maps.Equal(head, map[string]any{"alg": "RS256", "typ": "JWT"}) || got["exp"] != float64(1900000000) || got["email"] != "me@example.com" {
		t.Errorf("%v %v", head, got)
	}
	auth, _ := got["https://api.openai.com/auth"].(map[string]any)
	if len(auth) != 3 || auth["chatgpt_account_id"] != "acc-1" || auth["chatgpt_plan_type"] != "pro" {
		t.Errorf("Codex reads %v", auth)
	}
	names := slices.Sorted(maps.Keys(got))
	if want := []string{"aud", "azp", "email", "exp", "https://api.openai.com/auth", "https://api.openai.com/profile", "iat", "iss", "jti", "nbf", "scope"}; !slices.Equal(names, want) {
		t.Errorf("claims %q", names)
	}
	for i := 0; i+4 <= len(was[2]); i++ {
		if strings.Contains(parts[2], was[2][i:i+4]) {
			t.Fatalf("%q of the signature", was[2][i:i+4])
		}
	}
	if again, _ := New([]byte(real)).Lookalike(rand.Reader); again == like {
		t.Error("two bottles hold the same placeholder")
	}
}

// FuzzLookalike: no value makes it fail, and no long run of an unknown one comes out.
func FuzzLookalike(f *testing.F) {
	for _, s := range []string{"", "eyJ.e.e", "ghp_" + strings.Repeat("a", 36), sign(`{"alg":"x"}`, `{"a":{"b":1}}`, make([]byte, 32)), "sk-ant-api03-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxAA"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, real []byte) {
		like, ok := New(real).Lookalike(rand.Reader)
		if ok == (like == "") {
			t.Errorf("%q, %v", like, ok)
		}
		if ok && strings.Trim(like, urlsafe+".") != "" {
			t.Errorf("it holds what a variable or JSON could trip over: %q", like)
		}
	})
}
