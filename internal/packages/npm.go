package packages

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"bottle/internal/bottle"
	"bottle/internal/hostexec"
)

// module is one npm package and its place in the tree.
type module struct {
	archive
	at    string            // node_modules/…
	bin   map[string]string // programs, by name
	asked bool              // else another needs it
}

// locked is one package in npm's package-lock.json, version 3.
type locked struct {
	Name      string            `json:"name"`
	Version   string            `json:"version"`
	Resolved  string            `json:"resolved"`
	Integrity string            `json:"integrity"`
	Link      bool              `json:"link"`
	InBundle  bool              `json:"inBundle"`
	Optional  bool              `json:"optional"`
	Scripts   bool              `json:"hasInstallScript"`
	Bin       map[string]string `json:"bin"`
	OS        []string          `json:"os"`
	CPU       []string          `json:"cpu"`
	Needs     map[string]string `json:"dependencies"`
	May       map[string]string `json:"optionalDependencies"`
}

// npmOptions are those of each call. No script is run, no git, and nothing of the folders
// above is taken for a project (npm's config(7)).
func (l *Load) npmOptions(dir string) []string {
	return []string{"--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier", "--no-progress", "--no-workspaces", "--no-global", "--git=/nonexistent",
		"--loglevel=error", "--lockfile-version=3", "--omit-lockfile-registry-resolved=false", "--fetch-retries=1", "--fetch-retry-mintimeout=1000", "--fetch-timeout=60000",
		"--prefix=" + dir, "--cache=" + l.stage.work("npm-cache")}
}

// resolveNPM has npm write a lock file: versions, places and hashes of all that is needed.
func (l *Load) resolveNPM(ctx context.Context, asked []bottle.Package) error {
	l.src.say("asking npm")
	dir := l.stage.work("npm")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return fmt.Errorf("make a place to fetch: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "package.json"), []byte(`{"name":"bottle-added","private":true}`), 0o600); err != nil {
		return fmt.Errorf("make a place to fetch: %w", err)
	}
	args := append([]string{"install", "--package-lock-only", "--omit=dev"}, l.npmOptions(dir)...)
	args = append(args, "--")
	for _, p := range asked {
		args = append(args, spec(p.Name, p.Version))
	}
	_, err := l.run(ctx, dir, "npm", args...)
	if hostexec.Missing(err) {
		return bottle.Problems{{Message: "npm packages are fetched by npm, and this machine has none", Hint: "install it (sudo apt-get install npm), then bottle approve " + l.stage.ID}}
	}
	if err != nil {
		return failed("npm does not find a way to bring them in", err, "npm ping shows whether its registry answers; then bottle approve "+l.stage.ID)
	}
	text, err := os.ReadFile(filepath.Join(dir, "package-lock.json"))
	if err != nil {
		return fmt.Errorf("read what npm found: %w", err)
	}
	return l.readLock(text, asked)
}

func spec(name, version string) string {
	if version == "" {
		return name
	}
	return name + "@" + version
}

// readLock takes of a lock file what comes from a registry, with a strong hash. All that
// could come from elsewhere is refused: git, other addresses, folders of this machine.
func (l *Load) readLock(text []byte, asked []bottle.Package) error {
	var lock struct {
		Version  int               `json:"lockfileVersion"`
		Packages map[string]locked `json:"packages"`
	}
	if err := json.Unmarshal(text, &lock); err != nil {
		return fmt.Errorf("read what npm found: %w", err)
	}
	if lock.Version != 3 || len(lock.Packages) > 20*bottle.MaxItems {
		return fmt.Errorf("npm found %d packages in a list of version %d: at most %d can be brought in at once", len(lock.Packages), lock.Version, bottle.MaxItems)
	}
	places := make([]string, 0, len(lock.Packages))
	for at := range lock.Packages {
		places = append(places, at)
	}
	slices.Sort(places)
	for _, at := range places {
		p := lock.Packages[at]
		if at == "" || p.InBundle || p.Optional && !fits(p) {
			continue
		}
		m, err := p.module(at)
		if err != nil {
			return err
		}
		m.asked = slices.ContainsFunc(asked, func(a bottle.Package) bool { return at == "node_modules/"+a.Name })
		if p.Scripts {
			l.Notes = append(l.Notes, fmt.Sprintf("npm:%s %s has an install script, which is not run: it may not work", m.name, m.version))
		}
		l.npm = append(l.npm, m)
	}
	if !slices.ContainsFunc(system(), func(dir string) bool { _, err := os.Stat(dir + "/node"); return err == nil }) {
		l.Notes = append(l.Notes, "the bottle sees no node in the system's folders: most programs of npm need it; deb:nodejs has one")
	}
	for _, a := range asked {
		if !slices.ContainsFunc(l.npm, func(m module) bool { return m.asked && m.at == "node_modules/"+a.Name && m.name == a.Name }) {
			return fmt.Errorf("npm found no %s", a)
		}
	}
	return nil
}

