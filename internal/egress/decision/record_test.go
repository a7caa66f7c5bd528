package decision

import "testing"

// A record holds no byte of what was found.
func TestHide(t *testing.T) {
	for place, want := range map[string]Record{
		"url.path[0]":  {Path: "/(secret)", Host: "a.b.example.net", Method: "GET"},
		"url.path[1]":  {Path: "/x/(secret)", Host: "a.b.example.net", Method: "GET"},
		"url.path[9]":  {Path: "/x/y/(secret)", Host: "a.b.example.net", Method: "GET"},
		"url.path":     {Path: "/(secret)", Host: "a.b.example.net", Method: "GET"},
		"url.query:a":  {Path: "/x/y/z", Host: "a.b.example.net", Method: "GET"},
		"head":         {Path: "/(secret)", Host: "a.b.example.net", Method: "GET"},
		"host":         {Path: "/x/y/z", Host: "(secret).example.net", Method: "GET"},
		"method":       {Path: "/x/y/z", Host: "a.b.example.net", Method: "(secret)"},
		"url.path[x":   {Path: "/(secret)", Host: "a.b.example.net", Method: "GET"},
		"header:X-Any": {Path: "/x/y/z", Host: "a.b.example.net", Method: "GET"},
	} {
		r := Record{Path: "/x/y/z", Host: "a.b.example.net", Method: "GET", Findings: []Finding{{Place: place}}}
		if r.Hide(); r.Path != want.Path || r.Host != want.Host || r.Method != want.Method {
			t.Errorf("%s: %+v", place, r)
		}
	}
	for name, want := range map[string]string{"a.b": "(secret)", "x.averyveryverylongone.net": "(secret)", "": "(secret)"} {
		r := Record{Host: name, Findings: []Finding{{Place: "host"}}}
		if r.Hide(); r.Host != want {
			t.Errorf("%q: %s", name, r.Host)
		}
	}
}
