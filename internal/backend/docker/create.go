package docker

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/api/types/system"
	"github.com/moby/moby/client"

	"bottle/internal/backend"
	"bottle/internal/backend/agent"
	"bottle/internal/backend/docker/glance"
	"bottle/internal/backend/docker/inside"
	"bottle/internal/backend/frames"
	"bottle/internal/backend/jail"
	"bottle/internal/plan"
)

// upTimeout bounds the whole bring-up of a bottle.
const upTimeout = time.Minute

// healthEvery is how often the engine asks whether a gateway is well. Each time costs it some
// tens of milliseconds of a processor, most of them its own (docs/decisions/0011-docker.md).
const healthEvery = 30 * time.Second

// Create implements backend.Backend: the bundle and the agent's container come up
// side by side, then the helper joins them. It returns once the gateway has said Hello.
func (d *Docker) Create(ctx context.Context, b plan.Bottle, gw plan.Gateway, secrets []byte) (backend.Bottle, error) {
	if err := d.fits(b); err != nil {
		return nil, err
	}
	x, err := d.box(ctx, b)
	if err != nil {
		return nil, err
	}
	if err := x.start(ctx, gw, secrets); err != nil {
		return nil, errors.Join(err, x.Close())
	}
	return x, nil
}

// box is a bottle of which nothing is there yet.
func (d *Docker) box(ctx context.Context, b plan.Bottle) (*Box, error) {
	c, err := d.engine()
	if err != nil {
		return nil, err
	}
	podman, err := c.podman(ctx)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("reach the Docker engine: %w", err), c.Close())
	}
	rootless, err := d.rootless(ctx, c)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("reach the Docker engine: %w", err), c.Close())
	}
	return &Box{d: d, c: c.Client, podman: podman, rootless: rootless, n: names{b.Identity}, told: b, agentIs: d.agentUser(rootless), stood: make(chan struct{}), silent: make(chan struct{})}, nil
}

func (x *Box) start(ctx context.Context, gw plan.Gateway, secrets []byte) error {
	var up context.Context
	up, x.cancel = context.WithTimeout(context.WithoutCancel(ctx), upTimeout)
	x.within(&gw)
	x.told.Ports = append(slices.Clone(x.told.Ports), plan.NamedPorts()...)
	if err := x.prepare(); err != nil {
		close(x.stood)
		return err
	}
	line, err := json.Marshal(gw)
	if err != nil {
		close(x.stood)
		return fmt.Errorf("encode gateway: %w", err)
	}
	lines := append(append(append(line, '\n'), secrets...), '\n')
	greeted := make(chan error, 1)
	go func() {
		defer close(x.stood)
		x.rise(up, lines, greeted)
	}()
	select {
	case err = <-greeted:
		return err
	case <-ctx.Done():
		return fmt.Errorf("put up the bottle: %w", ctx.Err())
	}
}

// within tells the gateway of no path that its container does not have.
func (x *Box) within(gw *plan.Gateway) {
	x.cas = caFiles(*gw)
	if !strings.HasPrefix(gw.Control, x.told.State+"/") {
		gw.Control = inside.Control // the bundle sees no other folder of the host
		if x.at.IsValid() {
			gw.Control = "/tmp/control" // it has no meeting place
		}
	}
	x.control = gw.Control
}

// rise puts everything up; greeted hears of the gateway's Hello, or what came before.
func (x *Box) rise(ctx context.Context, lines []byte, greeted chan<- error) {
	var side sync.WaitGroup
	var failed error
	side.Go(func() { failed = x.agentUp(ctx) })
	err := x.bundleUp(ctx, lines)
	clear(lines)
	greeted <- err
	side.Wait()
	if x.failed = errors.Join(err, failed); x.failed == nil {
		x.failed = x.fenceUp(ctx)
	}
	x.letGo() // what was held for the mounts
}

