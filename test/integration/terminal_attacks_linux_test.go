package integration

import (
	"bytes"
	"regexp"
	"testing"

	"golang.org/x/sys/unix"

	"bottle/test/require"
)

// TestAgentCannotStopItsOperatorsJob. The weakness: an agent that stops itself
// stops the operator's job too, as Ctrl-Z does. The attack: it does so where there
// is no shell that could say fg, as below `ssh -t host bottle start`; the job, and
// the script that waits for it, would hang for ever. What this proves: the agent
// goes on there, and where there is such a shell the job stops as it should.
func TestAgentCannotStopItsOperatorsJob(t *testing.T) {
	h := newHouse(t, -1, "")
	b, _ := h.onTerminal("start", h.agent, "--yes", "--", "-c", "kill -STOP $$; echo went-$((1+1)); exit 4")
	b.says("went-2")
	if code := b.ends(); code != 4 {
		t.Errorf("exit %d: %s", code, b.out)
	}
	cmd := h.command("start", h.agent, "--yes", "--", "-c", "kill -STOP $$; echo went-$((1+1)); exit 4")
	cmd.Args = append([]string{"sh", "-mc", `"$@"; echo stopped-$?; fg >/dev/null; echo ended-$?`, "sh", cmd.Path}, cmd.Args[1:]...)
	cmd.Path = require.Tool(t, "sh")
	b, _ = h.onTerminalOf(cmd)
	b.says("stopped-148") // 128 + SIGTSTP
	b.says("went-2")
	b.says("ended-4")
	b.ends()
}

// TestAnswersOfTheTerminalDoNotReachTheShell. The weakness: a terminal answers
// what it is asked as if it were typed. The attack: the agent puts a command into
// the window's title, asks for the title, asks for the cursor's place so that an
// answer looks like ours, sets modes, and ends. What this proves: what the
// terminal says is gone when the operator's shell reads, and the modes are too.
func TestAnswersOfTheTerminalDoNotReachTheShell(t *testing.T) {
	h := newHouse(t, -1, "")
	for name, answers := range map[string]bool{"a terminal": true, "one that says nothing of its cursor": false} {
		t.Run(name, func(t *testing.T) {
			master, slave := openPTY(t)
			defer master.Close()
			defer slave.Close()
			cmd := h.command("start", h.agent, "--yes", "--", "-c", `printf '\033[?1049h\033[?2004h\033[6n\033]2;touch x\007\033[21t'`)
			cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			screen := make(chan []byte)
			go func() { screen <- emulate(master, answers) }()
			if err := cmd.Wait(); err != nil {
				t.Error(err)
			}
			n, err := unix.IoctlGetInt(int(slave.Fd()), unix.TIOCINQ)
			if err != nil || n != 0 {
				t.Errorf("%d bytes wait for the shell (%v)", n, err)
			}
			slave.Close()
			shown := <-screen
			for _, want := range []string{"\x1b[?1049l", "\x1b[?2004l", "\x1b[?25h"} {
				if !bytes.Contains(shown, []byte(want)) {
					t.Errorf("%q was not shown: %q", want, shown)
				}
			}
		})
	}
}

// emulate is a terminal that answers questions about its title, and with places
// also those about its cursor, in order; it returns all that was shown.
func emulate(master interface {
	Read([]byte) (int, error)
	Write([]byte) (int, error)
}, places bool) []byte {
	asked := regexp.MustCompile(`\x1b\[(?:(\d+;\d+)H\x1b\[)?(6n|21t)`)
	var shown []byte
	done, buf := 0, make([]byte, 4096)
	for {
		n, err := master.Read(buf)
		shown = append(shown, buf[:n]...)
		if err != nil {
			return shown // the other side is closed
		}
		for _, m := range asked.FindAllSubmatchIndex(shown[done:], -1) {
			q, at := string(shown[done+m[4]:done+m[5]]), "1;1"
			if m[2] >= 0 {
				at = string(shown[done+m[2] : done+m[3]])
			}
			switch {
			case q == "21t":
				_, _ = master.Write([]byte("\x1b]ltouch x\r\x1b\\")) // a terminal that is gone
			case places:
				_, _ = master.Write([]byte("\x1b[" + at + "R")) // same
			}
		}
		if all := asked.FindAllIndex(shown[done:], -1); len(all) > 0 {
			done += all[len(all)-1][1]
		}
	}
}
