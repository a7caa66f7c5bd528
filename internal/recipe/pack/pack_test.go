package pack

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"bottle/internal/bottle"
	"bottle/internal/recipe"
)

// place is a folder of real files: a name that ends with / is a folder, a text that
// begins with -> a link.
func place(t *testing.T, files map[string]string) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		p := filepath.Join(dir, name)
		err := os.MkdirAll(filepath.Dir(p), 0o755)
		if target, ok := strings.CutPrefix(text, "->"); ok && err == nil {
			err = os.Symlink(target, p)
		} else if err == nil && strings.HasSuffix(name, "/") {
			err = os.MkdirAll(p, 0o755)
		} else if err == nil {
			err = os.WriteFile(p, []byte(text), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func gather(t *testing.T, dir, text string, l Limits) (*Folder, error) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, "Dockerfile"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	copies, problems := recipe.Read("Dockerfile", text)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return Gather(t.Context(), dir, "Dockerfile", text, copies, l)
}

// packed is what an engine would get.
func packed(t *testing.T, f *Folder) map[string]string {
	t.Helper()
	var b bytes.Buffer
	if err := f.Pack(t.Context(), "FROM x\n", &b); err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for r := tar.NewReader(&b); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		body, rerr := io.ReadAll(r)
		if err != nil || rerr != nil || h.Uid != 0 || h.Gid != 0 || h.ModTime.Year() != 2000 {
			t.Fatal(err, rerr, h)
		}
		out[h.Name] = fmt.Sprintf("%o %s%s", h.Mode, h.Linkname, body)
	}
	if out[recipeName] == "" || out[ignoreName] == "" {
		t.Errorf("no recipe: %v", out)
	}
	delete(out, recipeName)
	delete(out, ignoreName)
	return out
}

func TestOnlyWhatIsNamedIsSent(t *testing.T) {
	dir := place(t, map[string]string{
		"a.txt": "A", "b.txt": "B", "src/main.go": "M", "src/deep/x": "X", "src/link": "->deep/x", "src/up": "->../a.txt", "other/y": "Y", "empty/": "",
		"Dockerfile.dockerignore": "", "log/one.log": "1", "log/two.txt": "2",
	})
	if err := os.Chmod(filepath.Join(dir, "a.txt"), 0o4755); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]map[string]string{
		"COPY a.txt /":                {"a.txt": "755 A"},
		"COPY *.txt /x/":              {"a.txt": "755 A", "b.txt": "644 B"},
		"COPY src empty /x/":          {"src/": "755 ", "src/main.go": "644 M", "src/deep/": "755 ", "src/deep/x": "644 X", "src/link": "777 deep/x", "src/up": "777 ../a.txt", "empty/": "755 "},
		"COPY src/deep/x /":           {"src/deep/x": "644 X"},
		"COPY log/*.txt /":            {"log/two.txt": "644 2"},
		"COPY */deep/x /":             {"src/deep/x": "644 X"},
		"COPY a.txt /\nCOPY a.txt /b": {"a.txt": "755 A"},
	} {
		f, err := gather(t, dir, "FROM x\n"+text+"\n", Limits{})
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if d := cmp.Diff(want, packed(t, f)); d != "" {
			t.Errorf("%s: %s", text, d)
		}
	}
}

// The hash is of names, modes, kinds and contents that are copied, and of nothing else.
func TestTheHashIsOfWhatIsCopied(t *testing.T) {
	dir := place(t, map[string]string{"a": "1", "d/b": "2", "l": "x"})
	hash := func() string {
		f, err := gather(t, dir, "FROM x\nCOPY a d /\n", Limits{})
		if err != nil {
			t.Fatal(err)
		}
		return f.Hash()
	}
	first := hash()
	same := func(what string, change error, is bool) {
		t.Helper()
		if got := hash(); change != nil || (got == first) != is {
			t.Errorf("%s: %v, the same %v", what, change, got == first)
		}
	}
	same("a time", os.Chtimes(filepath.Join(dir, "a"), time.Unix(1, 0), time.Unix(1, 0)), true)
	same("a file that is not copied", os.WriteFile(filepath.Join(dir, "l"), []byte("y"), 0o644), true)
	same("a mode", os.Chmod(filepath.Join(dir, "a"), 0o755), false)
	same("the mode again", os.Chmod(filepath.Join(dir, "a"), 0o644), true)
	same("a content", os.WriteFile(filepath.Join(dir, "a"), []byte("9"), 0o644), false)
	same("the content again", os.WriteFile(filepath.Join(dir, "a"), []byte("1"), 0o644), true)
	same("a name", os.Rename(filepath.Join(dir, "d/b"), filepath.Join(dir, "d/c")), false)
	same("a link instead", errors.Join(os.Remove(filepath.Join(dir, "d/c")), os.Symlink("c", filepath.Join(dir, "d/b"))), false)
}

