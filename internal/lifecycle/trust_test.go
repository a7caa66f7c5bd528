package lifecycle

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"testing"
	"time"

	"software.sslmate.com/src/go-pkcs12"

	"bottle/internal/bottle"
)

func authority(t *testing.T, name string) ([]byte, *x509.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	if c, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), c
}

// A store has the bottle's CA and what else is to be trusted; one bad entry of the
// machine's must not cost Java all others.
func TestTrustStoreHoldsTheBundleToo(t *testing.T) {
	ours, a := authority(t, "ours")
	theirs, b := authority(t, "theirs")
	bad := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("no certificate")})
	for _, c := range []struct {
		bundle string
		want   []*x509.Certificate
	}{
		{"", []*x509.Certificate{a}},
		{"# a comment\n" + string(bad) + string(theirs), []*x509.Certificate{a, b}},
	} {
		f, err := trustStore(string(ours), []byte(c.bundle))
		if err != nil {
			t.Fatal(err)
		}
		got, err := pkcs12.DecodeTrustStore(f.Content, trustPassword)
		if err != nil || len(got) != len(c.want) {
			t.Fatalf("%d entries, want %d: %v", len(got), len(c.want), err)
		}
		for i, want := range c.want {
			if !got[i].Equal(want) {
				t.Errorf("entry %d is %s", i, got[i].Subject)
			}
		}
	}
	for _, broken := range []string{"", string(bad)} {
		if _, err := trustStore(broken, theirs); err == nil {
			t.Errorf("a store without the bottle's CA, from %q", broken)
		}
	}
}

// Only who can meet a certificate of the public's pays for the machine's roots.
func TestRootsOnlyForPassthrough(t *testing.T) {
	if r := roots([]bottle.Route{{TLS: "intercept"}, {}}); r != nil {
		t.Errorf("%d bytes", len(r))
	}
	if r := roots(nil); r != nil {
		t.Errorf("%d bytes", len(r))
	}
}

func TestBrowserPolicyTrustsTheCA(t *testing.T) {
	ours, a := authority(t, "ours")
	files, err := browserPolicy(string(ours))
	if err != nil || len(files) != len(browserPolicies()) {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, f := range files {
		var rule struct{ CACertificates []string }
		if err := json.Unmarshal(f.Content, &rule); err != nil || len(rule.CACertificates) != 1 || f.Mode != 0o644 || f.Agent {
			t.Fatalf("%+v, %v", f, err)
		}
		if rule.CACertificates[0] != base64.StdEncoding.EncodeToString(a.Raw) {
			t.Errorf("%s trusts another certificate", f.Path)
		}
	}
	if _, err := browserPolicy("no PEM"); err == nil {
		t.Error("a rule without a certificate")
	}
}
