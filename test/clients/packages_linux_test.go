package clients

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"bottle/test/fake/loopback"
	"bottle/test/require"
)

// shelf is a registry: what lies under each path. A missing path is a 404.
func shelf(files map[string][]byte) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, ok := files[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		http.ServeContent(w, r, r.URL.Path, time.Unix(1700000000, 0), bytes.NewReader(body))
	})
}

func shelfSite(t *testing.T, host string, files map[string][]byte) *site {
	t.Helper()
	srv, err := loopback.Serve(shelf(files), host)
	return serve(t, srv, err, host)
}

// file is one member of an archive.
type file struct{ name, text string }

func zipped(t *testing.T, files ...file) []byte {
	t.Helper()
	var buf bytes.Buffer
	z := zip.NewWriter(&buf)
	for _, f := range files {
		w, err := z.Create(f.name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(f.text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func tarred(t *testing.T, files ...file) []byte {
	t.Helper()
	var buf bytes.Buffer
	g := gzip.NewWriter(&buf)
	w := tar.NewWriter(g)
	for _, f := range files {
		if err := w.WriteHeader(&tar.Header{Name: f.name, Mode: 0o644, Size: int64(len(f.text))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(f.text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// fetched holds that the host's paths were asked for so many times, all of them
// allowed, and that nothing else was asked of it.
func (r *result) fetched(host string, times int, paths ...string) {
	r.t.Helper()
	got, logged := map[string]int{}, map[string]int{}
	for _, q := range r.site(host).requests() {
		path, _, _ := strings.Cut(q.Path, "?")
		got[q.Method+" "+path]++
	}
	for _, rec := range r.records {
		if rec.Host == host && rec.Kind == "http" && rec.Verdict == "allow" {
			logged[rec.Method+" "+rec.Path]++
		}
	}
	for _, p := range paths {
		if got["GET "+p] != times || logged["GET "+p] != times {
			r.t.Errorf("%s%s: %d requests and %d records, want %d of each; of all: %v", host, p, got["GET "+p], logged["GET "+p], times, got)
		}
		delete(got, "GET "+p)
	}
	for p, n := range got {
		if logged[p] != n {
			r.t.Errorf("%s: %d requests %s and %d records", host, n, p, logged[p])
		}
	}
}

// ended holds that each heading's program ended well and printed the text.
func (r *result) ended(text string, names ...string) {
	r.t.Helper()
	for _, name := range names {
		if s := r.said[name]; s.code != "0" || !strings.Contains(s.text, text) {
			r.t.Errorf("%s ended with %q, without %q: %s", name, s.code, text, s.text)
		}
	}
}

// TestNpm installs a package from the registry's own name.
func TestNpm(t *testing.T) {
	require.Tool(t, "node", "npm")
	const host = "registry.npmjs.org"
	tarball := tarred(t, file{"package/package.json", `{"name":"tiny-bottle","version":"1.2.3","main":"index.js"}`}, file{"package/index.js", `module.exports = "tiny works"`})
	sum := sha512.Sum512(tarball)
	document := fmt.Sprintf(`{"name":"tiny-bottle","dist-tags":{"latest":"1.2.3"},"versions":{"1.2.3":{"name":"tiny-bottle","version":"1.2.3","main":"index.js",
		"dist":{"tarball":"https://%s/tiny-bottle/-/tiny-bottle-1.2.3.tgz","integrity":"sha512-%s"}}}}`, host, base64.StdEncoding.EncodeToString(sum[:]))
	s := shelfSite(t, host, map[string][]byte{"/tiny-bottle": []byte(document), "/tiny-bottle/-/tiny-bottle-1.2.3.tgz": tarball})
	b := newBox(t, []*site{s})
	r := b.run(`
i() { mkdir -p $1 && cd $1 && shift && npm install --no-audit --no-fund --no-update-notifier --fetch-retries=0 --cache $PWD/cache "$@" && cat node_modules/tiny-bottle/index.js; }
as proxied i /tmp/a tiny-bottle
as direct direct bash -c "$(declare -f i); i /tmp/b tiny-bottle@1.2.3"
cd /tmp/a
as no-proxy npm view --fetch-retries=0 --registry=https://no-proxy.example.net/ x
as no-direct direct npm view --fetch-retries=0 --registry=https://no-direct.example.net/ x
`)
	r.ended("tiny works", "proxied", "direct")
	r.fetched(host, 2, "/tiny-bottle", "/tiny-bottle/-/tiny-bottle-1.2.3.tgz")
	r.refused(byProxy, "no-proxy")
	r.refused(direct, "no-direct")
}

// TestPip installs a wheel from the index's own name and the host of its files.
func TestPip(t *testing.T) {
	require.Python(t, "pip")
	wheel := zipped(t,
		file{"tiny_bottle.py", "says = 'tiny works'\n"},
		file{"tiny_bottle-1.2.3.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny-bottle\nVersion: 1.2.3\n"},
		file{"tiny_bottle-1.2.3.dist-info/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"},
		file{"tiny_bottle-1.2.3.dist-info/RECORD", "tiny_bottle.py,,\ntiny_bottle-1.2.3.dist-info/METADATA,,\ntiny_bottle-1.2.3.dist-info/WHEEL,,\ntiny_bottle-1.2.3.dist-info/RECORD,,\n"},
	)
	sum := sha256.Sum256(wheel)
	const path = "/packages/tiny_bottle-1.2.3-py3-none-any.whl"
	index := shelfSite(t, "pypi.org", map[string][]byte{"/simple/tiny-bottle/": fmt.Appendf(nil,
		`<!DOCTYPE html><html><body><a href="https://files.pythonhosted.org%s#sha256=%s">tiny_bottle-1.2.3-py3-none-any.whl</a></body></html>`, path, hex.EncodeToString(sum[:]))})
	files := shelfSite(t, "files.pythonhosted.org", map[string][]byte{path: wheel})
	b := newBox(t, []*site{index, files})
	r := b.run(`
i() { # an index that is refused is passed over
  /usr/bin/python3 -m pip install -q --target $1 --retries 0 --timeout 15 --no-cache-dir --disable-pip-version-check --extra-index-url https://$2.example.net/simple tiny-bottle
  cat $1/tiny_bottle.py
}
as proxied i /tmp/a no-proxy
as direct direct bash -c "$(declare -f i); i /tmp/b no-direct"
`)
	r.ended("tiny works", "proxied", "direct")
	r.fetched("pypi.org", 2, "/simple/tiny-bottle/")
	r.fetched("files.pythonhosted.org", 2, path)
	r.wentBy(t, byProxy, "no-proxy")
	r.wentBy(t, direct, "no-direct")
}

// TestGoModules gets a module through the module proxy's protocol.
func TestGoModules(t *testing.T) {
	require.Tool(t, "go")
	const host, base = "proxy.golang.example", "/example.com/tiny/@v/"
	mod := "module example.com/tiny\n\ngo 1.21\n"
	at := "example.com/tiny@v1.2.3/"
	s := shelfSite(t, host, map[string][]byte{
		base + "list":        []byte("v1.2.3\n"),
		base + "v1.2.3.info": []byte(`{"Version":"v1.2.3","Time":"2024-01-01T00:00:00Z"}`),
		base + "v1.2.3.mod":  []byte(mod),
		base + "v1.2.3.zip":  zipped(t, file{at + "go.mod", mod}, file{at + "tiny.go", "package tiny\n"}),
	})
	b := newBox(t, []*site{s})
	r := b.run(`
export GOPROXY=https://proxy.golang.example GONOSUMDB='*' GOTOOLCHAIN=local GOFLAGS=-modcacherw
g() { export GOMODCACHE=$1/cache; mkdir -p $1/m && cd $1/m && go mod init example.com/m && shift && "$@" && go list -m all && ls $GOMODCACHE/example.com/tiny@v1.2.3; }
as get g /tmp/a go get example.com/tiny@latest
d() { printf 'require example.com/tiny v1.2.3\n' >>go.mod; go mod download -x; }
as download direct bash -c "$(declare -f g d); g /tmp/b d"
export GOMODCACHE=/tmp/c
as no-proxy env GOPROXY=https://no-proxy.example.net go list -m example.com/other@latest
as no-direct direct env GOPROXY=https://no-direct.example.net go list -m example.com/other@latest
`)
	r.ended("tiny.go", "get", "download")
	r.fetched(host, 2, base+"v1.2.3.mod", base+"v1.2.3.zip")
	r.refused(byProxy, "no-proxy")
	r.refused(direct, "no-direct")
}

// TestApt updates from a repository and downloads a package, over TLS and without.
func TestApt(t *testing.T) {
	require.Tool(t, "apt-get")
	const pool = "/pool/tiny-bottle_1.2.3_all.deb"
	deb := bytes.Repeat([]byte("a package that nobody installs\n"), 3000)
	sum := sha256.Sum256(deb)
	list := fmt.Appendf(nil, "Package: tiny-bottle\nVersion: 1.2.3\nArchitecture: all\nMaintainer: Nobody <nobody@example.com>\nDescription: tiny\nFilename: %s\nSize: %d\nSHA256: %s\n\n", pool[1:], len(deb), hex.EncodeToString(sum[:]))
	listSum := sha256.Sum256(list)
	release := fmt.Appendf(nil, "Origin: tiny\nSuite: stable\nCodename: stable\nDate: Wed, 01 Jan 2025 00:00:00 UTC\nArchitectures: all\nComponents: main\nSHA256:\n %s %d main/binary-all/Packages\n", hex.EncodeToString(listSum[:]), len(list))
	files := map[string][]byte{"/dists/stable/Release": release, "/dists/stable/main/binary-all/Packages": list, pool: deb}
	secure := shelfSite(t, "deb.example.com", files)
	srv, err := loopback.Plain(shelf(files))
	plain := serve(t, srv, err, "deb.example.org")
	plain.port = 80
	b := newBox(t, []*site{secure, plain})
	r := b.run(`
a() { # a FOLDER URL: update, then download
  mkdir -p $1/{etc/apt.conf.d,etc/preferences.d,etc/sources.list.d,etc/trusted.gpg.d,lists/partial,cache/archives/partial,here} && cd $1/here
  echo "deb [trusted=yes arch=all] $2 stable main" >../etc/sources.list; touch ../status
  o=(-o Dir::Etc=$1/etc -o Dir::State=$1 -o Dir::State::status=$1/status -o Dir::State::lists=$1/lists -o Dir::Cache=$1/cache -o Dir::Log=$1
    -o APT::Architecture=all -o APT::Architectures=all -o Acquire::Languages=none -o Acquire::Retries=0 -o APT::Update::Error-Mode=any)
  apt-get "${o[@]}" update && apt-get "${o[@]}" download tiny-bottle && tail -n 1 tiny-bottle_1.2.3_all.deb
}
d() { direct bash -c "$(declare -f a); a $1 $2"; }
as proxied a /tmp/a https://deb.example.com
as direct d /tmp/b https://deb.example.com
as plain a /tmp/c http://deb.example.org
as plain-direct d /tmp/d http://deb.example.org
as no-proxy a /tmp/e https://no-proxy.example.net
as no-direct d /tmp/f https://no-direct.example.net
`)
	r.ended("a package that nobody installs", "proxied", "direct", "plain", "plain-direct")
	for _, host := range []string{"deb.example.com", "deb.example.org"} {
		r.fetched(host, 2, "/dists/stable/Release", "/dists/stable/main/binary-all/Packages", pool)
	}
	r.refused(byProxy, "no-proxy")
	r.refused(direct, "no-direct")
}

// TestPublish sends packages to their registries by the registries' own programs: npm
// wraps an archive in base64 in JSON, twine and its like a wheel in a form.
func TestPublish(t *testing.T) {
	require.Tool(t, "node", "npm", "curl", "python3")
	took := func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			http.NotFound(w, r)
			return
		}
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			panic(http.ErrAbortHandler)
		}
		fmt.Fprint(w, `{"ok":true}`)
	}
	const npm, pypi = "registry.npmjs.org", "upload.pypi.org"
	var sites []*site
	for _, host := range []string{npm, pypi} {
		srv, err := loopback.Serve(http.HandlerFunc(took), host)
		sites = append(sites, serve(t, srv, err, host))
	}
	r := newBox(t, sites).run(`
key() { echo ghp_$(head -c 64 /dev/urandom | base64 -w0 | tr -dc A-Za-z0-9 | head -c 36); }
fill() { head -c 900000 /dev/urandom; echo; echo "token = $1"; head -c 900000 /dev/urandom; }
mkdir -p /tmp/p && cd /tmp/p && echo '{"name":"tiny-bottle","version":"1.2.3","main":"index.js"}' >package.json && printf '# Tiny\n\n"works"\n' >README.md
echo "//registry.npmjs.org/:_authToken=none" >.npmrc
publish() { npm publish --no-audit --no-fund --no-update-notifier --fetch-retries=0 --cache /tmp/p-cache; }
wheel() { python3 -m zipfile -c /tmp/tiny_bottle-1.2.3-py3-none-any.whl index.js README.md && curl -sSf -F :action=file_upload -F name=tiny-bottle -F content=@/tmp/tiny_bottle-1.2.3-py3-none-any.whl https://upload.pypi.org/legacy/; }
fill none >index.js
as npm publish
as wheel wheel
fill $(key) >index.js
as npm-secret publish
as wheel-secret wheel
`)
	r.ended("", "npm", "wheel")
	for _, name := range []string{"npm-secret", "wheel-secret"} {
		if s := r.said[name]; s.code == "0" {
			t.Errorf("%s: a secret was published: %s", name, s.text)
		}
	}
	count := map[string]int{}
	for _, rec := range r.records {
		if rec.Method == "PUT" || rec.Method == "POST" {
			count[rec.Host+" "+rec.Verdict+" "+rec.Reason]++
			if rec.Verdict == "allow" && rec.BytesOut < 1_800_000 {
				t.Errorf("%s got %d bytes", rec.Host, rec.BytesOut)
			}
		}
	}
	for _, want := range []string{npm + " allow listed", pypi + " allow listed", npm + " deny secret_found", pypi + " deny secret_found"} {
		if count[want] == 0 {
			t.Errorf("no record says %q; %v", want, count)
		}
	}
}
