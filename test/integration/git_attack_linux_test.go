package integration

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"strings"
	"testing"

	"bottle/internal/policy"
)

// leak puts a secret into a clone and gives what to push.
type leak struct {
	name string
	make func(t *testing.T, p *proof, w, secret string) []string
}

func head(string) []string { return []string{"HEAD:refs/heads/agent"} }

// object writes an object as it is given, whatever git thinks of it.
func (p *proof) object(w, kind, raw string) string {
	p.t.Helper()
	return p.feed(w, raw, "hash-object", "-t", kind, "--literally", "-w", "--stdin")
}

// tree writes a tree of entries "mode kind id\tname", NUL between them.
func (p *proof) tree(w string, entries ...string) string {
	p.t.Helper()
	return p.feed(w, strings.Join(entries, "\x00")+"\x00", "mktree", "-z", "--missing")
}

// onto commits a tree on top of upstream's.
func (p *proof) onto(w, tree string) string {
	p.t.Helper()
	return p.direct(w, "commit-tree", "-p", "origin/trunk", "-m", "crafted", tree)
}

func gzipped(s string) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = io.WriteString(z, s)
	_ = z.Close()
	return b.String()
}

// leaks are the places of a push in which a secret can stand.
func leaks() []leak {
	one := func(name string, f func(p *proof, w, s string)) leak {
		return leak{name, func(_ *testing.T, p *proof, w, s string) []string { f(p, w, s); return head(w) }}
	}
	return []leak{
		one("blob", func(p *proof, w, s string) { p.write(w, "a.txt", "key = "+s+"\n", "x") }),
		one("large blob at its end", func(p *proof, w, s string) { p.write(w, "a.txt", strings.Repeat("some text\n", 3<<20/10)+s, "x") }),
		one("deleted file of an earlier commit", func(p *proof, w, s string) {
			p.write(w, "a.txt", s, "x")
			p.direct(w, "rm", "-q", "a.txt")
			p.direct(w, "commit", "-q", "-m", "clean")
		}),
		one("merged branch whose file the merge drops", func(p *proof, w, s string) {
			p.direct(w, "checkout", "-q", "-b", "side")
			p.write(w, "a.txt", s, "x")
			p.direct(w, "checkout", "-q", "trunk")
			p.direct(w, "merge", "-q", "-s", "ours", "--no-ff", "-m", "merged", "side")
		}),
		one("file that only a merge has", func(p *proof, w, s string) {
			p.direct(w, "checkout", "-q", "-b", "side")
			p.write(w, "b.txt", "b", "x")
			p.direct(w, "checkout", "-q", "trunk")
			p.direct(w, "merge", "-q", "--no-ff", "--no-commit", "side")
			p.write(w, "a.txt", s, "merged")
		}),
		one("commit message", func(p *proof, w, s string) { p.write(w, "a.txt", "a", "fix it\n\nwith "+s) }),
		one("author's name", func(p *proof, w, s string) { p.write(w, "a.txt", "a", "x", "--author", s+" <a@b.example>") }),
		one("author's e-mail", func(p *proof, w, s string) { p.write(w, "a.txt", "a", "x", "--author", "a <"+s+"@b.example>") }),
		one("committer", func(p *proof, w, s string) {
			p.direct(w, "-c", "user.name=x", "commit", "-q", "--allow-empty", "-m", "x")
			raw := p.direct(w, "cat-file", "commit", "HEAD")
			p.direct(w, "reset", "-q", "--hard", p.object(w, "commit", strings.Replace(raw, "committer a <a@b.example>", "committer "+s+" <a@b.example>", 1)+"\n"))
		}),
		one("unknown header of a commit", func(p *proof, w, s string) {
			raw := p.direct(w, "cat-file", "commit", "HEAD")
			p.direct(w, "reset", "-q", "--hard", p.object(w, "commit", strings.Replace(raw, "\n\n", "\nx-note "+s+"\n\n", 1)+"\n"))
		}),
		one("signature of a commit", func(p *proof, w, s string) {
			raw := p.direct(w, "cat-file", "commit", "HEAD")
			p.direct(w, "reset", "-q", "--hard", p.object(w, "commit", strings.Replace(raw, "\n\n", "\ngpgsig -----BEGIN PGP SIGNATURE-----\n "+s+"\n -----END PGP SIGNATURE-----\n\n", 1)+"\n"))
		}),
		{"tag message", func(_ *testing.T, p *proof, w, s string) []string {
			p.direct(w, "tag", "-a", "-m", "release with "+s, "v1")
			return []string{"v1"}
		}},
		{"tag of a tag", func(_ *testing.T, p *proof, w, s string) []string {
			p.direct(w, "tag", "-a", "-m", s, "v1")
			p.direct(w, "tag", "-a", "-m", "outer", "v2", "v1")
			return []string{"v2"}
		}},
		{"tag's name within", func(_ *testing.T, p *proof, w, s string) []string {
			id := p.object(w, "tag", "object "+p.direct(w, "rev-parse", "HEAD")+"\ntype commit\ntag "+s+"\ntagger a <a@b.example> 1700000000 +0000\n\nx\n")
			return []string{id + ":refs/tags/v1"}
		}},
		{"tag of a file", func(_ *testing.T, p *proof, w, s string) []string {
			p.direct(w, "tag", "v1", p.object(w, "blob", s))
			return []string{"v1"}
		}},
		{"tag of a folder", func(_ *testing.T, p *proof, w, s string) []string {
			p.direct(w, "tag", "v1", p.tree(w, "100644 blob "+p.object(w, "blob", s)+"\ta"))
			return []string{"v1"}
		}},
		{"note", func(_ *testing.T, p *proof, w, s string) []string {
			p.direct(w, "notes", "add", "-m", s, "HEAD")
			return []string{"refs/notes/commits"}
		}},
		one("file name", func(p *proof, w, s string) { p.write(w, "a/"+s+"/b.txt", "b", "x") }),
		one("name of a file that is deleted again", func(p *proof, w, s string) {
			p.write(w, s, "b", "x")
			p.direct(w, "rm", "-q", s)
			p.direct(w, "commit", "-q", "-m", "clean")
		}),
		one("new name of an old file", func(p *proof, w, s string) {
			p.direct(w, "mv", "README", "README-"+s)
			p.direct(w, "commit", "-q", "-m", "x")
		}),
		one("difference to an old file", func(p *proof, w, s string) { // ref-delta of a thin pack
			p.write(w, "src/main.c", strings.Repeat("int main(void) { return 0; }\n", 150)+s+"\n"+strings.Repeat("int main(void) { return 0; }\n", 50), "x")
		}),
		one("difference to a new file", func(p *proof, w, s string) { // ofs-delta
			p.write(w, "big.txt", strings.Repeat("line of text\n", 900), "x")
			p.write(w, "big.txt", strings.Repeat("line of text\n", 600)+s+"\n"+strings.Repeat("line of text\n", 300), "y")
		}),
		one("symlink's target", func(p *proof, w, s string) {
			p.direct(w, "reset", "-q", "--hard", p.onto(w, p.tree(w, "120000 blob "+p.object(w, "blob", s)+"\tlink")))
		}),
		one("executable file", func(p *proof, w, s string) {
			p.direct(w, "reset", "-q", "--hard", p.onto(w, p.tree(w, "100755 blob "+p.object(w, "blob", s)+"\trun")))
		}),
		one("URL of a submodule", func(p *proof, w, s string) {
			p.write(w, ".gitmodules", "[submodule \"a\"]\n\tpath = a\n\turl = https://git.example.com/"+s+"/a.git\n", "x")
		}),
		one("password in the URL of a submodule", func(p *proof, w, s string) {
			p.write(w, ".gitmodules", "[submodule \"a\"]\n\tpath = a\n\turl = https://x:"+s+"@git.example.com/a.git\n", "x")
		}),
		one("name of a submodule", func(p *proof, w, s string) {
			p.write(w, ".gitmodules", "[submodule \""+s+"\"]\n\tpath = a\n\turl = https://git.example.com/a.git\n", "x")
		}),
		one("path of a submodule", func(p *proof, w, s string) {
			p.direct(w, "update-index", "--add", "--cacheinfo", "160000,"+p.direct(w, "rev-parse", "HEAD")+","+s)
			p.direct(w, "commit", "-q", "-m", "x")
		}),
		one("blob in base64", func(p *proof, w, s string) {
			p.write(w, "a.txt", base64.StdEncoding.EncodeToString([]byte("the key is "+s+", keep it")), "x")
		}),
		one("blob in hexadecimal", func(p *proof, w, s string) { p.write(w, "a.txt", hex.EncodeToString([]byte("the key is "+s)), "x") }),
		one("blob in gzip", func(p *proof, w, s string) {
			p.write(w, "a.gz", gzipped(strings.Repeat("text before\n", 99)+s+"\n"), "x")
		}),
		one("blob in gzip in base64", func(p *proof, w, s string) {
			p.write(w, "a.txt", base64.StdEncoding.EncodeToString([]byte(gzipped("text "+s+" text"))), "x")
		}),
		one("comment of gitleaks:allow", func(p *proof, w, s string) {
			p.write(w, "a.txt", "key = \""+s+"\" # gitleaks:allow\n", "x\n\ngitleaks:allow")
		}),
		one(".gitleaksignore and .gitattributes", func(p *proof, w, s string) {
			put(p.t, w, ".gitattributes", "* binary -diff -text export-ignore filter=lfs linguist-generated\n")
			put(p.t, w, ".gitleaksignore", "a.txt:generic-api-key:1\n")
			put(p.t, w, ".gitleaks.toml", "[allowlist]\npaths = ['''.*''']\n")
			p.write(w, "a.txt", "key = \""+s+"\"\n", "x")
		}),
		one("replaced object", func(p *proof, w, s string) {
			p.write(w, "a.txt", s, "x")
			old := p.direct(w, "rev-parse", "HEAD:a.txt")
			p.direct(w, "replace", old, p.object(w, "blob", "nothing"))
		}),
		{"name of the branch", func(_ *testing.T, p *proof, w, s string) []string {
			p.direct(w, "commit", "-q", "--allow-empty", "-m", "x")
			return []string{"HEAD:refs/heads/agent/" + s}
		}},
		{"push option", func(_ *testing.T, p *proof, w, s string) []string {
			p.direct(w, "config", "push.pushOption", "note="+s)
			p.direct(w, "commit", "-q", "--allow-empty", "-m", "x")
			return head(w)
		}},
		{"second branch of the push", func(_ *testing.T, p *proof, w, s string) []string {
			id := p.write(w, "a.txt", s, "x")
			return []string{"HEAD~1:refs/heads/agent", id + ":refs/heads/other"}
		}},
		{"unrelated history", func(_ *testing.T, p *proof, w, s string) []string {
			p.direct(w, "checkout", "-q", "--orphan", "new")
			p.write(w, "a.txt", s, "x")
			return head(w)
		}},
	}
}

