package gitgate

import (
	"net/http/httptest"
	"strings"
	"testing"

	"bottle/internal/policy"
)

// TestRefusalToServeIsASentence: a push is served nothing, older or not.
func TestRefusalToServeIsASentence(t *testing.T) {
	for _, c := range [][3]string{
		{"may it see this?", uploadPack, "may it see this? Nothing older is served in its place"},
		{"it is away", uploadPack, "it is away; nothing older is served in its place"},
		{"may it see this?", receive, "may it see this?"},
	} {
		if got := unserved(c[0], c[1]); got != c[2] {
			t.Errorf("%q", got)
		}
	}
}

// TestListOfNoRepository: all were taken out while the agent works.
func TestListOfNoRepository(t *testing.T) {
	w := newWorld(t, "https")
	list := func() string {
		to := httptest.NewRecorder()
		w.gate.Serve(to, httptest.NewRequest("GET", "http://"+policy.GitHost+"/", nil), policy.GitHost, 80)
		return to.Body.String()
	}
	if got := list(); !strings.Contains(got, "The repositories of this bottle:\nhttp://git.bottle/app.git  https://example.com/app.git\n") {
		t.Error(got)
	}
	w.gate.Amend(nil)
	if got := list(); strings.Contains(got, "The repositories") || !strings.Contains(got, "no repository") {
		t.Error(got)
	}
}
