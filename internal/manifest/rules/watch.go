package rules

import "strings"

// MaxWatch is how many files and folders one bottle's file may watch.
const MaxWatch = 50

// RefuseWatch says why a clean path of egress.watch names nothing that can be read
// through for secrets, or "", and what to write instead. A path begins with ~/, with
// /, or lies below the operator's folder.
func RefuseWatch(p string) (why, hint string) {
	const name = "name the files and folders that hold secrets, such as ~/.aws or .env"
	switch {
	case p == "/":
		return "it is the whole machine", name
	case p == "~" || p == "." || p == "/home" || p == "/root" || p == "/Users":
		return "it holds more than secrets, and far more files than are read", name
	case strings.HasPrefix(p, "~") && !strings.HasPrefix(p, "~/"):
		return "only ~/ of your own home folder can be resolved", "write the whole path"
	case strings.HasPrefix(p, "$"):
		return "variables are not filled in here", "write ~/ for your home folder"
	case p == ".." || strings.HasPrefix(p, "../"):
		return "it leads out of the folder that you stand in, whichever that is", "write the path from / or from ~/"
	case strings.ContainsAny(p, "*?[{"):
		return "nothing stands for other names here", "name the folder: the files in it, and in two levels of folders below, are read"
	}
	return "", ""
}

// DLP is what happens when a request holds a secret and its route says nothing. A
// route with a role is the agent's own model, which is sent whatever the agent reads:
// to refuse all that would stop the work.
func DLP(role string) string {
	if role != "" {
		return "redact"
	}
	return "block"
}
