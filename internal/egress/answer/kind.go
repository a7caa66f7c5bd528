package answer

import (
	"mime"
	"net/http"
	"strings"

	"bottle/internal/dlp/inbound"
)

// kind is what an answer's head says about its body.
type kind struct {
	form  inbound.Form
	text  bool // it is one; else its first bytes tell
	flows bool // a stream: its reader wants each line when it is there
}

// kindOf reads Content-Type. A type that is not known for one of texts says nothing:
// who reads the body may not look at it, either.
func kindOf(h http.Header) kind {
	media, _, err := mime.ParseMediaType(h.Get("Content-Type"))
	top, sub, _ := strings.Cut(media, "/")
	switch {
	case err != nil || media == "":
		return kind{}
	case media == "text/event-stream":
		return kind{form: inbound.JSON, text: true, flows: true}
	case strings.HasSuffix(sub, "ndjson"), strings.HasSuffix(sub, "jsonl"), strings.HasSuffix(sub, "json-seq"),
		strings.HasSuffix(sub, "jsonlines"), strings.Contains(sub, "stream+json"), strings.HasSuffix(sub, "json-stream"):
		return kind{form: inbound.JSON, text: true, flows: true}
	case sub == "json" || strings.HasSuffix(sub, "+json"):
		return kind{form: inbound.JSON, text: true}
	case sub == "html" || sub == "xml" || strings.HasSuffix(sub, "+xml"):
		return kind{form: inbound.Markup, text: true}
	case strings.HasSuffix(sub, "javascript"), strings.HasSuffix(sub, "ecmascript"), strings.HasSuffix(sub, "typescript"):
		return kind{form: inbound.Script, text: true}
	case top == "text", script(sub):
		return kind{text: true}
	case strings.HasPrefix(media, "application/grpc"):
		return kind{flows: true}
	}
	return kind{}
}

// script tells types of application/ that are text.
func script(sub string) bool {
	switch strings.TrimPrefix(sub, "x-") {
	case "sh", "shellscript", "python", "perl", "ruby", "httpd-php",
		"yaml", "toml", "sql", "www-form-urlencoded", "graphql", "latex", "tex", "pem-file", "rtf":
		return true
	}
	return false
}
