package docker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"runtime"
	"strings"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/system"
	"github.com/moby/moby/client"

	"bottle/internal/backend"
	"bottle/internal/bottle"
	"bottle/internal/plan"
)

// Kind is the manifest's word for this backend.
const Kind = "docker"

// makeBundle is the command that makes the gateway's image; it does nothing without a base.
const makeBundle = "bottle image build --from debian:bookworm-slim"

// BundleImage is the gateway's image as `bottle image build` names it.
const BundleImage = "bottle-gateway:" + bottle.Version

// minAPI is the oldest Engine API that has all that is used, behind its "1." (Engine 20.10).
const minAPI = 41

// The labels of everything that belongs to a bottle.
const (
	labelIdentity = "bot-bottle.identity"
	labelRole     = "bot-bottle.role"
	labelVersion  = "bot-bottle.version"
	labelStart    = "bot-bottle.start" // see here
)

// The roles.
const (
	roleAgent  = "agent"
	roleBundle = "gateway"
	roleFence  = "fence"
	roleEgress = "egress"
	roleMeet   = "meet"
	roleLook   = "look" // of a container that is never started
	roleWork   = "workspace"
	roleImage  = "agent-image"
)

// The limits of a bottle whose manifest names none; native's are the same.
const (
	defaultPIDs    = 4096
	defaultScratch = 4 << 30
)

// Docker is the backend. The zero value has no images and can create nothing.
type Docker struct {
	JailPath string                 // absolute path of bottle-jail, static, for the engine's kernel
	Image    string                 // the agent's where nothing else is chosen; empty: Bundle
	Bundle   string                 // the gateway's, see package image
	Host     string                 // the engine's address, such as unix:///var/run/docker.sock; empty: the usual one
	Filter   func() ([]byte, error) // the seccomp program behind the engine's own, as the kernel reads it
	UID, GID int                    // the operator's: the gateway keeps its log as this user
}

// Kind implements backend.Backend.
func (d *Docker) Kind() string { return Kind }

// engine opens a client, which connects when it is first used.
func (d *Docker) engine() (*engine, error) {
	if err := near(d.Host); err != nil {
		return nil, err
	}
	e := &engine{}
	opts := []client.Opt{client.WithUserAgent("bottle/" + bottle.Version), client.WithHTTPResponseHook(e.hear)}
	if d.Host != "" {
		opts = append(opts, client.WithHost(d.Host))
	}
	c, err := client.New(opts...)
	if err != nil {
		return nil, fmt.Errorf("reach the Docker engine: %w", err)
	}
	e.Client = c
	return e, nil
}

// near wants an engine of this machine: it is told secrets, it is shown folders by what this
// machine calls them, and a port that it publishes is to be here.
func near(host string) error {
	proto, rest, _ := strings.Cut(host, "://")
	switch proto {
	case "", "unix", "npipe":
		return nil
	case "tcp", "http":
		name, _, err := net.SplitHostPort(strings.TrimSuffix(rest, "/"))
		if addr, bad := netip.ParseAddr(name); err == nil && (name == "localhost" || bad == nil && addr.IsLoopback()) {
			return nil
		}
	}
	return bottle.Problems{{Message: "DOCKER_HOST is " + bottle.Printable(host) + ", and a bottle's containers run on this machine alone: its secrets would go there unencrypted", Hint: "unset it, or set it to this machine's engine: unix:///var/run/docker.sock"}}
}

// Facts implements backend.Backend. It asks the engine and makes nothing.
func (d *Docker) Facts(ctx context.Context) (backend.Facts, error) {
	f := backend.Facts{Kind: Kind, Walls: walls(), Resources: resources, Defaults: backend.Defaults{PIDs: defaultPIDs, Scratch: defaultScratch}}
	if err := near(d.Host); err != nil {
		f.Checks = append(f.Checks, backend.Check{Wall: "engine", Needed: true, Found: err.Error(), Fix: "unset DOCKER_HOST"})
		return f, nil
	}
	c, err := d.engine()
	if err != nil {
		return f, err
	}
	defer c.Close()
	info, err := c.Info(ctx, client.InfoOptions{})
	if err != nil {
		f.Checks = append(f.Checks, backend.Check{Wall: "engine", Needed: true, Found: err.Error(), Fix: d.reach(err)})
		return f, nil
	}
	f.Checks = append(f.Checks,
		backend.Check{Wall: "engine", OK: info.Info.OSType == "linux" && fresh(c.ClientVersion()), Needed: true, Found: c.name() + " " + info.Info.ServerVersion + " on " + info.Info.OSType + ", API " + c.ClientVersion()},
		d.hasImage(ctx, c.Client, "gateway-image", d.Bundle, makeBundle),
		backend.Check{Wall: "limits", OK: info.Info.MemoryLimit && info.Info.PidsLimit, Found: fmt.Sprintf("the engine limits memory: %t, processes: %t", info.Info.MemoryLimit, info.Info.PidsLimit)},
		ownKernel(info.Info),
	)
	if remapped(info.Info) {
		f.Checks = append(f.Checks, backend.Check{Wall: "users", Needed: true, Fix: "start an engine without userns-remap, or use --backend native, which has a user namespace of its own",
			Found: "the engine gives its containers other users than this machine's (userns-remap): neither could the gateway write its log, nor the agent your folder"})
	}
	if d.Image != "" {
		f.Checks = append(f.Checks, d.hasImage(ctx, c.Client, "agent-image", d.Image, "docker pull "+d.Image))
	}
	f.Keeps = !showsNone(info.Info, c.libpod.Load(), d.UID != 0)
	f.Notes = append(f.Notes, lacks(info.Info, c.libpod.Load(), d.UID != 0)...)
	return f, nil
}

