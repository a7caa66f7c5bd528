package dlp

import (
	"encoding/base64"
	"slices"
	"strings"
	"testing"
)

// An xz file is refused as a body, in base64 in JSON, and in an archive, before anything of
// it has left; text about xz is not.
func TestUnreadIsRefused(t *testing.T) {
	e := engine(t)
	xz := "\xfd7zXZ\x00\x00\x04\xe6\xd6\xb4F\x02\x00!\x01\x16\x00\x00\x00t/\xe5\xa3" + strings.Repeat("\xe0\x04\x9a", 400<<10)
	for name, body := range map[string]string{
		"body": xz, "base64": `{"data":"` + base64.StdEncoding.EncodeToString([]byte(xz)) + `"}`, "archive": "member" + strings.Repeat("\x00", 506) + xz,
	} {
		out, found := send(e, []byte(body), []int{100 << 10, Window, Window}, false)
		if len(out) > 0 || !slices.ContainsFunc(found, func(f Finding) bool { return f.Rule == Undecodable }) {
			t.Errorf("%s: %d bytes left, %v", name, len(out), found)
		}
	}
	text := "the file begins with \\xFD7zXZ\\x00 (xz -6), say « LZIP » or Rar!"
	if _, found := send(e, []byte(text), nil, false); found != nil {
		t.Errorf("%v in a text", found)
	}
}
