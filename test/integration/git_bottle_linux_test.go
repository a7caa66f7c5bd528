package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bottle/internal/policy"
	"bottle/test/require"
)

// boxed is a house whose bottle has the repository app of a web forge behind the gate, and
// a route that lets it read the whole server.
func (f *webForge) boxed(t *testing.T, limits string) *house {
	t.Helper()
	require.Tool(t, "curl")
	h := newHouse(t, -1, "")
	h.write("ca.pem", f.ca)
	h.write("password", "robot:"+forgePassword+"\n")
	if err := os.Chmod(filepath.Join(h.base, "password"), 0o600); err != nil {
		t.Fatal(err)
	}
	h.write("home/bottles/box.md", fmt.Sprintf(`---
supervise: false
agent_provider: {template: command}
egress:
  limits: {%[3]s}
  routes:
    - host: example.com
      ports: [%[1]s]
      methods: [GET, HEAD, POST]
      auth: {scheme: Basic, token_ref: "file:%[2]s/password"}
      upstream: {address: "127.0.0.1:%[1]s", ca_file: %[2]s/ca.pem}
git:
  - name: app
    upstream: "https://example.com:%[1]s/app.git"
    auth: {token_ref: "file:%[2]s/password"}
    ca_file: %[2]s/ca.pem
    extra_hosts: {example.com: 127.0.0.1}
    push: {branches: ["agent/*"], tags: true}
---
A box with a repository.
`, f.port, h.base, limits))
	h.own()
	return h
}

// raw is a shell's way to send what git would not.
const rawShell = `
export GIT_TERMINAL_PROMPT=0 GIT_CONFIG_GLOBAL=/dev/null GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b.example GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b.example
Z=0000000000000000000000000000000000000000; C=' report-status side-band-64k push-options'
cmd() { printf '%04x%s %s %s\0%s' $((${#1}+${#2}+${#3}+${#C}+7)) "$1" "$2" "$3" "$C"; }
send() { local to=$1; shift; curl -s --path-as-is -o /tmp/answer -w '%{http_code}' -H 'Content-Type: application/x-git-receive-pack-request' --data-binary @/tmp/body "$@" "$to/git-receive-pack"; tr -d '\000-\011' </tmp/answer; echo; }
new() { git rev-list --objects --no-object-names HEAD --not origin/trunk; }
`