// TestGitGateFindsSecretsWhereverTheyStand: each place of a push, with a value that the
// gateway keeps and with one that a rule knows. Upstream and the mirror stay as they were
// to the byte, and the agent is told why without the value.
func TestGitGateFindsSecretsWhereverTheyStand(t *testing.T) {
	t.Parallel()
	p := newProof(t)
	for _, l := range leaks() {
		t.Run(l.name, func(t *testing.T) {
			w := p.clone()
			refs := l.make(t, p, w, knownSecret+"="+ruleSecret)
			p.untouched(t, func() {
				out, err := p.try(w, append([]string{"push", "origin"}, refs...)...)
				if err == nil || !strings.Contains(out, string(policy.SecretFound)) || !strings.Contains(out, "(env:DEPLOY)") || !strings.Contains(out, "a secret (") {
					t.Errorf("%v: %s", err, out)
				}
				if told := remoteLines(out); strings.Contains(told, knownSecret) || strings.Contains(told, ruleSecret) {
					t.Errorf("the answer holds the secret: %s", told)
				}
			})
		})
	}
	p.sound(t)
}

// remoteLines are what the gate said, without git's own lines, which name refs.
func remoteLines(out string) string {
	var b strings.Builder
	for line := range strings.Lines(out) {
		if strings.HasPrefix(line, "remote:") {
			b.WriteString(line)
		}
	}
	return b.String()
}

