package packages

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"bottle/internal/bottle"
	"bottle/internal/hostexec"
	"bottle/internal/plan"
)

// Bounds of what one approval brings in.
const (
	MaxArchives = 1 << 30 // bytes of all archives
	MaxUnpacked = 4 << 30 // bytes of all files
	MaxEntries  = 300_000 // files, folders and links
	maxSaid     = 4 << 20 // bytes that apt or npm print
	maxHeld     = 3 << 30 // bytes of a stage while it is fetched: npm keeps each archive twice
	batch       = 25      // packages in one call of apt or npm: so often a person hears of it
)

const often = time.Second // the stage is weighed

// Source is the operator's machine, as apt and npm may know it.
type Source struct {
	Env []string          // of apt, dpkg and npm, KEY=VALUE; nothing else of the environment reaches them
	NPM []string          // of npm alone, such as the token that its configuration names
	Say func(line string) // how far it is; nil: nobody listens
}

// Load is what a proposal comes to.
type Load struct {
	Bill  bottle.Bill // complete after Unpack; before it has the items, of npm without their sizes
	Notes []string    // what the operator should know, each a sentence

	src   Source
	stage *Stage
	deb   []archive
	npm   []module
}

// archive is one file to fetch. sum is its SHA-256 or SHA-512, in hex.
type archive struct {
	name, version, arch string
	from, sum           string
	size                int64
	path                string // once it is fetched
}

// hashed is the sum as a Bill has it.
func (a archive) hashed() string {
	if len(a.sum) == 2*sha256.Size {
		return "sha256:" + a.sum
	}
	return "sha512:" + a.sum
}

// Resolve asks the operator's apt and npm what the packages are at this moment, and what
// they need. Nothing is downloaded but what the two keep of a registry's catalogue.
func (s Source) Resolve(ctx context.Context, stage *Stage, ask bottle.CapabilityAsk) (*Load, error) {
	l := &Load{src: s, stage: stage}
	var debs, npms []bottle.Package
	for _, word := range ask.Packages {
		p, err := bottle.ParsePackage(word)
		switch {
		case err != nil:
			return nil, err
		case p.Ecosystem == bottle.EcosystemDeb:
			debs = append(debs, p)
		default:
			npms = append(npms, p)
		}
	}
	if len(debs) > 0 {
		if err := l.resolveDeb(ctx, debs); err != nil {
			return nil, err
		}
	}
	if len(npms) > 0 {
		if err := l.resolveNPM(ctx, npms); err != nil {
			return nil, err
		}
	}
	if n := len(l.deb) + len(l.npm); n == 0 || n > bottle.MaxItems {
		return nil, fmt.Errorf("it comes to %d packages: from 1 to %d can be brought in at once", n, bottle.MaxItems)
	}
	return l, l.list()
}

// list writes the bill's items.
func (l *Load) list() error {
	l.Bill.Items = nil
	add := func(eco string, a archive) error {
		u, err := url.Parse(a.from)
		if err != nil || u.User != nil {
			return fmt.Errorf("%s:%s comes from an address that cannot be shown", eco, bottle.Printable(a.name))
		}
		u.RawQuery, u.Fragment = "", ""
		l.Bill.Items = append(l.Bill.Items, bottle.BillItem{Ecosystem: eco, Name: a.name, Version: a.version, Hash: a.hashed(), Size: a.size, From: u.String()})
		return nil
	}
	var err error
	for _, a := range l.deb {
		err = errors.Join(err, add(bottle.EcosystemDeb, a))
	}
	for _, m := range l.npm {
		err = errors.Join(err, add(bottle.EcosystemNPM, m.archive))
	}
	return err
}

// Fetch downloads all of it, and holds each archive against the hash that Resolve was
// told. An archive that is another one by now is an error: nothing of it is opened.
func (l *Load) Fetch(ctx context.Context) error {
	if err := l.fetchDeb(ctx); err != nil {
		return err
	}
	if err := l.fetchNPM(ctx); err != nil {
		return err
	}
	if err := l.list(); err != nil {
		return err
	}
	if l.Bill.Size() > MaxArchives {
		return fmt.Errorf("the archives are %d bytes: at most %d can be brought in at once", l.Bill.Size(), int64(MaxArchives))
	}
	return nil
}

