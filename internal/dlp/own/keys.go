package own

import (
	"strings"

	"bottle/internal/dlp/rule"
)

// privateKeys are keys in the forms in which they lie in files. A header with 64
// characters of key is enough: the end may be cut off.
func privateKeys() []rule.Rule {
	body := sample(b64, 64)
	lines := body + "\n" + sample(b64, 63) + "\n"
	return []rule.Rule{
		{ID: "pem-private-key", Description: "A private key in PEM or armour (RFC 7468, RFC 4880), whole or cut.", Keywords: []string{"private key", "secret key"},
			Regexp: `(?i)-{4,5} ?BEGIN[ A-Z0-9_-]{0,60}(?:PRIVATE KEY(?: BLOCK)?|SECRET KEY) ?-{4,5}((?:(?:\s|\\[nrt]|["'+,])*[A-Z][A-Z-]{2,24}: [^\r\n\\]{0,160})*[A-Za-z0-9+/=\s\\"',]{64,})`, Group: 1, Check: keyBody,
			Hits: []string{
				"-----BEGIN RSA PRIVATE KEY-----\n" + lines + "-----END RSA PRIVATE KEY-----",
				"-----BEGIN OPENSSH PRIVATE KEY-----\n" + lines,
				"-----BEGIN ENCRYPTED PRIVATE KEY-----\r\n" + body + "\r\n",
				"-----BEGIN EC PRIVATE KEY-----\n" + lines,
				"-----BEGIN DSA PRIVATE KEY-----\n" + lines,
				"-----BEGIN PRIVATE KEY-----" + body,
				`{"private_key": "-----BEGIN PRIVATE KEY-----\n` + body + `\n` + body + `\n-----END PRIVATE KEY-----\n"}`,
				"-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,8D1F5A\n\n" + lines,
				"-----BEGIN PGP PRIVATE KEY BLOCK-----\nVersion: GnuPG v2\n\n" + lines,
				"---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----\nComment: \"x\"\n" + lines,
				"k := \"-----BEGIN EC PRIVATE KEY-----\\n\" +\n\t\"" + body[:40] + "\\n\" +\n\t\"" + body[40:] + sample(b64, 20) + "\"",
				"  -----BEGIN PRIVATE KEY-----\n    " + body[:32] + "\n    " + body[32:] + "\n    " + body,
			},
			Misses: []string{
				"-----BEGIN PUBLIC KEY-----\n" + lines, "-----BEGIN CERTIFICATE-----\n" + lines,
				"-----BEGIN RSA PRIVATE KEY-----\n...\n-----END RSA PRIVATE KEY-----",
				"-----BEGIN PRIVATE KEY-----\n" + strings.Repeat("x", 64) + "\n-----END PRIVATE KEY-----",
				"looks for -----BEGIN PRIVATE KEY----- and then reads lines until it finds the end of the key, which it hands to the parser of keys",
			}},
		{ID: "putty-private-key", Description: "A private key of PuTTY.", Keywords: []string{"private-lines:"},
			Regexp: `Private-Lines:[ \t]*[0-9]{1,3}((?:\s|\\[nr])+[A-Za-z0-9+/=\s\\]{64,})`, Group: 1, Check: keyBody,
			Hits:   []string{"PuTTY-User-Key-File-3: ssh-rsa\nPrivate-Lines: 14\n" + lines},
			Misses: []string{"PuTTY-User-Key-File-3: ssh-rsa\nPublic-Lines: 6\n" + lines, "Private-Lines: 8\nshort"}},
		{ID: "der-private-key", Description: "A private key, DER in base64 (RFC 5208, 5915, 5958, 8017), without its PEM lines.",
			Keywords: []string{"ibaakcaqea", "ibaakcagea", "ibaakcayea", "ibaakbgq", "ibadanbgkqhkig9w0baqefaasc", "mhccaqee", "migkagebbda", "mihcagebbei", "ageambmgbyqgsm49ageg", "ageambagbyqgsm49ageg", "mc4caqawbqydk2vwbcie", "mc4caqawbqydk2vubcie", "mfecaqewbqydk2vwbcie", "bgkqhkig9w0bbq0w", "b3blbnnzac1rzxktdjea"},
			Regexp:   `((?:MII[0-9A-Za-z+/]{3}IBAAK(?:CAQEA|CAgEA|CAYEA|BgQ)|MII[0-9A-Za-z+/]{3}IBADANBgkqhkiG9w0BAQEFAASC|MHcCAQEE|MIGkAgEBBDA|MIHcAgEBBEI|M[0-9A-Za-z+/]{3}AgEAMB[MA]GByqGSM49AgEG|MC4CAQAwBQYDK2V[wu]BCIE|MFECAQEwBQYDK2VwBCIE|MII[0-9A-Za-z+/]{3}B[0-9A-Za-z+/]BgkqhkiG9w0BBQ0w|b3BlbnNzaC1rZXktdjEA)[A-Za-z0-9+/=\s\\]{32,})`, Group: 1, Check: keyBody,
			Hits: []string{
				"MIIEpAIBAAKCAQEA" + body, `"MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSj` + body + `"`, "MHcCAQEEI" + body,
				"MC4CAQAwBQYDK2VwBCIEI" + sample(b64, 43), "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg" + body,
				"MIIJKQIBAAKCAgEA" + body, "b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtzc2gtZWQyNTUxOQAAACB" + body, "MIIFHDBOBgkqhkiG9w0BBQ0wQTApBgkqhkiG9w0BBQwwHAQI" + body,
			},
			Misses: []string{"MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA" + body, "MIIEpAIBAAKCAQEA...", "MHcCAQEEI short", "MCowBQYDK2VwAyEA" + sample(b64, 43)}},
		{ID: "jwk-private-key", Description: "The private part of a JSON Web Key (RFC 7517).", Keywords: []string{`"d"`},
			Regexp: `"d"\s{0,8}:\s{0,8}"([0-9A-Za-z_-]{42,})={0,2}"`, Group: 1, Check: random(42, 4),
			Hits:   []string{`{"kty":"OKP","crv":"Ed25519","d":"` + sample(word, 43) + `","x":"1"}`, `"d" : "` + sample(word, 342) + `"`},
			Misses: []string{`"d":"M10 10h4v4z` + strings.Repeat(" 1", 30) + `"`, `"d":"` + strings.Repeat("a", 43) + `"`, `"x":"` + sample(word, 43) + `"`}},
		{ID: "jwk-symmetric-key", Description: "A symmetric JSON Web Key (RFC 7517).", Keywords: []string{`"oct"`},
			Regexp: `"kty"\s{0,8}:\s{0,8}"oct"[^{}]{0,300}?"k"\s{0,8}:\s{0,8}"([0-9A-Za-z_-]{22,})={0,2}"|"k"\s{0,8}:\s{0,8}"([0-9A-Za-z_-]{22,})={0,2}"[^{}]{0,300}?"kty"\s{0,8}:\s{0,8}"oct"`, Check: random(22, 3.3),
			Hits:   []string{`{"kty":"oct","alg":"HS256","k":"` + sample(word, 43) + `"}`, `{"k":"` + sample(word, 43) + `","kty":"oct"}`},
			Misses: []string{`{"kty":"oct"},{"k":"` + sample(word, 43) + `"}`, `{"kty":"oct","k":"short"}`}},
		{ID: "wireguard-key", Description: "A private or preshared key of WireGuard.", Keywords: []string{"privatekey =", "privatekey=", "presharedkey =", "presharedkey="},
			Regexp: `(?i:PrivateKey|PresharedKey) {0,4}= {0,4}([0-9A-Za-z+/]{42}[AEIMQUYcgkosw048]=)`, Group: 1, Check: random(42, 4),
			Hits: []string{"[Interface]\nPrivateKey = " + sample(b64, 42) + "A="}, Misses: []string{"PublicKey = " + sample(b64, 42) + "A=", "PrivateKey = " + strings.Repeat("A", 43) + "=", "privateKey = getKey()"}},
		{ID: "minisign-key", Description: "A secret key of minisign or signify.", Keywords: []string{"rwrty0iy", "rwrcsw"},
			Regexp: `(?:RWRTY0Iy|RWRCSw)([0-9A-Za-z+/]{80,}={0,2})`, Group: 1, Check: random(80, 4),
			Hits: []string{"untrusted comment: minisign encrypted secret key\nRWRTY0Iy" + sample(b64, 204)}, Misses: []string{"RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3", "RWRTY0Iy" + sample(b64, 40)}},
		{ID: "tor-onion-key", Description: "The key of a Tor onion service.", Keywords: []string{"ed25519-v3:", "== ed25519v1-secret", "pt0gzwqyntuxoxyxlxnly3jld"},
			Regexp: `ED25519-V3:([0-9A-Za-z+/]{64,88}={0,2})|(?s:== ed25519v1-secret: type0 ==\x00{0,3}(.{32,64}))|(PT0gZWQyNTUxOXYxLXNlY3JldD[0-9A-Za-z+/\s]{60,})`, Check: random(32, 3.5),
			Hits:   []string{"ADD_ONION ED25519-V3:" + sample(b64, 86) + "== Port=80", "== ed25519v1-secret: type0 ==\x00\x00\x00" + sample(b64, 64), "PT0gZWQyNTUxOXYxLXNlY3JldDogdHlwZTAgPT0AAAD" + sample(b64, 80)},
			Misses: []string{"ADD_ONION ED25519-V3:short Port=80", "== ed25519v1-public: type0 ==" + sample(b64, 64)}},
	}
}
