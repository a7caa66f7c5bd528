package manifest

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"bottle/internal/bottle"
)

func TestUpstreamProxyIsRead(t *testing.T) {
	auth := &bottle.Auth{Scheme: "Basic", TokenRef: "PROXY_LOGIN"}
	for front, want := range map[string]*bottle.UpstreamProxy{
		"egress: {routes: []}": nil,
		"egress: {upstream_proxy: \"http://proxy.example.com:3128\"}": {Host: "proxy.example.com", Port: 3128},
		"egress: {upstream_proxy: {url: \"https://[::1]:8443\", auth: {token_ref: PROXY_LOGIN}, ca_file: ~/corp.pem}}": {
			TLS: true, Host: "::1", Port: 8443, Auth: auth, CAFile: "/home/op/corp.pem"},
		"extends: base": {Host: "base.example.com", Port: 3128, Auth: auth},
		// The child's is taken whole: the parent's credential is for another proxy.
		"extends: base\negress: {upstream_proxy: \"http://10.0.0.9:3128\"}": {Host: "10.0.0.9", Port: 3128},
		"extends: base\negress: {routes: [{host: api.example.com}]}":        {Host: "base.example.com", Port: 3128, Auth: auth},
	} {
		spec, probs := tree(map[string]string{
			"bottles/base.md": "---\negress: {upstream_proxy: {url: \"http://base.example.com:3128\", auth: {token_ref: PROXY_LOGIN}}}\n---\n",
			"bottles/dev.md":  "---\n" + front + "\n---\n",
		}).Bottle("dev")
		if len(probs) > 0 {
			t.Errorf("%s: %v", front, probs)
		}
		if d := cmp.Diff(want, spec.Onward); d != "" {
			t.Errorf("%s:\n%s", front, d)
		}
		if err := schemaSays(t, KindBottle, front); err != nil {
			t.Errorf("%s: the schema refuses it: %v", front, err)
		}
	}
}

func TestUpstreamProxyProblems(t *testing.T) {
	const password = "hunter2"
	for value, want := range map[string]string{
		"http://me:" + password + "@proxy.example.com:3128":                                "3:19: `upstream_proxy` holds a user or a password, and a secret must not stand in a file (take it out, put user:password into a variable and name that: auth: {token_ref: PROXY_LOGIN})",
		"http://proxy.example.com":                                                         "3:19: `upstream_proxy` has no port, and proxies have no usual one (write it as http://proxy.example.com:3128)",
		"socks5://proxy.example.com:1080":                                                  "3:19: `upstream_proxy` wants http://host:port or https://host:port (write it as http://proxy.example.com:3128)",
		"http://proxy.example.com:3128/path":                                               "3:19: `upstream_proxy` has more than a scheme, a host and a port (write it as http://proxy.example.com:3128)",
		"[http://proxy.example.com:3128]":                                                  "3:19: `upstream_proxy` wants a URL or a mapping, found a list",
		"{auth: {token_ref: X}}":                                                           "3:19: the key `url` is missing (add it)",
		"{url: http://proxy.example.com:3128, user: me}":                                   "3:56: unknown key `user` (known here: url, auth, ca_file)",
		"{url: http://proxy.example.com:3128, auth: {scheme: Bearer, token_ref: X}}":       "3:63: unknown key `scheme` (known here: token_ref)",
		"{url: http://proxy.example.com:3128, auth: {}}":                                   "3:62: the key `token_ref` is missing (add it)",
		"{url: http://proxy.example.com:3128, auth: {token_ref: \"me:" + password + "\"}}": "3:74: `token_ref` is none of the four forms; it is never the secret itself (write NAME (a variable), file:/path, cmd:command or keyring:service/account)",
		"{url: http://proxy.example.com:3128, ca_file: corp.pem}":                          "3:65: ",
	} {
		_, probs := tree(map[string]string{"bottles/dev.md": "---\negress:\n  upstream_proxy: " + value + "\n---\n"}).Bottle("dev")
		got := probs.Error()
		if len(probs) != 1 || !strings.HasPrefix(got, "~/.bot-bottle/bottles/dev.md:"+want) {
			t.Errorf("%s:\ngot  %s\nwant %s", value, got, want)
		}
		if strings.Contains(got, password) {
			t.Errorf("%s: the message shows the password: %s", value, got)
		}
	}
}