func (x *Box) bundleUp(ctx context.Context, lines []byte) error {
	whole, stop := context.WithTimeout(context.WithoutCancel(ctx), upTimeout) // see begin
	defer stop()
	_, err := x.c.NetworkCreate(whole, x.n.of(roleEgress), client.NetworkCreateOptions{
		Driver: "bridge", Labels: x.n.labels(roleEgress),
		Options: map[string]string{"com.docker.network.bridge.enable_icc": "false"},
	})
	if err != nil {
		return fmt.Errorf("create network %s: %w", x.n.of(roleEgress), err)
	}
	uid, gid := x.bundleUser()
	word := inside.BundleWord
	if x.at.IsValid() {
		word = inside.DoorWord
	}
	cfg := speaking(x.d.Bundle, fmt.Sprintf("%d:%d", uid, gid), []string{inside.BundleJail, word, "--identity", x.n.identity}, x.n.labels(roleBundle))
	cfg.Hostname = "gateway"
	grace := 8
	cfg.StopTimeout = &grace
	if !x.podman { // which has systemd ask, and starts no container with a check where there is none
		cfg.Healthcheck = &container.HealthConfig{Test: inside.Check(x.control), Interval: healthEvery, Timeout: 5 * time.Second, Retries: 2}
	}
	h := bare()
	h.NetworkMode = container.NetworkMode(x.n.of(roleEgress))
	reaps := true // and hands SIGTERM on
	h.Init = &reaps
	h.Tmpfs = map[string]string{"/tmp": tmpfs(64<<20, "mode=1777,noexec")}
	h.Mounts = []mount.Mount{{Type: mount.TypeBind, Source: x.told.State, Target: x.told.State}}
	if x.at.IsValid() {
		publish(cfg, h, x.at)
	} else {
		h.Mounts = append(h.Mounts, x.meeting())
	}
	for _, path := range x.cas {
		h.Mounts = append(h.Mounts, mount.Mount{Type: mount.TypeBind, Source: path, Target: path, ReadOnly: true})
	}
	p, err := x.begin(ctx, x.n.of(roleBundle), cfg, h)
	if err != nil {
		return err
	}
	x.bundle = p
	heard := context.AfterFunc(ctx, p.hangUp) // a gateway that says nothing is not waited for
	defer heard()
	if _, err := p.conn.Conn.Write(lines); err != nil {
		return p.blame(fmt.Errorf("tell the gateway: %w", err))
	}
	if err := p.line(&x.hello); err != nil {
		return p.blame(fmt.Errorf("start the gateway: %w", err))
	}
	if x.hello.Failed != "" {
		return fmt.Errorf("start the gateway: %s", x.hello.Failed)
	}
	return nil
}

// bundleUser is the operator. In a rootless engine he is the root of its containers, who is
// nobody else outside and has no capability.
func (x *Box) bundleUser() (uid, gid int) {
	if x.rootless {
		return 0, 0
	}
	return x.d.bundleUser()
}

// bundleUser, for an operator who is root, is a user of its own, which then owns the state
// folder (see prepare).
func (d *Docker) bundleUser() (uid, gid int) {
	if d.UID == 0 {
		return inside.BundleUser, inside.BundleUser
	}
	return d.UID, d.GID
}

// rootless tells whether the engine runs as an ordinary user. A start of root's has another.
func (d *Docker) rootless(ctx context.Context, c *engine) (bool, error) {
	if d.UID == 0 || c.libpod.Load() {
		return d.UID != 0, nil
	}
	info, err := c.Info(ctx, client.InfoOptions{})
	return isRootless(info.Info), err
}

// isRootless reads it off what an engine says. Podman does not say it there; its socket is
// root's alone where it is not its user's own.
func isRootless(i system.Info) bool { return slices.Contains(i.SecurityOptions, "name=rootless") }

// remapped tells whether an engine that root started has a user namespace for its containers.
func remapped(i system.Info) bool { return slices.Contains(i.SecurityOptions, "name=userns") }