func (p locked) module(at string) (module, error) {
	name, ok := place(at)
	if p.Name != "" { // an alias that another package made
		name = p.Name
		_, ok2 := place("node_modules/" + name)
		ok = ok && ok2
	}
	shown := bottle.Printable(at)
	if !ok || p.Link || !version(p.Version) {
		return module{}, fmt.Errorf("npm found %s, which is no package of a registry", shown)
	}
	for _, needs := range []map[string]string{p.Needs, p.May} {
		for need, where := range needs {
			if strings.ContainsAny(strings.TrimPrefix(where, "npm:"), ":/\\") && !strings.HasPrefix(where, "npm:@") {
				return module{}, fmt.Errorf("npm:%s needs %s from %s: only what a registry holds can be brought in", shown, bottle.Printable(need), bottle.Printable(where))
			}
		}
	}
	u, err := url.Parse(p.Resolved)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil {
		return module{}, fmt.Errorf("npm:%s comes from %s: only what a registry holds can be brought in", shown, bottle.Printable(p.Resolved))
	}
	sum := strong(p.Integrity)
	if sum == "" {
		return module{}, fmt.Errorf("the registry names no SHA-512 for npm:%s: it cannot be held to it", shown)
	}
	return module{archive: archive{name: name, version: p.Version, from: p.Resolved, sum: sum}, at: at, bin: p.Bin}, nil
}

// strong is the SHA-512 of an integrity (W3C Subresource Integrity) in hex, or "".
func strong(integrity string) string {
	for one := range strings.FieldsSeq(integrity) {
		if text, ok := strings.CutPrefix(one, "sha512-"); ok {
			if b, err := base64.StdEncoding.DecodeString(text); err == nil && len(b) == 64 {
				return hex.EncodeToString(b)
			}
		}
	}
	return ""
}

// place gives the name of the package at a place such as node_modules/a/node_modules/@b/c.
func place(at string) (name string, ok bool) {
	rest, ok := strings.CutPrefix(at, "node_modules/")
	if !ok || len(at) > maxPath/2 {
		return "", false
	}
	for one := range strings.SplitSeq(rest, "/node_modules/") {
		scope, base, scoped := strings.Cut(one, "/")
		if !scoped {
			scope, base = "@x", one
		}
		if scope == "" || scope[0] != '@' || !moduleWord(scope[1:]) || !moduleWord(base) {
			return "", false
		}
		name = one
	}
	return name, true
}

// moduleWord: older packages have capitals, too.
func moduleWord(s string) bool {
	return s != "" && s[0] != '.' && s[0] != '-' && s != "node_modules" &&
		strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._~-") == ""
}

func version(s string) bool {
	return s != "" && s[0] >= '0' && s[0] <= '9' && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.+-") == ""
}

// fits says whether an optional package is one for this machine.
func fits(p locked) bool {
	cpu := map[string]string{"amd64": "x64", "386": "ia32"}[runtime.GOARCH]
	if cpu == "" {
		cpu = runtime.GOARCH
	}
	return one(p.OS, runtime.GOOS) && one(p.CPU, cpu)
}

