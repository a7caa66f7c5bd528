package lifecycle

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"software.sslmate.com/src/go-pkcs12"

	"bottle/internal/bottle"
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

// browserPolicies are where Chromium, Chrome, and the Chrome that test tools bring
// along look for rules of the machine. They read no bundle and no variable; the
// rule CACertificates names what to trust beside their own store (Chrome
// Enterprise policy list, "CACertificates"). Versions before 2025 do not know it.
func browserPolicies() []string {
	return []string{"/etc/chromium", "/etc/opt/chrome", "/etc/opt/chrome_for_testing"}
}

// browserPolicy makes the rule that a browser of the Chromium family trusts the CA.
func browserPolicy(caPEM string) ([]plan.File, error) {
	block, _ := pem.Decode([]byte(caPEM))
	if block == nil {
		return nil, fmt.Errorf("make browser policy: the gateway's CA is not PEM")
	}
	body, err := json.Marshal(map[string][]string{"CACertificates": {base64.StdEncoding.EncodeToString(block.Bytes)}})
	if err != nil {
		return nil, fmt.Errorf("make browser policy: %w", err)
	}
	var files []plan.File
	for _, dir := range browserPolicies() {
		files = append(files, plan.File{Path: dir + "/policies/managed/bottle.json", Mode: 0o644, Content: body})
	}
	return files, nil
}

// hasJava reports whether a Java runtime stands in one of the folders.
func hasJava(dirs []string) bool {
	for _, d := range dirs {
		if _, err := os.Stat(filepath.Join(d, "java")); err == nil {
			return true
		}
	}
	return false
}

// roots is what Java has to trust beside the bottle's CA: nothing, unless a route
// passes TLS through, and the program sees a certificate of the public's. To encode
// the machine's 140 takes 10 ms, half as long as the rest of a start.
func roots(routes []bottle.Route) []byte {
	if !slices.ContainsFunc(routes, func(r bottle.Route) bool { return r.TLS == "passthrough" }) {
		return nil
	}
	for _, path := range plan.HostBundles() {
		if b, err := os.ReadFile(path); err == nil {
			return b
		}
	}
	return nil
}

// trustStore makes a PKCS #12 trust store with the bottle's CA and what is in the
// bundle, which is PEM and may be nil. What is no certificate is left out, since
// Java reads all of a store or nothing.
func trustStore(caPEM string, bundle []byte) (plan.File, error) {
	var entries []pkcs12.TrustStoreEntry
	ours, _ := pem.Decode([]byte(caPEM))
	if ours == nil {
		return plan.File{}, fmt.Errorf("make trust store: the gateway's CA is not PEM")
	}
	for block, rest := ours, bundle; block != nil; block, rest = pem.Decode(rest) {
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil && block == ours {
			return plan.File{}, fmt.Errorf("make trust store: %w", err)
		}
		if err == nil {
			name := "bottle-" + strconv.Itoa(len(entries)) // of two with one name, Java keeps one
			entries = append(entries, pkcs12.TrustStoreEntry{Cert: cert, FriendlyName: name})
		}
	}
	body, err := pkcs12.Modern2023.WithIterations(1).EncodeTrustStoreEntries(entries, trustPassword)
	if err != nil {
		return plan.File{}, fmt.Errorf("make trust store: %w", err)
	}
	return plan.File{Path: trustPath, Mode: 0o644, Content: body}, nil
}
