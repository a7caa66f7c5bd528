// Package compose writes a bottle of containers as a file for docker compose: the same walls,
// put up by package composed's programs instead of a start. What a compose file cannot say is
// said at its head.
package compose

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"bottle/internal/backend/docker/composed"
	"bottle/internal/backend/docker/inside"
	"bottle/internal/bottle"
	"bottle/internal/plan"
)

// Input is one bottle. Paths are this machine's: the file is for its engine.
type Input struct {
	plan.Carried                        // Bottle.Container.Image is the agent's
	Filter       []byte                 // the seccomp program
	Jail, At     string                 // path of bottle-jail, on the host and in the agent's container
	Image        string                 // the gateway's
	UID, GID     int                    // who the gateway is
	Inside       User                   // who the agent is
	Unnamed      bool                   // that is no user of images by custom
	Readable     func(path string) bool // whether that user can read a file of values; nil: none
	Shape        Shape                  // how the agent's container is bounded
}

// User is one user of the engine's kernel.
type User struct{ UID, GID int }

// Shape is how a start bounds an agent's container.
type Shape struct {
	PIDs, Memory, Shm int64 // Memory 0: not limited
	CPUs              float64
	OpenFiles         uint64
	Tmpfs             map[string]string // options by path
}

// writing is one file under way.
type writing struct {
	Input
	text  strings.Builder
	first []string          // commands to type before the first up
	asked map[string]string // variable of the shell -> what for
	files map[string]string // name of a compose secret -> file of the host
}

// Write makes the file. An error says what of the bottle no compose file can do.
func Write(in Input) (string, error) {
	w := &writing{Input: in, asked: map[string]string{}, files: map[string]string{}}
	if err := w.fits(); err != nil {
		return "", err
	}
	values := w.values()
	head, err := word(w.Gateway)
	if err != nil {
		return "", err
	}
	gateway, err := word(composed.Gateway{Gateway: json.RawMessage(head), Values: values})
	if err != nil {
		return "", err
	}
	agent, err := word(composed.Agent{Bottle: w.Bottle, Filter: w.Filter, Files: w.Files, Command: w.Command, Env: slices.Sorted(maps.Keys(w.Env))})
	if err != nil {
		return "", err
	}
	fence, err := word(w.Bottle)
	if err != nil {
		return "", err
	}
	w.line(0, "services:")
	w.gateway(gateway)
	w.agent(agent)
	w.fence(fence)
	w.rest()
	return w.head() + w.text.String(), nil
}

// fits refuses what cannot be had, rather than leave it out.
func (w *writing) fits() error {
	for _, r := range w.Gateway.Repos {
		if r.KeyFile != "" {
			return bottle.Problems{{File: r.Rule, Message: "the repository " + bottle.Printable(r.Name) + " has a key_file, which compose can't hand to the gateway", Hint: "use https and auth: {token_ref: …}, or bottle start"}}
		}
	}
	if w.Bottle.Container.Runtime != "" && w.Bottle.Container.Runtime != "runc" {
		return bottle.Problems{{Message: "a compose file of a bottle is for runc", Hint: "write runtime: runc, or use bottle start"}}
	}
	if w.Bottle.Workspace.Mode == "overlay" && strings.ContainsAny(w.Bottle.Workspace.Source+w.Changes, ",:\\\n\r\x00") { // mount(8): it would be another option, or another folder
		return bottle.Problems{{Message: "a private view of " + bottle.Printable(w.Bottle.Workspace.Source) + " can't be said in a compose file: a path holds a comma, a colon or a backslash", Hint: "write workspace: {mode: bind}, or use bottle start"}}
	}
	paths := []string{w.Bottle.Workspace.Source, w.Changes}
	for _, m := range w.Bottle.Mounts {
		if strings.ContainsAny(m.Source+m.Target, "\n\r\x00") {
			return errors.New("write the compose file: a path of a mount holds a control character")
		}
		paths = append(paths, m.Source, m.Target)
	}
	for _, path := range paths {
		if !utf8.ValidString(path) { // it would be that of another folder
			return bottle.Problems{{Message: "the path " + bottle.Printable(path) + " can't be said in a compose file: it is no UTF-8", Hint: "rename it, or use bottle start"}}
		}
	}
	return nil
}

// word is what one container is told on its command line.
func word(v any) (string, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return "", fmt.Errorf("write the compose file: %w", err)
	}
	if len(b) > composed.MaxWord {
		return "", bottle.Problems{{Message: fmt.Sprintf("one container would be told %d bytes on its command line, and %d fit", len(b), composed.MaxWord), Hint: "shorten the prompt or the list of routes, take skills out, or use bottle start"}}
	}
	return string(b), nil
}

// values says where the gateway finds each credential: in a file that compose shows it, or in a
// variable, which the engine keeps.
func (w *writing) values() map[string]composed.Value {
	out := map[string]composed.Value{}
	for i, ref := range w.Refs {
		name := "BOTTLE_VALUE_" + strconv.Itoa(i+1)
		kind, rest, found := strings.Cut(ref, ":")
		switch {
		case found && kind == "file" && w.Readable != nil && w.Readable(rest):
			file := "value-" + strconv.Itoa(i+1)
			w.files[file] = rest
			out[ref] = composed.Value{File: composed.SecretsDir + "/" + file}
			continue
		case !found:
			w.asked[name] = ref
		default:
			w.asked[name] = name
			w.first = append(w.first, "export "+name+"=…   # the value of "+bottle.Printable(ref))
		}
		out[ref] = composed.Value{Env: name}
	}
	return out
}