// TestGitGateAttacksOverHTTPSInABottle: from inside a bottle, over https and past the
// bottle's git config: an object that no ref reaches, a secret in what was deleted again, one
// that is compressed twice on its way, names that attack a clone, refs that no git would send,
// and the repository's own URL in spellings that a server might take for the same, where a
// route would let a POST through with the credential. Upstream sees no push at all.
func TestGitGateAttacksOverHTTPSInABottle(t *testing.T) {
	f := newWebForge(t)
	h := f.boxed(t, "")
	s := h.start(`U=https://example.com:` + f.port + `
set -u; cd /tmp; ` + rawShell + `
git clone -q $U/app.git w || exit 10
cd w
git checkout -q -b agent/one; git commit -q --allow-empty -m one; G=$(git rev-parse HEAD)
{ new; echo nothing-of-a-ref | git hash-object -w --stdin; } | git pack-objects -q --stdout > p
{ cmd $Z $G refs/heads/agent/one; printf 00000000; cat p; } > /tmp/body; echo "hidden $(send $U/app.git)"
echo "hidden2 $(send $U/app.git --http2)"
new | git pack-objects -q --stdout > good
for r in refs/heads/../../config 'refs/heads/agent/a b' refs/heads/agent/a..b HEAD refs/for/trunk refs/heads/trunk --exec=x; do
  { cmd $Z $G "$r"; printf 00000000; cat good; } > /tmp/body; echo "ref $(send $U/app.git)"; done
{ cmd $Z $G refs/heads/trunk2; printf 00000000; cat good; } > /tmp/body; gzip -c /tmp/body > /tmp/z; mv /tmp/z /tmp/body; echo "zipped $(send $U/app.git -H 'Content-Encoding: gzip' -H 'Transfer-Encoding: chunked')"
echo 'id = AKIAQ3EGRZV5JTKLMN7W' > leak; git add leak; git commit -q -m leak; git rm -q leak; git commit -q -m clean
git push origin HEAD:refs/heads/agent/two 2>&1; echo "deleted $?"
new | git pack-objects -q --stdout > bad; B=$(git rev-parse HEAD)
{ cmd $Z $B refs/heads/agent/two; printf 00000000; cat bad; } > /tmp/plain; gzip -c /tmp/plain > /tmp/body; echo "twice $(send $U/app.git -H 'Content-Encoding: gzip')"
cp /tmp/plain /tmp/body; for u in //app.git /./app.git /x/../app.git /%61pp.git /%2fapp.git /APP.git '/app.git;x' /app /app.git/. '/app.git/%2e' '/app.git//'; do echo "spelled $u $(send "$U$u")"; done
printf '%s' "$(cat /tmp/body | wc -c)" >/dev/null; for q in 'git-receive-pack;x' 'GIT-RECEIVE-PACK' 'git-receive-pack/' 'git%2dreceive-pack' './git-receive-pack'; do curl -s --path-as-is -o /dev/null -w "service $q %{http_code}\n" -X POST -H 'Content-Type: text/plain' --data-binary @/tmp/body "$U/app.git/$q"; done
git reset -q --hard $G
blob=$(echo '[core]' | git hash-object -w --stdin)
for n in .GIT 'git~1' .gitmodules; do
  e=100644; to=$blob; [ $n = .gitmodules ] && { e=120000; to=$(printf elsewhere | git hash-object -w --stdin); }
  t=$(printf "$e blob $to\t$n\n" | git mktree)
  git push origin $(git commit-tree -p HEAD -m x $t):refs/heads/agent/three 2>&1; echo "name $?"; done
git push -o bottle.dry-run origin HEAD:refs/heads/agent/one 2>&1; echo "dry $?"
git push origin HEAD:refs/heads/agent/one 2>&1; echo "good $?"; exit 0`)
	before, after, _ := strings.Cut(s.out, "dry run: this push would be accepted")
	for want, n := range map[string]int{"hidden 200": 1, "hidden2 200": 1, string(policy.HiddenObject): 4, "ng refs/heads/agent/one": 2, "ng refs/heads/trunk2 ": 1, "zipped 200": 1, "ng refs/for/trunk": 1, string(policy.RefNotListed): 6, "hasDotgit": 2, ".gitmodules is a symbolic link": 1, "deleted 1": 1, "twice 200": 1,
		"ng refs/heads/agent/two": 3, "spelled //app.git": 1, "name 1": 3} {
		if got := strings.Count(before, want); got < n {
			t.Errorf("the agent sees %q %d times, want %d", want, got, n)
		}
	}
	for _, never := range []string{"ok refs/", "hidden 0", "ref 000", "name 0"} {
		if strings.Contains(before, never) {
			t.Errorf("the agent sees %q", never)
		}
	}
	if !strings.Contains(after, "dry 1") || !strings.Contains(after, "good 0") || strings.Contains(s.out, "dry 0") {
		t.Error("what is good does not go")
	}
	if n := f.posted.Load(); n != 1 {
		t.Errorf("upstream was sent %d pushes, and one was good", n)
	}
	if got := f.refs(); got != "refs/heads/agent/one\nrefs/heads/trunk" {
		t.Errorf("upstream has %q", got)
	}
	if all := f.everything(); strings.Contains(all, ruleSecret) || strings.Contains(all, "nothing-of-a-ref") {
		t.Error("upstream has what must not leave")
	}
	if t.Failed() {
		t.Logf("%s\n%s", s.out, s.err)
	}
}

