package dial

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"

	"bottle/internal/policy"
)

// Fault puts an error of a dial, of TLS or of an exchange into words that hold nothing
// of the request.
func Fault(err error) policy.Verdict {
	var (
		no      *Refusal
		dns     *net.DNSError
		op      *net.OpError
		unknown x509.UnknownAuthorityError
		cert    *tls.CertificateVerificationError
		record  tls.RecordHeaderError
		alert   tls.AlertError
	)
	switch {
	case errors.As(err, &no):
		return no.Verdict
	case errors.As(err, &dns), errors.Is(err, ErrNoAddress):
		return policy.Refuse(policy.UpstreamResolve, "")
	case errors.As(err, &cert), errors.As(err, &unknown), errors.As(err, &record), errors.As(err, &alert):
		return policy.Refuse(policy.UpstreamTLS, "")
	case errors.As(err, &op), errors.Is(err, context.DeadlineExceeded):
		return policy.Refuse(policy.UpstreamUnreachable, "")
	}
	return policy.Refuse(policy.UpstreamProtocol, "")
}

// Cause says for the operator why an upstream was not reached, or not trusted; "" where
// nothing more is known than the reason of the verdict. It may name addresses and what
// the upstream's certificate says, so it is not for the agent.
func Cause(err error) string {
	var (
		no      *Refusal
		unknown x509.UnknownAuthorityError
		name    x509.HostnameError
		invalid x509.CertificateInvalidError
		record  tls.RecordHeaderError
		alert   tls.AlertError
	)
	switch {
	case err == nil:
		return ""
	case errors.As(err, &no):
		return no.Verdict.Message
	case errors.As(err, &unknown):
		return "the upstream's certificate is signed by an unknown authority: if it is yours, name its CA in upstream.ca_file"
	case errors.As(err, &name):
		return "the upstream's certificate is for another name: " + certified(name.Certificate)
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "the upstream's certificate has expired or is not valid yet"
	case errors.As(err, &invalid):
		return "the upstream's certificate cannot be used as one"
	case errors.As(err, &record):
		return "what answers there does not speak TLS"
	case errors.As(err, &alert):
		return "the upstream ended the TLS handshake: " + alert.Error()
	}
	return unreached(err)
}

// Told is an error of a dial as the agent may hear it.
type Told struct{ err error }

// Tell makes err such an error. It stays what it is (errors.Is).
func Tell(err error) error { return Told{err} }

// Error implements error, without an address.
func (t Told) Error() string { return Fault(t.err).Message }

// Unwrap gives the error itself.
func (t Told) Unwrap() error { return t.err }

// Reason is the code of the record.
func (t Told) Reason() policy.Reason { return Fault(t.err).Reason }

// Cause is what the operator may know besides.
func (t Told) Cause() string { return Cause(t.err) }

// unreached is Cause for connections that did not come about.
func unreached(err error) string {
	at := ""
	var op *net.OpError
	if errors.As(err, &op) && op.Addr != nil {
		at = " by " + op.Addr.String()
	}
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return "the connection was refused" + at
	case errors.Is(err, syscall.ECONNRESET):
		return "the connection was reset" + at
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH):
		return "this machine has no way to that address" + strings.Replace(at, " by", ":", 1)
	case errors.Is(err, context.DeadlineExceeded), op != nil && op.Timeout():
		return "no answer came in time"
	}
	return ""
}

// certified are the names of a certificate, a few of them.
func certified(c *x509.Certificate) string {
	names := append([]string{}, c.DNSNames...)
	for _, ip := range c.IPAddresses {
		names = append(names, ip.String())
	}
	const most = 4
	switch n := len(names); {
	case n == 0:
		return "it names none"
	case n > most:
		return strings.Join(names[:most], ", ") + fmt.Sprintf(" and %d more", n-most)
	}
	return strings.Join(names, ", ")
}
