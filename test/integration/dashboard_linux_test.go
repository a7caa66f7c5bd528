package integration

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"bottle/test/require"
	"bottle/test/screen"
)

// dashboard is `bottle dashboard` in a real terminal, as the operator of the house.
func (h *house) dashboard(width, height int, env ...string) *screen.Screen {
	h.t.Helper()
	return screen.New(h.t, width, height, func(cmd *exec.Cmd) {
		as := h.command()
		cmd.Dir, cmd.Env, cmd.SysProcAttr = as.Dir, append(append(append([]string{}, as.Env...), "NO_COLOR=1"), env...), as.SysProcAttr
	}, filepath.Join(h.bin, "bottle"), "dashboard")
}

// sure answers the question on the screen until something else is there.
func sure(s *screen.Screen, until string) { s.Press("y", "y yes", until) }

// choose puts the cursor on what is shown: where it stood on a proposal that is gone, it
// waits for the operator.
func choose(s *screen.Screen, what string) {
	s.Until(what, func(text string) bool {
		if strings.Contains(text, "waits no longer") {
			s.Keys("j")
		}
		return strings.Contains(text, "  "+what) && strings.Contains(text, "> p")
	})
}

// status is what became of a proposal, by its id.
func (h *house) status(id string) string {
	h.t.Helper()
	var all struct {
		Proposals []struct{ ID, Status string }
	}
	if err := json.Unmarshal([]byte(h.tool("proposals", h.agent, "--all", "--format", "json")), &all); err != nil {
		h.t.Fatal(err)
	}
	for _, p := range all.Proposals {
		if p.ID == id {
			return p.Status
		}
	}
	return "none"
}

// TestDashboardOfARunningBottle: against a real gateway an approval is in force when the
// dashboard says so; what is given in part, or for good, is what was shown; leaving stops
// nothing, and stopping does.
func TestDashboardOfARunningBottle(t *testing.T) {
	require.Tool(t, "curl")
	_, h := upstream(t, -1)
	h.edit("egress:\n", "egress:\n  unmatched: ask\n")
	h.write("editor", "#!/bin/sh\nif ! grep -q 'host: part.example.net' \"$1\"; then sed -i 's/^  routes:/&\\n    - host: edited.example.net/' \"$1\"; exit; fi\nsed -i '/host: part/a\\      methods: [GET]' \"$1\"\n")
	h.own()
	if err := os.Chmod(filepath.Join(h.base, "editor"), 0o755); err != nil {
		t.Fatal(err)
	}
	b := h.begin(asker)
	d := h.dashboard(120, 40, "EDITOR="+filepath.Join(h.base, "editor"))
	d.Shows("1 bottle, 0 proposals", h.agent, "none waits")
	raw := d.Raw()
	var first struct {
		Bottles []struct{ Requests, Denied uint64 }
	}
	if err := json.Unmarshal([]byte(h.tool("dashboard", "--once", "--format", "json")), &first); err != nil || len(first.Bottles) != 1 || first.Bottles[0].Requests != 0 || len(h.records()) == 0 {
		t.Errorf("the trial of the walls is counted: %v, %+v", err, first)
	}

	b.types("https://new.example.com/a")
	b.says("new.example.com/a fails")
	d.Shows("adds every method to new.example.com/*", "+- host: new.example.com", "deny ")
	require.Eventually(t, screen.Patience, "a notification", func() bool {
		got, _ := os.ReadFile(raw)
		return strings.Contains(string(got), "\x1b]9;bottle: p") && strings.Contains(string(got), " adds every method to new.example.com/* without a credential\a\x1b]777;notify;bottle;p")
	})
	d.Keys("a")
	d.Shows("Approve p", "adds every method to new.example.com/*")
	sure(d, "approved p")
	b.types("https://new.example.com/b")
	b.says("new.example.com/b ")
	if strings.Contains(b.out.String(), "new.example.com/b fails") {
		t.Error("it is approved, and refused")
	}

	b.types("https://part.example.net/a")
	b.says("part.example.net/a fails")
	choose(d, "adds every method to part.example.net/*")
	d.Keys("m")
	d.Shows("Give what stands below instead of what p", "adds GET to part.example.net/*", "+  methods: [GET]")
	sure(d, "modified p")

	b.types("https://kept.example.org/a")
	b.says("kept.example.org/a fails")
	choose(d, "adds every method to kept.example.org/*")
	d.Keys("l")
	d.Shows("4) always")
	d.Keys("4")
	d.Shows("and all that are started after it?", "and behind the routes of ", "box.md", "+    - host: kept.example.org")
	sure(d, "and written; to take it back")
	text, err := os.ReadFile(filepath.Join(h.home(), "bottles", "box.md"))
	if err != nil || !strings.Contains(string(text), "\n    - host: kept.example.org\n---\n") || !strings.Contains(string(text), "A box with one way out.") {
		t.Errorf("%v:\n%s", err, text)
	}
	if out := h.tool("dashboard", "--once"); !strings.Contains(out, h.agent) || !strings.Contains(out, "none waits") || strings.ContainsAny(out, "\x1b\a") {
		t.Error(out)
	}

	d.Keys("e")
	d.Shows("edited.example.net", "Put this in force? [y/N]")
	d.Types("y\n")
	d.Shows("was edited, and is in force", "a approve")
	b.types("https://edited.example.net/a")
	b.says("edited.example.net/a ")
	if last := h.records()[len(h.records())-1]; last["host"] != "edited.example.net" || !strings.Contains(fmt.Sprint(last["rule"]), "bottles/box.md:") {
		t.Errorf("it is edited in, and then %v", last)
	}

	d.Keys("q")
	d.Shows("exit code 0.")
	b.types("https://new.example.com/c")
	b.says("new.example.com/c ")
	d = h.dashboard(80, 24)
	d.Shows("> " + h.agent)
	d.Keys("x")
	d.Shows("stop "+h.agent, "y/n")
	d.Keys("n")
	d.Shows("a approve")
	d.Keys("x")
	d.Shows("y/n")
	d.Press("y", "y/n", "no bottle runs")
	b.ends()
	if s := finish(t, h.command("audit", h.agent, "--verify")); s.code != 0 {
		t.Errorf("%+v", s)
	}
}