// one says whether a list of words, or of words that are not meant, means this one.
func one(list []string, this string) bool {
	if slices.Contains(list, "!"+this) {
		return false
	}
	named := slices.ContainsFunc(list, func(s string) bool { return !strings.HasPrefix(s, "!") })
	return !named || slices.Contains(list, this) || slices.Contains(list, "any")
}

// fetchNPM has npm download the archives as they are: npm pack of a package that a
// registry holds runs nothing of it.
func (l *Load) fetchNPM(ctx context.Context) error {
	done := 0
	for i, part := range batches(l.npm) {
		l.src.say("fetching npm packages %d to %d of %d", done+1, done+len(part), len(l.npm))
		done += len(part)
		dir := l.stage.work(fmt.Sprintf("npm-%d", i))
		if err := os.Mkdir(dir, 0o700); err != nil {
			return fmt.Errorf("make a place to fetch: %w", err)
		}
		args := append([]string{"pack", "--pack-destination=" + dir}, l.npmOptions(l.stage.work("npm"))...)
		args = append(args, "--")
		var all []*archive
		for _, m := range part {
			args = append(args, spec(m.name, m.version))
			all = append(all, &m.archive)
		}
		if _, err := l.run(ctx, l.stage.work("npm"), "npm", args...); err != nil {
			return failed("npm does not fetch them", err, "npm ping shows whether its registry answers; then bottle approve "+l.stage.ID)
		}
		if err := collect(dir, ".tgz", all); err != nil {
			return err
		}
	}
	return nil
}

// batches are the packages in parts in which no two get one file name: npm pack makes
// a-b-1.0.0.tgz of both @a/b and a-b.
func batches(all []module) (out [][]*module) {
	var names []map[string]bool
	for i := range all {
		file := strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(all[i].name, "@"), "/", "-") + "-" + all[i].version)
		at := slices.IndexFunc(names, func(n map[string]bool) bool { return len(n) < batch && !n[file] })
		if at < 0 {
			at = len(out)
			out, names = append(out, nil), append(names, map[string]bool{})
		}
		out[at], names[at][file] = append(out[at], &all[i]), true
	}
	return out
}

// unpackNPM writes the packages' files to their places below npm/.
func (l *Load) unpackNPM(w *writer) error {
	for i, m := range l.npm {
		if i%batch == 0 {
			l.src.say("unpacking npm packages: %d of %d", i+1, len(l.npm))
		}
		if err := openNPM(m, w); err != nil {
			return fmt.Errorf("unpack npm:%s: %w", m.name, err)
		}
	}
	for _, m := range l.npm { // as npm does: packages call each other's programs there
		dir := strings.TrimSuffix(m.at, m.place())
		for name, file := range m.programs() {
			target := path.Join("npm", m.at, file)
			if info, err := w.root.Lstat(target); err != nil || !info.Mode().IsRegular() {
				continue
			}
			if err := errors.Join(w.root.Chmod(target, 0o755), w.folder(path.Join("npm", dir, ".bin"))); err != nil {
				return fmt.Errorf("unpack npm:%s: %w", m.name, err)
			}
			_ = w.root.Symlink("../"+path.Join(m.place(), file), path.Join("npm", dir, ".bin", name)) // the first of a name stays
		}
	}
	return nil
}

// place is the last name of where the module lies, which an alias makes another than its own.
func (m module) place() string {
	name, _ := place(m.at)
	return name
}

// programs are those whose name can be offered and whose file lies in the package.
func (m module) programs() map[string]string {
	out := map[string]string{}
	for name, file := range m.bin {
		if file = path.Clean(file); bottle.IsProgram(name) && filepath.IsLocal(file) && file != "." {
			out[name] = file
		}
	}
	return out
}

func openNPM(m module, w *writer) error {
	f, err := os.Open(m.path)
	if err != nil {
		return err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return fmt.Errorf("read archive: %w", err)
	}
	return w.unpack(tar.NewReader(w.bounded(z)), path.Join("npm", m.at), 1)
}
