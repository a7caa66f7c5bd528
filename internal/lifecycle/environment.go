package lifecycle

import (
	"cmp"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"bottle/internal/plan"
)

// systemPath is the PATH inside a bottle, behind what the provider puts first.
const systemPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// shownPath is what of the operator's PATH exists inside too, in his order: the
// folders below /usr and /opt, and those below a mount.
func shownPath(operator []string, mounts []plan.Mount) []string {
	below := []string{"/usr", "/opt"}
	for _, m := range mounts {
		below = append(below, m.Target)
	}
	var out []string
	for _, dir := range operator {
		dir = filepath.Clean(dir)
		inside := slices.ContainsFunc(below, func(b string) bool { return dir == b || strings.HasPrefix(dir, b+"/") })
		if inside && !strings.Contains(dir, ":") && !slices.Contains(strings.Split(systemPath, ":"), dir) && !slices.Contains(out, dir) {
			out = append(out, dir)
		}
	}
	return out
}

// environment makes the agent's whole environment from nothing: the base, the
// proxy and CA variables that runtimes look for, the provider's, and last the
// manifest's own values, by name. trustStore is a path inside, or empty.
func environment(host func(string) (string, bool), searched []string, provider []string, manifest map[string]string, trustStore string) []string {
	proxy := "http://127.0.0.1:" + strconv.Itoa(plan.EgressPort)
	env := map[string]string{
		"PATH": strings.Join(searched, ":"), "HOME": plan.Home, "USER": "agent", "LOGNAME": "agent", "SHELL": "/bin/sh",
		"LANG": "C.UTF-8", "TERM": "dumb", "TMPDIR": "/tmp",
		"NO_PROXY": "localhost,127.0.0.1,::1", "no_proxy": "localhost,127.0.0.1,::1",
		"NODE_EXTRA_CA_CERTS": plan.CAPath, "NODE_USE_ENV_PROXY": "1",
	}
	for _, name := range []string{"TERM", "LANG", "TZ", "COLORTERM"} {
		if v, ok := host(name); ok && plain(v) {
			env[name] = v
		}
	}
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"} {
		env[name], env[strings.ToLower(name)] = proxy, proxy
	}
	for _, name := range []string{
		"SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO", "PIP_CERT", "AWS_CA_BUNDLE", "CARGO_HTTP_CAINFO",
		"DENO_CERT", "NIX_SSL_CERT_FILE", "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", "CODEX_CA_CERTIFICATE", "NPM_CONFIG_CAFILE",
	} {
		env[name] = plan.BundlePath
	}
	if trustStore != "" {
		env["JAVA_TOOL_OPTIONS"] = "-Djavax.net.ssl.trustStore=" + trustStore + " -Djavax.net.ssl.trustStoreType=PKCS12 -Djavax.net.ssl.trustStorePassword=" +
			trustPassword + " -Dhttp.proxyHost=127.0.0.1 -Dhttp.proxyPort=" + strconv.Itoa(plan.EgressPort) +
			" -Dhttps.proxyHost=127.0.0.1 -Dhttps.proxyPort=" + strconv.Itoa(plan.EgressPort)
	}
	for _, e := range provider {
		name, value, _ := strings.Cut(e, "=")
		env[name] = value
	}
	for name, value := range manifest {
		env[name] = value
	}
	out := make([]string, 0, len(env))
	for name, value := range env {
		out = append(out, name+"="+value)
	}
	slices.SortFunc(out, cmp.Compare[string])
	return out
}

// plain refuses a host value that could be more than a word: it comes from the
// operator's terminal, but programs inside trust TERM and TZ as file names.
func plain(v string) bool {
	if v == "" || len(v) > 64 || strings.Contains(v, "..") || strings.HasPrefix(v, "/") || strings.HasPrefix(v, ":") {
		return false
	}
	for _, c := range v {
		if !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._+-/@:,", c) {
			return false
		}
	}
	return true
}
