package integration

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"bottle/internal/policy"
)

// TestGitGateRefs: what a push may do to upstream's refs, by real git. What is refused
// leaves upstream as it was, to the byte.
func TestGitGateRefs(t *testing.T) {
	p := newProof(t)
	w := p.clone()
	p.write(w, "one", "one", "one")
	p.direct(w, "push", "-q", "origin", "HEAD:refs/heads/mine", "HEAD:refs/tags/v1")
	p.direct(w, "commit", "-q", "--amend", "-m", "rewritten")
	for name, c := range map[string]struct {
		args []string
		want policy.Reason
	}{
		"force over another's branch":       {[]string{"-f", "HEAD:refs/heads/taken", "HEAD~1:refs/heads/trunk"}, ""}, // a fast-forward: see below
		"force over what it pushed":         {[]string{"-f", "HEAD:refs/heads/mine"}, policy.ForcePush},
		"with lease":                        {[]string{"--force-with-lease", "HEAD:refs/heads/mine"}, policy.ForcePush},
		"with the right lease":              {[]string{"--force-with-lease=mine:" + p.ref("refs/heads/mine"), "HEAD:refs/heads/mine"}, policy.ForcePush},
		"mirror":                            {[]string{"--mirror"}, policy.ForcePush},
		"deletion of another's branch":      {[]string{":refs/heads/taken"}, policy.ForcePush},
		"deletion of its own":               {[]string{":refs/heads/mine"}, policy.ForcePush},
		"deletion of a tag":                 {[]string{":refs/tags/v1"}, policy.ForcePush},
		"a tag that moves":                  {[]string{"-f", "HEAD:refs/tags/v1"}, policy.ForcePush},
		"a pull request":                    {[]string{"HEAD:refs/pull/1/head"}, policy.RefNotListed},
		"a change of Gerrit":                {[]string{"HEAD:refs/for/trunk"}, policy.RefNotListed},
		"a replacement":                     {[]string{"HEAD:refs/replace/" + p.ref("refs/heads/trunk")}, policy.RefNotListed},
		"the stash":                         {[]string{"HEAD:refs/stash"}, policy.BadRef},
		"a remote":                          {[]string{"HEAD:refs/remotes/origin/trunk"}, policy.RefNotListed},
		"a branch that is an option":        {[]string{"HEAD:refs/heads/-x"}, policy.BadRef},
		"a branch named HEAD":               {[]string{"HEAD:refs/heads/HEAD"}, policy.BadRef},
		"a branch named as a ref":           {[]string{"HEAD:refs/heads/refs/heads/x"}, policy.BadRef},
		"one good and one bad":              {[]string{"HEAD:refs/heads/good", "HEAD:refs/pull/1/head"}, policy.RefNotListed},
		"one good and one bad, atomic":      {[]string{"--atomic", "HEAD:refs/heads/good", ":refs/heads/taken"}, policy.ForcePush},
		"a good one and a secret elsewhere": {[]string{"HEAD:refs/heads/good", "HEAD:refs/heads/" + knownSecret}, policy.SecretFound},
	} {
		if c.want == "" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			p.untouched(t, func() {
				out, err := p.try(w, append([]string{"push", "origin"}, c.args...)...)
				if err == nil || !strings.Contains(out, string(c.want)) {
					t.Errorf("%v %s", err, out)
				}
			})
		})
	}
	t.Run("a lease that is out of date", func(t *testing.T) {
		p.untouched(t, func() {
			if out, err := p.try(w, "push", "--force-with-lease=mine:"+p.ref("refs/heads/trunk"), "origin", "HEAD:refs/heads/mine"); err == nil || !strings.Contains(out, "stale info") {
				t.Errorf("%v %s", err, out)
			}
		})
	})
	p.sound(t)
}

