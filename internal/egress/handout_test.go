package egress

import (
	"compress/gzip"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"bottle/internal/bottle"
	"bottle/internal/egress/decision"
	"bottle/internal/policy"
)

const (
	bareHost  = "bare.example.com"
	cookieJWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ1c2VyLTEyMzQ1Njc4OTAiLCJpYXQiOjE3MDAwMDAwMDB9.Zm9vYmFyYmF6cXV4MTIzNDU2Nzg5MGFiY2RlZg"
	signed    = "/up/x7Kq2LmZ9vTn4RwYb8Jd?X-Amz-Credential=AKIAQ3EGRT7N2VWXYZ5P&X-Amz-Signature=9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08&t=" + patLike
)

// issuer is a service that hands things out, and takes what it is sent.
func issuer(t *testing.T) (*world, *saw) {
	s := &saw{came: make(chan seen, 64)}
	give := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		kind, body := "application/json", ""
		switch r.URL.Path {
		case "/cookie":
			w.Header().Set("Set-Cookie", "session="+cookieJWT+"; Path=/; HttpOnly")
		case "/redirect":
			w.Header().Set("Location", "https://"+otherHost+signed)
			w.WriteHeader(307)
			return
		case "/here":
			w.Header().Set("Location", signed)
			w.WriteHeader(201)
			return
		case "/token":
			body = `{"token_type":"bearer","access_token":"` + patLike + `","expires_in":3600}`
		case "/escaped":
			body = `{"href":"https:\/\/` + apiHost + strings.ReplaceAll(strings.ReplaceAll(signed, "&", `\u0026`), "/", `\/`) + `"}`
		case "/form":
			kind, body = "application/x-www-form-urlencoded", "access_token="+patLike+"&scope="
		case "/text":
			kind, body = "text/plain; charset=utf-8", patLike+"\n"
		case "/known":
			body = `{"access_token":"` + watched + `"}`
		case "/file":
			body = `{"content":"` + patLike + `","text":"the token ` + patLike + ` is it"}`
		case "/zip":
			w.Header().Set("Content-Type", kind)
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			fmt.Fprintf(z, `{"access_token":"%s"}`, patLike)
			_ = z.Close()
			return
		default:
			s.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Content-Type", kind)
		_, _ = io.WriteString(w, body)
	})
	addr, ca, _ := upstream(t, give, apiHost, otherHost, "a.wild.example.com", "b.wild.example.com")
	plain := httptest.NewServer(give)
	t.Cleanup(plain.Close)
	var routes []bottle.Route
	for _, host := range []string{apiHost, otherHost, "*.wild.example.com"} {
		r := route(host, addr, ca)
		r.DLP = "block"
		routes = append(routes, r)
	}
	bare := route(bareHost, plain.Listener.Addr().String(), "")
	bare.DLP, bare.Ports, bare.TLS = "block", []uint16{80}, ""
	return newWorld(t, func(c *Config) {
		c.DLP = scanner(t, map[string]string{"env:WATCHED": watched})
	}, append(routes, bare)...), s
}

// presented is a request that shows a value to a host.
func presented(t *testing.T, host, where, v string) *http.Request {
	t.Helper()
	target, body, kind := "https://"+host+"/use", "", ""
	switch where {
	case "query":
		target += "?token=" + url.QueryEscape(v)
	case "form":
		body, kind = "grant_type=refresh_token&refresh_token="+url.QueryEscape(v), "application/x-www-form-urlencoded"
	case "json":
		body, kind = `{"grant_type": "refresh_token", "refresh_token": "`+v+`"}`, "application/json"
	case "target":
		target = "https://" + host + v
	case "path":
		target += "/" + v
	case "published":
		body, kind = `{"description":"mine","content":"`+v+`"}`, "application/json"
	case "nested":
		body, kind = `{"content":"{\"refresh_token\":\"`+v+`\"}"}`, "application/json"
	case "form published":
		body, kind = "content="+v, "application/x-www-form-urlencoded"
	case "text":
		body, kind = `"refresh_token":"`+v+`"`, "text/plain"
	}
	req, err := http.NewRequest("POST", target, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	switch where {
	case "cookie":
		req.Header.Set("Cookie", "a=b; session="+v+"; c=d")
	case "bearer":
		req.Header.Set("Authorization", "Bearer "+v)
	case "token":
		req.Header.Set("X-Auth-Token", v)
	case "basic":
		req.Header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte("oauth2:"+v)))
	case "basic with more":
		req.Header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(patLike[:20]+"A"+patLike[21:]+":"+v)))
	case "within":
		req.Header.Set("Authorization", "Bearer "+v+"."+patLike[:20]+"A"+patLike[21:])
	case "beside":
		req.Header.Set("Authorization", "Bearer "+v)
		req.Header.Set("X-Other", patLike[:20]+"A"+patLike[21:])
	case "named":
		req.Header.Set("Cookie", v+"="+v)
	}
	return req
}

// ask gets something, to be handed out what is in it.
func ask(t *testing.T, w *world, u string) {
	t.Helper()
	res, err := w.client().Get(u)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
}

