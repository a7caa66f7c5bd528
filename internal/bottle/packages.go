package bottle

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// The ecosystems that programs come from. The zero value is none and is refused.
const (
	EcosystemDeb = "deb" // packages of the machine's own Debian or Ubuntu
	EcosystemNPM = "npm" // packages of an npm registry
)

// CapabilityAsk asks for programs by the names of their packages, each as Package.String.
type CapabilityAsk struct {
	Packages []string `json:"packages"`
}

// Package is one package as an agent may name it.
type Package struct {
	Ecosystem string
	Name      string
	Version   string // of npm: a version or a tag; empty: the registry's latest
}

// String is the package's one form: deb:NAME, npm:NAME or npm:NAME@VERSION.
func (p Package) String() string {
	s := p.Ecosystem + ":" + p.Name
	if p.Version != "" {
		s += "@" + p.Version
	}
	return s
}

const (
	lower    = "abcdefghijklmnopqrstuvwxyz"
	digits   = "0123456789"
	capitals = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
)

// ParsePackage reads deb:NAME, npm:NAME and npm:NAME@VERSION, at most 128 bytes. A name is
// handed to the machine's apt or npm, and both read more into one than a name: options,
// files, URLs, git repositories, ranges, aliases (npm-package-arg), and with apt a "-" at
// the end takes a package away (apt-get(8), "install"). None of these is a name here.
func ParsePackage(s string) (Package, error) {
	eco, rest, ok := strings.Cut(s, ":")
	p := Package{Ecosystem: eco, Name: rest}
	switch {
	case len(s) > maxAskPackage:
		return Package{}, fmt.Errorf("the package %.40q has more than %d characters", s, maxAskPackage)
	case !ok || eco != EcosystemDeb && eco != EcosystemNPM:
		return Package{}, fmt.Errorf("the package %.40q does not say where it comes from: write deb:NAME or npm:NAME", s)
	case eco == EcosystemDeb:
		if !isDeb(rest) {
			return Package{}, fmt.Errorf("the package %.40q has no name of Debian's: lower-case letters, digits and +-. only, such as deb:ripgrep", s)
		}
		return p, nil
	}
	if at := strings.LastIndexByte(rest, '@'); at > 0 {
		p.Name, p.Version = rest[:at], rest[at+1:]
		if !word(p.Version, digits+lower+capitals, ".+-") {
			return Package{}, fmt.Errorf("the package %.40q has a version that is none: write npm:NAME@1.2.3 or a tag; no range and no address", s)
		}
	}
	scope, name, scoped := strings.Cut(p.Name, "/")
	if !scoped {
		scope, name = "@npm", p.Name
	}
	if scope == "" || scope[0] != '@' || !word(scope[1:], digits+lower, "._-") || !word(name, digits+lower, "._-") || name == "node_modules" || name == "favicon.ico" {
		return Package{}, fmt.Errorf("the package %.40q has no name of a registry's: lower-case letters, digits and ._- only, such as npm:prettier or npm:@scope/name@1.2.3", s)
	}
	return p, nil
}

// isDeb: Debian Policy, section 5.6.1.
func isDeb(s string) bool {
	return len(s) > 1 && word(s, digits+lower, "+.-") && s[len(s)-1] != '-' && s[len(s)-1] != '.'
}

// word: begins with one of first, and goes on with those and others.
func word(s, first, others string) bool {
	return s != "" && strings.IndexByte(first, s[0]) >= 0 && strings.Trim(s, first+others) == ""
}

func askedCapability(c CapabilityAsk) (*CapabilityAsk, error) {
	if len(c.Packages) == 0 || len(c.Packages) > maxAskPackages {
		return nil, fmt.Errorf("it names from 1 to %d packages", maxAskPackages)
	}
	out := &CapabilityAsk{}
	seen := map[string]bool{}
	for _, s := range c.Packages {
		p, err := ParsePackage(s)
		if err != nil {
			return nil, err
		}
		if name := p.Ecosystem + ":" + p.Name; seen[name] && !slices.Contains(out.Packages, p.String()) {
			return nil, fmt.Errorf("the package %s is named in two versions", name)
		} else {
			seen[name] = true
		}
		out.Packages = append(out.Packages, p.String())
	}
	out.Packages = sorted(out.Packages)
	return out, nil
}

// Bill is what an approval of a CapabilityAsk brings into a bottle: what the operator was
// shown, and what was unpacked. The zero Bill brings nothing and is refused.
type Bill struct {
	Items    []BillItem `json:"items"`
	Programs []string   `json:"programs"` // names in plan.Added/bin, sorted
	Unpacked int64      `json:"unpacked"` // bytes
}

// BillItem is one archive.
type BillItem struct {
	Ecosystem string `json:"ecosystem"`
	Name      string `json:"name"`
	Version   string `json:"version"`
	Hash      string `json:"hash"` // sha256: or sha512: and hex digits, of the archive
	Size      int64  `json:"size"` // bytes of the archive
	From      string `json:"from"` // URL without user, password and query
}

// Bounds of a bill.
const (
	MaxItems    = 400
	MaxPrograms = 1000
	maxItemText = 512
)

// String is one line about the item, for the log and for people.
func (i BillItem) String() string {
	return fmt.Sprintf("%s:%s %s, %d bytes, %s, from %s", i.Ecosystem, i.Name, i.Version, i.Size, i.Hash, i.From)
}

// Lines are the bill for a person or a page: an archive each, and the programs.
func (b Bill) Lines() (out []string) {
	for _, i := range b.Items {
		out = append(out, i.String())
	}
	return append(out, "programs: "+strings.Join(b.Programs, ", "))
}

// Size is the sum of the archives, in bytes.
func (b Bill) Size() (n int64) {
	for _, i := range b.Items {
		n += i.Size
	}
	return n
}

// Check refuses a bill that holds what cannot be shown, what has no strong hash, or what
// comes from where nothing of ask is.
func (b Bill) Check(ask CapabilityAsk) error {
	if len(b.Items) == 0 || len(b.Items) > MaxItems || len(b.Programs) > MaxPrograms || b.Unpacked < 0 {
		return fmt.Errorf("the list of what is brought in has from 1 to %d packages, and %d programs at most", MaxItems, MaxPrograms)
	}
	for _, i := range b.Items {
		known := i.Ecosystem != "" && slices.ContainsFunc(ask.Packages, func(p string) bool { return strings.HasPrefix(p, i.Ecosystem+":") })
		text := i.Name + i.Version + i.From
		if !known || i.Name == "" || i.Version == "" || i.Size <= 0 || len(text) > maxItemText || Said(text) != text || strings.ContainsAny(text, " \t") || !isHash(i.Hash) {
			return fmt.Errorf("the list of what is brought in names %.40q, which nobody can hold to it", i.Name)
		}
		if u, err := url.Parse(i.From); err != nil || u.User != nil || u.RawQuery != "" {
			return fmt.Errorf("%.40q comes from an address with more than a place in it", i.Name)
		}
	}
	for _, p := range b.Programs {
		if !IsProgram(p) {
			return errors.New("a program has a name that is none")
		}
	}
	return nil
}

func isHash(s string) bool {
	kind, sum, _ := strings.Cut(s, ":")
	return (kind == "sha256" && len(sum) == 64 || kind == "sha512" && len(sum) == 128) && strings.Trim(sum, digits+"abcdef") == ""
}

// IsProgram says whether a file of this name is offered as a program: letters, digits and
// _.+- only, and no more than 64. A name that a shell or a terminal would read otherwise is none.
func IsProgram(s string) bool {
	return len(s) <= 64 && word(s, digits+lower+capitals+"_", ".+-")
}
