package egress

import (
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"bottle/internal/bottle"
	"bottle/internal/policy"
)

// arrived is what an upstream saw of one stream.
type arrived struct{ method, target, host, auth string }

// arrivals is an upstream that notes what it sees.
type arrivals struct {
	mu   sync.Mutex
	seen map[string]arrived // by X-Id
	more []arrived          // without one
}

func (a *arrivals) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	one := arrived{r.Method, r.RequestURI, r.Host, strings.Join(r.Header["Authorization"], "|")}
	if id := r.Header.Get("X-Id"); id != "" {
		a.seen[id] = one
		return
	}
	a.more = append(a.more, one)
}

// take gives what has arrived, and forgets it.
func (a *arrivals) take() (map[string]arrived, []arrived) {
	a.mu.Lock()
	defer a.mu.Unlock()
	seen, more := a.seen, a.more
	a.seen, a.more = map[string]arrived{}, nil
	return seen, more
}

// allows asks the policy about what the upstream saw, and nothing else.
func allows(p *policy.Policy, a arrived) bool {
	host, port, err := bottle.ParseHostPort(a.host, 443)
	path, _, _ := strings.Cut(a.target, "?")
	return err == nil && p.Decide(policy.Request{Scheme: "https", Host: host, Port: port, Method: a.method, Path: path}).Allowed() &&
		a.auth == "Bearer "+realKey
}

// FuzzStreams: whatever streams one connection of HTTP/2 brings, each that reached the
// upstream is one that the policy allows by exactly what the upstream saw, with the
// route's credential; nobody is told of success who did not reach it; and a good stream
// beside them is answered, or the connection has ended. The upstream speaks HTTP/1.1,
// and HTTP/2.
func FuzzStreams(f *testing.F) {
	for i, s := range [][6]string{
		{"GET", "/v1/a", apiHost, "https", "accept", "*/*"}, {"DELETE", "/v1/../v2", "other.example.com", "http", "host", "other.example.com"},
		{"GET", "/v1/%2e%2e/secret", apiHost + ":443", "https", "x-http-method-override", "DELETE"}, {"G T", "/v1/ HTTP/1.1\r\nX: y", "a@" + apiHost, "", ":path", "/secret"},
		{"CONNECT", "*", apiHost + ".", "ftp", "transfer-encoding", "chunked"}, {"POST", "//evil/v1", "", "https", "content-length", "5"}, {"GET", "/v1?\x00#x", "API.example.com", "HTTPS", "authorization", "Bearer x"},
	} {
		f.Add(s[0], s[1], s[2], s[3], s[4], s[5], uint32(0x9e3779b9*(i+1)))
	}
	api := route(apiHost, "", "")
	api.Methods, api.Paths = []string{"GET", "POST"}, []string{"/v1", "/open/"}
	api = withAuth(api, "Bearer", "")
	var worlds [2]*world
	var ups [2]*arrivals
	for i := range worlds {
		ups[i] = &arrivals{seen: map[string]arrived{}}
		rt := api
		var addr, ca string
		if i == 0 {
			addr, ca, _ = upstream(f, ups[i], apiHost)
		} else {
			addr, ca = upstream2(f, ups[i])
		}
		rt.Upstream = &bottle.Upstream{Address: addr, CAFile: ca}
		worlds[i] = newWorld(f, func(c *Config) { c.Record = func(Record) error { return nil } }, rt, route("other.example.com", addr, ca))
	}
	f.Fuzz(func(t *testing.T, method, path, authority, scheme, name, value string, mix uint32) {
		if strings.EqualFold(strings.ReplaceAll(name, "_", "-"), "x-id") || len(path)+len(value)+len(name)+len(authority)+len(method)+len(scheme) > 8<<10 {
			return
		}
		w, up := worlds[mix&1], ups[mix&1]
		w.t = t
		r := w.raw2()
		defer r.c.Close()
		_ = r.c.SetDeadline(time.Now().Add(10 * time.Second))
		pick := func(bit int, odd, plain string) string {
			if mix>>(bit%31+1)&1 == 1 {
				return odd
			}
			return plain
		}
		fates, id := map[string]string{}, uint32(1)
		for i := range 5 {
			fields := []string{":method", pick(5*i, method, "GET"), ":scheme", pick(5*i+1, scheme, "https"), ":authority", pick(5*i+2, authority, apiHost),
				":path", pick(5*i+3, path, "/v1/x"), "x-id", strconv.Itoa(i)}
			if i == 4 { // the good one
				fields = []string{":method", "GET", ":scheme", "https", ":authority", apiHost, ":path", "/v1/good", "x-id", "4"}
			} else if n := pick(5*i+4, name, ""); n != "" {
				fields = append(fields, n, value)
			}
			if r.headers(id, true, fields...) != nil {
				break
			}
			fates[strconv.Itoa(i)] = r.fate(id)
			id += 2
		}
		seen, more := up.take()
		for id, a := range seen {
			if more = append(more, a); fates[id] != "200" && fates[id] != "end" && !strings.HasPrefix(fates[id], "GOAWAY") {
				t.Errorf("%+v arrived, and its stream got %q", a, fates[id])
			}
		}
		for _, a := range more {
			if !allows(w.p.policy.Load(), a) {
				t.Errorf("the upstream saw %+v", a)
			}
		}
		for id, fate := range fates {
			if _, ok := seen[id]; !ok && strings.HasPrefix(fate, "2") {
				t.Errorf("stream %s got %s and never arrived", id, fate)
			}
		}
		if fate := fates["4"]; fate != "200" && fate != "" && fate != "end" && !strings.HasPrefix(fate, "GOAWAY") {
			t.Errorf("the good stream got %s", fate)
		}
	})
}
