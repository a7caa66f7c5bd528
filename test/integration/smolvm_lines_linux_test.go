package integration

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bottle/internal/backend/smolvm/smolvmtest"
	"bottle/internal/bottle"
	"bottle/internal/store"
	"bottle/test/require"
)

// approves writes what the gateway of an ended bottle would have written for an operator's yes.
func (h *house) approves(lines string) {
	h.t.Helper()
	q, _, err := store.OpenQueue(h.state("proposals"))
	if err != nil {
		h.t.Fatal(err)
	}
	defer q.Close()
	p, err := bottle.Proposal{Kind: bottle.ProposalImage, Image: bottle.SplitImage(lines)}.Canonical()
	if err != nil {
		h.t.Fatal(err)
	}
	p.Created = time.Now().UTC()
	a, err := q.Add(p)
	if err != nil {
		h.t.Fatal(err)
	}
	a.Status, a.Decided, a.Grant = bottle.ProposalApproved, a.Created, "g"+a.ID[1:]
	a.Lease = &bottle.Grant{ID: a.Grant, Proposal: a.ID, Since: a.Created}
	if err := q.Put(a); err != nil {
		h.t.Fatal(err)
	}
	h.own()
}

// TestMicroVMLines: what was approved for the image of a bottle is in the micro-VM that its
// resume makes, and in no other. An image that was given has no recipe, so that is refused.
func TestMicroVMLines(t *testing.T) {
	host, _ := require.Docker(t)
	h, _ := vmHouse(t, "127.9.46.16", smolvmtest.Faults{}, "")
	base := "bottle-test-tiny:" + h.agent
	h.write("tiny.tar", string(tiny(t)))
	run(t, "docker", "import", h.base+"/tiny.tar", base)
	t.Cleanup(func() {
		names := "docker rmi " + base
		kept, _ := filepath.Glob(filepath.Join(h.home(), "cache/images/agent-*.tar"))
		for _, k := range kept {
			names += " bottle-agent:" + filepath.Base(k)[len("agent-"):][:32]
		}
		run(t, "sh", "-c", names)
	})
	h.write("home/Dockerfile", "FROM "+base+"\nRUN echo made >/usr/made # "+h.agent+"\n")
	h.write("home/bottles/box.md", "---\nagent_provider: {template: command, dockerfile: "+h.home()+"/Dockerfile}\n---\nA box.\n")
	h.env = append(h.env, "DOCKER_HOST="+host)
	if s := h.start("cat /usr/made"); s.code != 0 || s.out != "made\n" {
		t.Fatalf("%+v", s)
	}
	h.approves("RUN echo grown >/usr/grown")
	id := string(h.identity())
	again := func(flags ...string) said {
		return finish(t, h.command(append(append([]string{"resume", id, "--yes"}, flags...), "--", "-c", "cat /usr/made; cat /usr/grown; id -u")...))
	}
	if s := again(); s.code != 0 || s.out != "made\ngrown\n1000\n" {
		t.Fatalf("%+v", s)
	}
	h.write("home/bottles/box.md", "---\nagent_provider: {template: command}\n---\nA box.\n") // BOTTLE_VM_IMAGE is set
	if s := again(); s.code == 0 || !strings.Contains(s.err, "no recipe any more") {
		t.Errorf("a given image: %+v", s)
	}
	if s := again("--without-image-changes"); strings.Contains(s.out, "grown") || !strings.HasSuffix(s.out, "1000\n") {
		t.Errorf("without: %+v", s)
	}
}
