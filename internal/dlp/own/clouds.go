package own

import (
	"strings"

	"bottle/internal/dlp/rule"
)

// clouds are the credentials that a cloud gives to a machine, and those of clusters.
func clouds() []rule.Rule {
	aws, session := sample(b64, 40), sample(b64, 200)
	return []rule.Rule{
		{ID: "aws-secret-key", Description: "The secret part of a key of AWS.", Keywords: []string{"secretaccesskey", "secret_access_key", "secret-access-key", "aws_secret_key"},
			Regexp: `(?i)(?:secret_?-?access_?-?key|aws_secret_key)["']?\s{0,4}(?:[:=]{1,2}|=>|,|>)\s{0,4}["']?([0-9A-Za-z/+]{40})(?:$|[^0-9A-Za-z/+=])`, Group: 1, Check: awsSecret,
			Hits: []string{`{"AccessKeyId":"ASIA","SecretAccessKey":"` + aws + `","SessionToken":"x"}`, "aws_secret_access_key = " + aws + "\n", "<SecretAccessKey>" + aws + "</SecretAccessKey>"},
			Misses: []string{"aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "SecretAccessKey: " + strings.Repeat("a", 40),
				"secret_access_key=" + sample(hexes, 40), "aws_secret_access_key = aws.SecretAccessKey"}},
		{ID: "aws-session-token", Description: "A session token of AWS.", Keywords: []string{"sessiontoken", "session_token", "x-amz-security-token", "securitytoken"},
			Regexp: `(?i)(?:session_?token|security-?token)["']?\s{0,4}(?:[:=]{1,2}|=>|>)\s{0,4}["']?([0-9A-Za-z/+%]{100,}={0,2})`, Group: 1, Check: random(100, 4.5),
			Hits: []string{`"SessionToken" : "` + session + `"`, "aws_session_token=" + session + "=="}, Misses: []string{`"SessionToken": "` + strings.Repeat("AQoDYXdzEPT", 12) + `"`, `SessionToken: token`}},
		{ID: "gcp-service-key", Description: "A key of a Google service account in JSON, cut or not.", Keywords: []string{`"private_key_id"`},
			Regexp: `"private_key_id"\s{0,4}:\s{0,4}"([0-9a-f]{40})"\s{0,4},\s{0,4}"private_key"`, Group: 1, Check: random(40, 3),
			Hits: []string{`{"type":"service_account","private_key_id": "` + sample(hexes, 40) + `", "private_key": "x"}`}, Misses: []string{`"private_key_id": "` + sample(hexes, 40) + `"`, `"private_key_id": "", "private_key": ""`}},
		{ID: "access-token", Description: "A token in an answer of OAuth (RFC 6749 section 5.1) or of a metadata service.", Keywords: []string{`"access_token"`, `"refresh_token"`, `"id_token"`, `"accesstoken"`, `"refreshtoken"`},
			Regexp: `(?i)"(?:access|refresh|id)_?token"\s{0,4}:\s{0,4}"([0-9A-Za-z._~+/|=-]{40,})"`, Group: 1, Check: random(40, 4),
			Hits: []string{`{"access_token":"` + sample(word, 60) + `","token_type":"Bearer"}`}, Misses: []string{`{"access_token":"your-token"}`, `"access_token": "` + strings.Repeat("abc", 20) + `"`}},
		{ID: "azure-account-key", Description: "A key of an Azure account or bus.", Keywords: []string{"accountkey=", "sharedaccesskey=", "sharedsecretvalue="},
			Regexp: `(?i:AccountKey|SharedAccessKey|SharedSecretValue)=([0-9A-Za-z+/]{86}==|[0-9A-Za-z+/]{43}=)`, Group: 1, Check: azureKey,
			Hits:   []string{"DefaultEndpointsProtocol=https;AccountName=a;AccountKey=" + sample(b64, 86) + "==;EndpointSuffix=core.windows.net", "SharedAccessKey=" + sample(b64, 43) + "="},
			Misses: []string{"AccountKey=Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==", "AccountKey=" + strings.Repeat("A", 86) + "=="}},
		{ID: "azure-sas-signature", Description: "The signature of a shared URL of Azure.", Keywords: []string{"sig="},
			Regexp: `[?&;]sig=([0-9A-Za-z+/_-]*(?:%2[bBfF][0-9A-Za-z+/_-]*)*[0-9A-Za-z](?:=|%3[dD]))(?:$|[^0-9A-Za-z])`, Group: 1, Check: signature,
			Hits: []string{"https://a.blob.core.windows.net/c/b?sv=2024&sig=" + sample(b64, 43) + "%3D&se=2026", "&sig=" + sample(alnum, 30) + "%2B" + sample(alnum, 12) + "="}, Misses: []string{"?sig=abc=", "?sig=" + strings.Repeat("x", 43) + "%3D", "x.sig=" + sample(b64, 43) + "="}},
		{ID: "kubeconfig-key", Description: "A client key in a kubeconfig.", Keywords: []string{"client-key-data"},
			Regexp: `client-key-data["']?:\s{0,4}["']?([0-9A-Za-z+/]{64,}={0,2})`, Group: 1, Check: random(64, 4),
			Hits: []string{"users:\n- name: a\n  user:\n    client-key-data: LS0tLS1CRUdJTiBSU0EgUFJJVkFURSBLRVktLS0tLQ" + sample(b64, 64)}, Misses: []string{"client-key-data: REDACTED", "client-certificate-data: " + sample(b64, 80), "client-key-data: " + strings.Repeat("a", 70)}},
		{ID: "kubeconfig-token", Description: "A token of a user in a kubeconfig.", Keywords: []string{"token:"},
			Regexp: `\buser:\s{1,16}(?:[a-z-]+: [^\r\n]{1,200}\s{1,16}){0,3}token: {1,4}["']?([0-9A-Za-z._~-]{16,})`, Group: 1, Check: random(16, 3.3),
			Hits: []string{"- name: a\n  user:\n    token: " + sample(alnum, 32) + "\n"}, Misses: []string{"user:\n  token: REDACTED-REDACTED", "token: " + sample(alnum, 32), "user:\n  token: " + strings.Repeat("x", 20)}},
	}
}

// awsSecret: forty characters of base64, of which hex alone is a hash of git.
func awsSecret(secret []byte) bool { return random(40, 4.2)(secret) && classes(secret) >= 3 }

// azureKey leaves out the key of the storage emulator, which its manual shows.
func azureKey(secret []byte) bool {
	return random(43, 4)(secret) && !strings.HasPrefix(string(secret), "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq")
}

// signature is base64 of 32 bytes, percent-encoded or not.
func signature(secret []byte) bool {
	return len(secret) >= 44 && len(secret) <= 120 && random(36, 4)(secret)
}
