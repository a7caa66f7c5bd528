// Package house_test holds the law of the house: which room may import which,
// which room may use which power, and how large anything may grow. This file is
// the law itself, as tables; arch_rules_test.go reads the source by it,
// arch_promises_test.go holds the documents to it, and arch_samples_test.go proves
// that each rule can fail. Imports are parsed in this process: a test that asks
// `go list` is cached, and lies.
package house_test

import (
	"os"
	"testing"
)

// TestLaw reads every Go file of the module, of every platform, and reports each
// place that breaks the law, with what to do about it.
func TestLaw(t *testing.T) {
	h, err := load(os.DirFS("."))
	if err != nil {
		t.Fatal(err)
	}
	if len(h.files) < 20 {
		t.Fatalf("read %d files: the house is larger than that", len(h.files))
	}
	for _, r := range rules {
		t.Run(r.name, func(t *testing.T) {
			for _, f := range r.check(h) {
				t.Errorf("%s", f)
			}
		})
	}
}

// The layers. A room imports rooms of lower layers only; what stands on one
// layer never sees its neighbours, but for those in beside.
const (
	words     = iota + 1 // nouns
	thought              // pure functions over nouns
	hands                // effects on this host
	contract             // what every wall promises
	wire                 // the gateway's services; walls stand on the same layer, so that neither sees the other
	walls     = wire     // the kinds of sandbox
	lifecycle = wire + 1 // the story of one bottle; the gateway process stands beside it
	faces     = lifecycle + 1
	cli       = faces + 1
	doors     = cli + 1 // the main packages
	tests     = doors + 1
)

// room is one package and its place. A new package needs a line here.
type room struct {
	dir      string
	layer    int
	beside   []string // rooms of the same layer that it may import all the same
	only     []string // if set: the only rooms it may import
	onlyFrom []string // if set: the only rooms, or files of rooms, that may import it
}

var backends = []string{"internal/cli/deps.go", "internal/cli/walls", "test/integration", "test/canaries"}

