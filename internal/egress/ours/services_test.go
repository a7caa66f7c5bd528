package ours

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"bottle/internal/bottle"
)

type at struct {
	host bottle.Host
	name string
}

func (a at) Near(host bottle.Host, _ uint16) bool { return host == a.host }

func (a at) Takes(_ *http.Request, host bottle.Host, _ uint16) bool { return host == a.host }

func (a at) Serve(http.ResponseWriter, *http.Request, bottle.Host, uint16) bool { return true }

// Of all services the first that takes a request has it, and of none none.
func TestOneServiceAnswers(t *testing.T) {
	first, second, other := at{"a.bottle", "first"}, at{"b.bottle", "second"}, at{"a.bottle", "other"}
	s := Services{first, second, other}
	r := httptest.NewRequest("GET", "/", nil)
	for host, want := range map[bottle.Host]Service{"a.bottle": first, "b.bottle": second, "c.bottle": nil} {
		if got := s.For(r, host, 80); got != want || s.Near(host, 80) != (want != nil) {
			t.Errorf("%s: %v", host, got)
		}
		if none := (Services)(nil); none.Near(host, 0) || none.For(r, host, 80) != nil {
			t.Error("none is near ", host)
		}
	}
}
