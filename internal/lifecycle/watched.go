package lifecycle

import (
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"bottle/internal/bottle"
	"bottle/internal/need"
	"bottle/internal/secret"
	"bottle/internal/watch"
)

// watchRequest is whose secrets are read, and from where.
type watchRequest struct {
	spec bottle.Spec
	home string // the operator's home folder, absolute; empty: not known
	dir  string // what paths that begin nowhere are below, absolute
}

// keep are the values, besides the injected credentials, that the gateway is to keep
// from leaving: those of the key files under git, of the files under egress.watch, and
// env. What cannot be read is a warning: the gateway knows less then, and holds. not
// tells what of them it will not look for, each as "name: why", sorted.
func (w watchRequest) keep(env map[string]string) (out map[string]secret.Value, not []string, warnings bottle.Problems) {
	out = map[string]secret.Value{}
	leave := func(name, why string) {
		if why != "" {
			not = append(not, name+": "+why)
		}
	}
	for name, value := range env {
		if value != "" {
			out["env:"+name] = secret.New([]byte(value))
			leave("env:"+name, watch.Why("env:"+name, value))
		}
	}
	for _, r := range w.spec.Repos {
		if r.KeyFile == "" {
			continue
		}
		v, err := watch.Key(r.KeyFile)
		if err != nil {
			warnings = append(warnings, bottle.Problem{Severity: bottle.Warning, Message: "git " + bottle.Printable(r.Name) + ": " + bottle.Printable(err.Error()),
				Hint: "name the private key that the repository is reached with"})
			continue
		}
		out["git:"+r.Name+" key_file"] = v
	}
	found, more := watch.Look(w.sources()) // also what is not looked for: the gateway records it
	for _, s := range found {
		out[s.Name] = s.Value
		leave(s.Name, s.Why)
	}
	maps.DeleteFunc(out, func(_ string, v secret.Value) bool { return v.Empty() })
	slices.Sort(not)
	return out, not, append(warnings, more...)
}

// Watched reads anew what a running bottle's gateway is to keep from leaving, as keep
// does, for the manifest as it stands now. dir is the folder that its operator stood in,
// host looks up his environment. What he was asked for at the start is not known here.
func Watched(spec bottle.Spec, home, dir string, host func(string) (string, bool)) (map[string]secret.Value, bottle.Problems) {
	env := map[string]string{}
	for _, e := range spec.Env {
		switch e.Kind {
		case bottle.EnvHost:
			if v, ok := host(e.Value); ok {
				env[e.Name] = v
			}
		case bottle.EnvLiteral:
			env[e.Name] = e.Value
		}
	}
	out, _, warnings := watchRequest{spec: spec, home: home, dir: dir}.keep(env)
	return out, warnings
}

// sources are the files and folders under egress.watch. The operator's own come first:
// what a repository holds must not crowd them out.
func (w watchRequest) sources() []watch.Source {
	var own, here []watch.Source
	for _, p := range w.spec.Watch {
		switch rest, home := strings.CutPrefix(p, "~/"); {
		case home && w.home != "":
			own = append(own, watch.Source{Path: filepath.Join(w.home, rest), Shown: p})
		case filepath.IsAbs(p):
			own = append(own, watch.Source{Path: p, Shown: p})
		case !home && w.dir != "":
			here = append(here, watch.Source{Path: filepath.Join(w.dir, p), Shown: p})
		}
	}
	return slices.Concat(own, here)
}

// watching tells, before a start, the names of what would be kept from leaving, and of
// what would not, each as "name: why". What the operator will be asked for is not known
// yet, and counts. Nothing is asked or run.
func (h *House) watching(w watchRequest) (names, not []string, warnings bottle.Problems) {
	env := map[string]string{}
	for _, e := range w.spec.Env {
		switch e.Kind {
		case bottle.EnvAsk:
			names = append(names, "env:"+e.Name)
		case bottle.EnvHost:
			if v, ok := h.Host(e.Value); ok {
				env[e.Name] = v
			}
		case bottle.EnvLiteral:
			env[e.Name] = e.Value
		}
	}
	values, not, warnings := w.keep(env)
	for _, line := range not {
		name := line[:strings.LastIndex(line, ": ")]
		delete(values, name)
	}
	return slices.Sorted(slices.Values(slices.AppendSeq(names, maps.Keys(values)))), not, warnings
}

// Unusable gives keys that no gateway could use another name: they are kept from leaving,
// and the key from before stays in use, which the warnings say. values are those of Watched,
// and are changed.
func Unusable(repos []bottle.Repo, values map[string]secret.Value) (out bottle.Problems) {
	for _, r := range repos {
		name := "git:" + r.Name + " key_file"
		bad := need.RepoKey(r)
		if len(bad) == 0 {
			continue
		}
		if v, read := values[name]; read {
			delete(values, name)
			values[name+", not usable"] = v
		} else {
			bad = bad[:0] // why it could not be read is told already
		}
		for _, p := range bad {
			p.Severity = bottle.Warning
			out = append(out, p)
		}
		out = append(out, bottle.Problem{Severity: bottle.Warning, Message: "git " + bottle.Printable(r.Name) + ": the key from before stays in use", Hint: "mend the key_file, and reload again"})
	}
	return out
}