var rooms = []room{
	{dir: "internal/bottle", layer: words},
	{dir: "internal/bottle/suffix", layer: words}, // apart from the nouns, for its weight: 60 KB of public suffixes

	// Thought, the lowest first: each may lean on those above it in this list.
	{dir: "internal/metric", layer: thought},
	{dir: "internal/udiff", layer: thought, only: []string{}, onlyFrom: []string{"internal/cli/rewrite", "internal/layer", "internal/policy"}},
	{dir: "internal/plan", layer: thought, beside: []string{"internal/metric"}},
	{dir: "internal/plan/sight", layer: thought, only: []string{"internal/bottle"}, onlyFrom: []string{"internal/gateway/desk", "internal/cli/live", "internal/tui"}},
	{dir: "internal/dlp/rule", layer: thought, only: []string{}},
	{dir: "internal/dlp/own", layer: thought, only: []string{"internal/dlp/rule"}, beside: []string{"internal/dlp/rule"}},
	{dir: "internal/dlp/decode/fold", layer: thought, only: []string{}, onlyFrom: []string{"internal/dlp/decode", "internal/dlp/inbound"}},
	{dir: "internal/dlp/decode/alphabet", layer: thought, only: []string{}, onlyFrom: []string{"internal/dlp/decode"}},
	{dir: "internal/dlp/decode/charref", layer: thought, only: []string{}, onlyFrom: []string{"internal/dlp/decode"}},
	{dir: "internal/dlp/decode/magic", layer: thought, only: []string{}, onlyFrom: []string{"internal/dlp/decode"}},
	{dir: "internal/dlp/decode/inflate", layer: thought, only: []string{}, onlyFrom: []string{"internal/dlp/decode"}},
	{dir: "internal/dlp/decode/png", layer: thought, only: []string{}, onlyFrom: []string{"internal/dlp/decode"}},
	{dir: "internal/dlp/decode", layer: thought, only: []string{"internal/dlp/decode/alphabet", "internal/dlp/decode/charref", "internal/dlp/decode/fold", "internal/dlp/decode/inflate", "internal/dlp/decode/magic", "internal/dlp/decode/png"}, beside: []string{"internal/dlp/decode/alphabet", "internal/dlp/decode/charref", "internal/dlp/decode/fold", "internal/dlp/decode/inflate", "internal/dlp/decode/magic", "internal/dlp/decode/png"}},
	{dir: "internal/dlp/unpack", layer: thought, only: []string{"internal/dlp/decode"}, beside: []string{"internal/dlp/decode"}, onlyFrom: []string{"internal/dlp"}},
	{dir: "internal/dlp/find", layer: thought, only: []string{}},
	{dir: "internal/dlp/inbound", layer: thought, only: []string{"internal/dlp/decode/fold", "internal/dlp/find"}, beside: []string{"internal/dlp/decode/fold", "internal/dlp/find"}},
	{dir: "internal/dlp/known", layer: thought, only: []string{}},
	{dir: "internal/dlp/once", layer: thought, only: []string{}},
	{dir: "internal/dlp/place", layer: thought, only: []string{}},
	{dir: "internal/dlp/profile", layer: thought, only: []string{"internal/dlp/rule", "internal/dlp/own"}, beside: []string{"internal/dlp/rule", "internal/dlp/own"}},
	{dir: "internal/dlp", layer: thought,
		beside: []string{"internal/dlp/profile", "internal/dlp/rule", "internal/dlp/own", "internal/dlp/decode", "internal/dlp/find", "internal/dlp/known", "internal/dlp/once", "internal/dlp/place", "internal/dlp/unpack"}},
	{dir: "internal/policy", layer: thought, beside: []string{"internal/plan", "internal/dlp", "internal/udiff"}},
	{dir: "internal/policy/learn", layer: thought, only: []string{"internal/bottle", "internal/bottle/suffix", "internal/policy"}, beside: []string{"internal/policy"}, onlyFrom: []string{"internal/cli/learn"}},
	{dir: "internal/gitgate/ref", layer: thought, only: []string{}, onlyFrom: []string{"internal/gitgate", "internal/gitgate/judge", "internal/gitgate/mirror", "internal/gitgate/object", "internal/gitgate/upstream"}},
	{dir: "internal/gitgate/object", layer: thought, only: []string{"internal/gitgate/ref"}, beside: []string{"internal/gitgate/ref"}, onlyFrom: []string{"internal/gitgate", "internal/gitgate/judge"}},
	{dir: "internal/gitgate/judge", layer: thought, only: []string{"internal/bottle", "internal/dlp", "internal/dlp/known", "internal/dlp/once", "internal/gitgate/object", "internal/gitgate/ref", "internal/policy"},
		beside: []string{"internal/dlp", "internal/dlp/known", "internal/dlp/once", "internal/gitgate/object", "internal/gitgate/ref", "internal/policy"}, onlyFrom: []string{"internal/gitgate", "internal/cli/explain"}}, // explain answers by the gate's own rules
	{dir: "internal/provider", layer: thought, beside: []string{"internal/plan"}},
	{dir: "internal/manifest/rules", layer: thought, onlyFrom: []string{"internal/manifest", "internal/manifest/front"}},
	{dir: "internal/manifest/front", layer: thought, only: []string{"internal/manifest/rules"}, beside: []string{"internal/manifest/rules"}, onlyFrom: []string{"internal/manifest"}},
	{dir: "internal/manifest", layer: thought, beside: []string{"internal/manifest/front", "internal/manifest/rules"}},

	{dir: "internal/hostexec", layer: hands},
	{dir: "internal/secret", layer: hands},
	{dir: "internal/keyring", layer: hands, onlyFrom: []string{"internal/lifecycle"}}, // apart from secret, for its weight: the gateway links that
	{dir: "internal/audit", layer: hands},
	{dir: "internal/store", layer: hands},
	{dir: "internal/store/kept", layer: hands, only: []string{"internal/bottle"}, onlyFrom: []string{"internal/lifecycle"}},
	{dir: "internal/watch", layer: hands, beside: []string{"internal/secret"}, only: []string{"internal/bottle", "internal/secret", "internal/dlp/known"}, onlyFrom: []string{"internal/lifecycle", "internal/need"}},
	{dir: "internal/need", layer: hands, beside: []string{"internal/hostexec", "internal/watch"}, only: []string{"internal/bottle", "internal/hostexec", "internal/watch"}, onlyFrom: []string{"internal/lifecycle", "internal/cli"}},
	{dir: "internal/survey", layer: hands, onlyFrom: []string{"internal/lifecycle", "internal/lifecycle/boxed", "internal/cli/folders", "internal/backend/backendtest"}},
	{dir: "internal/packages", layer: hands, beside: []string{"internal/hostexec"}, only: []string{"internal/bottle", "internal/hostexec", "internal/plan"}, onlyFrom: []string{"internal/cli/bring"}},
	{dir: "internal/recipe", layer: thought, only: []string{"internal/bottle"}, onlyFrom: []string{"internal/lifecycle/boxed", "internal/recipe/pack"}},
	{dir: "internal/recipe/pack", layer: hands, only: []string{"internal/bottle", "internal/recipe"}, onlyFrom: []string{"internal/lifecycle/boxed"}},
	{dir: "internal/layer", layer: hands, onlyFrom: []string{"internal/cli", "internal/cli/changes", "internal/cli/ending", "internal/cli/session"}},

	// The wires link no wall and no terminal: the gateway holds the keys.
	{dir: "internal/egress", layer: wire, onlyFrom: []string{"internal/gateway"},
		beside: []string{"internal/egress/answer", "internal/egress/approval", "internal/egress/authority", "internal/egress/bounds", "internal/egress/conns", "internal/egress/credential", "internal/egress/crowd", "internal/egress/decision", "internal/egress/denial", "internal/egress/dial", "internal/egress/fields", "internal/egress/hello", "internal/egress/http1", "internal/egress/inspect", "internal/egress/linger", "internal/egress/mask", "internal/egress/measure", "internal/egress/ours", "internal/egress/pools", "internal/egress/quota", "internal/egress/records", "internal/egress/redirect", "internal/egress/responder", "internal/egress/socks", "internal/egress/standing", "internal/egress/strict", "internal/egress/tripwire", "internal/egress/websocket"}},
	{dir: "internal/egress/answer", layer: wire, only: []string{"internal/dlp/decode", "internal/dlp/inbound", "internal/egress/decision", "internal/egress/ration"},
		beside: []string{"internal/egress/decision", "internal/egress/ration"}, onlyFrom: []string{"internal/egress"}},
	{dir: "internal/egress/approval", layer: wire, only: []string{"internal/bottle"}, onlyFrom: []string{"internal/egress", "internal/egress/inspect", "internal/gateway"}},
	{dir: "internal/egress/authority", layer: wire, onlyFrom: []string{"internal/egress"}},
	{dir: "internal/egress/conns", layer: wire, only: []string{}, onlyFrom: []string{"internal/egress", "internal/egress/http1"}},
	{dir: "internal/egress/bounds", layer: wire, only: []string{}, onlyFrom: []string{"internal/egress"}},
	{dir: "internal/egress/ours", layer: wire, only: []string{"internal/bottle", "internal/plan", "internal/policy"}, onlyFrom: []string{"internal/cli/explain", "internal/egress"}}, // explain answers by the gateway's own rules
	{dir: "internal/egress/pools", layer: wire, only: []string{"internal/bottle", "internal/egress/dial", "internal/egress/http1", "internal/egress/records"},
		beside: []string{"internal/egress/dial", "internal/egress/http1", "internal/egress/records"}, onlyFrom: []string{"internal/egress"}},
	{dir: "internal/egress/denial", layer: wire, only: []string{"internal/bottle", "internal/plan", "internal/policy"}, onlyFrom: []string{"internal/egress"}},
	{dir: "internal/egress/crowd", layer: wire, only: []string{}, onlyFrom: []string{"internal/egress", "internal/gateway"}},
	{dir: "internal/egress/credential", layer: wire, only: []string{"internal/bottle", "internal/secret", "internal/egress/mask"}, beside: []string{"internal/egress/mask"}, onlyFrom: []string{"internal/egress"}},
	{dir: "internal/egress/decision", layer: wire, only: []string{}, onlyFrom: []string{"internal/egress", "internal/egress/answer", "internal/egress/inspect"}},
	{dir: "internal/egress/dial", layer: wire, only: []string{"internal/bottle", "internal/policy"}, onlyFrom: []string{"internal/egress", "internal/egress/pools"}},
	{dir: "internal/egress/fields", layer: wire, only: []string{"internal/bottle"}, onlyFrom: []string{"internal/egress"}},
	{dir: "internal/egress/handout", layer: wire, only: []string{"internal/bottle"}, onlyFrom: []string{"internal/egress/inspect"}},
	{dir: "internal/egress/headtext", layer: wire, only: []string{"internal/dlp/place"}, onlyFrom: []string{"internal/egress/inspect"}},
	{dir: "internal/egress/http1", layer: wire, only: []string{"internal/egress/conns", "internal/egress/records"}, beside: []string{"internal/egress/conns", "internal/egress/records"}, onlyFrom: []string{"internal/egress", "internal/egress/pools"}},
	{dir: "internal/egress/source", layer: wire, only: []string{}, onlyFrom: []string{"internal/egress/inspect"}},
	{dir: "internal/egress/inspect", layer: wire, only: []string{"internal/bottle", "internal/dlp", "internal/dlp/decode", "internal/dlp/known", "internal/dlp/own", "internal/dlp/place", "internal/policy", "internal/egress/approval", "internal/egress/decision", "internal/egress/handout", "internal/egress/headtext", "internal/egress/measure", "internal/egress/ration", "internal/egress/source"},
		beside: []string{"internal/egress/approval", "internal/egress/decision", "internal/egress/handout", "internal/egress/headtext", "internal/egress/measure", "internal/egress/ration", "internal/egress/source"}, onlyFrom: []string{"internal/egress"}},
	{dir: "internal/egress/ration", layer: wire, only: []string{}, onlyFrom: []string{"internal/egress/answer", "internal/egress/inspect"}},
	{dir: "internal/egress/records", layer: wire, only: []string{}, onlyFrom: []string{"internal/egress", "internal/egress/http1", "internal/egress/pools"}},
	{dir: "internal/egress/hello", layer: wire, only: []string{}, onlyFrom: []string{"internal/egress"}},
	{dir: "internal/egress/measure", layer: wire, only: []string{"internal/metric", "internal/policy"}, onlyFrom: []string{"internal/egress", "internal/egress/inspect", "internal/gateway"}},
	{dir: "internal/egress/quota", layer: wire, only: []string{"internal/policy"}, onlyFrom: []string{"internal/egress", "internal/egress/standing"}},
	{dir: "internal/egress/standing", layer: wire, only: []string{"internal/bottle", "internal/policy", "internal/egress/quota"}, beside: []string{"internal/egress/quota"}, onlyFrom: []string{"internal/egress"}},
	{dir: "internal/egress/linger", layer: wire, only: []string{}, onlyFrom: []string{"internal/egress"}},
	{dir: "internal/egress/mask", layer: wire, only: []string{}, onlyFrom: []string{"internal/egress", "internal/egress/credential", "internal/egress/tripwire"}},
	{dir: "internal/egress/redirect", layer: wire, only: []string{}, onlyFrom: []string{"internal/egress"}},
	{dir: "internal/egress/responder", layer: wire, onlyFrom: []string{"internal/egress"}},
	{dir: "internal/egress/socks", layer: wire, only: []string{}, onlyFrom: []string{"internal/egress"}},
	{dir: "internal/egress/strict", layer: wire, only: []string{"internal/bottle", "internal/policy"}, onlyFrom: []string{"internal/egress"}},
	{dir: "internal/egress/tripwire", layer: wire, beside: []string{"internal/egress/mask"}, only: []string{"internal/egress/mask"}, onlyFrom: []string{"internal/egress"}},
	{dir: "internal/egress/websocket", layer: wire, only: []string{}, onlyFrom: []string{"internal/egress"}},
	{dir: "internal/gitgate", layer: wire, onlyFrom: []string{"internal/gateway"},
		beside: []string{"internal/gitgate/confined", "internal/gitgate/judge", "internal/gitgate/may", "internal/gitgate/mirror", "internal/gitgate/object", "internal/gitgate/pktline", "internal/gitgate/shown", "internal/gitgate/upstream"}},
	{dir: "internal/gitgate/confined", layer: wire, only: []string{"internal/hostexec"}, onlyFrom: []string{"internal/gitgate", "internal/gitgate/mirror", "internal/gateway", "internal/gateway/check"}},
	{dir: "internal/gitgate/shown", layer: wire, only: []string{"internal/bottle"}, onlyFrom: []string{"internal/gitgate"}},
	{dir: "internal/gitgate/mirror", layer: wire, only: []string{"internal/gitgate/confined", "internal/gitgate/ref", "internal/gitgate/upstream"},
		beside: []string{"internal/gitgate/confined", "internal/gitgate/upstream"}, onlyFrom: []string{"internal/gitgate"}},
	{dir: "internal/gitgate/may", layer: thought, only: []string{"internal/bottle"}, onlyFrom: []string{"internal/gitgate"}},
	{dir: "internal/gitgate/pktline", layer: wire, only: []string{}, onlyFrom: []string{"internal/gitgate", "internal/gitgate/upstream"}},
	{dir: "internal/gitgate/upstream", layer: wire, only: []string{"internal/gitgate/pktline", "internal/gitgate/ref"}, beside: []string{"internal/gitgate/pktline"}, onlyFrom: []string{"internal/gitgate", "internal/gitgate/mirror"}},
	{dir: "internal/supervise", layer: wire, only: []string{"internal/bottle", "internal/plan", "internal/policy"}, onlyFrom: []string{"internal/gateway"}},
	{dir: "internal/gateway/attend", layer: wire, only: []string{}, onlyFrom: []string{"internal/gateway"}},
	{dir: "internal/gateway/desk", layer: wire, onlyFrom: []string{"internal/gateway"}},
	{dir: "internal/gateway/door", layer: wire, only: []string{"internal/plan"}, onlyFrom: []string{"internal/gateway"}},
	{dir: "internal/gateway/shelf", layer: wire, only: []string{"internal/bottle"}, onlyFrom: []string{"internal/gateway"}},
	{dir: "internal/gateway/refused", layer: wire, only: []string{"internal/audit", "internal/policy"}, onlyFrom: []string{"internal/gateway"}},
	{dir: "internal/gateway/check", layer: lifecycle, only: []string{"internal/audit", "internal/bottle", "internal/dlp/profile", "internal/dlp/rule", "internal/gateway", "internal/gitgate/confined", "internal/plan"}, beside: []string{"internal/gateway"}, onlyFrom: []string{"cmd/bottle-gateway"}},
	{dir: "internal/gateway", layer: lifecycle, onlyFrom: []string{"internal/gateway/check", "cmd/bottle-gateway", "test/integration", "test/bench"}}, // the bench: to profile it

	{dir: "internal/backend", layer: contract, onlyFrom: []string{
		"internal/backend/docker/composed",
		"internal/backend/agent", "internal/backend/backendtest", "internal/backend/native", "internal/backend/docker", "internal/backend/smolvm",
		"internal/lifecycle", "internal/lifecycle/boxed", "internal/lifecycle/share", "internal/lifecycle/tty", "internal/cli", "internal/cli/ending", "internal/cli/walls", "internal/web", "test/integration", "test/canaries",
	}},
	{dir: "internal/backend/backendtest", layer: walls, onlyFrom: []string{"test/integration"}}, // and any _test.go
	{dir: "internal/backend/backendtest/foreign", layer: hands, only: []string{}, onlyFrom: []string{"internal/backend/backendtest"}},
	// An agent that runs: the start's side of it, the stream to a bottle, the terminal.
	{dir: "internal/backend/agent", layer: walls, only: []string{"internal/backend", "internal/bottle", "internal/backend/frames", "internal/backend/jail", "internal/plan"}, beside: []string{"internal/backend/frames", "internal/backend/jail"},
		onlyFrom: []string{"internal/backend/docker/composed", "internal/backend/native", "internal/backend/docker", "internal/backend/smolvm"}},
	{dir: "internal/backend/frames", layer: walls, only: []string{"internal/backend/jail", "internal/backend/terminal"}, beside: []string{"internal/backend/jail", "internal/backend/terminal"},
		onlyFrom: []string{"internal/backend/docker/composed", "internal/backend/agent", "internal/backend/docker", "internal/backend/docker/inside", "internal/backend/smolvm", "internal/backend/smolvm/guest"}},
	{dir: "internal/backend/terminal", layer: walls, only: []string{}, onlyFrom: []string{"internal/backend/frames", "internal/backend/native"}},
	{dir: "internal/backend/native", layer: walls, beside: []string{"internal/backend/agent", "internal/backend/jail", "internal/backend/terminal"}, onlyFrom: backends},
	{dir: "internal/backend/docker", layer: walls, beside: []string{"internal/backend/agent", "internal/backend/docker/compose", "internal/backend/docker/glance", "internal/backend/docker/inside", "internal/backend/docker/making", "internal/backend/frames", "internal/backend/jail"}, onlyFrom: backends}, // what the jail is told is the same
	{dir: "internal/backend/docker/compose", layer: walls, only: []string{"internal/bottle", "internal/plan", "internal/backend/docker/composed", "internal/backend/docker/inside"},
		beside: []string{"internal/backend/docker/composed", "internal/backend/docker/inside"}, onlyFrom: []string{"internal/backend/docker"}},
	// What runs in the containers where no start looks after them, from bottle-jail.
	{dir: "internal/backend/docker/composed", layer: walls, only: []string{"internal/plan", "internal/backend", "internal/backend/agent", "internal/backend/docker/inside", "internal/backend/frames", "internal/backend/jail"},
		beside: []string{"internal/backend/agent", "internal/backend/docker/inside", "internal/backend/frames", "internal/backend/jail"}, onlyFrom: []string{"internal/backend/docker/compose", "cmd/bottle-jail"}},
	{dir: "internal/backend/docker/glance", layer: walls, only: []string{}, onlyFrom: []string{"internal/backend/docker"}},
	{dir: "internal/backend/docker/image", layer: walls, only: []string{"internal/backend/docker/inside"}, beside: []string{"internal/backend/docker/inside"}, onlyFrom: backends},
	// What runs in the containers, from bottle-jail: links as little as that.
	{dir: "internal/backend/docker/making", layer: walls, only: []string{"internal/bottle"}, onlyFrom: []string{"internal/backend/docker"}},
	{dir: "internal/backend/docker/inside", layer: walls, beside: []string{"internal/backend/frames", "internal/backend/jail", "internal/backend/jail/fence"},
		only:     []string{"internal/plan", "internal/backend/frames", "internal/backend/jail", "internal/backend/jail/fence"},
		onlyFrom: []string{"internal/backend/docker/composed", "internal/backend/docker/compose", "internal/backend/docker", "internal/backend/docker/image", "cmd/bottle-jail"}},
	{dir: "internal/backend/smolvm", layer: walls, beside: []string{"internal/backend/agent", "internal/backend/frames", "internal/backend/jail", "internal/backend/smolvm/guest", "internal/backend/smolvm/loopback", "internal/backend/smolvm/rootfs"}, onlyFrom: backends}, // as docker's
	{dir: "internal/backend/smolvm/rootfs", layer: walls, only: []string{"internal/bottle"}, onlyFrom: []string{"internal/backend/smolvm"}},
	// What runs in the VM, from bottle-jail: links as little as that.
	{dir: "internal/backend/smolvm/guest", layer: walls, beside: []string{"internal/backend/frames", "internal/backend/jail"},
		only:     []string{"internal/bottle", "internal/plan", "internal/backend/frames", "internal/backend/jail"},
		onlyFrom: []string{"internal/backend/smolvm", "cmd/bottle-jail"}},
	{dir: "internal/backend/smolvm/smolvmtest", layer: walls, beside: []string{"internal/backend/jail/fence"}, onlyFrom: []string{"test/integration"}}, // and any _test.go
	{dir: "internal/backend/smolvm/loopback", layer: walls, only: []string{"internal/bottle", "internal/hostexec", "internal/plan"}, onlyFrom: append([]string{"internal/backend/smolvm"}, backends...)},
	// The jail is what runs beside the agent: launcher, init, probes. It links almost nothing.
	{dir: "internal/backend/jail", layer: walls, beside: []string{"internal/backend/jail/fence", "internal/backend/jail/source"},
		only:     []string{"internal/bottle", "internal/plan", "internal/backend/jail/fence", "internal/backend/jail/source"},
		onlyFrom: []string{"internal/backend/docker/composed", "internal/backend/agent", "internal/backend/frames", "internal/backend/native", "internal/backend/docker", "internal/backend/docker/inside", "internal/backend/smolvm", "internal/backend/smolvm/guest", "cmd/bottle-jail"}},
	{dir: "internal/backend/jail/source", layer: walls, only: []string{"internal/plan"}, onlyFrom: []string{"internal/backend/jail"}},
	{dir: "internal/backend/jail/fence", layer: walls, only: []string{"internal/plan"}, onlyFrom: []string{"internal/backend/jail", "internal/backend/docker/inside", "internal/backend/smolvm/smolvmtest"}},

	{dir: "internal/lifecycle/gitconfig", layer: thought, only: []string{"internal/bottle", "internal/policy"}, beside: []string{"internal/policy"}, onlyFrom: []string{"internal/lifecycle"}},
	{dir: "internal/lifecycle", layer: lifecycle, beside: []string{"internal/lifecycle/boxed"}},
	{dir: "internal/lifecycle/boxed", layer: lifecycle, only: []string{"internal/backend", "internal/bottle", "internal/plan", "internal/recipe", "internal/recipe/pack", "internal/store", "internal/survey"}, onlyFrom: []string{"internal/lifecycle"}},
	{dir: "internal/lifecycle/tty", layer: lifecycle, only: []string{"internal/backend", "internal/lifecycle"}, beside: []string{"internal/lifecycle"}, onlyFrom: []string{"internal/cli/session"}},
	{dir: "internal/lifecycle/share", layer: lifecycle, only: []string{"internal/backend", "internal/lifecycle"}, beside: []string{"internal/lifecycle"}, onlyFrom: []string{"internal/cli/session"}},
	{dir: "internal/tui", layer: faces, only: []string{"internal/audit", "internal/bottle", "internal/plan", "internal/plan/sight"}, onlyFrom: []string{"internal/cli/live"}},
	{dir: "internal/web", layer: faces},
	{dir: "internal/demo", layer: faces, onlyFrom: []string{"internal/cli"}},
	{dir: "internal/cli/ui", layer: faces, onlyFrom: []string{"internal/cli", "internal/cli/bring", "internal/cli/changes", "internal/cli/command", "internal/cli/ending", "internal/cli/explain", "internal/cli/export", "internal/cli/folders", "internal/cli/images", "internal/cli/learn", "internal/cli/listing", "internal/cli/live", "internal/cli/scan", "internal/cli/session", "internal/cli/wish"}},
	{dir: "internal/cli/bring", layer: faces, only: []string{"internal/bottle", "internal/cli/ui", "internal/packages", "internal/plan", "internal/store"}, beside: []string{"internal/cli/ui"}, onlyFrom: []string{"internal/cli", "internal/cli/live"}},
	{dir: "internal/cli/changes", layer: faces, onlyFrom: []string{"internal/cli", "internal/cli/session"}, beside: []string{"internal/cli/ui"}},
	{dir: "internal/cli/live", layer: faces, onlyFrom: []string{"internal/cli"}, beside: []string{"internal/cli/bring", "internal/cli/command", "internal/cli/editor", "internal/cli/rewrite", "internal/cli/ui", "internal/cli/wish", "internal/tui"}},
	{dir: "internal/cli/learn", layer: faces, only: []string{"internal/audit", "internal/bottle", "internal/cli/command", "internal/cli/editor", "internal/cli/rewrite", "internal/cli/ui", "internal/manifest", "internal/plan", "internal/policy", "internal/policy/learn", "internal/store"},
		beside: []string{"internal/cli/command", "internal/cli/editor", "internal/cli/rewrite", "internal/cli/ui"}, onlyFrom: []string{"internal/cli"}},
	{dir: "internal/cli/session", layer: faces, only: []string{"internal/bottle", "internal/cli/changes", "internal/cli/command", "internal/cli/ui", "internal/hostexec", "internal/layer", "internal/lifecycle", "internal/lifecycle/share", "internal/lifecycle/tty", "internal/plan", "internal/store"},
		beside: []string{"internal/cli/changes", "internal/cli/command", "internal/cli/ui"}, onlyFrom: []string{"internal/cli"}},
	{dir: "internal/cli/wish", layer: faces, only: []string{"internal/audit", "internal/bottle", "internal/cli/ui", "internal/dlp/place", "internal/plan", "internal/policy"}, onlyFrom: []string{"internal/cli", "internal/cli/live"}, beside: []string{"internal/cli/ui"}},
	{dir: "internal/cli/rewrite", layer: faces, only: []string{"internal/bottle", "internal/cli/editor", "internal/manifest", "internal/policy", "internal/udiff"}, onlyFrom: []string{"internal/cli/learn", "internal/cli/live"},
		beside: []string{"internal/cli/editor"}},
	{dir: "internal/cli/command", layer: faces, onlyFrom: []string{"internal/cli", "internal/cli/ending", "internal/cli/explain", "internal/cli/export", "internal/cli/images", "internal/cli/learn", "internal/cli/listing", "internal/cli/live", "internal/cli/session"}, beside: []string{"internal/cli/ui"}},
	{dir: "internal/cli/listing", layer: faces, only: []string{"internal/bottle", "internal/cli/command", "internal/cli/ui", "internal/manifest", "internal/plan", "internal/store"}, onlyFrom: []string{"internal/cli"}, beside: []string{"internal/cli/command", "internal/cli/ui"}},
	{dir: "internal/cli/ending", layer: faces, onlyFrom: []string{"internal/cli"}, beside: []string{"internal/cli/command", "internal/cli/ui"}},
	{dir: "internal/cli/export", layer: faces, only: []string{"internal/bottle", "internal/cli/command", "internal/cli/ui"}, onlyFrom: []string{"internal/cli"},
		beside: []string{"internal/cli/command", "internal/cli/ui"}},
	{dir: "internal/cli/remote", layer: faces, only: []string{"internal/bottle", "internal/hostexec", "internal/manifest"}, onlyFrom: []string{"internal/cli", "internal/cli/explain"}},
	{dir: "internal/cli/explain", layer: faces, only: []string{"internal/bottle", "internal/cli/command", "internal/cli/remote", "internal/cli/ui", "internal/egress/ours", "internal/gitgate/judge", "internal/manifest", "internal/plan", "internal/policy"},
		beside: []string{"internal/cli/command", "internal/cli/remote", "internal/cli/ui"}, onlyFrom: []string{"internal/cli"}},
	{dir: "internal/cli/folders", layer: faces, onlyFrom: []string{"internal/cli"}, beside: []string{"internal/cli/ui"}},
	{dir: "internal/cli/scan", layer: faces, onlyFrom: []string{"internal/cli", "test/corpus"}, beside: []string{"internal/cli/ui"}},
	{dir: "internal/cli/images", layer: faces, only: []string{"internal/bottle", "internal/cli/command", "internal/cli/ui"}, beside: []string{"internal/cli/command", "internal/cli/ui"}, onlyFrom: []string{"internal/cli"}},
	{dir: "internal/cli/walls", layer: faces, only: []string{"internal/backend", "internal/backend/docker", "internal/backend/docker/image", "internal/backend/native", "internal/backend/smolvm", "internal/backend/smolvm/loopback", "internal/plan"}, onlyFrom: []string{"internal/cli"}}, // a part of deps.go
	{dir: "internal/cli/manual", layer: faces, only: []string{"internal/bottle"}, onlyFrom: []string{"internal/cli"}},
	{dir: "internal/cli/editor", layer: faces, only: []string{}, onlyFrom: []string{"internal/cli", "internal/cli/learn", "internal/cli/live", "internal/cli/rewrite"}},
	{dir: "internal/cli/starter", layer: faces, only: []string{"internal/bottle", "internal/manifest"}, onlyFrom: []string{"internal/cli"}},
	{dir: "internal/cli", layer: cli},

	{dir: "cmd/bottle", layer: doors, only: []string{"internal/bottle", "internal/cli"}},
	{dir: "cmd/bottle-gateway", layer: doors, only: []string{"internal/bottle", "internal/gateway", "internal/gateway/check"}},
	{dir: "cmd/bottle-jail", layer: doors, only: []string{"internal/bottle", "internal/backend/docker/composed", "internal/backend/docker/inside", "internal/backend/jail", "internal/backend/smolvm/guest"}},

	{dir: "test/require", layer: tests, only: []string{}},
	{dir: "test/screen", layer: tests, only: []string{"test/require"}},
	// All else below test/ may see any room that onlyFrom does not keep from it.
	{dir: "test/programs", layer: tests},
	{dir: "test/npm", layer: tests},
	{dir: "test/integration", layer: tests},
	{dir: "test/clients", layer: tests},
	{dir: "test/canaries", layer: tests},
}