// collect finds in a folder the file of each archive, by its hash and whatever its name is.
func collect(dir, end string, all []*archive) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("look at what was fetched: %w", err)
	}
	var total int64
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if !strings.HasSuffix(e.Name(), end) || !e.Type().IsRegular() {
			continue
		}
		size, sums, err := sums(path)
		if err != nil {
			return fmt.Errorf("look at what was fetched: %w", err)
		}
		if total += size; total > MaxArchives {
			return fmt.Errorf("more than %d bytes were fetched", int64(MaxArchives))
		}
		for _, a := range all {
			if slices.Contains(sums, a.sum) {
				a.path, a.size = path, size
			}
		}
	}
	for _, a := range all {
		if a.path == "" {
			return fmt.Errorf("%s %s is not what it was when it was looked up: its archive has another hash than %s", bottle.Printable(a.name), bottle.Printable(a.version), a.hashed())
		}
	}
	return nil
}

func sums(path string) (size int64, out []string, err error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return 0, nil, err
	}
	defer f.Close()
	all := []hash.Hash{sha256.New(), sha512.New()}
	size, err = io.Copy(io.MultiWriter(all[0], all[1]), f)
	for _, h := range all {
		out = append(out, hex.EncodeToString(h.Sum(nil)))
	}
	return size, out, err
}

// run runs apt or npm in dir and gives what it prints. Meanwhile a person hears how much
// the stage holds; neither bounds what a server sends, so the call ends where that is more
// than fits.
func (l *Load) run(ctx context.Context, dir, program string, args ...string) ([]byte, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	env := l.src.Env
	if program == "npm" {
		env = slices.Concat(env, l.src.NPM)
	}
	out := &bounded{}
	p, err := hostexec.Start(ctx, hostexec.Cmd{Path: program, Args: args, Env: env, Dir: dir, Stdout: out, NewGroup: true})
	if err != nil {
		return nil, err
	}
	ended := make(chan error, 1)
	go func() { ended <- p.Wait() }()
	tick := time.NewTicker(often)
	defer tick.Stop()
	for n := 1; ; n++ {
		select {
		case err := <-ended:
			if cause := context.Cause(ctx); cause != nil {
				err = cause
			}
			if err == nil && out.over {
				err = fmt.Errorf("%s prints more than %d bytes", program, maxSaid)
			}
			return out.b, err
		case <-tick.C:
			held := weight(l.stage.work())
			if held > maxHeld {
				cancel(fmt.Errorf("%s fetches more than %s", program, plan.Size(MaxArchives)))
			}
			if n%5 == 0 {
				l.src.say("%s works: %s so far", program, plan.Size(held))
			}
		}
	}
}

// weight is how many bytes lie below dir; what goes away meanwhile does not count.
func weight(dir string) (n int64) {
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			if info, err := d.Info(); err == nil {
				n += info.Size()
			}
		}
		return nil
	})
	return n
}

// bounded keeps the first of what is written. It takes the rest, too: a program that
// cannot write would blame something else.
type bounded struct {
	b    []byte
	over bool
}

func (w *bounded) Write(p []byte) (int, error) {
	take := min(len(p), maxSaid-len(w.b))
	w.b, w.over = append(w.b, p[:take]...), w.over || take < len(p)
	return len(p), nil
}

func (s Source) say(format string, args ...any) {
	if s.Say != nil {
		s.Say(fmt.Sprintf(format, args...))
	}
}

// failed is a program's failure with what it said, safe to print, and the next step.
func failed(doing string, err error, hint string) error {
	var e *hostexec.Error
	message := fmt.Sprintf("%s: %v", doing, err)
	if errors.As(err, &e) && e.Code >= 0 {
		said := strings.TrimSpace(e.Stderr)
		if said == "" {
			said = e.Err.Error()
		}
		message = doing + ": " + bottle.Said(plainly(said))
	}
	return bottle.Problems{{Message: message, Hint: hint}}
}

// plainly is the end of what a program said, without what npm puts in front of each line, and
// without the place of a log that is gone when somebody reads of it.
func plainly(said string) string {
	var out []string
	for l := range strings.SplitSeq(said, "\n") {
		l = strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(l), "npm error"))
		if l != "" && !strings.HasPrefix(l, "A complete log of this run can be found in") && !strings.HasPrefix(l, "errno ") {
			out = append(out, l)
		}
	}
	whole := strings.Join(out, "; ")
	return whole[max(0, len(whole)-600):]
}
