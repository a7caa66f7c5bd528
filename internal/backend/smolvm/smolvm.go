package smolvm

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"strings"

	"bottle/internal/backend"
	"bottle/internal/backend/smolvm/loopback"
	"bottle/internal/backend/smolvm/rootfs"
	"bottle/internal/bottle"
	"bottle/internal/plan"
)

// Kind is the manifest's word for this backend.
const Kind = "smolmachines"

// prefix begins the name of a bottle's machine; the identity follows.
const prefix = "bottle-"

// The limits of a bottle whose manifest names none; native's are the same.
const (
	defaultPIDs    = 4096
	defaultScratch = 4 << 30
)

// Smolvm is the backend. The zero value has no programs and can create nothing.
type Smolvm struct {
	Program     string   // absolute path of smolvm; empty: it is not there
	Env         []string // its environment: HOME, PATH and little else
	JailPath    string   // absolute path of bottle-jail for the VM, static
	GatewayPath string   // absolute path of bottle-gateway for this host
	Image       string   // root file system of the VM that the operator names: an unpacked folder, or an archive of `docker save`; empty: of a recipe
	Engine      Engine   // makes images of recipes; nil: nobody does
	Shelf       rootfs.Shelf
	Bundles     Bundles // runs gateways as containers; nil: nobody does
	// Serve is a registry of one archive on loopback until stop, for versions of smolvm
	// that read registries only; ref is what it is called there. Nil: there is none.
	Serve  func(path string) (ref string, stop func(), err error)
	Pool   loopback.Pool
	Ground loopback.Ground
	Filter func() ([]byte, error) // the seccomp program for the VM, as its kernel reads it
}

// Kind implements backend.Backend.
func (s *Smolvm) Kind() string { return Kind }

func (s *Smolvm) cli() command { return command{path: s.Program, env: s.Env} }

// Facts implements backend.Backend. It asks smolvm for its version and its flags, and
// the addresses of the pool who holds them; it makes nothing.
func (s *Smolvm) Facts(ctx context.Context) (backend.Facts, error) {
	f := backend.Facts{Kind: Kind, Walls: walls(), Resources: s.resources, Adds: true, Keeps: true, Defaults: backend.Defaults{PIDs: defaultPIDs, Scratch: defaultScratch}}
	f.Checks = []backend.Check{s.checkProgram(ctx), s.checkHypervisor(), s.checkImage(ctx), s.checkPool(ctx), {
		Wall: "limits", OK: true, Found: "memory and processors are the VM's (--mem, --cpus), processes and open files the jail's in it",
	}}
	if s.JailPath == "" {
		f.Checks = append(f.Checks, backend.Check{Wall: "bottle-jail", Needed: true, Found: "bottle-jail for the Linux of the VM is not beside bottle", Fix: "make build"})
	}
	return f, ctx.Err()
}

func (s *Smolvm) checkProgram(ctx context.Context) backend.Check {
	k := backend.Check{Wall: "smolvm", Needed: true, Fix: "install smolvm and have it on your PATH: https://github.com/smol-machines/smolvm"}
	if s.Program == "" {
		k.Found = "there is no smolvm on the PATH"
		return k
	}
	d, err := s.cli().learn(ctx)
	switch {
	case err != nil:
		k.Found = err.Error()
	case len(d.missing) > 0:
		k.Found = fmt.Sprintf("smolvm %s has no %s", d.version, strings.Join(d.missing, ", "))
		k.Fix = "update smolvm"
	default:
		k.OK, k.Found, k.Fix = true, "smolvm "+d.version+" takes what a bottle needs", ""
	}
	return k
}

func (s *Smolvm) checkHypervisor() backend.Check {
	k := backend.Check{Wall: "hypervisor", OK: true, Found: "smolvm looks for it when a machine starts"}
	if s.Ground.OS != "linux" {
		return k
	}
	f, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	if err != nil { // not needed: smolvm itself is what fails, or has another way
		k = backend.Check{Wall: "hypervisor", Found: err.Error(), Fix: "sudo usermod -aG kvm $USER, and log in anew"}
		if !errors.Is(err, fs.ErrPermission) {
			k.Fix = "sudo modprobe kvm_intel (kvm_amd on AMD); where that fails, switch virtualization on in the machine's firmware, or nested virtualization for the machine that this one runs in"
		}
		return k
	}
	f.Close()
	k.Found = "/dev/kvm can be opened"
	return k
}

// checkPool shows the whole pool: it is the only place where it can be seen.
func (s *Smolvm) checkPool(ctx context.Context) backend.Check {
	k := backend.Check{Wall: "loopback addresses", Needed: true}
	missing, err := s.Ground.Missing(s.Pool.Range)
	if err != nil {
		k.Found = err.Error()
		return k
	}
	if len(missing) > 0 {
		k.OK = s.Ground.Terminal // the start asks sudo
		k.Found = fmt.Sprintf("lo0 lacks %d of %s; a start adds them with sudo", len(missing), s.Pool.Range)
		k.Fix = "sudo /bin/sh -c '" + loopback.Command(missing) + "'"
		return k
	}
	slots, err := s.Pool.Look(ctx)
	if err != nil {
		k.Found = err.Error()
		if s.Pool.Unread != nil {
			k.Fix = "export BOTTLE_LOOPBACK=" + loopback.Default().String() + ", or unset it: that is the default"
		}
		return k
	}
	var taken []string
	for _, slot := range slots {
		if slot.Taken {
			taken = append(taken, slot.Addr.String()+": "+slot.By)
		}
	}
	k.OK = len(taken) < len(slots)
	k.Found = fmt.Sprintf("%d of %d free in %s", len(slots)-len(taken), len(slots), s.Pool.Range)
	if len(taken) > 0 {
		k.Found += "; " + strings.Join(taken, "; ")
	}
	if !k.OK {
		k.Fix = loopback.Mend(s.Pool.Range, slots)
	}
	return k
}