// TestGitGateRawClient: a client that is no git, and sends what none would. Every time
// upstream and the mirror stay as they were to the byte, and there is an answer soon.
func TestGitGateRawClient(t *testing.T) {
	p := newProof(t)
	p.clone()
	trunk := p.ref("refs/heads/trunk")
	id, objects := p.crafted("nothing")
	good := string(pack(objects...))
	sealed := func(objects []packed, count uint32) string { return string(packOf(count, objects...)) }
	many := func(n int) string {
		var b strings.Builder
		b.WriteString(command(noID, id, "refs/heads/n"))
		for i := range n {
			b.WriteString(pkt(fmt.Sprintf("%s %s refs/heads/n%d", noID, id, i)))
		}
		return b.String() + flush + flush + good
	}
	secretID, secret := p.crafted(knownSecret)
	after := func(ref string) string { return command(noID, id, ref) + flush + flush + good }
	for name, body := range map[string]string{
		"a ref with two dots":           after("refs/heads/a..b"),
		"a ref that climbs":             after("refs/heads/../../config"),
		"a ref with a line feed":        after("refs/heads/a\n" + noID + " " + id + " refs/heads/b"),
		"a ref with a carriage return":  after("refs/heads/a\rb"),
		"a ref with an escape":          after("refs/heads/\x1b[2Ja"),
		"a ref with a DEL":              after("refs/heads/a\x7f"),
		"a ref with C1":                 after("refs/heads/a\u009bb"),
		"a ref that is no UTF-8":        after("refs/heads/a\xff"),
		"a ref with a space":            after("refs/heads/a b"),
		"a ref with @{":                 after("refs/heads/a@{1}"),
		"a ref that ends in .lock":      after("refs/heads/a.lock"),
		"a ref that ends in a slash":    after("refs/heads/"),
		"HEAD":                          after("HEAD"),
		"a ref beside refs":             after("config"),
		"an absolute ref":               after("/etc/passwd"),
		"a ref of 64 KiB":               after("refs/heads/" + strings.Repeat("a", 60_000)),
		"a ref that is an option":       after("--exec=touch"),
		"no ref":                        command(noID, id, "") + flush + flush + good,
		"a pseudo ref":                  after("refs/heads/x^{}"),
		"1,002 commands":                many(1001),
		"100,000 commands":              many(100_000),
		"twice the same ref":            command(noID, id, "refs/heads/a") + pkt(noID+" "+trunk+" refs/heads/a") + flush + flush + good,
		"create and delete":             command(noID, id, "refs/heads/a") + pkt(id+" "+noID+" refs/heads/a") + flush + flush + good,
		"delete what is not there":      command(noID, noID, "refs/heads/a") + flush + flush,
		"delete with a lie":             command(noID, noID, "refs/heads/trunk") + flush + flush,
		"delete with another lie":       command(id, noID, "refs/heads/trunk") + flush + flush,
		"an id of 39 digits":            command(noID[1:], id, "refs/heads/a") + flush + flush + good,
		"an id in capitals":             command(noID, strings.ToUpper(id), "refs/heads/a") + flush + flush + good,
		"an id of SHA-256":              command(strings.Repeat("0", 64), strings.Repeat("a", 64), "refs/heads/a") + flush + flush + good,
		"an id that is not in the pack": command(noID, strings.Repeat("a", 40), "refs/heads/a") + flush + flush + good,
		"an id of a tree":               command(noID, idOf("tree", objects[1].data), "refs/heads/a") + flush + flush + good,
		"a claim of SHA-256": pkt(noID+" "+id+" refs/heads/a\x00report-status side-band-64k object-format=sha256") + flush +
			good,
		"a certificate":               pkt("push-cert\x00report-status side-band-64k") + pkt("certificate version 0.1\n") + flush + good,
		"a shallow line":              pkt("shallow "+strings.Repeat("b", 40)) + command(noID, id, "refs/heads/a") + flush + flush + good,
		"a shallow line without id":   pkt("shallow x") + command(noID, id, "refs/heads/a") + flush + flush + good,
		"capabilities that are none":  pkt(noID+" "+id+" refs/heads/a\x00"+strings.Repeat("x=y ", 5000)) + flush + good[:40],
		"no flush":                    command(noID, id, "refs/heads/a"),
		"half a line":                 command(noID, id, "refs/heads/a")[:60],
		"no pkt-line":                 "PUSH / HTTP/1.1\r\n",
		"a length of 3":               "0003" + command(noID, id, "refs/heads/a"),
		"a delim packet":              command(noID, id, "refs/heads/a") + "0001" + good,
		"65 push options":             command(noID, id, "refs/heads/a") + flush + strings.Repeat(pkt("x"), 65) + flush + good,
		"a million push options":      command(noID, id, "refs/heads/a") + flush + strings.Repeat(pkt("x"), 1<<20),
		"a long push option":          command(noID, id, "refs/heads/a") + flush + pkt(strings.Repeat("x", 1025)) + flush + good,
		"a push option of two lines":  command(noID, id, "refs/heads/a") + flush + pkt("a\nb") + flush + good,
		"no pack":                     command(noID, id, "refs/heads/a") + flush + flush,
		"no pack but garbage":         command(noID, id, "refs/heads/a") + flush + flush + strings.Repeat("garbage", 1000),
		"a pack of another version":   command(noID, id, "refs/heads/a") + flush + flush + "PACK\x00\x00\x00\x09\x00\x00\x00\x01" + strings.Repeat("x", 100),
		"a pack with a wrong trailer": command(noID, id, "refs/heads/a") + flush + flush + good[:len(good)-1] + "\x00",
		"a pack that is cut":          command(noID, id, "refs/heads/a") + flush + flush + good[:len(good)/2],
		"a pack of more than it says": command(noID, id, "refs/heads/a") + flush + flush + sealed(objects, 2),
		"a pack of less than it says": command(noID, id, "refs/heads/a") + flush + flush + sealed(objects, 4),
		"a pack of 4 billion objects": command(noID, id, "refs/heads/a") + flush + flush + sealed(objects, 0xffffffff),
		"a pack without its file":     command(noID, id, "refs/heads/a") + flush + flush + string(pack(objects[1:]...)),
		"a size that is a lie":        command(noID, id, "refs/heads/a") + flush + flush + string(pack(append([]packed{{kind: 3, data: []byte("x"), size: 1 << 40}}, objects...)...)),
		"a delta to nothing":          command(noID, id, "refs/heads/a") + flush + flush + string(pack(append([]packed{{kind: 7, base: strings.Repeat("c", 40), data: []byte{1, 1, 1, 'x'}}}, objects...)...)),
		"a delta that reads beyond":   command(noID, id, "refs/heads/a") + flush + flush + string(pack(append([]packed{{kind: 7, base: p.ref("refs/heads/trunk:README"), data: []byte{20, 100, 0x91, 10, 100}}}, objects...)...)),
		"an object of the kind 5":     command(noID, id, "refs/heads/a") + flush + flush + string(pack(append([]packed{{kind: 5, data: []byte("x")}}, objects...)...)),
		"a secret without sideband":   pkt(noID+" "+secretID+" refs/heads/a\x00report-status") + flush + string(pack(secret...)),
		"a secret without report":     pkt(noID+" "+secretID+" refs/heads/a") + flush + string(pack(secret...)),
		"a commit that is broken": func() string {
			c := []byte("tree " + strings.Repeat("a", 40) + "\nauthor\n\n" + knownSecret)
			return command(noID, idOf("commit", c), "refs/heads/a") + flush + flush + string(pack(packed{kind: 1, data: c}))
		}(),
		"a commit on a parent that nobody has": func() string {
			c := fmt.Appendf(nil, "tree %s\nparent %s\nauthor a <a@b.example> 1700000000 +0000\ncommitter a <a@b.example> 1700000000 +0000\n\nraw\n", p.ref("refs/heads/trunk^{tree}"), strings.Repeat("d", 40))
			return command(noID, idOf("commit", c), "refs/heads/a") + flush + flush + string(pack(packed{kind: 1, data: c}))
		}(),
	} {
		t.Run(name, func(t *testing.T) {
			p.untouched(t, func() {
				began := time.Now()
				code, answer, err := p.raw(t, strings.NewReader(body))
				if strings.Contains(answer, "ok refs/heads") || strings.Contains(answer, knownSecret) {
					t.Errorf("%d %q %v", code, answer, err)
				}
				if took := time.Since(began); took > 20*time.Second {
					t.Errorf("it took %v", took)
				}
				if strings.Contains(answer, p.base) || strings.Contains(answer, "bottle-gateway") || strings.Contains(answer, "/usr/") {
					t.Errorf("the answer names the operator's folders: %q", answer)
				}
				if code != 400 && !strings.Contains(answer, "ng ") && !strings.HasSuffix(name, "without report") && name != "capabilities that are none" {
					t.Errorf("no answer: %d %q %v", code, answer, err)
				}
			})
		})
	}
	t.Run("what follows the pack goes nowhere", func(t *testing.T) {
		_, before := p.upstream()
		for i, more := range []string{knownSecret, string(pack(packed{kind: 3, data: []byte(knownSecret)}))} {
			_, _, _ = p.raw(t, strings.NewReader(command(noID, id, fmt.Sprint("refs/heads/more", i))+flush+flush+good+more)) // it may pass or not
		}
		want := before
		if p.ref("refs/heads/more0")+p.ref("refs/heads/more1") != "" {
			want = sortedLines(before, idOf("blob", objects[0].data)+" blob 7", idOf("tree", objects[1].data)+" tree 32", fmt.Sprint(id, " commit ", len(objects[2].data)))
		}
		if _, after := p.upstream(); after != want {
			t.Errorf("upstream has\n%s\nwant\n%s", after, want)
		}
	})
	// The old ids are upstream's to hold against what it has.
	for name, body := range map[string]string{
		"an old id of zeros":    command(noID, id, "refs/heads/trunk") + flush + flush + good,
		"an old id that it was": command(trunk, id, "refs/heads/moved") + flush + flush + good,
		"an old id of its own":  command(id, id, "refs/heads/trunk") + flush + flush + good,
	} {
		t.Run(name, func(t *testing.T) {
			p.direct(p.bare, "update-ref", "refs/heads/moved", p.direct(p.bare, "commit-tree", "-p", trunk, "-m", "moved", trunk+"^{tree}"))
			refs, _ := p.upstream()
			_, answer, err := p.raw(t, strings.NewReader(body))
			if after, _ := p.upstream(); after != refs || strings.Contains(answer, "ok refs/heads") {
				t.Errorf("%q %v: upstream has %s, had %s", answer, err, after, refs)
			}
		})
	}
	if _, answer, err := p.raw(t, strings.NewReader(command(noID, id, "refs/heads/good")+flush+flush+good)); err != nil || p.ref("refs/heads/good") != id {
		t.Errorf("the same client, and nothing odd: %v %q", err, answer)
	}
	p.sound(t)
}

