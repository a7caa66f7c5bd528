package authority

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

func newTest(t testing.TB) *CA {
	t.Helper()
	ca, err := New("researcher-m3hxd")
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

func TestLeafIsForExactlyItsHost(t *testing.T) {
	ca := newTest(t)
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca.PEM()) {
		t.Fatal("the PEM is not readable")
	}
	for _, c := range []struct{ host, other string }{
		{"api.example.com", "x.api.example.com"},
		{"192.0.2.1", "192.0.2.2"},
		{"2001:db8::1", "2001:db8::2"},
		{"under_score.example.com", "example.com"},
		{strings.Repeat("a.", 100) + "example.com", "example.com"},
	} {
		leaf, err := ca.Leaf(c.host)
		if err != nil {
			t.Fatal(err)
		}
		opts := x509.VerifyOptions{Roots: roots, DNSName: c.host}
		if strings.Contains(c.host, ":") {
			opts.DNSName = "[" + c.host + "]"
		}
		if _, err := leaf.Leaf.Verify(opts); err != nil {
			t.Errorf("%s: %v", c.host, err)
		}
		if err := leaf.Leaf.VerifyHostname(c.other); err == nil {
			t.Errorf("the leaf of %s is good for %s", c.host, c.other)
		}
		l := leaf.Leaf
		if len(l.DNSNames)+len(l.IPAddresses) != 1 || l.IsCA || l.NotAfter.Sub(l.NotBefore) > 397*day ||
			l.NotAfter.After(ca.cert.NotAfter) || time.Since(l.NotBefore) < 23*time.Hour {
			t.Errorf("leaf of %s: %v %v from %v to %v", c.host, l.DNSNames, l.IPAddresses, l.NotBefore, l.NotAfter)
		}
	}
	for _, bad := range []string{"", strings.Repeat("a", 254)} {
		if _, err := ca.Leaf(bad); err == nil {
			t.Errorf("a leaf for %.10q", bad)
		}
	}
}

func TestCAIsShort(t *testing.T) {
	ca := newTest(t)
	c := ca.cert
	if !c.IsCA || c.MaxPathLen != 0 || !c.MaxPathLenZero || c.NotAfter.Sub(c.NotBefore) > 397*day {
		t.Errorf("CA %+v", c)
	}
	block, rest := pem.Decode(ca.PEM())
	if block == nil || block.Type != "CERTIFICATE" || len(rest) != 0 {
		t.Fatal("the PEM is not one certificate")
	}
	sum := sha256.Sum256(block.Bytes)
	if ca.Fingerprint() != hex.EncodeToString(sum[:]) {
		t.Error("the fingerprint is another's")
	}
	if _, err := New(""); err == nil {
		t.Error("a CA for nobody")
	}
}

func TestLateLeafDoesNotOutliveTheCA(t *testing.T) {
	now := time.Now()
	ca, err := newCA("x-00000", func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	now = now.Add(300 * day)
	leaf, err := ca.Leaf("api.example.com")
	if err != nil || !leaf.Leaf.NotAfter.Equal(ca.cert.NotAfter) {
		t.Errorf("%v %v", leaf.Leaf.NotAfter, err)
	}
}

func TestManyAskOneIsMinted(t *testing.T) {
	ca := newTest(t)
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			if _, err := ca.Leaf("api.example.com"); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if ca.minted != 1 {
		t.Errorf("%d leaves for one host", ca.minted)
	}
}

func TestCacheHasABound(t *testing.T) {
	ca := newTest(t)
	l, err := ca.leaf("api.example.com")
	if err != nil {
		t.Fatal(err)
	}
	for i := range maxLeaves + 50 {
		ca.keep(fmt.Sprint(i, ".example.com"), l)
	}
	if len(ca.leaves) > maxLeaves {
		t.Errorf("%d leaves are kept", len(ca.leaves))
	}
}

func BenchmarkLeafMint(b *testing.B) {
	ca := newTest(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ca.mint("api.example.com"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkLeafCached(b *testing.B) {
	ca := newTest(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ca.Leaf("api.example.com"); err != nil {
			b.Fatal(err)
		}
	}
}
