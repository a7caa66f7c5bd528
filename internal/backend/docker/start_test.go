package docker

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// A bottle is held while its start lives, wherever its containers are in coming up; a
// process that has its number later is another. What cannot be told from here is held
// while it runs or is young.
func TestHeldByItsStart(t *testing.T) {
	old, young := time.Now().Add(-time.Hour), time.Now()
	me := here()
	if len(strings.Split(me, ":")) != 4 {
		t.Fatalf("here is %q", me)
	}
	parts := strings.Split(me, ":")
	other := func(i int, with string) string {
		p := append([]string{}, parts...)
		p[i] = with
		return strings.Join(p, ":")
	}
	cmd := exec.Command(os.Args[0], "-test.run=^$") // this very program, without a test
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	gone := strings.Join(append(machine(), process(cmd.Process.Pid)...), ":")
	corpse := exec.Command("sleep", "100")
	if err := corpse.Start(); err != nil {
		t.Fatal(err)
	}
	unreaped := strings.Join(append(machine(), process(corpse.Process.Pid)...), ":")
	if lives, known := alive(unreaped); !lives || !known {
		t.Errorf("a program that runs: %t, %t", lives, known)
	}
	if err := corpse.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = corpse.Wait() }() // it was killed
	for range 1000 {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", corpse.Process.Pid))
		if err != nil || strings.Contains(string(stat), ") Z ") {
			break
		}
		time.Sleep(time.Millisecond)
	}
	for name, c := range map[string]struct {
		label   string
		running bool
		made    time.Time
		want    bool
	}{
		"this one":              {me, false, old, true},
		"gone":                  {gone, true, young, false},
		"nobody waited for it":  {unreaped, true, young, false},
		"its number came again": {other(3, "1"), true, young, false},
		"elsewhere, runs":       {other(0, "another-boot"), true, old, true},
		"elsewhere, rises":      {other(1, "1"), false, young, true},
		"elsewhere, ended":      {other(0, "another-boot"), false, old, false},
		"unsaid, ended":         {"", false, old, false},
		"unsaid, runs":          {"", true, old, true},
		"a group":               {other(2, "-1"), false, old, false},
		"no number":             {other(2, "x"), false, old, false},
	} {
		if _, err := os.Stat("/proc/self/stat"); err != nil && (name == "elsewhere, rises" || name == "nobody waited for it") {
			continue
		}
		if got := held(c.label, c.running, c.made); got != c.want {
			t.Errorf("%s: held %t", name, got)
		}
	}
}
