package clients

import (
	"os"
	"slices"
	"strings"
	"testing"

	"bottle/internal/plan"
	"bottle/test/require"
)

// TestJava: java.net.http in both versions of HTTP, and HttpURLConnection.
func TestJava(t *testing.T) {
	require.Tool(t, "java", "javac")
	b := newBox(t, []*site{apiSite(t)}, "Client.java")
	r := b.run(`
u=https://api.example.com/v1
set --
for l in h1 h2 connection; do
  set -- "$@" $l proxy $l-proxy $u/$l-proxy '' $l direct $l-direct $u/$l-direct some=body
  set -- "$@" $l proxy no-$l-proxy https://no-$l-proxy.example.net/ '' $l direct no-$l-direct https://no-$l-direct.example.net/ ''
done
set -- "$@" connection socks connection-socks $u/connection-socks '' connection socks no-connection-socks https://no-connection-socks.example.net/ ''
java -XX:TieredStopAtLevel=1 Client.java "$@"
`)
	for lib, over := range map[string][2]string{"h1": {"HTTP_1_1", ""}, "h2": {"HTTP_2", "HTTP/2.0"}, "connection": {"HTTP_1_1", ""}} {
		says := func(rest string) []string { return []string{"200 over " + over[0] + "\n", "the API got " + rest} }
		r.allowed(
			call{name: lib + "-proxy", says: says("GET /v1/" + lib + "-proxy and 0 bytes"), proto: over[1]},
			call{name: lib + "-direct", method: "POST", body: 9, says: says("POST /v1/" + lib + "-direct and 9 bytes"), proto: over[1]},
		)
		r.refused(byProxy, "no-"+lib+"-proxy")
		r.refused(direct, "no-"+lib+"-direct")
	}
	r.allowed(call{name: "connection-socks"})
	r.refused(eitherWay, "no-connection-socks") // it asks for the name, and gives it to the proxy all the same
	if !slices.ContainsFunc(r.about(stranger("no-connection-socks")), func(rec record) bool { return rec.Kind == byProxy }) {
		t.Error("Java never came by SOCKS")
	}
}

// TestJavaTrustsTheMachinesRoots where a route passes TLS through: there a Java
// program meets a certificate that the bottle's CA did not sign.
func TestJavaTrustsTheMachinesRoots(t *testing.T) {
	require.Tool(t, "java", "keytool")
	machine := 0
	for _, path := range plan.HostBundles() {
		if body, err := os.ReadFile(path); err == nil {
			machine = strings.Count(string(body), "BEGIN CERTIFICATE")
			break
		}
	}
	if machine == 0 {
		t.Fatal("this machine trusts nobody")
	}
	passed := passedSite(t)
	r := newBox(t, []*site{passed}).run(`
as keys keytool -list -keystore /etc/ssl/bottle-trust.p12 -storepass changeit
`)
	s := r.said["keys"]
	if n := strings.Count(s.text, "trustedCertEntry"); s.code != "0" || n != machine+1 {
		t.Errorf("%d entries, want %d: %s", n, machine+1, s.text)
	}
}