func TestDockerignore(t *testing.T) {
	for ignore, want := range map[string][]string{
		"":                            {"app/", "app/a.js", "app/node_modules/", "app/node_modules/m", "app/x.log", "keep.log"},
		"**/node_modules\n*.log":      {"app/", "app/a.js", "app/x.log"},
		"# all but one\n*\n!app/a.js": {"app/a.js"},
		"app":                         {"keep.log"},
	} {
		dir := place(t, map[string]string{".dockerignore": ignore, "app/a.js": "", "app/node_modules/m": "", "app/x.log": "", "keep.log": ""})
		f, err := gather(t, dir, "FROM x\nCOPY . /\n", Limits{})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for name := range packed(t, f) {
			got = append(got, name)
		}
		slices.Sort(got)
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%q: %s", ignore, d)
		}
	}
	dir := place(t, map[string]string{".dockerignore": "a", "a": "", "b": "", "Dockerfile.dockerignore": "b"})
	if _, err := gather(t, dir, "FROM x\nCOPY a /\n", Limits{}); err != nil {
		t.Errorf("the recipe's own list is the stronger one: %v", err)
	}
	if _, err := gather(t, dir, "FROM x\nCOPY b /\n", Limits{}); err == nil || !strings.Contains(err.Error(), "leaves it out") {
		t.Errorf("named and left out: %v", err)
	}
	for name, bad := range map[string]string{"malformed": "[", "a link": "->/etc/hostname", "a folder": "", "large": strings.Repeat("#", 64<<10+1), "many": strings.Repeat("a\n", 501)} {
		at := ".dockerignore"
		if name == "a folder" {
			at += "/"
		}
		dir := place(t, map[string]string{at: bad, "a": ""})
		if _, err := gather(t, dir, "FROM x\nCOPY a /\n", Limits{}); err == nil || !strings.Contains(err.Error(), "cannot be used") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What a stranger's folder can hold to get at its operator's files, or to hold him up.
func TestNothingFromOutsideIsCopied(t *testing.T) {
	home := place(t, map[string]string{".ssh/id_ed25519": "-----BEGIN OPENSSH PRIVATE KEY-----\n", "plain": "P"})
	for name, c := range map[string]struct {
		files map[string]string
		copy  string
		why   string
	}{
		"a link to a key":            {map[string]string{"k": "->" + home + "/.ssh/id_ed25519"}, "k", "a link to"},
		"a link in a folder":         {map[string]string{"d/k": "->" + home + "/plain"}, "d", "leads out"},
		"a relative link":            {map[string]string{"d/k": "->../../x"}, ".", "leads out"},
		"a link by another":          {map[string]string{"d/a": "->e/f", "d/k": "->a/../../../x"}, ".", "leads out"},
		"a link to the folder above": {map[string]string{"k": "->.."}, ".", "leads out"},
		"a folder that is a link":    {map[string]string{"d": "->" + home}, "d/plain", "a link to"},
		"the same, within":           {map[string]string{"d": "->e", "e/f": ""}, "d/f", "a link to"},
		"a pattern through a link":   {map[string]string{"d": "->" + home}, "*/plain", "it would go by"},
		"a pattern on a link":        {map[string]string{"d": "->" + home}, "*", "a link to"},
		"no such file":               {nil, "x", "no such file"},
		"the Dockerfile":             {nil, "Dockerfile", "of the making"},
		"its list":                   {map[string]string{".dockerignore": ""}, ".dockerignore", "of the making"},
		"a name to hide by":          {map[string]string{"a\x1b[2K": ""}, ".", "nobody can see"},
	} {
		dir := place(t, c.files)
		f, err := gather(t, dir, "FROM x\nCOPY "+c.copy+" /\n", Limits{})
		if err == nil || !strings.Contains(err.Error(), c.why) {
			t.Errorf("%s: %v, %v", name, err, f)
		}
		if c.why == "no such file" && err != nil && !strings.HasPrefix(err.Error(), filepath.Join(dir, "Dockerfile")+":2: ") {
			t.Errorf("an editor can't go to %v", err)
		}
	}
	dir := place(t, map[string]string{"a": ""})
	l, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for name, make := range map[string]func() error{"socket": func() error { return nil }, "pipe": func() error { return errors.Join(l.Close(), syscall.Mkfifo(filepath.Join(dir, "p"), 0o600)) }} {
		if err := make(); err != nil {
			t.Fatal(err)
		}
		if _, err := gather(t, dir, "FROM x\nCOPY . /\n", Limits{}); err == nil || !strings.Contains(err.Error(), "neither a file nor a folder") {
			t.Errorf("%s: %v", name, err)
		}
	}
	dir = place(t, map[string]string{"a": "", "real": "FROM x\nCOPY a /\n", "Dockerfile": "->real"})
	copies, _ := recipe.Read("", "FROM x\nCOPY a /\n")
	if _, err := Gather(t.Context(), dir, "Dockerfile", "FROM x\nCOPY a /\n", copies, Limits{}); err == nil || !strings.Contains(err.Error(), "not a link") {
		t.Errorf("a Dockerfile that is a link: %v", err)
	}
	if _, err := Gather(t.Context(), dir, "real", "FROM other\nCOPY a /\n", copies, Limits{}); err == nil {
		t.Error("the text of another Dockerfile")
	}
}

func TestSecretsStayOut(t *testing.T) {
	key := "-----BEGIN OPENSSH PRIVATE KEY-----\nx\n"
	secrets := map[string]string{
		".env": "A=b", ".env.local": "", "prod.env": "", ".npmrc": "", ".netrc": "", ".claude/.credentials.json": "", ".claude.json": "", ".bash_history": "", "id_rsa": "", "id_ed25519": "", "sub/.ssh/config": "", ".aws/credentials": "", "credentials": "",
		"server.pem": "x\n-----BEGIN RSA PRIVATE KEY-----\n", "innocent.txt": key, "\x2eENV": "", "store.p12": "", ".docker/config.json": "", ".git/config": "url = https://me:pw@example.com/", ".config/gh/hosts.yml": "",
		".config/gcloud/x": "", ".kube/config": "", ".git-credentials": "", "secrets.yaml": "", ".pgpass": "", "terraform.tfstate": "",
		"keys.txt": "AGE-SECRET-KEY-1x", ".yarnrc.yml": "npmAuthToken: x", "sec.gpg": "\x95x", "new.gpg": "\xc5x", "k.asc": "-----BEGIN PGP PRIVATE KEY BLOCK-----\n", "putty": "PuTTY-User-Key-File-2: x",
	}
	plain := map[string]string{
		"ca.pem": "-----BEGIN CERTIFICATE-----\n", "id_rsa.pub": "", ".env.example": "", "main.go": `const s = "-----BEGIN PRIVATE KEY-----"`, "environment": "", ".git/HEAD": "", "identity": "", ".config/app/x": "",
		"lang/keys.txt": "a=b", ".yarnrc.yml": "nodeLinker: pnp", "apt.gpg": "\x99x", ".docker/nginx.conf": "",
	}
	for name, text := range secrets {
		dir := place(t, map[string]string{name: text, "a": ""})
		f, err := gather(t, dir, "FROM x\nCOPY . /\n", Limits{})
		if err != nil || len(f.LeftOut) != 1 || strings.Contains(fmt.Sprint(packed(t, f)), filepath.Base(name)+":") {
			t.Errorf("%s: %v, %+v", name, err, f)
		}
		if _, err := gather(t, dir, "FROM x\nCOPY "+name+" /\n", Limits{}); err == nil || !strings.Contains(err.Error(), "looks like a secret") {
			t.Errorf("%s by its name: %v", name, err)
		}
	}
	f, err := gather(t, place(t, plain), "FROM x\nCOPY . /\n", Limits{})
	if err != nil || len(f.LeftOut) > 0 || f.Files() != len(plain) {
		t.Errorf("plain: %v, %+v", err, f)
	}
	if _, err := gather(t, place(t, map[string]string{"a.env": "", "b.env": ""}), "FROM x\nCOPY *.env /\n", Limits{}); err == nil || !strings.Contains(err.Error(), "all that it takes") {
		t.Errorf("nothing but secrets: %v", err)
	}
	many := map[string]string{"a": ""}
	for i := range 30 {
		many[fmt.Sprintf("%02d.env", i)] = ""
	}
	if f, err = gather(t, place(t, many), "FROM x\nCOPY . /\n", Limits{}); err != nil || len(f.LeftOut) != 20 || f.More != 10 {
		t.Errorf("many: %v, %+v", err, f)
	}
}

func TestBounds(t *testing.T) {
	files := map[string]string{"a": "12345", "b": "12345", "d/c": "1", "d/e": "1"}
	for name, c := range map[string]struct {
		l    Limits
		copy string
		why  string
	}{
		"entries":            {Limits{Entries: 3}, ".", "more than 3 files"},
		"names":              {Limits{Seen: 3}, ".", "more than 3 names"},
		"bytes":              {Limits{Bytes: 9}, ".", "more than 0 MiB"},
		"one file":           {Limits{File: 4}, "a", "larger than"},
		"what is not copied": {Limits{Entries: 2, Bytes: 5, File: 5}, "a", ""},
		"just so":            {Limits{Entries: 5, Bytes: 12, File: 5, Seen: 7}, ".", ""},
	} {
		_, err := gather(t, place(t, files), "FROM x\nCOPY "+c.copy+" /\n", c.l)
		if (err == nil) != (c.why == "") || err != nil && !strings.Contains(err.Error(), c.why) {
			t.Errorf("%s: %v", name, err)
		}
	}
	deep := place(t, map[string]string{strings.Repeat("d/", 110) + "x": ""})
	if _, err := gather(t, deep, "FROM x\nCOPY d /\n", Limits{}); err == nil || !strings.Contains(err.Error(), "100 deep") {
		t.Errorf("deep: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	copies, _ := recipe.Read("", "COPY . /")
	if _, err := Gather(ctx, deep, "Dockerfile", "FROM x\nCOPY d /\n", copies, Limits{}); !errors.Is(err, context.Canceled) {
		t.Errorf("an interrupt: %v", err)
	}
}

// One pattern of 64 KiB costs a fifth of a second for each name: 100,000 names would take hours.
func TestAnIgnoreListThatTakesHours(t *testing.T) {
	files := map[string]string{".dockerignore": strings.Repeat("*a", 32_000) + "b\n"}
	for i := range 200 {
		files[fmt.Sprintf("%s%d", strings.Repeat("a", 200), i)] = "x"
	}
	begun := time.Now()
	_, err := gather(t, place(t, files), "FROM x\nCOPY . /x\n", Limits{Time: 100 * time.Millisecond})
	if _, ok := errors.AsType[bottle.Problems](err); !ok || !strings.Contains(err.Error(), "takes longer than 100ms") {
		t.Errorf("%v", err)
	}
	if took := time.Since(begun); took > 20*time.Second {
		t.Errorf("it took %s", took)
	}
}

// The lists of other engines, of which each would be stronger than the one that is packed.
func TestOtherEnginesLists(t *testing.T) {
	dir := place(t, map[string]string{"a": "a", ".containerignore": "a\n", recipeName + ".dockerignore": "a\n", recipeName + ".containerignore": "a\n"})
	f, err := gather(t, dir, "FROM x\nCOPY . /x\n", Limits{})
	if err != nil || f.Files() != 1 {
		t.Errorf("%v, files %d", err, f.Files())
	}
}
