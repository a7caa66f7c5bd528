package inspect

import (
	"mime"
	"net/http"
	"strconv"
	"strings"
	"unicode/utf8"

	"bottle/internal/dlp"
	"bottle/internal/dlp/place"
)

// kind is what a body says it is.
type kind struct {
	form     place.Form // by which something can be taken out of it; 0: not at all
	unsaid   bool       // it says nothing of itself
	json     *place.Tracker
	fields   *place.Fields
	parts    *place.Multipart
	grpc     bool
	boundary string
}

func kindOf(h http.Header) kind {
	said := h.Get("Content-Type")
	media, params, err := mime.ParseMediaType(said)
	if err != nil {
		media, _, _ = strings.Cut(strings.ToLower(said), ";")
		media = strings.TrimSpace(media)
	}
	k := kind{}
	switch {
	case media == "":
		k.unsaid = true
	case media == "application/grpc" || strings.HasPrefix(media, "application/grpc+"):
		k.grpc = true
	case media == "application/json", strings.HasSuffix(media, "+json"), strings.HasSuffix(media, "json"):
		k.form = place.JSON
	case media == "application/x-www-form-urlencoded":
		k.form = place.URLEncoded
	case strings.HasPrefix(media, "multipart/"):
		k.form, k.boundary = place.Text, params["boundary"]
	case strings.HasPrefix(media, "text/"), strings.HasSuffix(media, "xml"), strings.HasSuffix(media, "yaml"), strings.HasSuffix(media, "javascript"), strings.HasSuffix(media, "graphql"):
		k.form = place.Text
	}
	k.begin()
	return k
}

// begin makes what follows the body, from its start.
func (k *kind) begin() {
	k.json, k.fields, k.parts = nil, nil, nil
	switch {
	case k.form == place.JSON:
		k.json = &place.Tracker{}
	case k.form == place.URLEncoded:
		k.fields = &place.Fields{}
	case k.boundary != "":
		k.parts, _ = place.NewMultipart(k.boundary)
	}
}

// feed follows the body.
func (k *kind) feed(b []byte) {
	switch {
	case k.json != nil:
		k.json.Feed(b)
	case k.fields != nil:
		k.fields.Feed(b)
	case k.parts != nil:
		_ = k.parts.Feed(b, func(*place.Part, []byte) {})
	}
}

// at is the place of the byte that comes next.
func (k *kind) at(offset int64) string {
	switch {
	case k.json != nil:
		return "body.json:" + k.json.Place()
	case k.fields != nil:
		return "body." + strings.TrimSpace(k.fields.Place()) // a = 1, sent as a form, has a blank in its name
	case k.parts != nil:
		return "body." + k.parts.Place()
	}
	return "body@" + strconv.FormatInt(offset, 10)
}

// place says where findings stand in text, which begins at base; what was fed before
// ends at text[fed:]. fed is 0 for a whole body, which is followed from its start. It
// gives how far text was fed by then.
func (k *kind) place(found []dlp.Finding, text []byte, fed int, base int64) int {
	if fed == 0 && base == 0 {
		k.begin()
	}
	for i := range found {
		f := &found[i]
		if start := min(f.Start, len(text)); start > fed {
			k.feed(text[fed:start])
			fed = start
		}
		f.Place = k.at(base + int64(f.Start))
	}
	return fed
}

// redactable: what says nothing of itself can be changed if it is text.
func (k *kind) redactable(text []byte) bool {
	if k.unsaid && utf8.Valid(text) {
		k.form = place.Text
	}
	return k.form != 0
}

// joiner joins values and looks for known secrets in what comes of that.
func (l *Look) joiner(where string, found *[]dlp.Finding) *dlp.Joiner {
	return l.engine.Join(func(f dlp.Finding) {
		f.Place, f.Chain = where, []string{inPieces}
		*found = append(*found, f)
	})
}

// strings looks for known secrets that were cut over the strings of a JSON text.
func (l *Look) strings(text []byte, where string) (found []dlp.Finding) {
	join := l.joiner(where, &found)
	join.Strings(text)
	join.Look()
	return found
}

// together looks for known secrets that were cut over values next to each other, or
// over requests, in a whole body. The strings of JSON the scan itself has joined.
func (b *Body) together(text []byte) *Refusal {
	found := append(b.l.remember(text, "body"), newValues(b).feed(text)...)
	bad := b.l.sort(found)
	return b.l.refuse(bad)
}

// values joins the values of a form, or the parts of multipart, as a body flows.
type values struct {
	form  *place.FormFlow
	parts *place.Multipart
	join  *dlp.Joiner
	found []dlp.Finding
}

// newValues gives what follows a body from its start; nil: there is nothing to join.
func newValues(b *Body) *values {
	v := &values{}
	switch {
	case b.kind.fields != nil:
		v.form = &place.FormFlow{}
	case b.kind.boundary != "":
		var err error
		if v.parts, err = place.NewMultipart(b.kind.boundary); err != nil {
			return nil
		}
	default:
		return nil
	}
	v.join = b.l.joiner("body", &v.found)
	return v
}

// feed gives what is found with the next bytes.
func (v *values) feed(text []byte) []dlp.Finding {
	if v == nil {
		return nil
	}
	v.found = nil
	one := func(data []byte) {
		if len(data) == 0 {
			v.join.Begin()
		} else {
			v.join.Part(data)
		}
	}
	if v.form != nil {
		v.form.Feed(text, one)
	} else {
		_ = v.parts.Feed(text, func(_ *place.Part, data []byte) { one(data) })
	}
	v.join.Look()
	return v.found
}
