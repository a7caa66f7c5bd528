package own

import (
	"bytes"
	"strings"

	"bottle/internal/dlp/rule"
)

// logins are what stands for a person who has logged in, and what lets one log in.
func logins() []rule.Rule {
	jwt := "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJib2IifQ." + sample(word, 43)
	basic := "Ym9iOks5dzIhclhwNDRt" // bob:K9w2!rXp44m
	hash := sample("./0-9A-Za-z", 86)
	return []rule.Rule{
		{ID: "signed-jwt", Description: "A signed or encrypted JSON Web Token (RFC 7519).", Keywords: []string{"eyj", "eyai", "ewog", "ewok", "ewoj", "ew0k"},
			Regexp: `(?:^|[^0-9A-Za-z_/+-])(e[yw][0-9A-Za-z_-]{10,}={0,2}\.[0-9A-Za-z_-]*={0,2}\.[0-9A-Za-z_-]{16,}={0,2}(?:\.[0-9A-Za-z_-]{16,}\.[0-9A-Za-z_-]{16,})?)`, Group: 1, Check: tokenJSON,
			Hits: []string{jwt, "token=" + jwt + "&x", `{"jwt":"` + jwt + `"}`},
			Misses: []string{"eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9." + jwtExample + ".SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV_adQssw5c",
				"eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJib2IifQ.", "eyJ2ZXJzaW9uIjozLCJzb3VyY2VzIjpbXX0.eyJzdWIiOiJib2IifQ." + sample(word, 43), "eyJub3QganNvbg.x." + sample(word, 43)}},
		{ID: "session-cookie", Description: "The cookie of a session.", Keywords: []string{"cookie:"},
			Regexp: `(?i)\b(?:set-)?cookie: {0,4}([^\r\n"'\\]{20,})`, Group: 1, Check: cookie,
			Hits:   []string{"Cookie: lang=en; connect.sid=s%3A" + sample(alnum, 32) + "; a=b\r\n", "Set-Cookie: SESSIONID=" + sample(hexes, 32) + "; Path=/"},
			Misses: []string{"Cookie: lang=" + sample(alnum, 32), "Cookie: session=short", "Set-Cookie: sid=" + strings.Repeat("a", 32), "Cookie: session=this_is_a_session_cookie"}},
		{ID: "authorization-header", Description: "The value of an Authorization header (RFC 9110 section 11.6.2).", Keywords: []string{"authorization"},
			Regexp: `(?i)\b(?:proxy-)?authorization\\?["']?\s{0,4}[:=,]{1,2}\s{0,4}\\?["'\x60]?(?:bearer|token|apikey|negotiate|digest) {1,4}([0-9A-Za-z+/=_.~-]{16,})`, Group: 1, Check: bearer,
			Hits: []string{"Authorization: Bearer " + sample(alnum, 40), `headers: {"authorization": "token ` + sample(hexes, 40) + `"}`}, Misses: []string{"Authorization: Bearer your-access-token-here", "Authorization: Bearer " + strings.Repeat("x", 40), "Authorization: Bearer abcdefghijklmnop", "Authorization: Bearer ${TOKEN_OF_THE_SERVICE}"}},
		{ID: "basic-authorization", Description: "A user and a password in an Authorization header (RFC 7617).", Keywords: []string{"authorization"},
			Regexp: `(?i)\b(?:proxy-)?authorization\\?["']?\s{0,4}[:=,]{1,2}\s{0,4}\\?["'\x60]?basic {1,4}([0-9A-Za-z+/]{12,}={0,2})`, Group: 1, Check: userAndPassword,
			Hits: []string{"Authorization: Basic " + basic + "\r\n"}, Misses: []string{"Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==", "Authorization: Basic dXNlcjpwYXNzd29yZA==", "Authorization: Basic " + sample(b64, 24)}},
		{ID: "docker-auth", Description: "A login of a registry in Docker's config.json.", Keywords: []string{`"auth"`},
			Regexp: `"auth"\s{0,4}:\s{0,4}"([0-9A-Za-z+/]{12,}={0,2})"`, Group: 1, Check: userAndPassword,
			Hits: []string{`{"auths":{"ghcr.io":{"auth":"` + basic + `"}}}`}, Misses: []string{`"auth": "dXNlcjpwYXNzd29yZA=="`, `"auth": "required-by-server"`, `"auth":"abcdefghijklmnop"`}},
		{ID: "npmrc-token", Description: "A login of a registry in .npmrc.", Keywords: []string{"_authtoken", "_password", "_auth"},
			Regexp: `:(?:_authToken|_password|_auth)\s{0,4}=\s{0,4}["']?([0-9A-Za-z+/=_.-]{16,})`, Group: 1, Check: random(16, 3.2),
			Hits: []string{"//registry.npmjs.org/:_authToken=" + sample(alnum, 36) + "\n"}, Misses: []string{"//registry.npmjs.org/:_authToken=${NPM_TOKEN}", "//r/:_authToken=your-token-goes-here", "//r/:_password=" + strings.Repeat("x", 30)}},
		{ID: "netrc-password", Description: "A password in .netrc.", Keywords: []string{"machine"},
			Regexp: `\bmachine[ \t]+[\w.:-]{1,128}\s+login\s+\S{1,128}\s+(?:account\s+\S{1,64}\s+)?password\s+(\S{4,256})`, Group: 1, Check: written,
			Hits: []string{"machine github.com login bob password K9w2!rXp44m\n", "machine a.b\n  login bob\n  password " + sample(alnum, 20)}, Misses: []string{"machine example.com login user password <password>", "a machine that has a login and a password", "machine x login y password pass"}},
		{ID: "pgpass-password", Description: "A password in .pgpass.", Keywords: []string{":5432:"},
			Regexp: `(?m)^[\w.*-]{1,128}:5432:[\w*-]{1,64}:[\w*-]{1,64}:([^\s:"'<>]{4,128})$`, Group: 1, Check: written,
			Hits: []string{"db.internal:5432:*:bob:K9w2!rXp44m"}, Misses: []string{"hostname:5432:database:username:password", "ports: 5432:5432"}},
		{ID: "password-hash", Description: "A password's hash by crypt(5), as in /etc/shadow.", Keywords: []string{"$6$", "$5$", "$y$", "$gy$", "$7$", ":$1$", ":$2a$", ":$2b$", ":$2y$"},
			Regexp: `(\$6\$(?:rounds=[0-9]{1,9}\$)?[./0-9A-Za-z]{1,16}\$[./0-9A-Za-z]{86}|\$5\$(?:rounds=[0-9]{1,9}\$)?[./0-9A-Za-z]{1,16}\$[./0-9A-Za-z]{43}|\$g?y\$[./0-9A-Za-z]{1,6}\$[./0-9A-Za-z]{8,86}\$[./0-9A-Za-z]{43}|\$7\$[./0-9A-Za-z]{11,97}\$[./0-9A-Za-z]{43}|(?:^|\b)[a-z_][\w-]{0,31}:(?:\$1\$[./0-9A-Za-z]{1,8}\$[./0-9A-Za-z]{22}|\$2[aby]\$[0-9]{2}\$[./0-9A-Za-z]{53}))`, Group: 1, Check: lastOf(20, 3),
			Hits:   []string{"root:$6$saltsalt$" + hash + ":19000:0:99999:7:::", "bob:$y$j9T$" + sample(alnum, 22) + "$" + sample(alnum, 43) + ":1", "web:$2b$12$" + hash[:53]},
			Misses: []string{"root:*:19000:0:99999:7:::", "root:$6$saltsalt$" + strings.Repeat("x", 86), "awk '{print $5$6$7}'", "$6$salt$short"}},
	}
}