// lacks are the limits and walls that an engine says it can't give, in words. Asked for a
// limit that it has no control group for, as without systemd's delegation to an ordinary
// user, an engine drops it and starts the container.
func lacks(i system.Info, podman, user bool) (notes []string) {
	for _, k := range []struct {
		has  bool
		what string
	}{{i.MemoryLimit, "memory"}, {i.PidsLimit, "processes"}, {i.CPUCfsQuota, "CPU time"}} {
		if !k.has {
			notes = append(notes, "the engine has no control group for "+k.what+": that is not limited")
		}
	}
	if showsNone(i, podman, user) {
		notes = append(notes, "the engine is rootless: it can show no folder of yours, nor a workspace (the backend native can)")
	}
	if podman && i.CgroupVersion == "1" {
		notes = append(notes, "Podman gives no cgroup namespace here (cgroup v1): an agent can read the name of its control group on the host")
	}
	return notes
}

// showsNone tells whether an engine is rootless, and so can show the agent no folder of the host.
func showsNone(i system.Info, podman, user bool) bool { return isRootless(i) || podman && user }

// reach is the command by which an engine that did not answer could.
func (d *Docker) reach(err error) string {
	if errors.Is(err, fs.ErrPermission) || strings.Contains(err.Error(), "permission denied") { // the client keeps the words alone
		return "sudo usermod -aG docker $USER, and log in anew; whoever is in that group is root on this machine"
	}
	if d.Host != "" {
		return "unset DOCKER_HOST, or start the engine that is to answer at " + bottle.Printable(d.Host)
	}
	if runtime.GOOS == "darwin" {
		return "open -a Docker"
	}
	return "sudo systemctl start docker"
}

// fresh tells whether the negotiated API is new enough.
func fresh(api string) bool {
	var minor int
	_, err := fmt.Sscanf(api, "1.%d", &minor)
	return err == nil && minor >= minAPI
}

func (d *Docker) hasImage(ctx context.Context, c *client.Client, wall, ref, fix string) backend.Check {
	k := backend.Check{Wall: wall, Needed: true, Fix: fix}
	if ref == "" {
		k.Found = "no image was named"
		return k
	}
	img, err := c.ImageInspect(ctx, ref)
	if err != nil {
		k.Found = err.Error()
		return k
	}
	k.OK, k.Found = true, ref+" is "+img.ID
	return k
}

func walls() []plan.Wall {
	return []plan.Wall{
		{Name: "network", Holds: "a container with no network but its own loopback; what no route allows is refused by the kernel, the rest ends at the gateway", Probe: "direct TCP, UDP and IPv6, the metadata address, the host's loopback and abstract sockets"},
		{Name: "dns", Holds: "the only resolver is the gateway's, and it asks nobody; the engine's own is not there", Probe: "a name that no policy holds"},
		{Name: "files", Holds: "the image's root file system, read-only, and bounded memory for what the agent writes", Probe: "writes to /usr, / and /proc/sys; mount, remount, unmount"},
		{Name: "processes", Holds: "pid, ipc, uts and cgroup namespaces of its own; init cannot be traced", Probe: "other processes; init's root, memory and ptrace"},
		{Name: "privileges", Holds: "an ordinary user, the operator where he is one; no capability, no_new_privs", Probe: "the kernel's own status of the probe"},
		{Name: "seccomp", Holds: "the engine's list of system calls and behind it a default-deny one; foreign architectures die", Probe: "user namespaces, packet, raw, vsock and MPTCP sockets, io_uring, bpf, keyrings"},
		{Name: "descriptors", Holds: "no descriptor of the host comes in", Probe: "the list of open descriptors"},
	}
}

