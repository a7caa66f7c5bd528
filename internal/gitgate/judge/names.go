package judge

import (
	"bytes"
	"strings"
	"unicode"
	"unicode/utf8"
)

// unsafe says why a path must not be in a repository, or nothing. A name counts as
// ".git" wherever some system that git runs on would open git's own folder by it:
// letter case (CVE-2014-9390), code points that HFS+ ignores, NTFS short names, trailing
// dots and spaces, alternate data streams (CVE-2019-1352, CVE-2019-1353), and
// backslashes (CVE-2019-1354).
func unsafePath(path string) string {
	for _, name := range strings.FieldsFunc(path+"/", slash) {
		switch {
		case name == "." || name == ".." || strings.Trim(name, ". ") == "":
			return "a part of the path is made of dots"
		case dotGit(name):
			return "on some systems a part of the path is git's own folder"
		}
	}
	switch {
	case path == "" || path[0] == '/' || path[0] == '\\' || strings.Contains(path, "//") || strings.HasSuffix(path, "/"):
		return "the path is not from the root of the repository"
	case strings.IndexByte(path, '\\') >= 0 && drive(path):
		return "the path begins with a drive"
	}
	return ""
}

func slash(r rune) bool { return r == '/' || r == '\\' }

// drive reports whether s begins with a drive of Windows.
func drive(s string) bool { return len(s) >= 2 && s[1] == ':' && unicode.IsLetter(rune(s[0])) }

// dotGit reports whether one component may stand for .git.
func dotGit(name string) bool {
	return hfs(name) == ".git" || ntfs(name) == ".git" || short(ntfs(name), "git", "")
}

// own reports which of git's own files one component may stand for: "modules",
// "attributes", "ignore" or nothing.
func own(name string) string {
	for _, f := range [...]struct{ name, prefix, hash string }{
		{"modules", "gitmod", "gi7eba"}, {"attributes", "gitatt", "gi7d29"}, {"ignore", "gitign", "gi250a"},
	} {
		n := ntfs(name)
		if hfs(name) == ".git"+f.name || n == ".git"+f.name || short(n, f.prefix, f.hash) {
			return f.name
		}
	}
	return ""
}

// hfs is a name as HFS+ compares it: in lower case, and without what it ignores.
func hfs(name string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 0x200c && r <= 0x200f, r >= 0x202a && r <= 0x202e, r >= 0x206a && r <= 0x206f, r == 0xfeff:
			return -1
		case r == 'ſ' || r == 'ı': // they fold to ASCII in some tables
			return map[rune]rune{'ſ': 's', 'ı': 'i'}[r]
		case r == 'İ':
			return 'i'
		}
		return unicode.ToLower(r)
	}, name)
}

// ntfs is a name as NTFS opens it: in lower case, without streams, and without dots and
// spaces behind it.
func ntfs(name string) string {
	name, _, _ = strings.Cut(name, ":")
	return strings.ToLower(strings.TrimRight(name, ". "))
}

// short reports whether name is an 8.3 name such as gitmod~1, or, where those are all
// taken, one whose letters are the beginning of a hash, such as gi7eba~1.
func short(name, prefix, hash string) bool {
	head, digits, ok := strings.Cut(name, "~")
	if !ok || digits == "" || strings.Trim(digits, "0123456789") != "" {
		return false
	}
	return head == prefix || len(head) >= 2 && strings.HasPrefix(hash, head)
}

// unsafeLink says why a symlink at path must not have this target, or nothing. A ..
// may stand only in front: behind another symlink it would lead anywhere.
func unsafeLink(path string, target []byte) string {
	s := string(target)
	switch {
	case s == "" || strings.IndexByte(s, 0) >= 0:
		return "the symlink has no target"
	case slash(rune(s[0])) || drive(s):
		return "the symlink's target is absolute"
	}
	up, down := strings.Count(path, "/"), false
	for _, name := range strings.FieldsFunc(s, slash) {
		switch {
		case name == ".":
		case strings.TrimRight(name, " ") == "..":
			if up--; up < 0 || down {
				return "the symlink leaves the repository"
			}
		case dotGit(name):
			return "the symlink leads into git's own folder"
		default:
			down = true
		}
	}
	return ""
}

// folded is a name as systems compare it that ignore letter case.
func folded(name []byte) string {
	if !utf8.Valid(name) {
		return string(bytes.ToLower(name))
	}
	return strings.ToLower(hfs(string(name)))
}
