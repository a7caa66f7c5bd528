package answer

import (
	"mime"
	"net/http"
	"strings"
	"unicode/utf8"

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

// formOf guesses by the first bytes how a text writes what it does not hold as it is.
func formOf(b []byte) inbound.Form {
	for _, c := range b {
		switch c {
		case ' ', '\t', '\r', '\n', 0xef, 0xbb, 0xbf: // a byte order mark, too
			continue
		case '{', '[':
			return inbound.JSON
		case '<':
			return inbound.Markup
		}
		break
	}
	return inbound.Plain
}

// sniffed is how much of a body tells whether it is text, in bytes.
const sniffed = 512

// textual reports whether a body that begins so is text: UTF-8, in which no control
// stands but those of lines and terminals.
func textual(b []byte) bool {
	b = b[:min(len(b), sniffed)]
	for i := 0; i < len(b); {
		switch c := b[i]; {
		case c >= utf8.RuneSelf:
			r, n := utf8.DecodeRune(b[i:])
			if r == utf8.RuneError && n == 1 && utf8.FullRune(b[i:]) {
				return false
			}
			i += n
			continue
		case c < ' ' && (c < '\a' || c > '\r') && c != 0x1b && c != 0x05 || c == 0x7f:
			return false
		}
		i++
	}
	return true
}
