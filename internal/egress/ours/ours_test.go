package ours

import (
	"net/http/httptest"
	"testing"
)

// TestPushesAreKnownInEverySpelling: the weakness: servers read a path in more ways than
// one. The attack: a push in a spelling that a gateway does not know. This proves that
// each is taken for a push, and reading for none.
func TestPushesAreKnownInEverySpelling(t *testing.T) {
	for target, want := range map[string]bool{
		"/x/y.git/info/refs?service=git-receive-pack":                             true,
		"/x/y.git/info/refs?a=b&service=git-upload-pack&service=git-receive-pack": true,
		"/x/y.git/info/refs/?service=git-receive-pack":                            true,
		"/x/y.git/git-receive-pack":                                               true,
		"/x/y.git/git%2Dreceive-pack":                                             true,
		"/x/y.git//git-receive-pack/":                                             true,
		"/x/y.git/git-receive-pack;v=1":                                           true,
		"/x/y.git/GIT-Receive-Pack":                                               true,
		"/x/y.git/info/refs?service=git-upload-pack":                              false,
		"/x/y.git/git-upload-pack":                                                false,
		"/search?q=git-receive-pack":                                              false,
		"/docs/git-receive-pack.html":                                             false,
	} {
		if got := Pushes(httptest.NewRequest("POST", target, nil)); got != want {
			t.Errorf("%s: %v", target, got)
		}
	}
	r := httptest.NewRequest("POST", "/some/other/place", nil)
	r.Header.Set("Content-Type", "Application/X-git-receive-pack-request; x=y")
	if !Pushes(r) {
		t.Error("a push by its content type")
	}
}
