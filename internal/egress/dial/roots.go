package dial

import (
	"crypto/x509"
	"fmt"
	"os"
)

// Roots is the system's certificates, and those of a PEM file besides. An empty
// name gives nil, for which crypto/tls takes the system's.
func Roots(caFile string) (*x509.CertPool, error) {
	if caFile == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(caFile)
	if err != nil {
		return nil, fmt.Errorf("read ca_file: %w", err)
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool()
	}
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("read ca_file %s: no certificate in it", caFile)
	}
	return roots, nil
}
