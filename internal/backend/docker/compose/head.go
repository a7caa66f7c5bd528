package compose

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"bottle/internal/bottle"
)

// head says how to bring it up, and what of a bottle's walls and services is not in it.
func (w *writing) head() string {
	var b strings.Builder
	say := func(lines ...string) {
		for _, l := range lines {
			b.WriteString(strings.TrimRight("# "+bottle.Printable(l), " ") + "\n")
		}
	}
	say("The bottle of the agent "+string(w.Agent)+", as docker compose brings it up; written by bottle "+bottle.Version+" for this machine's engine.", "")
	first := w.first
	if w.Bottle.Workspace.Mode == "overlay" {
		upper, work := filepath.Join(w.Changes, "upper"), filepath.Join(w.Changes, "work")
		first = append(first, "install -d -m 755 "+shell(w.Changes)+" "+shell(work)+" && install -d "+fmt.Sprintf("-o %d -g %d", w.Inside.UID, w.Inside.GID)+" -m 755 "+shell(upper))
	}
	say("  docker compose -f FILE up -d           brings it up",
		"  docker compose -f FILE logs -f agent   shows what the agent says",
		"  docker compose -f FILE down -v         takes all of it away, the log with it", "")
	if len(first) > 0 {
		say("Before the first up:", "")
		for _, l := range first {
			say("  " + l)
		}
		say("")
	}
	say("The decision log is in the container `gateway`: docker compose -f FILE cp gateway:/run/bottle/audit.jsonl .", "")
	say("What holds: the agent's container has no network; the fence makes its own, with the firewall and the gateway's",
		"sockets, and the agent is not run before it has tried every wall from inside. No gateway: nothing leaves.", "")
	say("What `bottle start` has, and this file has not:")
	lost := append([]string{
		"The engine knows what stands here, and what it is given in variables: `docker inspect` shows " + w.inspected() + ".",
		"/sys is read-only and masked as the engine does, and not hidden whole: an agent sees what hardware this is, and the limits of the host.",
		"The walls are tried against a port of the host's loopback where nobody listens, not against a listener of a start.",
		"Nobody looks after it: a gateway that ends leaves an agent that reaches nothing, and neither is begun again. Bring all of it down and up.",
		"No terminal attaches but `docker attach`; the agent can ask for nothing more (no supervise, no `unmatched: ask`), and no route changes while it runs.",
		"Credentials are what they were at up: none is renewed. Their placeholders do not have their form.",
		"Browsers and Java do not know the gateway's CA.",
	}, w.Lost...)
	if w.Unnamed {
		lost = append(lost, fmt.Sprintf("The agent is user %d, who has a name and a home folder only if its image knows him.", w.Inside.UID))
	}
	if len(w.Bottle.Mounts) > 0 {
		lost = append(lost, "A read-only folder is shown as it is: a socket in it that the agent's user may write to can be spoken to.")
	}
	for _, l := range lost {
		say("  * " + l)
	}
	return b.String()
}

// inspected is what the engine tells whoever may ask it.
func (w *writing) inspected() string {
	out := []string{"the routes, the agent's command and prompt"}
	if len(w.asked)+len(w.Env) > 0 {
		names := slices.Sorted(maps.Keys(w.asked))
		out = append(out, "and the values of "+strings.Join(append(names, slices.Sorted(maps.Keys(w.Env))...), ", "))
	}
	return strings.Join(out, ", ")
}

// shell is a word as a shell takes it.
func shell(word string) string { return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'" }
