package rules

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"bottle/internal/bottle"
)

// Hidden reports whether a character is invisible: controls, line separators of
// YAML that editors do not show, bidirectional overrides. Tab and newline are not.
func Hidden(r rune) bool {
	switch {
	case r == '\t' || r == '\n':
		return false
	case r < 0x20 || r >= 0x7f && r < 0xa0:
		return true
	}
	return r >= 0x2028 && r <= 0x202e || r >= 0x2066 && r <= 0x2069 || r == 0xfeff
}

// EnvName accepts the names of environment variables.
func EnvName(s string) bool {
	return s != "" && len(s) <= 256 && (s[0] < '0' || s[0] > '9') && strings.Trim(s, Alnum+"_") == ""
}

// Alnum are the letters and digits of ASCII.
const Alnum = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

// Reserved says why a variable cannot be set by a manifest, or "".
func Reserved(name string) string {
	upper := strings.ToUpper(name)
	switch upper {
	case "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "FTP_PROXY", "WS_PROXY", "WSS_PROXY",
		"NODE_USE_ENV_PROXY", "GLOBAL_AGENT_HTTP_PROXY":
		return "the bottle sets it to lead to its gateway"
	case "SSL_CERT_FILE", "SSL_CERT_DIR", "NODE_EXTRA_CA_CERTS", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE",
		"GIT_SSL_CAINFO", "CODEX_CA_CERTIFICATE", "AWS_CA_BUNDLE", "PIP_CERT", "CARGO_HTTP_CAINFO",
		"DENO_CERT", "JAVA_TOOL_OPTIONS", "NIX_SSL_CERT_FILE", "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", "NPM_CONFIG_CAFILE":
		return "the bottle sets it to its own certificate authority"
	case "PATH", "HOME", "USER", "LOGNAME", "SHELL", "PWD":
		return "the bottle sets it itself"
	}
	switch {
	case strings.HasPrefix(upper, "LD_"), strings.HasPrefix(upper, "DYLD_"):
		return "it loads code into every program of the bottle"
	case strings.HasPrefix(upper, "BOTTLE_"):
		return "names that start with BOTTLE_ belong to bottle"
	}
	return ""
}

// RefuseHeader says why a header is not the gateway's to fill, or "". Cookie is
// allowed: some services know nothing else. The agent's own cookies are dropped
// on such a route.
func RefuseHeader(name string) string {
	switch strings.ToLower(name) {
	case "connection", "keep-alive", "proxy-connection", "proxy-authenticate", "proxy-authorization",
		"te", "trailer", "transfer-encoding", "upgrade", "http2-settings": // RFC 9110 section 7.6.1
		return "it concerns one connection only and is not passed on"
	case "host", "content-length", "content-encoding", "content-type", "expect", "range", "accept-encoding":
		return "it says what the request is"
	}
	return ""
}

// CanonicalHeader writes a header's name as Go and most services do: X-Api-Key.
func CanonicalHeader(name string) string {
	b := []byte(strings.ToLower(name))
	for i := range b {
		if (i == 0 || b[i-1] == '-') && b[i] >= 'a' && b[i] <= 'z' {
			b[i] -= 'a' - 'A'
		}
	}
	return string(b)
}

// Token is RFC 9110 section 5.6.2.
func Token(s string) bool {
	return s != "" && strings.Trim(s, Alnum+"!#$%&'*+-.^_`|~") == ""
}

// Kebab accepts words such as init-prd.
func Kebab(s string) bool {
	if s == "" || len(s) > 64 || s[0] < 'a' || s[0] > 'z' || s[len(s)-1] == '-' || strings.Contains(s, "--") {
		return false
	}
	return strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

// Pasted reports whether v looks like a secret: it knows the beginnings of common tokens; several would pass for the
// name of a variable.
func Pasted(v string) bool {
	if len(v) < 20 || !strings.ContainsAny(v, "0123456789") {
		return false
	}
	for _, p := range []string{"ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-", "sk-", "sk_live_", "xoxb-", "xoxp-", "AKIA", "eyJ", "npm_", "hf_"} {
		if strings.HasPrefix(v, p) {
			return true
		}
	}
	return false
}

// Memory is Size from 16 MiB to 16 TiB.
func Memory(v string) (int64, error) { return Size(v, 16<<20, 16<<40) }

// Size reads a size in bytes: plain digits, or digits and KiB, MiB, GiB or TiB,
// between two bounds of at most 16 TiB.
func Size(v string, least, most int64) (int64, error) {
	digits := strings.TrimRight(v, "BGKMTi")
	unit := int64(1)
	switch v[len(digits):] {
	case "":
	case "KiB":
		unit = 1 << 10
	case "MiB":
		unit = 1 << 20
	case "GiB":
		unit = 1 << 30
	case "TiB":
		unit = 1 << 40
	default:
		return 0, errors.New("has an unknown unit: write 512MiB, 4GiB or plain bytes")
	}
	n, err := strconv.ParseUint(digits, 10, 63)
	if err != nil {
		return 0, errors.New("is not a size: write 512MiB, 4GiB or plain bytes")
	}
	if n > uint64(most/unit) || int64(n)*unit < least {
		return 0, fmt.Errorf("is out of range: write a size from %s to %s", bottle.SpellSize(least), bottle.SpellSize(most))
	}
	return int64(n) * unit, nil
}
