package inspect

import (
	"fmt"
	"strings"
	"testing"

	"bottle/internal/dlp"
	"bottle/internal/dlp/place"
)

// TestADenialNamesTheHostThatIsAskedFor: a copied command must not open another host, where
// the agent sends the value meanwhile. It takes all that was found, and not without end.
func TestADenialNamesTheHostThatIsAskedFor(t *testing.T) {
	l := look(t)
	l.mode = modeAsk
	var bad []dlp.Finding
	for n := range 7 {
		bad = append(bad, dlp.Finding{Rule: "github-pat", Place: "body", Print: fmt.Sprintf("%032x", n+1)})
	}
	one, four := bad[0].Print, bad[0].Print+" "+bad[1].Print+" "+bad[2].Print+" "+bad[3].Print
	for _, c := range []struct {
		bad  []dlp.Finding
		want string
	}{
		{bad[:1], "bottle approve dev-1 " + one + " --host api.example.com"},
		{[]dlp.Finding{bad[0], bad[0]}, "bottle approve dev-1 " + one + " --host api.example.com"},
		{bad[:4], "bottle approve dev-1 " + four + " --host api.example.com"},
		{bad, "bottle approve dev-1 " + four + " --host api.example.com, and 3 more: bottle audit dev-1 --denied"},
	} {
		if no := l.refuse(c.bad); !no.Ask || no.Print != one || !strings.HasSuffix(no.Message, "let it pass: "+c.want) {
			t.Errorf("%+v", no)
		}
	}
	// The command would hold the secret, and a denial holds none.
	if no := l.refuse([]dlp.Finding{{Rule: "github-pat", Place: place.Host, Print: one}}); no.Ask || strings.Contains(no.Message, "approve") {
		t.Errorf("%+v", no)
	}
}

// TestADenialSaysWhyRedactCannot: of what is encoded, that is the cause.
func TestADenialSaysWhyRedactCannot(t *testing.T) {
	l := look(t)
	l.mode = modeRedact
	for want, f := range map[string]dlp.Finding{
		"because of how it is encoded there": {Rule: "github-pat", Place: "body.form:a", Chain: []string{"base64"}},
		"changes only whole bodies":          {Rule: "github-pat", Place: "header:x"},
	} {
		if no := l.refuse([]dlp.Finding{f}); !strings.Contains(no.Message, want) {
			t.Errorf("%q is not in %q", want, no.Message)
		}
	}
}
