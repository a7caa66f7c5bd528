package lifecycle

import (
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"bottle/internal/bottle"
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
// env. What cannot be read is a warning: the gateway knows less then, and holds.
func (w watchRequest) keep(env map[string]string) (map[string]secret.Value, bottle.Problems) {
	out := map[string]secret.Value{}
	var warnings bottle.Problems
	for name, value := range env {
		out["env:"+name] = secret.New([]byte(value))
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
	found, more := watch.Look(w.sources())
	for _, s := range found {
		out[s.Name] = s.Value
	}
	maps.DeleteFunc(out, func(_ string, v secret.Value) bool { return v.Empty() })
	return out, append(warnings, more...)
}

// sources are the files and folders under egress.watch. The operator's own come first:
// what a repository holds must not crowd them out. That one below the operator's
// present folder is not there is nothing to tell of: not every project has a .env.
func (w watchRequest) sources() []watch.Source {
	var own, here []watch.Source
	for _, p := range w.spec.Watch {
		switch rest, home := strings.CutPrefix(p, "~/"); {
		case home && w.home != "":
			own = append(own, watch.Source{Path: filepath.Join(w.home, rest), Shown: p})
		case filepath.IsAbs(p):
			own = append(own, watch.Source{Path: p, Shown: p})
		case !home:
			here = append(here, watch.Source{Path: filepath.Join(w.dir, p), Shown: p, May: true})
		}
	}
	return slices.Concat(own, here)
}

// watching tells, before a start, the names of what would be kept from leaving. What
// the operator will be asked for is not known yet, and counts. Nothing is asked or run.
func (h *House) watching(w watchRequest) (names []string, warnings bottle.Problems) {
	env := map[string]string{}
	for _, e := range w.spec.Env {
		switch e.Kind {
		case bottle.EnvAsk:
			names = append(names, "env:"+e.Name)
		case bottle.EnvHost:
			if v, ok := h.Host(e.Value); ok && watch.Counts("env:"+e.Name, v) {
				env[e.Name] = v
			}
		case bottle.EnvLiteral:
			if watch.Counts("env:"+e.Name, e.Value) {
				env[e.Name] = e.Value
			}
		}
	}
	values, warnings := w.keep(env)
	return slices.Sorted(slices.Values(slices.AppendSeq(names, maps.Keys(values)))), warnings
}
