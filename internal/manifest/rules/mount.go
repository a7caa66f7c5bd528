package rules

import (
	"path"
	"strings"
)

const narrower = "name the one folder below it that is needed"

// RefuseMount says why the clean absolute host path p must not appear in a
// bottle, or "", and what to do instead. userHome is the operator's home,
// homeDir the folder of the manifests. It looks at the path's words only;
// whoever mounts must resolve symbolic links and ask again. Letter case is
// ignored, as some file systems do.
func RefuseMount(p, userHome, homeDir string) (why, hint string) {
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
	return refuseHomes(low, userHome, homeDir)
}

// RefuseWorkspace says the same of the operator's current folder, which becomes
// the agent's: what RefuseMount refuses, and besides the folders that are the
// system's own.
func RefuseWorkspace(p, userHome, homeDir string) (why, hint string) {
	const project = "cd into a project, or set workspace: {mode: none} in the bottle"
	low := strings.ToLower(p)
	if low == "/workspace" { // where images for building keep their one project
		why, _ = refuseHomes(low, userHome, homeDir)
	} else {
		why, _ = RefuseMount(p, userHome, homeDir)
	}
	if why == "" && system(low) {
		why = "it belongs to the system, not to a project"
	}
	switch {
	case why == "":
		return "", ""
	case userHome == "" || userHome == "/":
		return why, "set HOME"
	}
	return why, project
}

// system reports whether the lower-case path low is a folder of the machine
// itself (hier(7)), or holds many that are not one project.
func system(low string) bool {
	for _, dir := range []string{"/usr/local/src", "/usr/src", "/var/www"} {
		if strings.HasPrefix(low, dir+"/") {
			return false
		}
	}
	for _, dir := range []string{
		"/bin", "/boot", "/efi", "/etc", "/lib", "/lib32", "/lib64", "/libx32", "/lost+found", "/sbin", "/usr",
		"/var/backups", "/var/cache", "/var/db", "/var/log", "/var/mail", "/var/spool",
		"/applications", "/library", "/private/etc", "/private/var/db", "/system", "/volumes",
	} {
		if below(low, dir) {
			return true
		}
	}
	switch low {
	case "/home", "/media", "/mnt", "/opt", "/private", "/private/tmp", "/private/var", "/root", "/srv", "/tmp", "/users",
		"/var", "/var/lib", "/var/local", "/var/opt", "/var/tmp", "/var/www":
		return true
	}
	return false
}

// refuseHomes says what of the operator's home must not be shown. low is in
// lower case.
func refuseHomes(low, userHome, homeDir string) (why, hint string) {
	if userHome == "" || userHome == "/" {
		return "it cannot be told from your home folder, which is not known", "set HOME"
	}
	if below(strings.ToLower(userHome), low) {
		return "it is, or holds, your whole home folder", narrower
	}
	if homeDir != "" && related(low, strings.ToLower(homeDir)) {
		return "it is, or holds, the folder of the manifests: a bottle must not see its own limits", narrower
	}
	for _, secret := range Keepers() {
		// Under any folder: it may be another user's home, or this one by another way.
		if related(low, strings.ToLower(path.Join(userHome, secret))) || strings.Contains(low+"/", "/"+secret+"/") {
			return "credentials are in ~/" + secret, "route the credential instead: `auth` of a route, or `git`"
		}
	}
	return "", ""
}

// RefuseRelated refuses what is, holds, or lies in one of the folders in keep,
// which links lead to from where credentials and manifests are looked for.
func RefuseRelated(p string, keep []string) (why, hint string) {
	for _, dir := range keep {
		if related(strings.ToLower(p), strings.ToLower(dir)) {
			return "a link of yours keeps credentials or manifests there, in " + dir, narrower
		}
	}
	return "", ""
}

// Keepers are the places under a home folder where programs keep credentials.
func Keepers() []string {
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