// testOnly may be imported by every _test.go, whatever its room.
var testOnly = []string{"test/require", "test/screen", "internal/backend/backendtest", "internal/backend/smolvm/smolvmtest"}

// Also every room below test/fake: stand-ins for servers of others.
const fakes = "test/fake/"

// forbiddenImports: standard packages, with all below them, that some rooms must
// not import. where is a list of layers or rooms; except lists what stays fine.
var forbiddenImports = []struct {
	pkg    string
	layers []int
	except []string // paths below pkg that are fine
	allow  []string // if layers is nil: the only rooms that may
	hint   string
}{
	{pkg: "os", layers: pure, hint: doInHands},
	{pkg: "net", layers: pure, except: []string{"net/netip", "net/url", "net/textproto", "net/mail"}, hint: doInHands},
	{pkg: "syscall", layers: pure, hint: doInHands},
	{pkg: "log", layers: pure, hint: "return the fact; the caller logs"},
	{pkg: "crypto/rand", layers: pure, hint: "take the random bytes as a parameter"},
	{pkg: "math/rand", layers: pure, hint: "take the random number as a parameter"},
	{pkg: "C", hint: "cgo is off: the programs are static"},
	{pkg: "plugin", hint: "the programs are static"},
	{pkg: "net/http/pprof", hint: "it registers itself on the default mux"},
	{pkg: "expvar", hint: "it registers itself on the default mux"},
	{pkg: "testing", allow: []string{"internal/backend/backendtest", "internal/backend/smolvm/smolvmtest", "test"}, hint: "move the code to a _test.go"},
	{pkg: "os/exec", allow: []string{"internal/hostexec", "internal/backend/native", "test"}, hint: "run host commands through internal/hostexec"},
	{pkg: "unsafe", allow: []string{"internal/backend/native", "internal/backend/jail", "internal/backend/backendtest", "internal/gateway/harden_linux.go", "internal/gitgate/confined/main_linux.go"}, hint: "only a few system calls need it; use golang.org/x/sys/unix"},
}

