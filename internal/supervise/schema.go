package supervise

import (
	"fmt"
	"time"

	"github.com/google/jsonschema-go/jsonschema"

	"bottle/internal/bottle"
)

// Bounds of the words of a call, in characters, as the schemas tell them.
const (
	maxHost     = 255
	maxPorts    = 8
	maxMethods  = 16
	maxMethod   = 32
	maxPaths    = 32
	maxPath     = 512
	maxToken    = 128
	maxURL      = 8 << 10
	maxPackages = 32
	maxPackage  = 128
	maxFile     = 20 << 10
	maxWait     = bottle.MaxWait // seconds
)

// object is a schema of these keys and no others.
func object(keys map[string]*jsonschema.Schema, required ...string) *jsonschema.Schema {
	return &jsonschema.Schema{Type: "object", Properties: keys, Required: required, AdditionalProperties: &jsonschema.Schema{Not: &jsonschema.Schema{}}}
}

func text(most int, description string) *jsonschema.Schema {
	least := 1
	return &jsonschema.Schema{Type: "string", MinLength: &least, MaxLength: &most, Description: description}
}

func texts(items, most int, description string) *jsonschema.Schema {
	least := 1
	return &jsonschema.Schema{Type: "array", Items: text(most, ""), MinItems: &least, MaxItems: &items, UniqueItems: true, Description: description}
}

func why() *jsonschema.Schema {
	return text(maxWhy, "One to three sentences for the operator, who decides by them: what you are doing, and why it needs this.")
}

func patience(usual time.Duration) *jsonschema.Schema {
	least, most := 0.0, float64(maxWait)
	return &jsonschema.Schema{Type: "integer", Minimum: &least, Maximum: &most, Description: fmt.Sprintf("How long to wait for a decision; 0: queue it and go on. Absent: %d.", int(usual.Seconds()))}
}

func egressSchema(usual time.Duration) *jsonschema.Schema {
	first, last, least, most := 1.0, 65535.0, 1, maxPorts
	port := &jsonschema.Schema{Type: "integer", Minimum: &first, Maximum: &last}
	return object(map[string]*jsonschema.Schema{
		"host":           text(maxHost, "The host name alone, such as api.github.com, or *.example.com for all its subdomains. No scheme, port or path."),
		"ports":          {Type: "array", Items: port, MinItems: &least, MaxItems: &most, UniqueItems: true, Description: "Absent: 443."},
		"methods":        texts(maxMethods, maxMethod, "HTTP methods, such as [\"GET\"]. Absent: any, which is harder to approve."),
		"path_allowlist": texts(maxPaths, maxPath, "Path prefixes on whole segments, such as [\"/repos/acme\"]. Absent: any path, which is harder to approve."),
		"auth": func() *jsonschema.Schema {
			s := object(map[string]*jsonschema.Schema{
				"scheme":    text(maxToken, "Bearer, token, Basic or header:NAME."),
				"token_ref": text(maxToken, "The name of a credential that list-egress-routes shows, never a value."),
			}, "scheme", "token_ref")
			s.Description = "Only if the gateway shall put a credential in that the bottle already has for this very host. Absent: none."
			return s
		}(),
		"wait_seconds":  patience(usual),
		"justification": why(),
	}, "host", "justification")
}

func contentSchema(usual time.Duration) *jsonschema.Schema {
	print := text(32, "\"fingerprint\" of the denial, if it has one. Absent: of the last denial at this URL.")
	print.Pattern = "^[0-9a-fA-F]{32}$"
	return object(map[string]*jsonschema.Schema{
		"failed_url":    text(maxURL, "The whole URL of the request that was refused."),
		"fingerprint":   print,
		"wait_seconds":  patience(usual),
		"justification": why(),
	}, "failed_url", "justification")
}

func capabilitySchema(usual time.Duration) *jsonschema.Schema {
	return object(map[string]*jsonschema.Schema{
		"packages":      texts(maxPackages, maxPackage, "Each as deb:NAME (a package of this machine's Debian or Ubuntu, such as deb:ripgrep), npm:NAME or npm:NAME@VERSION (such as npm:prettier@3.3.3)."),
		"dockerfile":    text(maxFile, "Instead of packages: lines that go behind the recipe of your image, as root. One instruction to a line, RUN, ENV or WORKDIR only, such as: RUN apt-get update && apt-get install -y jq. ENV and WORKDIR hold for the lines behind them."),
		"wait_seconds":  patience(usual),
		"justification": why(),
	}, "justification")
}

func pushSchema(repos []string) *jsonschema.Schema {
	s := text(maxToken, "One of the bottle's repositories.")
	for _, r := range repos {
		s.Enum = append(s.Enum, r)
	}
	return object(map[string]*jsonschema.Schema{"repo": s}, "repo")
}

func checkSchema() *jsonschema.Schema {
	return object(map[string]*jsonschema.Schema{
		"method": text(maxMethod, "The HTTP method, such as GET."),
		"url":    text(maxURL, "The whole URL, with https://."),
	}, "method", "url")
}

func statusSchema() *jsonschema.Schema {
	return object(map[string]*jsonschema.Schema{"id": text(maxToken, "The id that the call which asked gave you.")}, "id")
}