// TestGitGateCountsRequests: what is asked of the gate counts as any request. A flood ends
// with limit_rate, upstream sees little of it, and afterwards git works again.
func TestGitGateCountsRequests(t *testing.T) {
	f := newWebForge(t)
	h := f.boxed(t, "requests_per_second: 2")
	s := h.start(`U=https://example.com:` + f.port + `
cd /tmp; for i in 1 2 3 4 5 6 7 8; do for j in 1 2 3 4 5; do
  for q in http://git.bottle/app.git "$U/app.git"; do curl -s -D /tmp/head.$i.$j -o /tmp/said.$i.$j -w 'flood %{http_code}\n' "$q/info/refs?service=git-receive-pack" & done; done; wait; done
cat /tmp/said.* | grep -ao limit_rate | head -1
grep -aih retry-after /tmp/head.* | head -1
sleep 6; git clone -q $U/app.git w 2>&1; echo "clone $?"; exit 0`)
	passed, refused := strings.Count(s.out, "flood 200"), strings.Count(s.out, "flood 429")
	if passed+refused != 80 || passed < 10 || refused < 10 || !strings.Contains(s.out, string(policy.LimitRate)) || !strings.Contains(strings.ToLower(s.out), "retry-after") || !strings.Contains(s.out, "clone 0") {
		t.Errorf("%d passed, %d were refused\n%s\n%s", passed, refused, s.out, s.err)
	}
	if n := f.asked.Load(); n > int64(2*passed+10) {
		t.Errorf("upstream got %d requests for %d", n, passed)
	}
	noted := false
	for _, r := range h.records() {
		noted = noted || r["reason"] == string(policy.LimitRate)
	}
	if !noted {
		t.Error("no record of it")
	}
}

// TestGitGateDeepDeltas: the weakness: a difference is to a difference is to a difference.
// The attack: 4,000 of them, small ones and ones of 32 KiB each. This proves that what stands
// in the last is found, that a clean one goes, and that both take bounded time and memory.
func TestGitGateDeepDeltas(t *testing.T) {
	t.Parallel()
	p := newProof(t)
	p.clone()
	const depth = 4000
	chain := func(size int, last string) (string, []packed) {
		base := []byte(strings.Repeat("a line of a file that changes a little\n", size/39+1)[:size])
		objects, tree := []packed{{kind: 3, data: base}}, []byte{}
		entry := func(i int, blob []byte) {
			tree = append(fmt.Appendf(tree, "100644 f%05d\x00", i), raw(idOf("blob", blob))...)
		}
		entry(0, base)
		for i := 1; i <= depth; i++ {
			text := fmt.Sprintf("%032d", i)
			if i == depth {
				text = last
			}
			next := append(append([]byte{}, base[:size-len(text)]...), text...)
			d := append(varint(size), varint(size)...)
			n := size - len(text) // copied from the beginning, then the text
			d = append(append(d, 0xb0, byte(n), byte(n>>8), byte(len(text))), text...)
			objects = append(objects, packed{kind: 6, data: d})
			entry(i, next)
			base = next
		}
		c := fmt.Appendf(nil, "tree %s\nparent %s\nauthor a <a@b.example> 1700000000 +0000\ncommitter a <a@b.example> 1700000000 +0000\n\ndeep\n", idOf("tree", tree), p.ref("refs/heads/trunk"))
		return idOf("commit", c), append(objects, packed{kind: 2, data: tree}, packed{kind: 1, data: c})
	}
	for _, size := range []int{1 << 10, 32 << 10} {
		for name, last := range map[string]string{"a secret in the last": "key = " + knownSecret + "\n", "clean": "key = nothing\n"} {
			t.Run(fmt.Sprint(size, " bytes, ", name), func(t *testing.T) {
				id, objects := chain(size, last)
				ref := fmt.Sprint("refs/heads/deep", size)
				before, objectsBefore := p.upstream()
				peak, began := p.peak(), time.Now()
				body := command(noID, id, ref) + flush + flush + string(pack(objects...))
				_, answer, err := p.raw(t, strings.NewReader(body))
				if name == "clean" {
					if err != nil || p.ref(ref) != id {
						t.Errorf("%v %.500q", err, answer)
					}
				} else if now, objectsNow := p.upstream(); now != before || objectsNow != objectsBefore || !strings.Contains(answer, string(policy.SecretFound)) || !strings.Contains(answer, "f04000") {
					t.Errorf("%v %.500q", err, answer)
				}
				if grown := p.peak() - peak; grown > 96<<10 {
					t.Errorf("the gateway grew by %d KiB", grown)
				}
				if took := time.Since(began); took > 90*time.Second {
					t.Errorf("it took %v", took)
				}
				t.Logf("%d KiB: the gateway's peak went from %d to %d MiB", len(body)>>10, peak>>10, p.peak()>>10)
			})
		}
	}
	p.sound(t)
}
