package manifest

import (
	"cmp"
	"path"
	"slices"
	"strings"

	"bottle/internal/bottle"
	"bottle/internal/manifest/rules"
)

// expand turns ~/x into a path under the operator's home.
func (t Tree) expand(p string) string {
	if p == "~" || strings.HasPrefix(p, "~/") {
		return path.Join(t.UserHome, p[1:])
	}
	return p
}

// RefuseMount says why a host path must not appear in a bottle, or "", and what
// to do instead. A manifest's mounts have been asked already, by their words
// only: whoever mounts resolves symbolic links and asks again with the result.
func (t Tree) RefuseMount(resolved string) (why, hint string) {
	return t.refuse(path.Clean(resolved), rules.RefuseMount)
}

// RefuseWorkspace says the same of the folder that the agent is to work in, with
// its symbolic links resolved.
func (t Tree) RefuseWorkspace(resolved string) (why, hint string) {
	return t.refuse(path.Clean(resolved), rules.RefuseWorkspace)
}

// refuse asks rule about p by both names that the folders of the operator may
// have, and then about what links keep elsewhere.
func (t Tree) refuse(p string, rule func(p, userHome, homeDir string) (why, hint string)) (why, hint string) {
	why, hint = rule(p, t.UserHome, t.HomeDir)
	if why == "" && t.RealUserHome+t.RealHomeDir != "" {
		why, hint = rule(p, cmp.Or(t.RealUserHome, t.UserHome), cmp.Or(t.RealHomeDir, t.HomeDir))
	}
	if why == "" {
		why, hint = rules.RefuseRelated(p, t.Linked)
	}
	return why, hint
}

// Keepers are the places under the operator's home where credentials are looked
// for. What a link there leads to belongs into Tree.Linked.
func Keepers() []string { return rules.Keepers() }

// short writes a path as the operator knows it, the home folder as ~, and safe to
// print: a folder's name may hold what a terminal obeys.
func (t Tree) short(p string) string {
	return bottle.Printable(t.tilde(p))
}

func (t Tree) tilde(p string) string {
	if rest, ok := strings.CutPrefix(p, t.UserHome); ok && len(t.UserHome) > 1 && (rest == "" || rest[0] == '/') {
		return "~" + rest
	}
	return p
}

// hostPath is an absolute clean path on the host, or "".
func (t Tree) hostPath(s *source, v text, key string) string {
	if !s.filled(v, key) {
		return ""
	}
	if strings.HasPrefix(v.val, "~") && (t.UserHome == "" || v.val != "~" && v.val[1] != '/') {
		s.errorf(v.at, "write the whole path", "%s: only ~/ of your own home folder can be resolved, found %s", key, quote(v.val))
		return ""
	}
	p := t.expand(v.val)
	if !path.IsAbs(p) {
		s.errorf(v.at, "write the path from / or from ~/", "%s wants an absolute path, found %s", key, quote(v.val))
		return ""
	}
	return path.Clean(p)
}

func (t Tree) mounts(s *source, raw []mountFile) []bottle.Mount {
	var out []bottle.Mount
	lines := make(map[string]int)
	for _, m := range raw {
		if !m.Path.set() {
			continue
		}
		p := t.hostPath(s, m.Path, "`path`")
		if p == "" {
			continue
		}
		if why, hint := t.RefuseMount(p); why != "" {
			s.errorf(m.Path.at, hint, "%s cannot be mounted: %s", quote(m.Path.val), why)
			continue
		}
		if line, twice := lines[p]; twice {
			s.errorf(m.Path.at, "keep one of them", "the path %s is mounted twice, first on line %d", quote(m.Path.val), line)
			continue
		}
		lines[p] = m.Path.line
		out = append(out, bottle.Mount{Path: p, Mode: cmp.Or(m.Mode.val, "ro")})
	}
	return out
}

// watch checks egress.watch. A path stays as it is shown: from ~/, from /, or below
// the folder that the operator stands in.
func (t Tree) watch(s *source, raw []text) []string {
	var out []string
	if len(raw) > rules.MaxWatch {
		s.errorf(raw[rules.MaxWatch].at, "name the folders that they are in", "`watch` has more than %d items", rules.MaxWatch)
	}
	for _, w := range raw {
		if !w.set() || !s.filled(w, "an item of `watch`") {
			continue
		}
		p := t.tilde(path.Clean(w.val))
		if why, hint := rules.RefuseWatch(p); why != "" {
			s.errorf(w.at, hint, "%s cannot be watched: %s", quote(w.val), why)
		} else if slices.Contains(out, p) {
			s.errorf(w.at, "keep one of them", "%s is watched twice", quote(w.val))
		} else {
			out = append(out, p)
		}
	}
	return out
}

// Bounds of the limits: below them nothing runs, above them the number is a
// slip of the keyboard.
const (
	minCPUs, maxCPUs       = 0.05, 1024
	minPIDs, maxPIDs       = 32, 1 << 22
	minOpenFiles, maxFiles = 32, 1 << 20
)

func (s *source) limits(raw *limitsFile) bottle.Limits {
	var l bottle.Limits
	if raw == nil {
		return l
	}
	if raw.Memory.set() {
		bytes, err := rules.Memory(raw.Memory.val)
		s.errorIf(err != nil, raw.Memory.at, "", "`memory` %v", err)
		l.Memory = bytes
	}
	if c := raw.CPUs; c.set() {
		l.CPUs = c.val
		s.errorIf(!(c.val >= minCPUs && c.val <= maxCPUs), c.at, "write a number from 0.05 to 1024", "`cpus` is out of range")
	}
	if p := raw.PIDs; p.set() {
		l.PIDs = p.val
		s.errorIf(p.val < minPIDs || p.val > maxPIDs, p.at, "write a number from 32 to 4194304", "`pids` is out of range")
	}
	if f := raw.OpenFiles; f.set() {
		l.OpenFiles = uint64(max(f.val, 0))
		s.errorIf(f.val < minOpenFiles || f.val > maxFiles, f.at, "write a number from 32 to 1048576", "`open_files` is out of range")
	}
	return l
}
