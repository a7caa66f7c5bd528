package scan

import (
	"bytes"
	"cmp"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"bottle/internal/cli/ui"
	secrets "bottle/internal/dlp/known"
)

// A baseline lists findings that somebody has looked at and accepted, so that a team can
// begin to scan a repository that holds some. It is made to be committed: of a value it
// holds 16 bits of a slow keyed hash. That tells two findings of a rule in a file apart
// (a new secret passes for an old one there with a chance of 1 in 65,536), and too little
// to find a drawn secret by. A password that is one of a million words is left with some
// 15 candidates by who spends an hour on it: it was readable in the file beside the baseline anyway.
type baseline struct {
	Version  int        `json:"version"`
	Salt     string     `json:"salt"` // 16 random bytes, hex
	Findings []accepted `json:"findings"`

	path   string
	dir    string // what names of files are below
	run    [32]byte
	hashes map[string]string // of fingerprints
	met    map[accepted]bool // of the entries: whether it was found
	old    []accepted        // of the file that is replaced
	looked map[string]bool   // files that were looked at to their end
	kept   int               // entries of old that were written again
}

type accepted struct {
	File string `json:"file"` // from the baseline's own folder, with slashes
	Rule string `json:"rule"`
	Hash string `json:"hash"`
}

const (
	baselineVersion = 1
	saltSize        = 16
	hashSize        = 2       // bytes
	hashRounds      = 50_000  // some 10 ms, for each secret that was found
	mostBaseline    = 8 << 20 // bytes of the file
)

// newBaseline is an empty one, with the salt of the one that it replaces: so that what
// stays the same reads the same. A file that is no baseline is not replaced.
func newBaseline(path string) (*baseline, error) {
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		b, err := readBaseline(path)
		switch {
		case errors.Is(err, fs.ErrPermission):
			return nil, err
		case err != nil:
			return nil, ui.Usage(err, "name a file that is not there yet, or a baseline")
		}
		b.old, b.Findings = b.Findings, []accepted{}
		return b, b.begin(path)
	}
	salt := make([]byte, saltSize)
	_, _ = rand.Read(salt) // never fails
	b := &baseline{Version: baselineVersion, Salt: hex.EncodeToString(salt), Findings: []accepted{}}
	return b, b.begin(path)
}

// readBaseline reads one. What is not wholly understood is an error: else it could
// accept more, or less, than its writer meant.
func readBaseline(path string) (*baseline, error) {
	again := "remove it and write it anew: bottle scan . --baseline " + path + " --write-baseline"
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, ui.Usage(fmt.Errorf("there is no baseline %s", path), "accept what is there now: bottle scan . --baseline "+path+" --write-baseline")
	} else if errors.Is(err, fs.ErrPermission) {
		return nil, ui.Usage(fmt.Errorf("the baseline %s may not be read: %w", path, err), "ls -l "+path+" shows who may")
	} else if err != nil {
		return nil, ui.Usage(fmt.Errorf("read baseline: %w", err), again)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, mostBaseline+1))
	if err != nil || len(text) > mostBaseline {
		return nil, ui.Usage(fmt.Errorf("the baseline %s can't be read, or has more than %d MiB", path, mostBaseline>>20), again)
	}
	b := &baseline{}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(b); err != nil {
		return nil, ui.Usage(fmt.Errorf("%s is no baseline: %w", path, err), again)
	}
	salt, err := hex.DecodeString(b.Salt)
	if b.Version != baselineVersion || err != nil || len(salt) != saltSize || d.More() {
		return nil, ui.Usage(fmt.Errorf("%s is no baseline of version %d", path, baselineVersion), again)
	}
	return b, b.begin(path)
}

func (b *baseline) begin(path string) error {
	dir, err := filepath.Abs(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("find the folder of the baseline: %w", err)
	}
	b.path, b.dir, b.hashes, b.met, b.looked = path, dir, map[string]string{}, map[accepted]bool{}, map[string]bool{}
	for _, e := range b.Findings {
		b.met[e] = false
	}
	_, _ = rand.Read(b.run[:]) // never fails
	return nil
}

// key is that of the engine's fingerprints. They are not shown: with the salt, anybody
// could try values on them.
func (b *baseline) key() [32]byte {
	return sha256.Sum256([]byte("bottle scan baseline v1\x00" + b.Salt))
}

// shown is a fingerprint for people, good for this run.
func (b *baseline) shown(print string) string {
	if print == "" {
		return ""
	}
	return secrets.Fingerprint(b.run, []byte(print))
}

// entry is a hit as the baseline would have it.
func (b *baseline) entry(file string, h Hit) accepted {
	return accepted{b.name(file), h.Rule, b.hash(h.Print)}
}

// name is a file as the baseline would have it.
func (b *baseline) name(file string) string {
	name := file
	if file != Stdin {
		if abs, err := filepath.Abs(file); err == nil {
			if rel, err := filepath.Rel(b.dir, abs); err == nil {
				name = rel
			}
		}
	}
	return filepath.ToSlash(name)
}

// keep adds what the old file lists of files that were not looked at, or not to their end:
// a run on a part must not drop what was accepted in the rest. What is of a file that is
// gone is dropped.
func (b *baseline) keep() {
	for _, e := range b.old {
		if b.looked[e.File] {
			continue
		}
		if _, err := os.Lstat(filepath.Join(b.dir, filepath.FromSlash(e.File))); e.File != Stdin && errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if !slices.Contains(b.Findings, e) {
			b.Findings = append(b.Findings, e)
			b.kept++
		}
	}
}

func (b *baseline) hash(print string) string {
	if s, ok := b.hashes[print]; ok {
		return s
	}
	sum, err := pbkdf2.Key(sha256.New, print, []byte(b.Salt), hashRounds, hashSize)
	if err != nil {
		return "" // only where the standard library runs in a mode that forbids the sizes: nothing is accepted
	}
	b.hashes[print] = hex.EncodeToString(sum)
	return b.hashes[print]
}

// accepts reports whether somebody has accepted a hit.
func (b *baseline) accepts(file string, h Hit) bool {
	e := b.entry(file, h)
	if _, ok := b.met[e]; !ok || e.Hash == "" {
		return false
	}
	b.met[e] = true
	return true
}

// gone is how many entries were not met.
func (b *baseline) gone() int {
	n := 0
	for _, met := range b.met {
		if !met {
			n++
		}
	}
	return n
}

// write replaces the file by what was met, and by what it lists of other files.
func (b *baseline) write() error {
	b.keep()
	slices.SortFunc(b.Findings, func(x, y accepted) int {
		return cmp.Or(strings.Compare(x.File, y.File), strings.Compare(x.Rule, y.Rule), strings.Compare(x.Hash, y.Hash))
	})
	b.Findings = slices.Compact(b.Findings)
	var text bytes.Buffer
	if err := ui.JSON(&text, b); err != nil {
		return err
	}
	f, err := os.CreateTemp(b.dir, ".baseline-*")
	if err != nil {
		return fmt.Errorf("write baseline: %w", err)
	}
	defer os.Remove(f.Name()) // gone by then, if all went well
	_, err = f.Write(text.Bytes())
	if err := errors.Join(err, f.Chmod(0o644), f.Close()); err != nil {
		return fmt.Errorf("write baseline: %w", err)
	}
	if err := os.Rename(f.Name(), filepath.Join(b.dir, filepath.Base(b.path))); err != nil {
		return fmt.Errorf("write baseline: %w", err)
	}
	return nil
}
