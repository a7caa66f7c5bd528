package remote

import (
	"bufio"
	"crypto/hmac"
	"crypto/sha1" // the form's own choice (sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT"): it hides names, no secret
	"encoding/base64"
	"io"
	"os"
	"strconv"
	"strings"

	"bottle/internal/bottle"
)

// Bounds of what is read of known_hosts.
const (
	maxKnown = 4 << 20 // bytes
	maxLine  = 16 << 10
)

// hostKey is the key that known_hosts files have for a server, the best kind first: type
// and base64. Lines that revoke a key or name an authority are none of a host, and a key
// that some line revokes is none.
func hostKey(r bottle.Remote, files ...string) string {
	if r.Scheme != "ssh" {
		return ""
	}
	name := string(r.Host)
	if r.Port != 0 {
		name = "[" + name + "]:" + strconv.Itoa(int(r.Port))
	}
	keys, revoked := map[string]string{}, map[string]bool{}
	for _, path := range files {
		f, err := os.Open(path)
		if err != nil {
			continue
		}
		if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
			lines(io.LimitReader(f, maxKnown), name, keys, revoked)
		}
		_ = f.Close() // it was read only
	}
	for _, kind := range []string{"ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "ssh-rsa"} {
		if k := keys[kind]; k != "" && !revoked[k] {
			return kind + " " + k
		}
	}
	return ""
}

// lines reads one file: the first key of each kind wins, as for ssh's own warning.
func lines(in io.Reader, name string, keys map[string]string, revoked map[string]bool) {
	s := bufio.NewScanner(in)
	s.Buffer(make([]byte, 4096), maxLine)
	for s.Scan() {
		f := strings.Fields(s.Text())
		if len(f) > 3 && f[0] == "@revoked" {
			revoked[f[3]] = true
		}
		if len(f) < 3 || strings.HasPrefix(f[0], "#") || strings.HasPrefix(f[0], "@") || !names(f[0], name) {
			continue
		}
		if _, err := base64.StdEncoding.DecodeString(f[2]); err == nil && keys[f[1]] == "" {
			keys[f[1]] = f[2]
		}
	}
}

// names reports whether the first field of a line is about a host: its name in a list, or
// hashed. Patterns are not taken: a key for any host of a company is not surely this one's.
func names(field, name string) bool {
	if rest, hashed := strings.CutPrefix(field, "|1|"); hashed {
		salt, sum, _ := strings.Cut(rest, "|")
		key, err := base64.StdEncoding.DecodeString(salt)
		want, err2 := base64.StdEncoding.DecodeString(sum)
		if err != nil || err2 != nil {
			return false
		}
		h := hmac.New(sha1.New, key)
		h.Write([]byte(name))
		return hmac.Equal(h.Sum(nil), want)
	}
	for one := range strings.SplitSeq(field, ",") {
		if strings.EqualFold(one, name) {
			return true
		}
	}
	return false
}
