package pack

import (
	"bytes"
	"path"
	"regexp"
	"slices"
	"strings"
)

// secretName tells whether a name below the folder is one under which programs keep
// secrets. Letter case does not matter, as on some file systems.
func secretName(p string, folder bool) bool {
	p = strings.ToLower(p)
	base := path.Base(p)
	if folder {
		return slices.Contains([]string{
			".ssh", ".gnupg", ".aws", ".azure", ".kube", ".bot-bottle", ".password-store", ".gcloud", ".1password", "keyrings", "keychains",
		}, base) || under(p, ".config", "gcloud", "gh", "op", "sops", "hub", "rclone")
	}
	switch base {
	case ".netrc", "_netrc", ".npmrc", ".pypirc", ".git-credentials", ".dockercfg", ".pgpass", ".my.cnf", ".s3cfg", ".boto", ".htpasswd", ".vault-token", ".terraformrc", ".envrc", ".bash_history", ".zsh_history", ".python_history", ".psql_history", ".mysql_history",
		"credentials", "credentials.json", ".credentials.json", ".claude.json", "credentials.toml", "credentials.yml", "credentials.yaml", "secrets", "secrets.json", "secrets.toml", "secrets.yml", "secrets.yaml",
		"service-account.json", "service_account.json", "application_default_credentials.json", "client_secret.json", "kubeconfig", "auth.json", "age.key", "terraform.tfstate", "terraform.tfvars", "master.key":
		return true
	}
	switch {
	case base == ".env" || strings.HasPrefix(base, ".env.") || strings.HasSuffix(base, ".env"):
		return !example(base)
	case strings.HasPrefix(base, "id_"): // of ssh-keygen
		return !strings.Contains(base, ".")
	case under(p, ".docker", "config.json"): // the rest of such a folder is a project's
		return true
	}
	return slices.Contains([]string{".p12", ".pfx", ".jks", ".keystore", ".kdbx", ".ppk", ".agekey", ".ovpn", ".tfstate"}, path.Ext(base))
}

// under tells whether p is one of names in a folder called dir.
func under(p, dir string, names ...string) bool {
	return path.Base(path.Dir(p)) == dir && slices.Contains(names, path.Base(p))
}

// example are files of settings that show their form and hold none.
func example(base string) bool {
	return slices.Contains([]string{".example", ".sample", ".template", ".dist", ".defaults"}, path.Ext(base))
}

// secretBody tells whether what a file holds is a private key, or a login in settings that
// mostly have none. A certificate or a public key is none, whatever its name.
func secretBody(p string, body []byte) bool {
	head := bytes.TrimLeft(bytes.TrimPrefix(body, []byte("\xef\xbb\xbf")), " \t\r\n")
	if bytes.HasPrefix(head, []byte("PuTTY-User-Key-File-")) {
		return true
	}
	first, _, _ := bytes.Cut(head, []byte("\n"))
	if bytes.HasPrefix(first, []byte("-----BEGIN ")) && bytes.Contains(first, []byte("PRIVATE KEY")) {
		return true
	}
	p = strings.ToLower(p)
	if slices.Contains([]string{".pem", ".key", ".crt", ".cer", ".der"}, path.Ext(p)) {
		return bytes.Contains(body, []byte("PRIVATE KEY-----"))
	}
	switch path.Base(p) {
	case "keys.txt": // of age
		return bytes.Contains(body, []byte("AGE-SECRET-KEY-1"))
	case ".yarnrc.yml":
		return bytes.Contains(body, []byte("npmAuth"))
	}
	if path.Ext(p) == ".gpg" { // a packet with a secret key (RFC 4880 §4.2, §4.3): an encrypted one, or a public key ring, is none
		return len(body) > 0 && (body[0]&^3 == 0x94 || body[0] == 0xc5)
	}
	if strings.HasSuffix("/"+p, ".git/config") || path.Base(p) == ".gitconfig" {
		return bytes.Contains(bytes.ToLower(body), []byte("authorization")) || regexp.MustCompile(`://[^/@\s]+@`).Match(body)
	}
	return false
}