// TestGitGateLetsThePlacesThemselvesPass: the same places without a secret are pushed, and
// upstream has exactly that. So it is the secret that the test above sees refused.
func TestGitGateLetsThePlacesThemselvesPass(t *testing.T) {
	refused := map[string]policy.Reason{ // for what they are
		"tag of a file": policy.BadObject, "tag of a folder": policy.BadObject, "password in the URL of a submodule": policy.UnsafeSubmodule,
		"URL of a submodule": policy.RepoNotListed, "name of a submodule": policy.RepoNotListed,
	}
	for _, l := range leaks() {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			p := newProof(t)
			w := p.clone()
			refs := l.make(t, p, w, "nothing")
			before, _ := p.upstream()
			out, err := p.try(w, append([]string{"push", "origin"}, refs...)...)
			if why := refused[l.name]; why != "" {
				if after, _ := p.upstream(); err == nil || after != before || !strings.Contains(out, string(why)) {
					t.Errorf("%v, %s", err, out)
				}
				return
			}
			if err != nil {
				t.Fatalf("%v, %s", err, out)
			}
			for _, ref := range refs {
				from, to, ok := strings.Cut(ref, ":")
				if !ok && strings.HasPrefix(from, "refs/") {
					to = from
				} else if !ok {
					to = "refs/tags/" + from
				}
				if got, want := p.ref(to), p.direct(w, "rev-parse", from); got != want {
					t.Errorf("upstream has %s at %s, want %s", got, to, want)
				}
			}
			p.sound(t)
		})
	}
}