// caFiles are the operator's files by which the gateway knows upstreams.
func caFiles(gw plan.Gateway) (files []string) {
	add := func(path string) {
		if path != "" && !slices.Contains(files, path) {
			files = append(files, path)
		}
	}
	for _, r := range gw.Routes {
		if r.Upstream != nil {
			add(r.Upstream.CAFile)
		}
	}
	for _, r := range gw.Repos {
		add(r.CAFile)
	}
	if gw.Onward != nil {
		add(gw.Onward.CAFile)
	}
	return files
}

func (x *Box) meeting() mount.Mount {
	return mount.Mount{Type: mount.TypeVolume, Source: x.n.of(roleMeet), Target: inside.MeetDir, VolumeOptions: &mount.VolumeOptions{Labels: x.n.labels(roleMeet)}}
}

func (x *Box) agentUp(ctx context.Context) error {
	filter, err := x.d.Filter()
	if err != nil {
		return err
	}
	cfg := speaking(cmp.Or(x.told.Container.Image, x.d.Image, x.d.Bundle), x.agentIs.String(), []string{jail.SelfPath, inside.BoxWord, "--identity", x.n.identity}, x.n.labels(roleAgent))
	cfg.Hostname = x.told.Hostname
	h := bare()
	h.NetworkMode = "none"
	h.Runtime = x.told.Container.Runtime
	h.DNS, h.DNSSearch, h.DNSOptions = loopback(), []string{"."}, []string{"timeout:2", "attempts:2"} // else the host's, which tell where it is
	h.Sysctls = map[string]string{"net.ipv4.ip_unprivileged_port_start": "1024", "net.ipv6.conf.all.disable_ipv6": "1"}
	limited(h, x.told.Limits, x.agentIs)
	spec := jail.Spec{Bottle: x.told, Filter: filter, Landlock: true, Housed: true}
	if h.Runtime == gvisor {
		spec.MaxProcs = countedInside(h)
	}
	h.MaskedPaths = masked()
	h.Mounts = x.mounts
	if err := errors.Join(glance.Bound(ctx, x.c, cfg.Image, h, x.memory), x.straight(ctx, cfg, h)); err != nil {
		return err
	}
	p, err := x.begin(ctx, x.n.of(roleAgent), cfg, h)
	if err != nil {
		return err
	}
	x.agent = p
	x.link = agent.NewRemote(frames.NewConn(p.out, p.conn.Conn, frames.MaxOut), p.blame)
	go x.link.Hear()
	r, err := x.link.Ask(ctx, jail.Request{Spec: &spec})
	if err == nil && !r.Up {
		err = errors.New("the container did not say that it is up")
	}
	return err
}

// memory are the options of a volume of the image's.
func (x *Box) memory(size int64) string { return tmpfs(size, "mode=700,exec,"+x.agentIs.owned()) }

// straight looks into an image in which somebody else than the operator may have had a hand: by
// lines that an agent asked for, or by files of a folder that are copied.
func (x *Box) straight(ctx context.Context, cfg *container.Config, shown *container.HostConfig) error {
	if len(x.told.Container.Lines) == 0 && x.told.Container.Copied == nil {
		return nil
	}
	whole, stop := context.WithTimeout(context.WithoutCancel(ctx), upTimeout) // see begin
	defer stop()
	h := bare()
	h.NetworkMode, h.AutoRemove = "none", false
	return glance.Through(whole, x.d.Host, client.ContainerCreateOptions{Name: x.n.of(roleLook), Config: speaking(cfg.Image, cfg.User, []string{"/never"}, x.n.labels(roleLook)), HostConfig: h}, shown)
}

// masked are the engine's own (Engine API, "MaskedPaths", default), and all of /sys:
// what the hardware is, and the limits of the host, are not the agent's.
func masked() []string {
	return []string{
		"/proc/asound", "/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list", "/proc/timer_stats",
		"/proc/sched_debug", "/proc/scsi", "/proc/interrupts", "/proc/kallsyms", "/sys",
	}
}