var pure = []int{words, thought}

const doInHands = "thought decides, hands do: take the data, or an fs.FS, as a parameter"

// power is something that a program can do to the world. Each is a set of names
// that may be used in the listed rooms, or files of rooms (* as in path.Match), and nowhere else.
type power struct {
	name  string
	uses  []string // "import/path.Name"; ".Name" is a selector on anything
	where []string
	tests bool // the rule holds in _test.go too
	hint  string
}

var powers = []power{
	{name: "run a program",
		uses: []string{
			"os/exec.Command", "os/exec.CommandContext", "os/exec.Cmd{}", "os.StartProcess",
			"syscall.ForkExec", "syscall.StartProcess", "syscall.Exec", "golang.org/x/sys/unix.Exec",
		},
		where: []string{
			"internal/hostexec", "internal/backend/native", "internal/backend/jail",
			"internal/backend/docker/inside/bundle_linux.go", // becomes the gateway
			"internal/backend/smolvm/guest/guest_linux.go",   // the jail, in a VM
			"internal/backend/smolvm/smolvmtest",             // a stand-in for tests
			"internal/gateway/harden_linux.go",               // replaces itself, confined
			"internal/gitgate/confined/main_linux.go",        // becomes git, confined
		},
		hint: "go through internal/hostexec, which keeps argv, output and timing in the error"},
	{name: "dial out",
		uses: []string{
			"net.Dial", "net.DialTimeout", "net.DialTCP", "net.DialUDP", "net.DialIP", "net.Dialer", "net.Resolver", "net.DefaultResolver",
			"net.LookupHost", "net.LookupIP", "net.LookupAddr", "net.LookupCNAME", "net.LookupTXT", "net.LookupMX", "net.LookupNS", "net.LookupSRV",
			"net.ResolveTCPAddr", "net.ResolveUDPAddr", "net.ResolveIPAddr",
			"crypto/tls.Dial", "crypto/tls.DialWithDialer", "crypto/tls.Dialer",
			"net/http.Get", "net/http.Post", "net/http.Head", "net/http.PostForm", "net/http.Client{}", "net/http.Transport{}",
			"golang.org/x/crypto/ssh.Dial", "golang.org/x/net/websocket.Dial",
		},
		where: []string{
			"internal/egress", "internal/egress/dial",
			"internal/egress/pools",                        // transports, which are given dial's connections
			"internal/demo/client.go",                      // the demo's tiny client, which runs inside a bottle
			"internal/gateway/check/ask.go",                // asks the gateway that it began itself, on loopback
			"internal/backend/smolvm/loopback/pool.go",     // asks a loopback address of the pool who holds it
			"internal/backend/smolvm/guest/relay_linux.go", // in the VM, to the gateway's door alone
			"internal/backend/smolvm/guest/reach_linux.go", // in the VM, the attempts that must fail
			"internal/backend/smolvm/smolvmtest",           // loopback alone
		},
		hint: "only egress dials, after the policy decided and the address was classified; a unix socket is net.DialUnix"},
	{name: "send on a raw socket",
		uses: []string{"syscall.Connect", "golang.org/x/sys/unix.Connect", "syscall.Sendto", "golang.org/x/sys/unix.Sendto"},
		where: []string{
			"internal/backend/jail/fence",                     // netlink, inside the new namespace
			"internal/backend/jail/probe*.go",                 // the attacks that must fail
			"internal/backend/docker/inside/fence_linux.go",   // the unix socket where the gateway waits
			"internal/backend/docker/inside/healthy_linux.go", // the gateway's control socket, in its own container
		},
		hint: "use package net, which the other lines of this table watch"},
	{name: "reveal a secret",
		uses: []string{".Reveal"},
		where: []string{
			"internal/egress/inject.go", "internal/egress/credential/inject.go", "internal/gitgate/auth.go", "internal/gitgate/upstream/auth.go",
			"internal/secret/line.go",     // encodes them for the gateway's stdin
			"internal/gateway/scanner.go", // what must not leave is looked for
			"internal/secret/shape.go",    // a placeholder has the length and alphabet of the value that it stands for
		},
		hint: "a value is shown to nobody but the injector and the gateway's stdin; pass the secret.Value on"},
	{name: "end the process",
		uses:  []string{"os.Exit", "log.Fatal", "log.Fatalf", "log.Fatalln", "syscall.Exit", "golang.org/x/sys/unix.Exit"},
		where: []string{"cmd"},
		hint:  "return an error or an exit code; undo stacks and deferred calls must run"},
	{name: "read the environment",
		uses:  []string{"os.Getenv", "os.LookupEnv", "os.Environ", "os.ExpandEnv", "syscall.Getenv", "syscall.Environ"},
		where: []string{"internal/cli", "internal/secret", "internal/gitgate/confined/main_linux.go", "internal/backend/docker/composed"}, // the last two: what the gateway made for git, what compose hands over by name
		hint:  "take it as a parameter: the environment is the operator's, and cli reads it"},
	{name: "share a global of net/http",
		uses: []string{
			"net/http.DefaultClient", "net/http.DefaultTransport", "net/http.DefaultServeMux",
			"net/http.Handle", "net/http.HandleFunc", "net/http.ListenAndServe", "net/http.ListenAndServeTLS",
		},
		hint: "make an own client, mux or server with its limits"},
	{name: "sleep",
		uses: []string{"time.Sleep"},
		hint: "wait for a message, a context or a timer: readiness is never a sleep"},
	{name: "skip verification of TLS",
		uses: []string{".InsecureSkipVerify"}, tests: true,
		hint: "trust a CA for this one connection (tls.Config.RootCAs)"},
}