// TestGitGateLeavesOldSecretsAlone: what upstream has already never stops a new branch.
func TestGitGateLeavesOldSecretsAlone(t *testing.T) {
	p := newProof(t)
	seed := p.base + "/seed"
	p.write(seed, "old.txt", ruleSecret, "long ago")
	p.direct(seed, "push", "-q", p.bare, "HEAD:trunk")
	w := p.clone()
	id := p.write(w, "new.txt", "new", "x")
	if out, err := p.try(w, "push", "origin", "HEAD:refs/heads/agent"); err != nil || p.ref("refs/heads/agent") != id {
		t.Errorf("%v %s", err, out)
	}
	p.sound(t)
}

// packed is one object of a pack that a test makes by hand (gitformat-pack(5)).
type packed struct {
	kind int // 1 commit, 2 tree, 3 blob, 4 tag, 6 ofs-delta to the one before, 7 ref-delta
	base string
	data []byte // a delta if kind is 6 or 7
	size int    // that is claimed; 0: of data
}

func pack(objects ...packed) []byte { return packOf(uint32(len(objects)), objects...) }

func packOf(count uint32, objects ...packed) []byte {
	var b bytes.Buffer
	b.WriteString("PACK\x00\x00\x00\x02")
	_ = binary.Write(&b, binary.BigEndian, count)
	last := 0
	for _, o := range objects {
		back := b.Len() - last
		last = b.Len()
		size := o.size
		if size == 0 {
			size = len(o.data)
		}
		c := byte(o.kind<<4 | size&15)
		for size >>= 4; size > 0; size >>= 7 {
			b.WriteByte(c | 0x80)
			c = byte(size & 0x7f)
		}
		b.WriteByte(c)
		if o.kind == 7 {
			id, _ := hex.DecodeString(o.base)
			b.Write(id)
		}
		if o.kind == 6 {
			at := []byte{byte(back & 0x7f)}
			for back >>= 7; back > 0; back >>= 7 {
				back--
				at = append([]byte{byte(back&0x7f) | 0x80}, at...)
			}
			b.Write(at)
		}
		z := zlib.NewWriter(&b)
		_, _ = z.Write(o.data)
		_ = z.Close()
	}
	sum := sha1.Sum(b.Bytes())
	b.Write(sum[:])
	return b.Bytes()
}

