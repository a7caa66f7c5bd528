// Package authority is one bottle's certificate authority: a key in memory that
// signs one short leaf per host, once, however many connections ask.
package authority

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
)

const (
	day       = 24 * time.Hour
	caLife    = 397 * day
	maxLeaf   = 397 * day // browsers and Apple's TLS refuse more than 398 days
	maxLeaves = 1024
	maxCNSize = 64 // RFC 5280 ub-common-name
)

// CA is one bottle's certificate authority. Its private key exists in this
// process's memory only and has no accessor.
type CA struct {
	cert    *x509.Certificate
	key     *ecdsa.PrivateKey
	leafKey *ecdsa.PrivateKey // one for all leaves: minting is one signature
	now     func() time.Time

	flight singleflight.Group
	mu     sync.Mutex
	leaves map[string]*leaf
	minted int // how many leaves were signed; tests look at it
}

// New makes a CA for the bottle of that identity: ECDSA P-256, path length 0.
func New(identity string) (*CA, error) { return newCA(identity, time.Now) }

func newCA(identity string, now func() time.Time) (*CA, error) {
	if identity == "" {
		return nil, errors.New("make CA: no identity")
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make CA key: %w", err)
	}
	leafKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make leaf key: %w", err)
	}
	from := now().Add(-day).Truncate(time.Second)
	cn := "bottle CA " + identity
	if len(cn) > maxCNSize {
		cn = cn[:maxCNSize]
	}
	tmpl := &x509.Certificate{
		SerialNumber:          serial(),
		Subject:               pkix.Name{CommonName: cn, Organization: []string{"bot-bottle"}},
		NotBefore:             from,
		NotAfter:              from.Add(caLife),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		return nil, fmt.Errorf("sign CA: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("read CA back: %w", err)
	}
	return &CA{cert: cert, key: key, leafKey: leafKey, now: now, leaves: map[string]*leaf{}}, nil
}

// PEM is the CA's certificate, for the trust stores inside the bottle.
func (ca *CA) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.cert.Raw})
}

// Fingerprint is the SHA-256 of the certificate, in lower-case hex.
func (ca *CA) Fingerprint() string {
	sum := sha256.Sum256(ca.cert.Raw)
	return hex.EncodeToString(sum[:])
}

// leaf is one host's certificate, and the configuration that presents it.
type leaf struct {
	cert   *tls.Certificate
	config *tls.Config
}

// Leaf gives the certificate for one canonical host: from the cache, or minted
// once however many connections ask at the same time.
func (ca *CA) Leaf(host string) (*tls.Certificate, error) {
	l, err := ca.leaf(host)
	if err != nil {
		return nil, err
	}
	return l.cert, nil
}

// Config gives the TLS that a server for one canonical host speaks to a client of
// this machine, HTTP/2 and HTTP/1.1. It is the same for all connections, not to be
// changed; a session can be resumed on this host only, whose ticket key is its own.
func (ca *CA) Config(host string) (*tls.Config, error) {
	l, err := ca.leaf(host)
	if err != nil {
		return nil, err
	}
	return l.config, nil
}

func (ca *CA) leaf(host string) (*leaf, error) {
	if l := ca.cached(host); l != nil {
		return l, nil
	}
	v, err, _ := ca.flight.Do(host, func() (any, error) {
		if l := ca.cached(host); l != nil {
			return l, nil
		}
		c, err := ca.mint(host)
		if err != nil {
			return nil, err
		}
		l := &leaf{cert: c, config: serverConfig(c)}
		ca.keep(host, l)
		return l, nil
	})
	if err != nil {
		return nil, err
	}
	return v.(*leaf), nil
}

// serverConfig leaves the post-quantum exchange out: what it costs protects what
// is recorded on a network, and this leg never leaves the machine's memory.
func serverConfig(c *tls.Certificate) *tls.Config {
	cfg := &tls.Config{
		MinVersion:       tls.VersionTLS12,
		NextProtos:       []string{"h2", "http/1.1"},
		Certificates:     []tls.Certificate{*c},
		CurvePreferences: []tls.CurveID{tls.X25519, tls.CurveP256, tls.CurveP384},

		DynamicRecordSizingDisabled: true, // small records help on slow networks; here each is a system call
	}
	var key [32]byte
	_, _ = rand.Read(key[:]) // never fails
	cfg.SetSessionTicketKeys([][32]byte{key})
	return cfg
}

func (ca *CA) cached(host string) *leaf {
	ca.mu.Lock()
	defer ca.mu.Unlock()
	l := ca.leaves[host]
	if l != nil && ca.now().After(l.cert.Leaf.NotAfter) {
		delete(ca.leaves, host)
		return nil
	}
	return l
}

// keep stores a leaf. A full cache drops any other entry: an agent that asks
// for endless names pays with signatures, not with our memory.
func (ca *CA) keep(host string, l *leaf) {
	ca.mu.Lock()
	defer ca.mu.Unlock()
	ca.minted++
	for old := range ca.leaves {
		if len(ca.leaves) < maxLeaves {
			break
		}
		delete(ca.leaves, old)
	}
	ca.leaves[host] = l
}

// mint signs a leaf whose only name is host.
func (ca *CA) mint(host string) (*tls.Certificate, error) {
	if host == "" || len(host) > 253 {
		return nil, errors.New("mint leaf: no usable host")
	}
	from := ca.now().Add(-day).Truncate(time.Second)
	to := from.Add(maxLeaf)
	if from.Before(ca.cert.NotBefore) {
		from = ca.cert.NotBefore
	}
	if to.After(ca.cert.NotAfter) {
		to = ca.cert.NotAfter
	}
	tmpl := &x509.Certificate{
		SerialNumber:          serial(),
		Subject:               pkix.Name{Organization: []string{"bot-bottle"}},
		NotBefore:             from,
		NotAfter:              to,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	if len(host) <= maxCNSize {
		tmpl.Subject.CommonName = host
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		tmpl.IPAddresses = []net.IP{ip.AsSlice()}
	} else {
		tmpl.DNSNames = []string{host}
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, ca.cert, &ca.leafKey.PublicKey, ca.key)
	if err != nil {
		return nil, fmt.Errorf("sign leaf: %w", err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("read leaf back: %w", err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: ca.leafKey, Leaf: parsed}, nil
}

// serial is 126 random bits, positive and never zero (RFC 5280 section 4.1.2.2).
func serial() *big.Int {
	var b [16]byte
	_, _ = rand.Read(b[:]) // crypto/rand.Read never fails; it crashes the program
	b[0] = b[0]&0x3f | 0x40
	return new(big.Int).SetBytes(b[:])
}
