package inspect

import (
	"strings"
	"testing"
	"time"

	"bottle/internal/bottle"
	"bottle/internal/dlp"
	"bottle/internal/dlp/known"
	"bottle/internal/egress/measure"
	"bottle/internal/policy"
)

// A piece that was sent counts on when a credential beside is renewed.
func TestPiecesOutliveAnEngine(t *testing.T) {
	made := func(other string) *dlp.Engine {
		e, err := dlp.New(dlp.Config{Known: []known.Secret{{Name: "other", Value: []byte(other), Certain: true}, {Name: "W", Value: []byte(watched), Certain: true}}})
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	e := made(approvedValue)
	i := New(Config{Identity: "dev-1", Engine: func() *dlp.Engine { return e }, Now: time.Now, Measured: measure.New()})
	pattern, _ := bottle.ParsePattern("api.example.com")
	post := func(text string) error {
		l, no := i.Look(&bottle.Route{Host: pattern, DLP: "block"}, "api.example.com")
		if no != nil {
			t.Fatal(no)
		}
		_, err := sent(l, strings.NewReader(text), int64(len(text)))
		return err
	}
	if err := post("first " + watched[:12]); err != nil {
		t.Fatal(err)
	}
	e = made("aB3dE5fG7hJ9kL1mN2pQ4rS6tU8vW0xY")
	if err := post("second " + watched[12:24]); err == nil || refusal(t, err) != policy.SecretFound {
		t.Errorf("the second piece: %v", err)
	}
}