func (w *writing) line(depth int, text string) {
	w.text.WriteString(strings.Repeat("  ", depth) + text + "\n")
}

// q is text as YAML's double-quoted scalar, which JSON's strings are (YAML 1.2, 7.3.1), with
// nothing left that compose would fill in. What YAML 1.1 takes for the end of a line, and so for
// a blank, or for no character at all (5.1, 5.4), is escaped: a path would be another one.
func q(text string) string {
	b, _ := json.Marshal(text) // a string always encodes
	var out strings.Builder
	for _, c := range string(b) {
		switch {
		case c == '$':
			out.WriteString("$$")
		case c >= 0x7f && c < 0xa0 || c == 0xfeff || c == 0xfffe || c == 0xffff:
			fmt.Fprintf(&out, `\u%04x`, c)
		default:
			out.WriteRune(c)
		}
	}
	return out.String()
}

func list(words ...string) string {
	out := make([]string, 0, len(words))
	for _, s := range words {
		out = append(out, q(s))
	}
	return "[" + strings.Join(out, ", ") + "]"
}

func (w *writing) labels(depth int, role string) {
	w.line(depth, "labels: {"+q(LabelIdentity)+": "+q(w.Bottle.Identity)+", "+q(LabelRole)+": "+q(role)+", "+q(LabelVersion)+": "+q(bottle.Version)+"}")
}

// The labels of package docker, by which `bottle cleanup` finds all of it.
const (
	LabelIdentity = "bot-bottle.identity"
	LabelRole     = "bot-bottle.role"
	LabelVersion  = "bot-bottle.version"
)

// bare is what every container has and lacks.
func (w *writing) bare(name, image, user, role string, argv ...string) {
	w.line(1, name+":")
	w.line(2, "image: "+q(image))
	w.line(2, "user: "+q(user))
	w.line(2, "entrypoint: "+list(argv...))
	w.line(2, "command: []")
	w.labels(2, role)
	w.line(2, "read_only: true")
	w.line(2, "cap_drop: [ALL]")
	w.line(2, "security_opt: [\"no-new-privileges:true\"]")
	w.line(2, "ipc: private")
	w.line(2, "restart: \"no\"")
}

func (w *writing) gateway(told string) {
	w.bare("gateway", w.Image, fmt.Sprintf("%d:%d", w.UID, w.GID), "gateway", inside.BundleJail, composed.GatewayWord, told)
	w.line(2, "hostname: gateway")
	w.line(2, "init: true")
	w.line(2, "stop_grace_period: 8s")
	w.line(2, "pids_limit: 4096")
	w.line(2, "depends_on: [agent]") // late: a gateway waits for its sockets for 30 seconds only
	w.line(2, "networks: [egress]")
	w.line(2, "tmpfs: ["+q("/tmp:rw,nosuid,nodev,noexec,size=67108864,mode=1777")+"]")
	w.line(2, "healthcheck: {test: "+list(inside.Check(inside.Control)...)+", interval: 30s, timeout: 5s, retries: 2}")
	w.line(2, "volumes:")
	w.line(3, "- {type: volume, source: gateway, target: "+q(inside.MeetDir)+"}")
	for _, path := range w.caFiles() {
		w.line(3, "- {type: bind, source: "+q(path)+", target: "+q(path)+", read_only: true}")
	}
	if len(w.asked) > 0 {
		w.line(2, "environment:")
		for _, name := range slices.Sorted(maps.Keys(w.asked)) {
			w.line(3, name+": \"${"+w.asked[name]+":?set it to the credential of the gateway}\"")
		}
	}
	if len(w.files) > 0 {
		w.line(2, "secrets: ["+strings.Join(slices.Sorted(maps.Keys(w.files)), ", ")+"]")
	}
}

// caFiles are the operator's files by which the gateway knows upstreams.
func (w *writing) caFiles() (files []string) {
	for _, r := range w.Gateway.Routes {
		if r.Upstream != nil {
			files = append(files, r.Upstream.CAFile)
		}
	}
	for _, r := range w.Gateway.Repos {
		files = append(files, r.CAFile)
	}
	if w.Gateway.Onward != nil {
		files = append(files, w.Gateway.Onward.CAFile)
	}
	slices.Sort(files)
	return slices.DeleteFunc(slices.Compact(files), func(path string) bool { return path == "" })
}