// A client that logs in, refreshes, follows a redirect to a presigned URL or uploads to
// one sends back what it was given. Without that memory each of these is refused.
func TestWhatAServiceHandedOutMayGoBack(t *testing.T) {
	for _, c := range []struct{ from, host, where, v string }{
		{"/cookie", apiHost, "cookie", cookieJWT},
		{"/token", apiHost, "bearer", patLike},
		{"/token", apiHost, "token", patLike},
		{"/token", apiHost, "basic", patLike},
		{"/token", apiHost, "query", patLike},
		{"/token", apiHost, "form", patLike},
		{"/token", apiHost, "json", patLike},
		{"/zip", apiHost, "bearer", patLike},
		{"/form", apiHost, "bearer", patLike},
		{"/text", apiHost, "bearer", patLike},
		{"/redirect", otherHost, "target", signed},
		{"/here", apiHost, "target", signed},
		{"/here", apiHost, "query", patLike},
		{"/escaped", apiHost, "target", signed},
	} {
		w, s := issuer(t)
		res, err := w.client().Do(presented(t, c.host, c.where, c.v))
		if err != nil {
			t.Fatal(err)
		}
		denied(t, res, 403, policy.SecretFound) // nobody handed it out yet
		ask(t, w, "https://"+apiHost+c.from)
		for range 2 {
			res, err = w.client().Do(presented(t, c.host, c.where, c.v))
			if got := text(t, res, err); got != "done" {
				t.Errorf("%s, as %s: %s", c.from, c.where, got)
			}
		}
		w.stop()
		told := 0
		for _, r := range w.all() {
			for _, f := range r.Findings {
				if f.Outcome == decision.HandedOut && r.Verdict == "allow" && f.Place != "" {
					told++
				}
			}
			if strings.Contains(fmt.Sprint(r), patLike[:12]) || strings.Contains(r.Path, "x7Kq2LmZ9vTn4RwYb8Jd") && c.where != "target" {
				t.Errorf("%s: the record tells it: %+v", c.from, r)
			}
		}
		if told == 0 || c.where == "bearer" && told > 1 {
			t.Errorf("%s, as %s: %d records of it", c.from, c.where, told)
		}
		if s.count() != 2 {
			t.Errorf("%d requests came", s.count())
		}
	}
}

// The attacks on that memory: a value goes to another host, by a wildcard, in another
// place than where a credential is shown, with another secret in or beside it; it is one
// that the gateway knows; it was read in a file; it came over no TLS; it has become old.
func TestWhatWasHandedOutGoesNowhereElse(t *testing.T) {
	for _, c := range []struct{ from, host, where, v string }{
		{apiHost + "/token", otherHost, "bearer", patLike},
		{"a.wild.example.com/token", "b.wild.example.com", "bearer", patLike},
		{apiHost + "/redirect", apiHost, "target", signed},
		{apiHost + "/redirect", otherHost, "target", signed + "&u=1"},
		{apiHost + "/redirect", otherHost, "query", patLike},
		{apiHost + "/token", apiHost, "path", patLike},
		{apiHost + "/token", apiHost, "published", patLike},
		{apiHost + "/token", apiHost, "form published", patLike},
		{apiHost + "/token", apiHost, "nested", patLike},
		{apiHost + "/token", apiHost, "text", patLike},
		{apiHost + "/token", apiHost, "basic with more", patLike},
		{apiHost + "/token", apiHost, "within", patLike},
		{apiHost + "/token", apiHost, "beside", patLike},
		{apiHost + "/token", apiHost, "named", patLike},
		{apiHost + "/token", apiHost, "bearer", patLike[:20] + "A" + patLike[21:]},
		{apiHost + "/known", apiHost, "bearer", watched},
		{apiHost + "/known", apiHost, "json", watched},
		{apiHost + "/known", apiHost, "bearer", base64.StdEncoding.EncodeToString([]byte(watched))},
		{apiHost + "/file", apiHost, "bearer", patLike},
	} {
		w, s := issuer(t)
		ask(t, w, "https://"+c.from)
		res, err := w.client().Do(presented(t, c.host, c.where, c.v))
		if err != nil {
			t.Fatal(err)
		}
		denied(t, res, 403, policy.SecretFound)
		if w.stop(); s.count() != 0 {
			t.Errorf("%+v: it went on", c)
		}
		for _, r := range w.all() {
			for _, f := range r.Findings {
				if c.v != patLike && c.v != signed && f.Outcome == decision.HandedOut {
					t.Errorf("%+v: the record calls it handed out: %+v", c, f)
				}
			}
		}
	}
}

// Over plain HTTP anybody on the way may have said it, and anybody may hear it.
func TestWhatCameWithoutTLSIsNotHandedOut(t *testing.T) {
	w, s := issuer(t)
	ask(t, w, "http://"+bareHost+"/token")
	req := presented(t, bareHost, "bearer", patLike)
	req.URL.Scheme = "http"
	res, err := w.client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	denied(t, res, 403, policy.SecretFound)
	if w.stop(); s.count() != 0 {
		t.Error("it went on")
	}
}

// Where a request holds so many findings that some are left out, none of them passes.
func TestManyHandedOutHideNothing(t *testing.T) {
	w, s := issuer(t)
	ask(t, w, "https://"+apiHost+"/token")
	req := presented(t, apiHost, "bearer", patLike)
	var line strings.Builder
	for i := range 300 {
		fmt.Fprintf(&line, "c%d_token=%s; ", i, patLike)
	}
	req.Header.Set("Cookie", line.String()+"last="+patLike[:20]+"A"+patLike[21:])
	res, err := w.client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	denied(t, res, 403, policy.SecretFound)
	if w.stop(); s.count() != 0 {
		t.Error("it went on")
	}
}