// modules: a third-party module, or a package of it, and the rooms that may link
// it. nil rooms: tests only. Why it was chosen stands in docs/decisions/0001-dependencies.md.
var modules = []struct {
	path  string
	rooms []string
}{
	{"charm.land/bubbletea/v2", []string{"internal/tui"}},
	{"github.com/charmbracelet/x/ansi", []string{"internal/tui"}},
	{"github.com/containerd/errdefs", []string{"internal/backend/docker"}},
	{"github.com/google/go-containerregistry", []string{"internal/backend/docker/image"}},
	{"github.com/moby/moby/api", []string{"internal/backend/docker"}},
	{"github.com/moby/moby/client", []string{"internal/backend/docker"}},
	{"github.com/moby/patternmatcher", []string{"internal/recipe/pack"}},
	{"github.com/godbus/dbus/v5", []string{"internal/keyring"}},
	{"github.com/google/jsonschema-go", []string{"internal/manifest", "internal/supervise"}},
	{"github.com/google/nftables", []string{"internal/backend/jail/fence", "internal/backend/smolvm/smolvmtest"}},
	{"github.com/landlock-lsm/go-landlock", []string{"internal/backend/jail", "internal/gitgate/confined"}},
	{"github.com/mdlayher/netlink", []string{"internal/backend/jail/fence"}},
	{"github.com/modelcontextprotocol/go-sdk", []string{"internal/supervise"}},
	{"github.com/spf13/cobra", []string{"internal/cli"}},
	{"github.com/spf13/pflag", []string{"internal/cli"}},
	{"go.yaml.in/yaml/v4", []string{"internal/manifest"}},
	{"golang.org/x/crypto/ssh", []string{"internal/gitgate/upstream"}},
	{"golang.org/x/net/dns/dnsmessage", []string{"internal/egress/http1", "internal/egress/records", "internal/egress/redirect", "internal/egress/responder", "internal/egress/strict"}},
	{"golang.org/x/net/idna", []string{"internal/bottle"}},
	{"golang.org/x/net/publicsuffix", []string{"internal/bottle/suffix"}},
	{"golang.org/x/sync", []string{"internal/egress/authority"}},
	{"golang.org/x/sys", []string{"internal/hostexec", "internal/need", "internal/backend/backendtest", "internal/audit", "internal/store", "internal/layer", "internal/egress", "internal/gateway", "internal/gitgate/confined", "internal/backend/docker/composed", "internal/backend/native", "internal/backend/jail", "internal/backend/docker/inside", "internal/backend/smolvm", "internal/backend/terminal", "internal/lifecycle"}},
	{"golang.org/x/term", []string{"internal/cli", "internal/lifecycle"}},
	{"software.sslmate.com/src/go-pkcs12", []string{"internal/lifecycle"}},

	{"github.com/andybalholm/brotli", []string{"internal/dlp/decode/inflate"}},
	{"github.com/klauspost/compress", []string{"internal/dlp/decode/inflate"}},
	{"github.com/pelletier/go-toml/v2", []string{"internal/dlp/rule"}},
	{"github.com/zricethezav/gitleaks/v8/config", []string{"internal/dlp/rule"}},
	{"golang.org/x/text/unicode/norm", []string{"internal/dlp/decode/fold", "internal/gitgate/judge"}},

	{"code.dny.dev/ssrf", nil},
	{"github.com/zricethezav/gitleaks/v8/cmd/generate/config/utils", nil}, // the samples of its rules
	{"github.com/rs/zerolog", nil},                                        // to keep the library silent
	{"github.com/zricethezav/gitleaks/v8/logging", nil},                   // the same
	{"github.com/zricethezav/gitleaks/v8/regexp", nil},                    // which engine it runs
	{"github.com/zricethezav/gitleaks/v8/detect", nil},                    // the oracle of the rules
	{"github.com/zricethezav/gitleaks/v8/sources", nil},                   // what it reads of a repository
	{"github.com/elastic/go-seccomp-bpf", nil},
	{"golang.org/x/net/bpf", nil},   // runs the seccomp program
	{"golang.org/x/net/http2", nil}, // frames that no honest client sends
	{"github.com/google/go-cmp", nil},
	{"github.com/moby/profiles/seccomp", nil},
	{"github.com/prometheus/client_model", nil},
	{"github.com/prometheus/common", nil}, // reads what we write for Prometheus
	{"github.com/rogpeppe/go-internal", nil},
	{"go.uber.org/goleak", nil},
	{"pgregory.net/rapid", nil},
}

// constants lists package-level variables that are allowed by name, each with
// the reason. Sentinels (errors.New), embedded files and `var _ I = T{}` need no entry.
var constants = map[string]string{
	"internal/dlp/own.scan": "built at the first use from what the source holds, never changed",
}

// Sizes, in lines. Tests may be longer.
const (
	maxFunc    = 60
	maxFile    = 500
	maxPackage = 2500
	maxMain    = 40
)

// invariants is how many the threat model has.
const invariants = 11

// laterReasons are reason codes that stand already and that nothing gives yet: a
// test must name each as soon as its room is there.
var laterReasons = map[string]string{}

// larger lists what may be larger, by name ("dir", "dir/file.go" or
// "dir.Func"), with its own limit. An entry that is no longer needed fails.
var larger = map[string]int{}