func idOf(kind string, data []byte) string {
	return fmt.Sprintf("%x", sha1.Sum(append([]byte(fmt.Sprintf("%s %d\x00", kind, len(data))), data...)))
}

// chunk is a commit of one file on upstream's trunk, as objects.
func (p *proof) crafted(content string) (id string, objects []packed) {
	blob := []byte(content)
	raw, _ := hex.DecodeString(idOf("blob", blob))
	tree := append([]byte("100644 file\x00"), raw...)
	commit := fmt.Appendf(nil, "tree %s\nparent %s\nauthor a <a@b.example> 1700000000 +0000\ncommitter a <a@b.example> 1700000000 +0000\n\nraw\n", idOf("tree", tree), p.ref("refs/heads/trunk"))
	return idOf("commit", commit), []packed{{kind: 3, data: blob}, {kind: 2, data: tree}, {kind: 1, data: commit}}
}

// TestGitGateSeesWhatNoRefReaches: an object in the pack beside those of the push would
// stay on a server that unpacks it.
func TestGitGateSeesWhatNoRefReaches(t *testing.T) {
	p := newProof(t)
	p.clone()
	id, objects := p.crafted("nothing")
	for name, hidden := range map[string]packed{"secret": {kind: 3, data: []byte(knownSecret)}, "harmless": {kind: 3, data: []byte("nothing in it")},
		"commit":                      {kind: 1, data: fmt.Appendf(nil, "tree %s\nauthor a <a@b.example> 1700000000 +0000\ncommitter a <a@b.example> 1700000000 +0000\n\n%s\n", p.ref("refs/heads/trunk^{tree}"), knownSecret)},
		"difference to an old object": {kind: 7, base: p.ref("refs/heads/trunk:README"), data: append([]byte{20, 24, 24}, knownSecret...)}} {
		t.Run(name, func(t *testing.T) {
			p.untouched(t, func() {
				_, answer, err := p.raw(t, strings.NewReader(command(noID, id, "refs/heads/agent")+flush+flush+string(pack(append(objects, hidden)...))))
				if err != nil || !strings.Contains(answer, string(policy.HiddenObject)) {
					t.Errorf("%v %q", err, answer)
				}
			})
		})
	}
	if _, answer, err := p.raw(t, strings.NewReader(command(noID, id, "refs/heads/agent")+flush+flush+string(pack(objects...)))); err != nil || p.ref("refs/heads/agent") != id {
		t.Errorf("without it: %v %q", err, answer)
	}
	p.sound(t)
}