func walls() []plan.Wall {
	return []plan.Wall{
		{Name: "machine", Holds: "a virtual machine with a kernel of its own, whose only way out is the address of its gateway", Probe: "as the VM's root: the host's loopback, a neighbour's address, the metadata address, an address of nobody, datagrams, a write to what it is shown read-only"},
		{Name: "door", Holds: "the gateway lets nobody in who does not know this bottle's token", Probe: "the gateway's own page through the relay"},
		{Name: "network", Holds: "inside the VM a network namespace with nothing but loopback; what no route allows is refused by the kernel, the rest ends at the gateway", Probe: "direct TCP, UDP and IPv6, the metadata address, the host's loopback and abstract sockets"},
		{Name: "dns", Holds: "the only resolver is the gateway's, and it asks nobody", Probe: "a name that no policy holds"},
		{Name: "files", Holds: "a root file system of its own: the image's /usr read-only, everything else made for this bottle", Probe: "writes to /usr, / and /proc/sys; mount, remount, unmount"},
		{Name: "processes", Holds: "pid, ipc, uts and cgroup namespaces of its own; init cannot be traced", Probe: "other processes; init's root, memory and ptrace"},
		{Name: "privileges", Holds: "uid 1000, no capability, no_new_privs", Probe: "the kernel's own status of the probe"},
		{Name: "seccomp", Holds: "default-deny list of system calls; foreign architectures die", Probe: "user namespaces, packet, raw, vsock and MPTCP sockets, io_uring, bpf, keyrings"},
		{Name: "descriptors", Holds: "no descriptor of the host comes in", Probe: "the list of open descriptors"},
	}
}

// proved names the wall that each result proves: the jail's, and those of the VM's root.
func proved(results []plan.ProbeResult) []plan.ProbeResult {
	results = backend.Proved(results)
	for i, r := range results {
		switch {
		case r.Name == "host-services":
			results[i].Wall = "network"
		case r.Name == "vm-gateway":
			results[i].Wall = "door"
		case strings.HasPrefix(r.Name, "vm-"):
			results[i].Wall = "machine"
		}
	}
	return results
}

func (s *Smolvm) resources(id bottle.Identity) []plan.Resource {
	return []plan.Resource{
		{Kind: "machine", Name: prefix + string(id)},
		{Kind: "process", Name: "bottle-gateway serve --identity " + string(id)},
		{Kind: "listener", Name: fmt.Sprintf("tcp port %d on the lowest free address of %s", loopback.Port, s.Pool.Range)},
	}
}

// fits refuses what this backend can't do, in words.
func (s *Smolvm) fits(b plan.Bottle) error {
	switch {
	case s.Program == "":
		return errors.New("put up the bottle: there is no smolvm on the PATH")
	case s.JailPath == "" || s.GatewayPath == "" || s.Filter == nil:
		return errors.New("put up the bottle: bottle-jail or bottle-gateway is not named")
	case s.Image == "" && b.Container.Image == "":
		return errors.New("put up the bottle: no image of the VM's root file system is named; set BOTTLE_VM_IMAGE")
	case b.Identity == "" || b.State == "":
		return errors.New("put up the bottle: it has no identity or no state folder")
	}
	return nil
}

// Find implements backend.Backend: machines by their name. A gateway lives no longer
// than its start, and holds the bottle's address.
func (s *Smolvm) Find(ctx context.Context) ([]backend.Leftover, error) {
	images, err := s.leftImages()
	if err != nil || s.Program == "" {
		return images, err // no machine of ours can be there
	}
	names, err := s.cli().list(ctx)
	if err != nil {
		return nil, err
	}
	var out []backend.Leftover
	for _, n := range names {
		id, err := bottle.ParseIdentity(strings.TrimPrefix(n, prefix))
		if err == nil && strings.HasPrefix(n, prefix) {
			out = append(out, backend.Leftover{Identity: id, Resource: plan.Resource{Kind: "machine", Name: n}})
		}
	}
	if len(out) == 0 {
		return images, nil
	}
	slots, err := s.Pool.Look(ctx)
	if err != nil {
		return nil, err
	}
	for i := range out {
		for _, slot := range slots {
			out[i].Held = out[i].Held || slot.Identity == out[i].Identity
		}
	}
	return append(out, images...), nil
}

// Remove implements backend.Backend.
func (s *Smolvm) Remove(ctx context.Context, l backend.Leftover) error {
	if l.Resource.Kind == "image" && l.Identity == "" {
		return s.Shelf.Remove(l.Resource.Name)
	}
	if _, err := bottle.ParseIdentity(string(l.Identity)); err != nil || l.Resource.Kind != "machine" || l.Resource.Name != prefix+string(l.Identity) {
		return fmt.Errorf("remove %s %s: it is no machine of the bottle %s", l.Resource.Kind, l.Resource.Name, l.Identity)
	}
	d, err := s.cli().learn(ctx)
	if err != nil {
		return err
	}
	return s.cli().remove(ctx, d, l.Resource.Name)
}

// allowed is the list of what the VM may reach: one address.
func allowed(a netip.Addr) string { return netip.PrefixFrom(a, a.BitLen()).String() }
