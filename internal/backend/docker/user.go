package docker

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/moby/moby/api/types/mount"

	"bottle/internal/backend/jail"
	"bottle/internal/plan"
)

// user is whom an agent's processes are, in numbers of the engine's kernel.
type user struct{ uid, gid int }

// String is the engine's word for it.
func (u user) String() string { return strconv.Itoa(u.uid) + ":" + strconv.Itoa(u.gid) }

// owned are the options of a tmpfs that is the user's.
func (u user) owned() string { return fmt.Sprintf("uid=%d,gid=%d", u.uid, u.gid) }

// agentUser is the operator: an engine without user namespaces maps nobody, and so what the
// agent writes in his folder is his. It is never root nor root's group. For an operator who
// is root it is user 1000, and in a rootless engine, too, whose numbers are not this machine's.
func (d *Docker) agentUser(rootless bool) user {
	u := user{d.UID, d.GID}
	if u.uid == 0 || rootless {
		return user{jail.AgentUID, jail.AgentGID}
	}
	if u.gid == 0 {
		u.gid = jail.AgentGID
	}
	return u
}

// accounts are the files by which programs find a user's name and home folder.
func accounts() []string { return []string{"/etc/passwd", "/etc/group"} }

// nameAgent shows an agent who is not user 1000, whom an image may know, files in which it has
// the name and the home folder that it has on native. Without them ssh and much of Node ends
// with "no such user". etc is where the bottle's own files are, on the host.
func (x *Box) nameAgent(etc string) error {
	if x.agentIs.uid == jail.AgentUID {
		return nil
	}
	for i, text := range []string{passwd(x.agentIs), group(x.agentIs)} {
		target := accounts()[i]
		path := filepath.Join(etc, target)
		err := os.MkdirAll(filepath.Dir(path), 0o755)
		if err == nil {
			err = os.WriteFile(path, []byte(text), 0o644)
		}
		if err != nil {
			return fmt.Errorf("make the bottle's own files: %w", err)
		}
		x.mounts = append(x.mounts, mount.Mount{Type: mount.TypeBind, Source: path, Target: target, ReadOnly: true})
	}
	return nil
}

func passwd(u user) string {
	return fmt.Sprintf("root:x:0:0:root:/root:/usr/sbin/nologin\n%[1]s:x:%[2]d:%[3]d:%[1]s:%[4]s:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n", jail.AgentName, u.uid, u.gid, plan.Home)
}

func group(u user) string {
	return fmt.Sprintf("root:x:0:\n%s:x:%d:\nnogroup:x:65534:\n", jail.AgentName, u.gid)
}

// notTheAgents refuses a workspace in which the agent could not write.
func (x *Box) notTheAgents(source string, owner uint32) error {
	hint := "start it as its owner, or copy it into a folder of yours"
	if x.d.UID == 0 {
		hint = fmt.Sprintf("`chown -R %s` it, or start it as its owner where that is an ordinary user", x.agentIs)
	}
	return fmt.Errorf("show %s: it belongs to user %d, and the agent is user %d in Docker, so it could not write there; %s, or use --backend native, which maps the owner", source, owner, x.agentIs.uid, hint)
}