// TestDashboardsRaceAndDie: two dashboards decide at once, against a real gateway, and one
// is killed (SIGKILL) on the way. One decision stands, the other is told, nothing is lost.
func TestDashboardsRaceAndDie(t *testing.T) {
	require.Tool(t, "curl")
	_, h := upstream(t, -1)
	h.edit("egress:\n", "egress:\n  unmatched: ask\n")
	b := h.begin(asker)
	one, two := h.dashboard(100, 30), h.dashboard(100, 30)
	for i := range 4 {
		host := fmt.Sprintf("www.host%d.example", i)
		b.types("https://" + host + "/a")
		b.says(host + "/a fails")
		p := h.waiting(1)[0]
		for _, d := range []*screen.Screen{one, two} {
			if text := d.Shows(p.ID, host); !strings.Contains(text, "> "+p.ID) {
				d.Keys("j")
			}
			d.Shows("> "+p.ID, "adds every method to "+host)
			d.Keys("a")
			d.Shows("Approve "+p.ID, "y yes")
		}
		switch i {
		case 0: // both say yes: one after the other, as a tie is
			sure(one, "approved "+p.ID)
			sure(two, p.ID+" is decided already: approved, ")
			two.Keys("Escape")
		case 1: // one rejects what the other is asked about
			h.tool("reject", h.agent, p.ID)
			sure(one, p.ID+" is decided already: rejected, ")
			sure(two, p.ID+" is decided already: rejected, ")
			one.Keys("Escape")
			two.Keys("Escape")
		default: // one is killed with its yes on the way
			two.Keys("n")
			one.Keys("y", "y", "y")
			one.Kill()
			one.Shows("exit code 137.")
			if status := h.status(p.ID); status == "pending" {
				two.Shows("> " + p.ID)
				two.Keys("a")
				two.Shows("Approve "+p.ID, "y yes")
				sure(two, "approved "+p.ID)
			} else if status != "approved" {
				t.Errorf("%s is %s", p.ID, status)
			}
			one = h.dashboard(100, 30)
		}
		want := "approved"
		if i == 1 {
			want = "rejected"
		}
		if status := h.status(p.ID); status != want {
			t.Errorf("%s is %s, not %s", p.ID, status, want)
		}
	}
	counts := map[string]int{}
	for _, r := range h.records() {
		counts[fmt.Sprint(r["reason"])]++
	}
	if counts["proposal_approved"] != 3 || counts["grant_started"] != 3 || counts["proposal_rejected"] != 1 {
		t.Errorf("%v", counts)
	}
	b.types("bye")
	b.ends()
}