// fenceUp runs the helper to its end, then hears that the gateway serves.
func (x *Box) fenceUp(ctx context.Context) error {
	cfg := speaking(x.d.Bundle, "0:0", []string{inside.BundleJail, inside.FenceWord}, x.n.labels(roleFence))
	h := bare()
	h.CapAdd = []string{"NET_ADMIN", "NET_BIND_SERVICE"}
	h.NetworkMode = container.NetworkMode("container:" + x.agent.id)
	h.Mounts = []mount.Mount{x.meeting()}
	p, err := x.begin(ctx, x.n.of(roleFence), cfg, h)
	if err != nil {
		return err
	}
	x.fence = p
	stuck := context.AfterFunc(ctx, p.hangUp)
	defer stuck()
	gone := x.c.ContainerWait(ctx, p.id, client.ContainerWaitOptions{Condition: container.WaitConditionRemoved})
	told := json.NewEncoder(p.conn.Conn).Encode(x.told)
	var word string
	if err := p.line(&word); err != nil || word != inside.Fenced {
		return x.unmet(ctx, p.blame(fmt.Errorf("make the bottle's network: %w", errors.Join(told, err))))
	}
	if err := x.hearReady(ctx); err != nil {
		return err
	}
	go x.listen()
	p.hangUp()
	return settled(gone)
}

// unmet is why the helper did not meet the gateway: what that said when it ended, if it did.
func (x *Box) unmet(ctx context.Context, err error) error {
	ctx, stop := context.WithTimeout(ctx, lastWords)
	defer stop()
	if why := x.hearReady(ctx); why != nil && x.bundle.out.said() != "" {
		return why
	}
	return err
}

// lastWords is how long a gateway has to say why it ended.
const lastWords = time.Second

// hearReady waits until the gateway serves.
func (x *Box) hearReady(ctx context.Context) error {
	stop := context.AfterFunc(ctx, x.bundle.hangUp)
	defer stop()
	if err := x.bundle.line(&x.ready); err != nil {
		return x.bundle.blame(fmt.Errorf("start the gateway: %w", err))
	}
	if x.ready.Failed != "" {
		return fmt.Errorf("start the gateway: %s", x.ready.Failed)
	}
	return nil
}

// prepare makes what the containers are shown of the state folder.
func (x *Box) prepare() error {
	etc := filepath.Join(x.told.State, "etc")
	for _, dir := range systemDirs() {
		if err := os.MkdirAll(filepath.Join(etc, dir), 0o755); err != nil {
			return fmt.Errorf("make the bottle's own files: %w", err)
		}
		x.mounts = append(x.mounts, mount.Mount{Type: mount.TypeBind, Source: filepath.Join(etc, dir), Target: dir, ReadOnly: true})
	}
	var err error
	if x.etc, err = os.OpenRoot(etc); err != nil { // kept: nobody's later link leads elsewhere
		return fmt.Errorf("open the bottle's own files: %w", err)
	}
	x.mounts = append(x.mounts, mount.Mount{Type: mount.TypeBind, Source: x.d.JailPath, Target: jail.SelfPath, ReadOnly: true})
	if err := x.nameAgent(etc); err != nil {
		return err
	}
	if err := x.show(); err != nil {
		return err
	}
	return x.d.giveState(x.told.State)
}

// giveState lets the gateway of an operator who is root write its log.
func (d *Docker) giveState(dir string) error {
	if d.UID != 0 {
		return nil
	}
	if err := os.Chown(dir, inside.BundleUser, inside.BundleUser); err != nil {
		return fmt.Errorf("give the gateway its state folder: %w", err)
	}
	return nil
}

// systemDirs are where a start places files that the agent may read only.
func systemDirs() []string { return []string{"/etc/ssl", "/etc/chromium", "/etc/opt"} }
