package watch

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"bottle/internal/secret"
)

func values(list []Secret) []string {
	out := []string{}
	for _, s := range list {
		if s.Why == "" {
			out = append(out, s.Name+" = "+s.Value.Reveal())
		}
	}
	return out
}

// TestForms: of each form of file the secrets are taken, by name, and nothing else.
func TestForms(t *testing.T) {
	key := "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAA\n-----END OPENSSH PRIVATE KEY-----\n"
	for _, c := range []struct {
		file, content string
		want          []string
	}{
		{".env", "# a comment\nexport API_KEY=abcdef0123456789\nSHORT=1234567\nEMPTY=\nno line\n DB_PASS = \"k7\\\"Qm2xVw9\\nTz8Rp4Ls1\" # more\nMULTI_KEY='f1rst7Kq\nsec0nd4Z'\nREF=${API_KEY}\r\nOPEN_KEY=\"n3ver cl0s3d\nMODE=production\nLAST_KEY=pl4in v4lue # comment\nTICK_KEY=`b4ck t1ck v4lue`\n",
			[]string{".env:API_KEY = abcdef0123456789", ".env:DB_PASS = k7\"Qm2xVw9\nTz8Rp4Ls1", ".env:MULTI_KEY = f1rst7Kq\nsec0nd4Z", ".env:OPEN_KEY = n3ver cl0s3d", ".env:LAST_KEY = pl4in v4lue", ".env:TICK_KEY = b4ck t1ck v4lue"}},
		{"a/prod.env", "KEY=q1w2e3r4\nKEY=z9x8c7v6\n", []string{"a/prod.env:KEY = q1w2e3r4", "a/prod.env:KEY 2 = z9x8c7v6"}},
		{"~/.aws/credentials", "[default]\naws_access_key_id = AKIA0000000000000000\naws_secret_access_key=abcdefghijklmnopqrstuvwxyz0123456789ABCD\nregion = eu-central-1-long\n[other]\n; aws_session_token = not this one\naws_session_token = T0KENt0k3n\n",
			[]string{"~/.aws/credentials:default.aws_access_key_id = AKIA0000000000000000", "~/.aws/credentials:default.aws_secret_access_key = abcdefghijklmnopqrstuvwxyz0123456789ABCD", "~/.aws/credentials:other.aws_session_token = T0KENt0k3n"}},
		{"~/.aws/config", "[profile x]\nrole_arn = arn:aws:iam::123456789012:role/Admin7Role\nregion = eu-central-1\n", []string{}},
		{"~/.config/gh/hosts.yml", "github.com:\n    user: somebody-long\n    oauth_token: gho_0123456789abcdef\n    git_protocol: https-or-ssh\n", []string{"~/.config/gh/hosts.yml:github.com.oauth_token = gho_0123456789abcdef"}},
		{"~/.netrc", "machine api.example.com login me password s3cr3t-one\n# password no-secret-1\nmachine b.example.com\n\tlogin you\n\tpassword \"w1th bl4nk\\\" tw0\"\ndefault login anonymous password us3r@ex4mple\nmacdef init\npassword not-a-secret\n\nmachine c.example.com password three-3333",
			[]string{"~/.netrc:password api.example.com = s3cr3t-one", "~/.netrc:password b.example.com = w1th bl4nk\" tw0", "~/.netrc:password default = us3r@ex4mple", "~/.netrc:password c.example.com = three-3333"}},
		{"~/.npmrc", "registry=https://registry.npmjs.org/\n//registry.npmjs.org/:_authToken=npm_0123456789abcdef\n//other/:_authToken=${NPM_TOKEN}\n", []string{"~/.npmrc://registry.npmjs.org/:_authToken = npm_0123456789abcdef"}},
		{"~/.docker/config.json", `{"auths": {"https://index.docker.io/v1/": {"auth": "dXNlcjpwNHNzdzByZC0x"}, "ghcr.io": {"identitytoken": "identity-0001"}}, "credsStore": "desktop-desktop"}`,
			[]string{"~/.docker/config.json:auths.ghcr.io.identitytoken = identity-0001", "~/.docker/config.json:auths.https://index.docker.io/v1/ password in base64 = dXNlcjpwNHNzdzByZC0x", "~/.docker/config.json:auths.https://index.docker.io/v1/ password = p4ssw0rd-1"}},
		{"~/.aws/sso/cache/x.json", `{"startUrl": "https://x.awsapps.com/start", "accessToken": "aoa0k7Qm2x", "clientSecret": "eyJraWQ0000"}`,
			[]string{"~/.aws/sso/cache/x.json:accessToken = aoa0k7Qm2x", "~/.aws/sso/cache/x.json:clientSecret = eyJraWQ0000"}},
		{"~/.ssh/id_ed25519", key, []string{"~/.ssh/id_ed25519:private key = " + strings.TrimSpace(key)}},
		{"~/.ssh/id_ed25519.pub", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHWlnVZDoYlWrKKmtzXYmfl1WeQ2JqpsJfJQiJP5pvEj me\n", []string{}},
		{"~/.ssh/known_hosts", "h ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHWlnVZDoYlWrKKmtzXYmfl1WeQ2JqpsJfJQiJP5pvEj\n", []string{}},
		{"~/.ssh/config", "Host x\n  IdentityFile ~/.ssh/id_ed25519_0123456789\n", []string{}},
		{"cert.pem", "-----BEGIN CERTIFICATE-----\nMIIBszCCAVmgAwIBAgIUQ2x5\n-----END CERTIFICATE-----\n", []string{}},
		{"notes", "my key is Zk3Pq9Lw2Xv8Rt5N, and aaaaaaaaaaaaaaaaaaa1 is none, nor is plain-words-with-dashes\nTOKEN_X=Zk3Pq9Lw2Xv8Rt5Y\n",
			[]string{"notes:TOKEN_X = Zk3Pq9Lw2Xv8Rt5Y", "notes:line 1 = Zk3Pq9Lw2Xv8Rt5N", "notes:line 2 = Zk3Pq9Lw2Xv8Rt5Y"}},
		{"binary", "\x00Zk3Pq9Lw2Xv8Rt5N\x00", []string{}},
	} {
		if got := values(Parse(c.file, []byte(c.content))); !slices.Equal(got, c.want) {
			t.Errorf("%s:\n got %q\nwant %q", c.file, got, c.want)
		}
	}
}

// TestLeftOutIsNamed: what is in a file and is not looked for is told, by name and why.
func TestLeftOutIsNamed(t *testing.T) {
	var got []string
	for _, s := range Parse(".env", []byte("LICENSE=purple-lamp-under-desk5\nDB_PASSWORD=hunter22\nADMIN_PASSWORD=hunter2\nCUSTOMER=acme corporation\nPIN_TOKEN=12345678\nA=$B\nC=\n")) {
		got = append(got, s.Name+" "+s.Why)
	}
	if want := []string{".env:LICENSE ", ".env:DB_PASSWORD ", ".env:ADMIN_PASSWORD shorter than 8 bytes", ".env:CUSTOMER nothing in it looks random", ".env:PIN_TOKEN a plain number"}; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

// TestNothingFoundIsTold: a file of which nothing is watched says so, if it was named.
func TestNothingFoundIsTold(t *testing.T) {
	dir := t.TempDir()
	var sources []Source
	for name, content := range map[string]string{
		"vars": "A=exported-secret-value-1234\n", "empty.env": "# nothing\n", "in/config": "x\n", "mode.env": "MODE=production\n",
		"many.env": strings.Repeat("A_KEY=q1w2e3r4t5\n", 201), "long.env": "A=" + strings.Repeat("x", longest+1),
	} {
		name, _, _ := strings.Cut(name, "/")
		write(t, dir, name+map[bool]string{true: "/config"}[name == "in"], content)
		sources = append(sources, Source{Path: filepath.Join(dir, name), Shown: name})
	}
	_, warnings := Look(sources)
	told := warnings.Error()
	for _, want := range []string{"vars holds nothing that is", "empty.env holds nothing that is", "in holds nothing that is", "many.env holds more than 200 values", "long.env holds more than"} {
		if !strings.Contains(told, want) {
			t.Errorf("%q is not told in\n%s", want, told)
		}
	}
	if len(warnings) != 5 {
		t.Errorf("%v", warnings)
	}
}

// FuzzParse: whatever a file holds, its secrets are few, have names of their own that
// a terminal does not obey, and values that stand in the file.
func FuzzParse(f *testing.F) {
	for _, name := range []string{".env", ".netrc", "x.json", "x.yml", "notes", "id_rsa"} {
		f.Add(name, []byte("A=\"b\\nc\"\nmachine x password \"y\\\n"))
		f.Add(name, []byte(`{"auth": "YTpi", "token": ["12345678", {"a_key": "12345678"}]}`))
		f.Add(name, []byte("[s]\n- token: 'abcdefgh\n\x1b[2J_key=12345678\n"))
	}
	f.Fuzz(func(t *testing.T, file string, content []byte) {
		names := map[string]bool{}
		list := Parse(file, content)
		for _, s := range list {
			if names[s.Name] || strings.ContainsAny(s.Name, "\x00\x1b\n\r") {
				t.Errorf("the name %q", s.Name)
			}
			names[s.Name] = true
			if s.Value.Empty() || s.Value.Len() > len(content) || s.Why == "" && s.Value.Len() < 8 {
				t.Errorf("%s has %d bytes of %d", s.Name, s.Value.Len(), len(content))
			}
		}
		if len(list) > 2*maxValues {
			t.Errorf("%d values", len(list))
		}
	})
}

func write(t *testing.T, dir, name, content string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestLookIsBounded: of a folder, files two levels down are read, and no more than 200
// of them; what is left out is told, and nothing of it stops a start.
func TestLookIsBounded(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "in/a.env", "A_KEY=aq7aw8ae1")
	write(t, dir, "in/1/b.env", "B_KEY=bq7bw8be1")
	write(t, dir, "in/1/2/c.env", "C_KEY=cq7cw8ce1")
	write(t, dir, "in/1/2/3/d.env", "D_KEY=dq7dw8de1")
	write(t, dir, "in/big.env", "E_KEY=eq7ew8ee1\n"+strings.Repeat("#", MaxFile))
	if err := syscall.Mkfifo(filepath.Join(dir, "in/pipe.env"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(dir, "in"), filepath.Join(dir, "in/1/back")); err != nil {
		t.Fatal(err)
	}
	for i := range MaxFiles + 10 {
		write(t, dir, fmt.Sprintf("many/%03d.env", i), fmt.Sprintf("A_KEY=v4lu3-%03d-x", i))
	}
	found, warnings := Look([]Source{
		{Path: filepath.Join(dir, "in"), Shown: "~/in"}, {Path: filepath.Join(dir, "in/pipe.env"), Shown: "pipe.env"},
		{Path: filepath.Join(dir, "none"), Shown: "~/none"}, {Path: filepath.Join(dir, "none"), Shown: ".env"},
		{Path: filepath.Join(dir, "many"), Shown: "~/many"}, {Path: filepath.Join(dir, "in/a.env"), Shown: "~/in/a.env"},
	})
	var names []string
	for _, s := range found {
		names = append(names, s.Name)
	}
	if want := []string{"~/in/1/2/c.env:C_KEY", "~/in/1/b.env:B_KEY", "~/in/a.env:A_KEY", "~/many/000.env:A_KEY"}; len(found) != 3+MaxFiles || !slices.Equal(names[:4], want) {
		t.Errorf("%d found, the first %q", len(found), names[:4])
	}
	told := warnings.Error()
	for _, want := range []string{"~/in/big.env is not watched: it is too large", "pipe.env is not watched: it is not a regular file", "~/none is not there", ".env is not there", "~/many holds more than 200 files"} {
		if !strings.Contains(told, want) {
			t.Errorf("%q is not told in\n%s", want, told)
		}
	}
	if warnings.Fatal() || len(warnings) != 5 {
		t.Errorf("%v", warnings)
	}
}

// TestLookHasABoundOfBytes: a repository's .env cannot crowd the operator's own out of
// what the gateway looks for: those are named before it.
func TestLookHasABoundOfBytes(t *testing.T) {
	dir := t.TempDir()
	var sources []Source
	random := rand.New(rand.NewPCG(1, 2))
	for i := range 10 {
		name, value := fmt.Sprintf("%d.env", i), make([]byte, 8<<10)
		for i := range value {
			value[i] = byte(random.Uint32())
		}
		sources = append(sources, Source{Path: write(t, dir, name, fmt.Sprintf("A_KEY=%x\n", value)), Shown: name})
	}
	found, warnings := Look(sources)
	if len(found) != 8 || len(warnings) != 1 || !strings.Contains(warnings.Error(), "8.env and what follows is watched in part only") {
		t.Errorf("%d found, %v", len(found), warnings)
	}
}

func TestKey(t *testing.T) {
	dir := t.TempDir()
	v, err := Key(write(t, dir, "id", "-----BEGIN"))
	if err != nil || !v.Equal(secret.New([]byte("-----BEGIN"))) {
		t.Error(err)
	}
	if _, err := Key(write(t, dir, "big", strings.Repeat("x", maxKey+1))); err == nil {
		t.Error("a key of more than 64 KiB")
	}
	if _, err := Key(filepath.Join(dir, "none")); err == nil || strings.Contains(err.Error(), "BEGIN") {
		t.Error(err)
	}
	if _, err := Key(dir); err == nil {
		t.Error("a folder")
	}
}
