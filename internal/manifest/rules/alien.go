package rules

import "strings"

// BottleAlien knows keys that people put into a bottle and that are elsewhere.
func BottleAlien(key string) string {
	switch key {
	case "ssh":
		return "an old spelling: put each host with its key and host_key under `git`"
	case "tokens":
		return "an old spelling: give the route an `auth: {scheme: Bearer, token_ref: NAME}`"
	case "cred_proxy":
		return "an old spelling: every credential is now the `auth` of a route under `egress.routes`"
	case "skills", "bottle", "command":
		return "this belongs in the agent's file"
	case "routes":
		return "routes stand under `egress`"
	case "watch":
		return "it stands under `egress`"
	case "dlp":
		return "write `dlp: block`, redact, ask or off in each route under `egress.routes`"
	case "inbound":
		return "write `inbound: warn` or block in each route under `egress.routes`"
	case "image", "dockerfile":
		return "write `agent_provider: {dockerfile: ./Dockerfile}`"
	}
	return ""
}

// EgressAlien knows the old keys below egress.
func EgressAlien(key string) string {
	switch key {
	case "allowlist":
		return "an old spelling: write `routes:` with one `- host: NAME` for each host"
	case "dlp":
		return "write `dlp: block`, redact, ask or off in each route"
	case "inbound":
		return "write `inbound: warn` or block in each route"
	case "dlp_action":
		return "an old spelling: write `dlp: block`, redact, ask or off in each route"
	}
	return ""
}

// Words says which words a key takes that people take for a switch, and what it means to
// leave it out. key is in backquotes. "": it is none of these.
func Words(key string) string {
	switch key {
	case "`dlp`":
		return "write block, redact, ask or off, or leave it out for block"
	case "`force`":
		return "write never, own or any"
	case "`inbound`":
		return "write warn or block, or leave it out: then nobody looks"
	case "`unmatched`":
		return "write deny or ask, or leave it out for deny"
	}
	return ""
}

// WhyNot says why a method cannot be allowed.
func WhyNot(method string) string {
	if method == "CONNECT" {
		return "it would open a tunnel through the upstream"
	}
	return "it sends the injected credential back" // RFC 9110 section 9.3.8
}

// Boolish is the boolean that older YAML read a word as, or "".
func Boolish(v string) string {
	switch strings.ToLower(v) {
	case "yes", "y", "on", "true":
		return "true"
	case "no", "n", "off", "false":
		return "false"
	}
	return ""
}
