package rules

import (
	"path"
	"strings"
)

// RefuseMount says why the clean absolute host path p must not appear in a
// bottle, or "", and what to do instead. userHome is the operator's home,
// homeDir the folder of the manifests. It looks at the path's words only;
// whoever mounts must resolve symbolic links and ask again. Letter case is
// ignored, as some file systems do.
func RefuseMount(p, userHome, homeDir string) (why, hint string) {
	const narrower = "name the one folder below it that is needed"
	low := strings.ToLower(p)
	if low == "/" {
		return "it is the whole machine", narrower
	}
	if strings.HasSuffix(low, ".sock") && engineSocket(path.Base(low)) {
		return "the socket of a container engine is the host itself", "an agent that needs containers needs another backend"
	}
	for _, dir := range []string{"/proc", "/sys", "/dev", "/run", "/var/run"} {
		if below(low, dir) || below(dir, low) {
			return "it holds the machine's own devices, processes and sockets", "remove it; a bottle has its own"
		}
	}
	for _, dir := range []string{"/home", "/users", "/root", "/tmp", "/var/tmp", "/etc", "/workspace"} {
		if low == dir && low != strings.ToLower(userHome) {
			return "it is not one project's folder", narrower
		}
	}
	if userHome == "" || userHome == "/" {
		return "it cannot be told from your home folder, which is not known", "set HOME"
	}
	if below(strings.ToLower(userHome), low) {
		return "it is, or holds, your whole home folder", narrower
	}
	if homeDir != "" && related(low, strings.ToLower(homeDir)) {
		return "it is, or holds, the folder of the manifests: a bottle must not see its own limits", narrower
	}
	for _, secret := range keepers() {
		// Under any folder: it may be another user's home, or this one by another way.
		if related(low, strings.ToLower(path.Join(userHome, secret))) || strings.Contains(low+"/", "/"+secret+"/") {
			return "credentials are in ~/" + secret, "route the credential instead: `auth` of a route, or `git`"
		}
	}
	return "", ""
}

// keepers are the places under a home folder where programs keep credentials.
func keepers() []string {
	return []string{
		".ssh", ".gnupg", ".aws", ".azure", ".kube", ".docker", ".netrc", ".git-credentials", ".bot-bottle",
		".password-store", ".config/gcloud", ".config/gh", ".config/op", ".config/sops",
		".local/share/keyrings", "library/keychains",
	}
}

func engineSocket(base string) bool {
	for _, engine := range []string{"docker", "podman", "containerd", "crio", "buildkit", "dockershim", "nerdctl"} {
		if strings.Contains(base, engine) {
			return true
		}
	}
	return false
}

// below reports whether p is dir or inside it. Both are clean.
func below(p, dir string) bool {
	return p == dir || dir == "/" || strings.HasPrefix(p, dir+"/")
}

// related reports whether one of the two holds the other.
func related(a, b string) bool { return below(a, b) || below(b, a) }
