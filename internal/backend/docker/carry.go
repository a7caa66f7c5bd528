package docker

import (
	"cmp"
	"io"
	"os"
	"syscall"

	"github.com/moby/moby/api/types/container"

	"bottle/internal/backend/docker/compose"
	"bottle/internal/backend/docker/inside"
	"bottle/internal/backend/jail"
	"bottle/internal/plan"
)

// Compose writes a bottle as a file for docker compose, with the walls of Create as far as
// such a file can say them; what it cannot is at its head. It asks no engine.
func (d *Docker) Compose(c plan.Carried, to io.Writer) error {
	if err := d.fits(c.Bottle); err != nil {
		return err
	}
	filter, err := d.Filter()
	if err != nil {
		return err
	}
	uid, gid := d.bundleUser()
	c.Bottle.Ports = append(c.Bottle.Ports, plan.NamedPorts()...)
	c.Bottle.Container.Image = cmp.Or(c.Bottle.Container.Image, d.Image, d.Bundle)
	c.Gateway.Audit, c.Gateway.Control, c.Gateway.Git = inside.MeetDir+"/audit.jsonl", inside.Control, inside.MeetDir+"/git"
	agent := d.agentUser(false)
	h := bare()
	limited(h, c.Bottle.Limits, agent)
	text, err := compose.Write(compose.Input{
		Carried: c, Filter: filter, Jail: d.JailPath, At: jail.SelfPath, Image: d.Bundle, UID: uid, GID: gid, Inside: compose.User{UID: agent.uid, GID: agent.gid}, Unnamed: agent.uid != jail.AgentUID, Shape: shape(h),
		Readable: func(path string) bool { return readable(path, uid) },
	})
	if err != nil {
		return err
	}
	_, err = io.WriteString(to, text)
	return err
}

// shape is how limited bounds a container, for compose.
func shape(h *container.HostConfig) compose.Shape {
	s := compose.Shape{PIDs: *h.Resources.PidsLimit, Memory: h.Resources.Memory, Shm: h.ShmSize, CPUs: float64(h.Resources.NanoCPUs) / 1e9, Tmpfs: h.Tmpfs}
	for _, u := range h.Resources.Ulimits {
		if u.Name == "nofile" {
			s.OpenFiles = uint64(u.Hard)
		}
	}
	return s
}

// readable reports whether a user may read a file that the engine binds as it is.
func readable(path string, uid int) bool {
	fi, err := os.Stat(path)
	if err != nil {
		return false
	}
	st, ok := fi.Sys().(*syscall.Stat_t)
	return ok && (int(st.Uid) == uid && fi.Mode()&0o400 != 0 || fi.Mode()&0o004 != 0)
}