// TestGitGateBombs: little that becomes much. Each is refused, soon, and the gateway
// does not grow by it.
func TestGitGateBombs(t *testing.T) {
	p := newProof(t)
	p.clone()
	zeros := func(mib int) []byte { return make([]byte, mib<<20) }
	commitOf := func(tree string) []byte {
		return fmt.Appendf(nil, "tree %s\nauthor a <a@b.example> 1700000000 +0000\ncommitter a <a@b.example> 1700000000 +0000\n\nbomb\n", tree)
	}
	of := func(objects ...packed) []packed { // a commit of one folder that holds them all
		var tree bytes.Buffer
		for i, o := range objects {
			fmt.Fprintf(&tree, "100644 f%06d\x00%s", i, raw(idOf("blob", o.data)))
		}
		c := commitOf(idOf("tree", tree.Bytes()))
		return append(objects, packed{kind: 2, data: tree.Bytes()}, packed{kind: 1, data: c})
	}
	deltas := func() []packed { // each copies 16 MiB from a base, over and over
		base := bytes.Repeat([]byte("0123456789abcdef"), 1<<20-1)
		var out []packed
		id := idOf("blob", base)
		for i := range 2000 {
			var d bytes.Buffer
			d.Write(varint(len(base)))
			d.Write(varint(len(base) + 4))
			for at := 0; at < len(base); at += 0xfffff {
				n := min(0xfffff, len(base)-at)
				d.Write([]byte{0xff, byte(at), byte(at >> 8), byte(at >> 16), byte(at >> 24), byte(n), byte(n >> 8), byte(n >> 16)})
			}
			fmt.Fprintf(&d, "\x04%04d", i)
			out = append(out, packed{kind: 7, base: id, data: d.Bytes()})
		}
		return append(out, packed{kind: 3, data: base})
	}
	trees := func(tenfold int) ([]packed, string) { // a folder of ten folders of ten folders…
		blob := []byte("boom")
		kind, id := "100644", idOf("blob", blob)
		out := []packed{{kind: 3, data: blob}}
		for range tenfold {
			var tree bytes.Buffer
			for i := range 10 {
				fmt.Fprintf(&tree, "%s d%d\x00%s", kind, i, raw(id))
			}
			kind, id = "40000", idOf("tree", tree.Bytes())
			out = append(out, packed{kind: 2, data: bytes.Clone(tree.Bytes())})
		}
		c := commitOf(id)
		return append(out, packed{kind: 1, data: c}), idOf("commit", c)
	}
	for name, make := range map[string]func() ([]packed, string){
		"a file of 300 MiB of zeros": func() ([]packed, string) {
			o := of(packed{kind: 3, data: zeros(300)})
			return o, idOf("commit", o[len(o)-1].data)
		},
		"2,000 differences of 16 MiB each": func() ([]packed, string) {
			c := commitOf(p.ref("refs/heads/trunk^{tree}"))
			return append(deltas(), packed{kind: 1, data: c}), idOf("commit", c)
		},
		"a folder of 10 billion files": func() ([]packed, string) { return trees(10) },
	} {
		t.Run(name, func(t *testing.T) {
			objects, id := make()
			body := pack(objects...)
			objects = nil
			before := p.peak()
			began := time.Now()
			p.untouched(t, func() {
				_, answer, err := p.raw(t, io.MultiReader(strings.NewReader(command(noID, id, "refs/heads/bomb")+flush+flush), bytes.NewReader(body)))
				t.Logf("%d KiB, %v: %.400q %v", len(body)>>10, time.Since(began).Round(time.Millisecond), answer, err)
				if strings.Contains(answer, "ok refs/heads") || !strings.Contains(answer, "ng refs/heads/bomb") {
					t.Error("it was not refused")
				}
			})
			if took := time.Since(began); took > 100*time.Second {
				t.Errorf("it took %v", took)
			}
			if grown := p.peak() - before; grown > 128<<10 {
				t.Errorf("the gateway grew by %d KiB", grown)
			}
		})
	}
	p.sound(t)
}