// TestGitGateRefusesNamesThatAttackAClone: what git's own checks and ours refuse, by the
// name of a file and by what a link or a submodule says.
func TestGitGateRefusesNamesThatAttackAClone(t *testing.T) {
	t.Parallel()
	p := newProof(t)
	w0 := p.clone()
	blob := p.object(w0, "blob", "[core]\n\tfsmonitor = touch /tmp/x\n")
	for _, name := range []string{".git", ".GIT", ".Git", "git~1", "GIT~1", ".git ", ".git.", ".git::$INDEX_ALLOCATION", ".g\u200cit", ".gi\u200dt", "\ufeff.git", ".git\u206f",
		"..", ".", "a\\.git\\config", ".gIt\u200c"} {
		t.Run(fmt.Sprintf("%q", name), func(t *testing.T) {
			for how, tree := range map[string]string{"file": p.rawTree(w0, "100644", name, blob), "folder": p.rawTree(w0, "40000", name, p.rawTree(w0, "100644", "config", blob)),
				"below": p.rawTree(w0, "40000", "sub", p.rawTree(w0, "40000", name, p.rawTree(w0, "100644", "config", blob)))} {
				id := p.direct(w0, "commit-tree", "-p", "origin/trunk", "-m", "crafted", tree)
				p.untouched(t, func() {
					if out, err := p.try(w0, "push", "origin", id+":refs/heads/agent"); err == nil || !strings.Contains(out, "refused") {
						t.Errorf("%s: %v %s", how, err, out)
					}
				})
			}
		})
	}
	module := func(text string) string { return p.rawTree(w0, "100644", ".gitmodules", p.object(w0, "blob", text)) }
	link := func(name, to string) string { return p.rawTree(w0, "120000", name, p.object(w0, "blob", to)) }
	for name, tree := range map[string]string{
		"a submodule's URL is an option":      module("[submodule \"a\"]\n\tpath = a\n\turl = -u./payload\n"),
		"a submodule's URL is a helper":       module("[submodule \"a\"]\n\tpath = a\n\turl = ext::sh -c touch% /tmp/x\n"),
		"a submodule's URL is a local path":   module("[submodule \"a\"]\n\tpath = a\n\turl = /etc\n"),
		"a submodule's URL has a line feed":   module("[submodule \"a\"]\n\tpath = a\n\turl = \"https://git.example.com/a%0ahost=evil.example\"\n"),
		"a submodule's name climbs":           module("[submodule \"../../hooks\"]\n\tpath = a\n\turl = https://git.example.com/a\n"),
		"a submodule's path is an option":     module("[submodule \"a\"]\n\tpath = -x\n\turl = https://git.example.com/a\n"),
		"a submodule runs a command":          module("[submodule \"a\"]\n\tpath = a\n\tupdate = !touch /tmp/x\n\turl = https://git.example.com/a\n"),
		"a submodule's path ends in CR":       module("[submodule \"a\"]\n\tpath = \"a\r\"\n\turl = https://git.example.com/a\n"),
		".gitmodules is a link":               link(".gitmodules", "elsewhere"),
		".GITMODULES is a link":               link(".GITMODULES", "elsewhere"),
		"gitmod~1 is a link":                  link("gitmod~1", "elsewhere"),
		".gitattributes is a link":            link(".gitattributes", "elsewhere"),
		"a link leaves the tree":              link("link", "../../etc/passwd"),
		"a link is absolute":                  link("link", "/etc/passwd"),
		"a link leads into .git":              link("link", ".git/hooks/post-checkout"),
		"a link leads into .git by NTFS":      link("link", "GIT~1/hooks"),
		"a link beside a folder but for case": p.object(w0, "tree", "120000 A\x00"+raw(p.object(w0, "blob", "b"))+"40000 a\x00"+raw(p.rawTree(w0, "100644", "x", blob))),
	} {
		t.Run(name, func(t *testing.T) {
			id := p.direct(w0, "commit-tree", "-p", "origin/trunk", "-m", "crafted", tree)
			p.untouched(t, func() {
				if out, err := p.try(w0, "push", "origin", id+":refs/heads/agent"); err == nil || !strings.Contains(out, "refused") {
					t.Errorf("%v %s", err, out)
				}
			})
		})
	}
}

func raw(id string) string { b, _ := hex.DecodeString(id); return string(b) }

// rawTree is a tree of one entry, whatever its name.
func (p *proof) rawTree(w, mode, name, id string) string {
	p.t.Helper()
	return p.object(w, "tree", mode+" "+name+"\x00"+raw(id))
}
