package handout

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

const given = "ghp_x7Kq2LmZ9vTn4RwYb8Jd3HsPf6Gc1QaWe5Ut"

// at is a memory whose clock is set by hand, and one host of it.
func at() (*Memory, *time.Time, Party) {
	now := time.Unix(1_700_000_000, 0)
	m := New(func() time.Time { return now })
	return m, &now, m.At("api.example.com")
}

// hear lets a party answer with a body.
func hear(t testing.TB, p Party, kind, body string) {
	t.Helper()
	res := &http.Response{Header: http.Header{"Content-Type": {kind}}, ContentLength: int64(len(body)), Body: io.NopCloser(iotest.OneByteReader(strings.NewReader(body)))}
	got, err := io.ReadAll(p.Body(res, nil))
	if err != nil || string(got) != body {
		t.Fatalf("the answer became %q, %v", got, err)
	}
}

// Whoever learns it may not keep it for ever, nor push out what is in use.
func TestMemoryIsBounded(t *testing.T) {
	m, now, p := at()
	p.Header(http.Header{"X-Auth-Token": {given}}, "/")
	for i := range 2 * mostValues {
		m.add(isValue, "other.example.com", fmt.Sprint("value-", i))
		if i%1000 == 0 && !p.Field(given) {
			t.Fatal("what is in use was forgotten")
		}
	}
	if n := m.order.Len(); n != mostValues || len(m.values) != n {
		t.Errorf("%d values, %d of them in order", len(m.values), n)
	}
	if m.At("other.example.com").gave("value-1") {
		t.Error("the oldest is still there")
	}
	if *now = now.Add(lasts - time.Second); !p.Field(given) {
		t.Error("forgotten before its time")
	}
	if *now = now.Add(time.Second); p.Field(given) {
		t.Error("its use has made it last longer")
	}
	one := "["
	for i := range 3 * mostOfOne {
		one += fmt.Sprintf(`{"token":"value-%08d"},`, i)
	}
	m, _, p = at()
	if hear(t, p, "application/json", one); len(m.values) != mostOfOne {
		t.Errorf("one answer filled %d places", len(m.values))
	}
}

// What is a whole value with a name that says so is handed out; part of a text, a
// name, a broken string and what stands behind the bound are not.
func TestWhatOfABodyIsHandedOut(t *testing.T) {
	for body, want := range map[string]bool{
		`{"access_token":"` + given + `"}`:                                      true,
		`{"a":{"b":[1,{"client-token" : "` + given + `"}]}}`:                    true,
		`{"sessionToken":"ghp_\u00787Kq2LmZ9vTn4RwYb8Jd3HsPf6Gc1QaWe5Ut"}`:      true,
		`{"next":"https://api.example.com/x?t=` + given + `"}`:                  true,
		`{"next":"https:\/\/api.example.com/x?a=1\u0026t=` + given + `"}`:       true,
		`{"next":"https://other.example.com/x?t=` + given + `"}`:                false,
		`{"next":"http://api.example.com/x?t=` + given + `"}`:                   false,
		`{"next":"https://u@api.example.com/x?t=` + given + `"}`:                false,
		`{"content":"` + given + `"}`:                                           false,
		`{"token":"it is ` + given + ` I think"}`:                               false,
		`{"` + given + `":"token"}`:                                             false,
		`{"token":{"content":"` + given + `"}}`:                                 false,
		`{"text":"\"token\":\"` + given + `\""}`:                                false,
		`{"token":"` + given:                                                    false,
		`{"p":"` + strings.Repeat("x", mostRead) + `","token":"` + given + `"}`: false,
		`{"token":"` + given + `","p":"` + strings.Repeat("x", mostRead) + `"}`: true,
		`{"token":"` + given + `\n"}`:                                           false,
	} {
		_, _, p := at()
		if hear(t, p, "application/json; charset=utf-8", body); p.Field(given) != want {
			t.Errorf("%.90s: %v", body, !want)
		}
	}
	_, _, p := at()
	if hear(t, p, "text/html", `{"access_token":"`+given+`"}`); p.Field(given) {
		t.Error("a page handed something out")
	}
}

// An answer that broke off handed out nothing: nobody knows what it would have said.
func TestBrokenAnswer(t *testing.T) {
	_, _, p := at()
	body := io.MultiReader(strings.NewReader(`{"token":"`+given+`"`), iotest.ErrReader(errors.New("reset")))
	_, err := io.ReadAll(p.Body(&http.Response{Header: http.Header{"Content-Type": {"application/json"}}, ContentLength: -1, Body: io.NopCloser(body)}, nil))
	if err == nil || p.Field(given) {
		t.Errorf("%v, %v", err, p.Field(given))
	}
}

func TestZeroPartyKnowsNothing(t *testing.T) {
	var p Party
	p.Header(http.Header{"X-Auth-Token": {given}}, "/")
	hear(t, p, "application/json", `{"access_token":"`+given+`"}`)
	if p.Field(given) || p.Parameter(given) || p.Target("/x?t="+given) || p.Rest([]byte(`{"access_token":"`+given+`"}`), true) != nil {
		t.Error("it gave something")
	}
}

// Whatever it is given: stars are as long as what they stand for, stand nowhere else,
// and only where a value was handed out.
func FuzzRest(f *testing.F) {
	for _, s := range []string{`{"a_token":"` + given + `","b":["` + given + `"]}`, "token=" + given + "&token=", `{"token":"\`, `"`, `{"token" :"` + given, "&&token=" + given + "%"} {
		f.Add([]byte(s), true)
		f.Add([]byte(s), false)
	}
	f.Fuzz(func(t *testing.T, text []byte, isJSON bool) {
		_, _, p := at()
		hear(t, p, "application/json", `{"token":"`+given+`"}`)
		l := learner{p, mostOfOne}
		l.json(bytes.Clone(text)) // must not fail, nor end never
		_, _, p = at()
		hear(t, p, "application/json", `{"token":"`+given+`"}`)
		was := bytes.Clone(text)
		rest := p.Rest(text, isJSON)
		if !bytes.Equal(was, text) || rest != nil && len(rest) != len(text) {
			t.Fatal("the text was changed, or its length")
		}
		if rest != nil && isJSON && !bytes.Equal(bytes.ReplaceAll(text, []byte(given), bytes.Repeat([]byte("*"), len(given))), bytes.ReplaceAll(rest, []byte(given), bytes.Repeat([]byte("*"), len(given)))) {
			t.Fatalf("%q became %q", text, rest)
		}
	})
}

// BenchmarkAnswer is what a JSON answer costs more for being looked into.
func BenchmarkAnswer(b *testing.B) {
	var body strings.Builder
	body.WriteString(`{"access_token":"` + given + `","items":[`)
	for i := 0; body.Len() < 64<<10; i++ {
		fmt.Fprintf(&body, `{"id":%d,"name":"package-%d","html_url":"https://api.example.com/repos/%d","text":"lorem ipsum dolor sit amet"},`, i, i, i)
	}
	for _, size := range []int{200, 4 << 10, 64 << 10} {
		text := body.String()[:size]
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			_, _, p := at()
			b.SetBytes(int64(size))
			b.ReportAllocs()
			r := strings.NewReader(text)
			block := make([]byte, 32<<10)
			for b.Loop() {
				r.Reset(text)
				res := &http.Response{Header: http.Header{"Content-Type": {"application/json"}}, ContentLength: int64(size), Body: io.NopCloser(r)}
				p.Header(res.Header, "/")
				in := p.Body(res, nil)
				for {
					if _, err := in.Read(block); err != nil {
						break
					}
				}
			}
		})
	}
}