// sortedLines adds lines to sorted ones, each once.
func sortedLines(text string, more ...string) string {
	all := append(strings.Split(text, "\n"), more...)
	slices.Sort(all)
	return strings.Join(slices.Compact(all), "\n")
}

func varint(n int) (out []byte) {
	for ; n >= 0x80; n >>= 7 {
		out = append(out, byte(n)|0x80)
	}
	return append(out, byte(n))
}

// TestGitGateSilence: half a push and then nothing ends after a while, and then the next
// push has its turn. Meanwhile what is read goes on.
func TestGitGateSilence(t *testing.T) {
	if testing.Short() {
		t.Skip("waits half a minute")
	}
	t.Parallel()
	p := newProof(t)
	w := p.clone()
	mine := p.write(w, "a", "a", "a")
	id, objects := p.crafted("nothing")
	good := string(pack(objects...))
	before, _ := p.upstream()
	ended := make(chan string)
	for _, part := range []string{command(noID, id, "refs/heads/a")[:70], command(noID, id, "refs/heads/a") + flush + flush + good[:len(good)/2]} {
		r, feed := io.Pipe()
		go func() {
			code, answer, err := p.raw(t, r)
			ended <- fmt.Sprintf("%d %q %v", code, answer, err)
		}()
		_, _ = io.WriteString(feed, part)
		defer feed.Close()
	}
	p.direct(w, "fetch", "-q")
	began := time.Now()
	for range 2 {
		select {
		case answer := <-ended:
			t.Logf("after %v: %s", time.Since(began).Round(time.Second), answer)
			if !strings.Contains(answer, "sent nothing for") {
				t.Error("the client is not told why")
			}
		case <-time.After(60 * time.Second):
			t.Fatal("it holds the gate up")
		}
	}
	if after, _ := p.upstream(); after != before {
		t.Errorf("upstream has %s", after)
	}
	p.noQuarantine(t)
	if out, err := p.try(w, "push", "origin", "HEAD:refs/heads/next"); err != nil || p.ref("refs/heads/next") != mine {
		t.Errorf("the next push: %v %s", err, out)
	}
	p.sound(t)
}