func (w *writing) agent(told string) {
	w.bare("agent", w.Bottle.Container.Image, fmt.Sprintf("%d:%d", w.Inside.UID, w.Inside.GID), "agent", w.At, composed.AgentWord, told)
	w.line(2, "hostname: "+q(w.Bottle.Hostname))
	w.line(2, "network_mode: none") // the fence gives it what a start would
	w.line(2, "dns: [127.0.0.1]")
	w.line(2, "dns_search: [\".\"]") // else the host's, which tells where it is
	w.line(2, "dns_opt: [\"timeout:2\", \"attempts:2\"]")
	w.line(2, "init: false")
	w.line(2, "stdin_open: true")
	w.line(2, "tty: "+strconv.FormatBool(w.Command.TTY))
	w.line(2, "stop_grace_period: 10s")
	w.line(2, "working_dir: /")
	w.line(2, "healthcheck: {disable: true}") // an image's own would run beside the jail
	w.line(2, "sysctls: {net.ipv4.ip_unprivileged_port_start: 1024, net.ipv6.conf.all.disable_ipv6: 1}")
	w.line(2, "environment:")
	for _, name := range []string{"GODEBUG", "GOGC", "GOMAXPROCS", "GOMEMLIMIT", "GOTRACEBACK"} {
		w.line(3, name+": \"\"") // an image may not speak to the runtime of our program
	}
	for _, name := range slices.Sorted(maps.Keys(w.Env)) { // quoted: NO, on and null are no words in YAML 1.1
		w.line(3, q(name)+": \"${"+w.Env[name]+":?the agent's variable "+name+"}\"")
	}
	w.bounds()
	w.line(2, "volumes:")
	w.line(3, "- {type: bind, source: "+q(w.Jail)+", target: "+q(w.At)+", read_only: true}")
	w.line(3, "- {type: volume, source: shown, target: "+q(composed.ShownAt)+", read_only: true}")
	for _, m := range w.Bottle.Mounts {
		w.line(3, "- {type: bind, source: "+q(m.Source)+", target: "+q(m.Target)+", read_only: "+strconv.FormatBool(!m.Writable)+"}")
	}
	switch w.Bottle.Workspace.Mode {
	case "bind":
		w.line(3, "- {type: bind, source: "+q(w.Bottle.Workspace.Source)+", target: "+q(plan.Workspace)+"}")
	case "overlay":
		w.line(3, "- {type: volume, source: workspace, target: "+q(plan.Workspace)+", volume: {nocopy: true}}")
	}
}

func (w *writing) bounds() {
	s := w.Shape
	w.line(2, "pids_limit: "+strconv.FormatInt(s.PIDs, 10))
	w.line(2, "shm_size: "+strconv.FormatInt(s.Shm, 10))
	if s.Memory > 0 {
		w.line(2, "mem_limit: "+strconv.FormatInt(s.Memory, 10))
		w.line(2, "memswap_limit: "+strconv.FormatInt(s.Memory, 10))
	}
	if s.CPUs > 0 {
		w.line(2, "cpus: "+strconv.FormatFloat(s.CPUs, 'f', -1, 64))
	}
	ulimits := "core: 0"
	if s.OpenFiles > 0 {
		n := strconv.FormatUint(s.OpenFiles, 10)
		ulimits += ", nofile: {soft: " + n + ", hard: " + n + "}"
	}
	w.line(2, "ulimits: {"+ulimits+"}")
	w.line(2, "tmpfs:")
	for _, path := range slices.Sorted(maps.Keys(s.Tmpfs)) {
		w.line(3, "- "+q(path+":"+s.Tmpfs[path]))
	}
}

func (w *writing) fence(told string) {
	w.bare("fence", w.Image, "0:0", "fence", inside.BundleJail, composed.FenceWord, told)
	w.line(2, "network_mode: \"service:agent\"")
	w.line(2, "cap_add: [NET_ADMIN, NET_BIND_SERVICE]")
	w.line(2, "healthcheck: {disable: true}")
	w.line(2, "depends_on: [gateway, agent]")
	w.line(2, "volumes:")
	w.line(3, "- {type: volume, source: gateway, target: "+q(inside.MeetDir)+"}")
	w.line(3, "- {type: volume, source: shown, target: "+q(composed.Shown)+"}")
}

// rest is what the containers share.
func (w *writing) rest() {
	w.line(0, "networks:")
	w.line(1, "egress:")
	w.line(2, "driver: bridge")
	w.line(2, "driver_opts: {com.docker.network.bridge.enable_icc: \"false\"}")
	w.labels(2, "egress")
	w.line(0, "volumes:")
	for _, name := range []string{"gateway", "shown"} {
		w.line(1, name+":")
		w.labels(2, "meet")
	}
	if w.Bottle.Workspace.Mode == "overlay" {
		upper, work := filepath.Join(w.Changes, "upper"), filepath.Join(w.Changes, "work")
		w.line(1, "workspace:")
		w.labels(2, "workspace")
		w.line(2, "driver: local")
		w.line(2, "driver_opts: {type: overlay, device: overlay, o: "+q("lowerdir="+w.Bottle.Workspace.Source+",upperdir="+upper+",workdir="+work+",redirect_dir=off,metacopy=off,nosuid,nodev")+"}")
	}
	if len(w.files) > 0 {
		w.line(0, "secrets:")
		for _, name := range slices.Sorted(maps.Keys(w.files)) {
			w.line(1, name+": {file: "+q(w.files[name])+"}")
		}
	}
}
