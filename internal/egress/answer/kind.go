package answer

import (
	"mime"
	"net/http"
	"strings"

	"bottle/internal/dlp/inbound"
)

// kind is what an answer's head says about its body.
type kind struct {
	form   inbound.Form
	text   bool // it is one; else its first bytes tell
	flows  bool // a stream: its reader wants each line when it is there
	packed bool // what is compressed in it is so for whoever unpacks it
	guess  bool // the first byte tells the form
}

// kindOf reads Content-Type. A type that is not known for one of texts says nothing:
// who reads the body may not look at it, either.
func kindOf(h http.Header) kind {
	media, _, err := mime.ParseMediaType(h.Get("Content-Type"))
	top, sub, _ := strings.Cut(media, "/")
	switch {
	case err != nil || media == "":
		return kind{guess: true}
	case media == "text/event-stream":
		return kind{form: inbound.JSON, text: true, flows: true}
	case strings.HasSuffix(sub, "ndjson"), strings.HasSuffix(sub, "jsonl"), strings.HasSuffix(sub, "json-seq"),
		strings.HasSuffix(sub, "jsonlines"), strings.Contains(sub, "stream+json"), strings.HasSuffix(sub, "json-stream"):
		return kind{form: inbound.JSON, text: true, flows: true}
	case sub == "json" || strings.HasSuffix(sub, "+json"):
		return kind{form: inbound.JSON, text: true}
	case sub == "html" || sub == "xml" || strings.HasSuffix(sub, "+xml"):
		return kind{form: inbound.Markup, text: true}
	case top == "text", script(sub):
		return kind{text: true, guess: true}
	case strings.HasPrefix(media, "application/grpc"):
		return kind{flows: true, guess: true}
	case top == "image", top == "video", top == "audio", top == "font", archive(sub):
		return kind{packed: true, guess: true}
	}
	return kind{guess: true}
}

// script tells types of application/ that are text.
func script(sub string) bool {
	switch strings.TrimPrefix(sub, "x-") {
	case "javascript", "ecmascript", "typescript", "sh", "shellscript", "python", "perl", "ruby", "httpd-php",
		"yaml", "toml", "sql", "www-form-urlencoded", "graphql", "latex", "tex", "pem-file", "rtf":
		return true
	}
	return false
}

// archive tells types of application/ that some servers send with a Content-Encoding
// which is the file's own: taken off, it would be another file.
func archive(sub string) bool {
	for _, word := range []string{"zip", "tar", "compress", "zstd", "xz", "debian", "rpm", "java-archive"} {
		if strings.Contains(sub, word) {
			return true
		}
	}
	return false
}
