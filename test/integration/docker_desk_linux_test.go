package integration

import (
	"strings"
	"testing"

	"bottle/test/require"
	"bottle/test/screen"
)

// askHost asks for what is typed, through the proxy, without curl.
const askHost = `while echo -n "ask> " && read h; do exec 3<>/dev/tcp/127.0.0.1/9099; printf 'GET http://%s/ HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n' "$h" "$h" >&3; read -r _ code _ <&3; echo "$h gives $code"; exec 3>&-; done`

// TestDockerFromTheDashboard: a whole day in one terminal. A bottle of containers is started in
// the dashboard, attached to and left, what its agent asked for is approved there, and it is
// stopped there; another terminal attaches meanwhile. Nothing of the engine's is left.
func TestDockerFromTheDashboard(t *testing.T) {
	require.Tool(t, "tmux")
	m := moor(t, -1, "supervise: true\negress: {unmatched: ask, routes: [{host: api.example.com}]}\n")
	m.write("home/agents/"+m.agent+".md", "---\nbottle: box\ncommand: [\"/bin/bash\", \"-c\", "+quoted(askHost)+"]\n---\nA test.\n")
	m.own()
	before := known(t)
	d := m.dashboard(120, 40)
	d.Shows("no bottle runs")
	d.Keys("s")
	d.Shows("Start which agent?", "> "+m.agent)
	d.Keys("Enter")
	d.Shows("backend    docker", "Start it? [y/N]")
	d.Types("y\n")
	d.Shows("started "+m.agent, "Enter attaches", "docker")
	id := string(m.identity())
	d.Keys("Enter")
	d.Shows("attached to "+id, "ask>")
	d.Types("new.example.com\n")
	d.Shows("new.example.com gives 403")
	guest := m.screen(80, 24, "attach", id)
	guest.Shows("new.example.com gives 403")
	guest.Types("other.example.net\n")
	d.Shows("other.example.net gives 403")
	guest.Keys("C-]")
	guest.Shows("detached from "+id+", which goes on", "exit code 0.")
	d.Keys("C-]")
	d.Shows("adds GET to new.example.com:80/*", "adds GET to other.example.net:80/*")
	d.Keys("Tab")
	choose(d, "adds GET to new.example.com:80/*")
	d.Keys("a")
	d.Shows("Approve p", "adds GET to new.example.com:80/*")
	sure(d, "approved p")
	guest = m.screen(80, 24, "attach", id)
	guest.Shows("ask>")
	guest.Types("new.example.com\n")
	guest.Until("what is approved is let out", func(text string) bool {
		_, last, _ := strings.Cut(text, "other.example.net gives 403")
		return strings.Contains(last, "new.example.com gives 5") // there is no such server
	})
	guest.Keys("C-]")
	guest.Shows("exit code 0.")
	d.Keys("x")
	d.Shows("stop "+m.agent, "y/n")
	d.Press("y", "y/n", "no bottle runs")
	d.Press("q", "no bottle runs", "exit code 0.")
	require.Eventually(t, screen.Patience, "nothing is left", func() bool { sleepABit(); return known(t) == before })
	m.tool("audit", id, "--verify")
}

// quoted is text as YAML has it within single quotes.
func quoted(text string) string { return "'" + strings.ReplaceAll(text, "'", "''") + "'" }
