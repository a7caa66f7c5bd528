package lifecycle

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"

	"software.sslmate.com/src/go-pkcs12"

	"bottle/internal/plan"
)

// Java reads no PEM bundle and no environment variable for it: it wants a trust
// store of its own (JSSE Reference Guide, "javax.net.ssl.trustStore").
const (
	trustPath = "/etc/ssl/bottle-trust.p12"
	// trustPassword guards nothing: a trust store holds public certificates, but
	// Java will not read one without a password.
	trustPassword = "changeit"
)

// hasJava reports whether a Java runtime is on the system folders' PATH.
func hasJava(dirs []string) bool {
	for _, d := range dirs {
		if _, err := os.Stat(filepath.Join(d, "java")); err == nil {
			return true
		}
	}
	return false
}

// trustStore makes a PKCS #12 trust store with the bottle's CA.
func trustStore(caPEM string) (plan.File, error) {
	block, _ := pem.Decode([]byte(caPEM))
	if block == nil {
		return plan.File{}, fmt.Errorf("make trust store: the gateway's CA is not PEM")
	}
	ca, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return plan.File{}, fmt.Errorf("make trust store: %w", err)
	}
	body, err := pkcs12.Modern2023.WithIterations(1).EncodeTrustStore([]*x509.Certificate{ca}, trustPassword)
	if err != nil {
		return plan.File{}, fmt.Errorf("make trust store: %w", err)
	}
	return plan.File{Path: trustPath, Mode: 0o644, Content: body}, nil
}
