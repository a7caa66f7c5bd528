package dial

import (
	"crypto/x509"
	"fmt"
	"os"
)

// Roots is what a connection to the target trusts: the system's certificates, the
// ca_file of the route, and that of the upstream proxy if it goes through there.
// nil stands for the system's alone, as in crypto/tls.
func (d *Dialer) Roots(to Target) (*x509.CertPool, error) {
	var files []string
	if to.Route != nil && to.Route.Upstream != nil {
		files = append(files, to.Route.Upstream.CAFile)
	}
	if d.proxy != nil && to.address() == "" {
		files = append(files, d.proxy.CAFile)
	}
	return Roots(files...)
}

// Roots is the system's certificates, and those of PEM files besides. Empty names
// are passed over; without any file it is nil, for which crypto/tls takes the system's.
func Roots(caFiles ...string) (*x509.CertPool, error) {
	var roots *x509.CertPool
	for _, f := range caFiles {
		if f == "" {
			continue
		}
		pem, err := os.ReadFile(f)
		if err != nil {
			return nil, fmt.Errorf("read ca_file: %w", err)
		}
		if roots == nil {
			if roots, err = x509.SystemCertPool(); err != nil {
				roots = x509.NewCertPool()
			}
		}
		if !roots.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("read ca_file %s: no certificate in it", f)
		}
	}
	return roots, nil
}