// written judges what a person may have chosen as a password, in a place where only
// one can stand.
func written(secret []byte) bool {
	return password(secret) && (!lettersOnly(secret) || classes(secret) >= 3) && secret[0] != '"' && secret[0] != '\''
}

// bearer wants more of a short token than of a long one.
func bearer(secret []byte) bool {
	n := min(len(secret), 40)
	return classes(secret[:n]) >= 2 && !lettersOnly(secret[:n]) && random(n, 3.3)(secret)
}

// cookie tells whether one pair of a Cookie or Set-Cookie header (RFC 6265) is named
// as a session and has a value that nobody wrote: letters, digits and entropy.
func cookie(line []byte) bool {
	for len(line) > 0 {
		var pair []byte
		pair, line, _ = bytes.Cut(line, []byte(";"))
		name, value, _ := bytes.Cut(bytes.TrimSpace(pair), []byte("="))
		if len(value) >= 20 && sessionName(name) && bearer(value) && entropy(value[:20]) >= 2.8 {
			return true
		}
	}
	return false
}

// sessionName tells whether a cookie's name says that it stands for a login.
func sessionName(name []byte) bool {
	low := bytes.ToLower(name)
	for _, w := range [...]string{"sess", "sid", "auth", "token", "jwt", "login", "remember", "credential"} {
		if bytes.Contains(low, []byte(w)) {
			return true
		}
	}
	return false
}

// lettersOnly tells whether a text has no digit: words, with marks between them.
func lettersOnly(b []byte) bool {
	for _, c := range b {
		if '0' <= c && c <= '9' {
			return false
		}
	}
	return true
}