func resources(id bottle.Identity) []plan.Resource {
	n := names{string(id)}
	return []plan.Resource{
		{Kind: "container", Name: n.of(roleAgent)}, {Kind: "container", Name: n.of(roleBundle)}, {Kind: "container", Name: n.of(roleFence)},
		{Kind: "network", Name: n.of(roleEgress)}, {Kind: "volume", Name: n.of(roleMeet)},
	}
}

// names are what the engine calls the parts of one bottle.
type names struct{ identity string }

func (n names) of(role string) string { return "bottle-" + n.identity + "-" + role }

func (n names) labels(role string) map[string]string {
	return map[string]string{labelIdentity: n.identity, labelRole: role, labelVersion: bottle.Version, labelStart: here()}
}

// bare is what every container has and lacks: no capability, no way to gain one, a
// read-only root, no log, no restart.
func bare() *container.HostConfig {
	pids := int64(defaultPIDs)
	return &container.HostConfig{
		Resources:  container.Resources{PidsLimit: &pids},
		AutoRemove: true, ReadonlyRootfs: true, CapDrop: []string{"ALL"}, SecurityOpt: []string{"no-new-privileges:true"},
		LogConfig: container.LogConfig{Type: "none"}, IpcMode: "private", CgroupnsMode: "private",
		RestartPolicy: container.RestartPolicy{Name: "no"},
	}
}

// speaking is a container whose streams are attached; when the start lets go of
// them, its input ends.
func speaking(image, user string, argv []string, labels map[string]string) *container.Config {
	return &container.Config{
		Image: image, User: user, Entrypoint: argv[:1], Cmd: argv[1:], Labels: labels,
		OpenStdin: true, StdinOnce: true, AttachStdin: true, AttachStdout: true, AttachStderr: true,
		WorkingDir: "/", Env: plain(), Healthcheck: &container.HealthConfig{Test: []string{"NONE"}},
	}
}

// plain takes back what an image may say to the runtime of our program; its health
// check, which would run beside the jail, is taken back above. The agent's environment
// is the given one, and nothing of this.
func plain() []string {
	return []string{"GODEBUG=", "GOGC=", "GOMAXPROCS=", "GOMEMLIMIT=", "GOTRACEBACK="}
}

func loopback() []netip.Addr { return []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1})} }

// limited sets what the manifest asks for, or what a bottle has without.
func limited(h *container.HostConfig, l plan.Limits, a user) {
	pids := cmp.Or(l.PIDs, int64(defaultPIDs))
	h.Resources.PidsLimit = &pids
	h.Resources.Memory, h.Resources.MemorySwap = l.Memory, l.Memory // no swap on top
	h.Resources.NanoCPUs = int64(l.CPUs * 1e9)
	h.Resources.Ulimits = append(h.Resources.Ulimits, &container.Ulimit{Name: "core"})
	if n := int64(l.OpenFiles); n > 0 {
		h.Resources.Ulimits = append(h.Resources.Ulimits, &container.Ulimit{Name: "nofile", Soft: n, Hard: n})
	}
	all := int64(defaultScratch)
	if l.Memory > 0 {
		all = l.Memory / 2 // a full /tmp is an error, a full control group is a death
	}
	h.ShmSize = all / 8
	h.Tmpfs = map[string]string{
		plan.Home:  tmpfs(all/4, "mode=700,exec,"+a.owned()),
		"/tmp":     tmpfs(all/4, "mode=1777,exec"),
		"/var/tmp": tmpfs(all/4, "mode=1777,exec"),
		"/run":     tmpfs(all/8, "mode=755,noexec,"+a.owned()),
	}
}

// countedInside gives the bound on processes to gVisor's own kernel, which holds RLIMIT_NPROC for
// the agent's user, who has no process there but a bottle's. The host's control group counts
// the threads of that kernel: at the same bound the bottle would end where a fork should fail.
func countedInside(h *container.HostConfig) (procs uint64) {
	pids := *h.Resources.PidsLimit
	threads := threadsOfKernel + threadsOfProcess*pids
	h.Resources.PidsLimit = &threads
	return uint64(max(0, pids))
}

// What gVisor's kernel takes of threads on the host, twice what was measured: 27 without any
// process of the agent's, and two for each, or a little more where they are busy.
const (
	threadsOfKernel  = 64
	threadsOfProcess = 4
)

func tmpfs(size int64, options string) string {
	return fmt.Sprintf("rw,nosuid,nodev,size=%d,%s", size, options)
}

// fits refuses what this backend can't do, in words.
func (d *Docker) fits(b plan.Bottle) error {
	switch {
	case d.Bundle == "":
		return errors.New("put up the bottle: the gateway's image is not named; run: " + makeBundle)
	case d.JailPath == "" || d.Filter == nil:
		return errors.New("put up the bottle: bottle-jail is not named")
	case b.Identity == "" || b.State == "":
		return errors.New("put up the bottle: it has no identity or no state folder")
	}
	return nil
}
