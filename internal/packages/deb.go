package packages

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"

	"bottle/internal/bottle"
	"bottle/internal/hostexec"
)

// resolveDeb asks apt what an installation would fetch. apt reads its lists, which it
// checked against the repository's signature when it fetched them; nothing is installed,
// locked or refreshed.
func (l *Load) resolveDeb(ctx context.Context, asked []bottle.Package) error {
	l.src.say("asking apt-get")
	dir := l.stage.work("deb")
	if err := os.MkdirAll(dir+"/partial", 0o700); err != nil { // an empty cache: apt leaves out what is in its own
		return fmt.Errorf("make a place to fetch: %w", err)
	}
	args := append(aptOptions(dir), "--print-uris", "install", "--")
	for _, p := range asked {
		args = append(args, p.Name)
	}
	out, err := l.run(ctx, dir, "apt-get", args...)
	if hostexec.Missing(err) {
		return bottle.Problems{{Message: "Debian packages are fetched by apt-get, and this machine has none", Hint: "bottle reject " + l.stage.ID + " --reason \"this machine has no Debian packages\""}}
	}
	if err != nil {
		return failed("apt-get does not find a way to bring them in", err, "sudo apt-get update, then bottle approve "+l.stage.ID)
	}
	if l.deb, err = parseURIs(string(out)); err != nil {
		return err
	}
	for _, p := range asked {
		if !slices.ContainsFunc(l.deb, func(a archive) bool { return a.name == p.Name }) {
			// apt takes a name that it does not know for a pattern, or for what others provide.
			said, err := l.run(ctx, dir, "dpkg-query", "-W", "-f", "${db:Status-Status}\n", "--", p.Name)
			if err != nil || !strings.Contains(string(said), "installed") || strings.Contains(string(said), "not-installed") {
				return bottle.Problems{{Message: "apt-get knows no package of the name " + p.Name, Hint: "sudo apt-get update, then bottle approve " + l.stage.ID + "; or bottle reject " + l.stage.ID + " --reason \"there is no such package\""}}
			}
			l.Notes = append(l.Notes, fmt.Sprintf("deb:%s is not brought in: this machine has it already, and the bottle shows it", p.Name))
		}
	}
	return nil
}

// aptOptions are those of each call. What would loosen apt's check of signatures is set
// here, whatever the machine's configuration says (apt.conf(5), apt-secure(8)).
func aptOptions(dir string) []string {
	args := []string{"-qq"}
	for _, o := range []string{"Acquire::ForceHash=sha256", "APT::Get::AllowUnauthenticated=false", "Acquire::AllowInsecureRepositories=false", "Dir::Cache::archives=" + dir,
		"APT::Get::Assume-Yes=true", "APT::Install-Recommends=false", "APT::Get::Remove=false", "APT::Get::Upgrade=false"} {
		args = append(args, "-o", o)
	}
	return args
}

// parseURIs reads what apt-get --print-uris writes: 'URI' file size SHA256:hex, a line each.
func parseURIs(text string) (out []archive, err error) {
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		uri, rest, ok := strings.Cut(strings.TrimPrefix(line, "'"), "' ")
		if !ok || line[0] != '\'' {
			continue // what it says besides
		}
		f := strings.Fields(rest)
		if len(f) != 3 {
			return nil, fmt.Errorf("apt-get names no SHA-256 for %s: a repository without one cannot be held to it", bottle.Printable(uri))
		}
		kind, sum, _ := strings.Cut(f[2], ":")
		size, err := strconv.ParseInt(f[1], 10, 64)
		// NAME_VERSION_ARCH.deb, with what does not fit into it as %xx (apt's QuoteString).
		part := strings.Split(strings.TrimSuffix(f[0], ".deb"), "_")
		if kind != "SHA256" || len(sum) != 64 || strings.Trim(sum, "0123456789abcdef") != "" || err != nil || size <= 0 || len(part) != 3 {
			return nil, fmt.Errorf("apt-get says of %s what cannot be read: %s", bottle.Printable(uri), bottle.Printable(rest))
		}
		for i := range part {
			if part[i], err = url.PathUnescape(part[i]); err != nil || !debWord(part[i]) {
				return nil, fmt.Errorf("apt-get names a package that is none: %s", bottle.Printable(f[0]))
			}
		}
		out = append(out, archive{name: part[0], version: part[1], arch: part[2], from: uri, sum: sum, size: size})
	}
	return out, nil
}

// debWord: a name, a version (deb-version(7)) or an architecture.
func debWord(s string) bool {
	return s != "" && s[0] != '-' && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.+-~:") == ""
}

func (l *Load) fetchDeb(ctx context.Context) error {
	dir := l.stage.work("deb")
	var total int64
	for _, a := range l.deb {
		total += a.size
	}
	if total > MaxArchives {
		return fmt.Errorf("the Debian packages are %d bytes: at most %d can be brought in at once", total, int64(MaxArchives))
	}
	for i := 0; i < len(l.deb); i += batch {
		part := l.deb[i:min(i+batch, len(l.deb))]
		l.src.say("fetching Debian packages %d to %d of %d", i+1, i+len(part), len(l.deb))
		args := append(aptOptions(dir), "download", "--")
		for _, a := range part {
			name := a.name
			if a.arch != "all" {
				name += ":" + a.arch
			}
			args = append(args, name+"="+a.version)
		}
		if _, err := l.run(ctx, dir, "apt-get", args...); err != nil {
			return failed("apt-get does not fetch them", err, "sudo apt-get update, then bottle approve "+l.stage.ID)
		}
	}
	var all []*archive
	for i := range l.deb {
		all = append(all, &l.deb[i])
	}
	if len(all) == 0 {
		return nil
	}
	return collect(dir, ".deb", all)
}

// unpackDeb writes the files of all Debian packages below deb/. Their control archives,
// which hold the maintainers' scripts, are never opened.
func (l *Load) unpackDeb(ctx context.Context, w *writer) error {
	for i, a := range l.deb {
		l.src.say("unpacking Debian packages: %d of %d", i+1, len(l.deb))
		if err := l.openDeb(ctx, a, w); err != nil {
			return fmt.Errorf("unpack deb:%s: %w", bottle.Printable(a.name), err)
		}
	}
	return w.finish()
}

// openDeb reads one package's files: dpkg-deb(1) gives them as a tar, and is ended as soon
// as that holds what is refused.
func (l *Load) openDeb(ctx context.Context, a archive, w *writer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r, in, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("make pipe: %w", err)
	}
	defer r.Close()
	p, err := hostexec.Start(ctx, hostexec.Cmd{Path: "dpkg-deb", Args: []string{"--fsys-tarfile", a.path}, Env: l.src.Env, Dir: "/", Stdout: in, NewGroup: true})
	in.Close()
	if err != nil {
		if hostexec.Missing(err) {
			return errors.New("this machine has no dpkg-deb")
		}
		return err
	}
	files := w.bounded(r)
	err = w.unpack(tar.NewReader(files), "deb", 0)
	if err == nil {
		_, err = io.Copy(io.Discard, files) // what pads the archive
	}
	if err != nil {
		cancel()
		_ = p.Wait()
		return err
	}
	return p.Wait()
}
