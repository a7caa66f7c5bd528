package docker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"bottle/internal/backend"
	"bottle/internal/bottle"
	"bottle/internal/plan"
)

// Find implements backend.Backend: what carries the label, not of an image, and nothing by its name.
func (d *Docker) Find(ctx context.Context) ([]backend.Leftover, error) {
	if err := near(d.Host); err != nil {
		return nil, fmt.Errorf("list containers: %w: %w", backend.ErrUnreachable, err)
	}
	c, err := d.engine()
	if err != nil {
		return nil, err
	}
	defer c.Close()
	var all leftovers
	ours := client.Filters{}.Add("label", labelIdentity)
	containers, err := c.ContainerList(ctx, client.ContainerListOptions{All: true, Filters: ours})
	if client.IsErrConnectionFailed(err) {
		return nil, fmt.Errorf("list containers: %w: %w", backend.ErrUnreachable, err)
	}
	if err != nil {
		return nil, fmt.Errorf("list containers: %w", err)
	}
	for _, k := range containers.Items {
		if len(k.Names) == 0 { // it is on its way out
			continue
		}
		if name := strings.TrimPrefix(k.Names[0], "/"); !inherited(ctx, c.Client, k.Labels, name, k.ImageID) {
			all.add(k.Labels, "container", name, k.State == container.StateRunning, time.Unix(k.Created, 0))
		}
	}
	networks, err := c.NetworkList(ctx, client.NetworkListOptions{Filters: ours})
	if err != nil {
		return nil, fmt.Errorf("list networks: %w", err)
	}
	for _, n := range networks.Items {
		all.add(n.Labels, "network", n.Name, false, n.Created)
	}
	volumes, err := c.VolumeList(ctx, client.VolumeListOptions{Filters: ours})
	if err != nil {
		return nil, fmt.Errorf("list volumes: %w", err)
	}
	for _, v := range volumes.Items {
		made, _ := time.Parse(time.RFC3339, v.CreatedAt) // else it is old
		all.add(v.Labels, "volume", v.Name, false, made)
	}
	for i := range all.list {
		all.list[i].Held = all.held[all.list[i].Identity]
	}
	stale, err := staleImages(ctx, c.Client, containers.Items)
	return append(all.list, stale...), err
}

// staleImages are the agents' images that another version of this program made, or that
// have lost their name. They are of no bottle. One of this version is a start's time.
func staleImages(ctx context.Context, c *client.Client, used []container.Summary) (out []backend.Leftover, err error) {
	list, err := c.ImageList(ctx, client.ImageListOptions{Filters: client.Filters{}.Add("label", labelRole+"="+roleImage)})
	if err != nil {
		return nil, fmt.Errorf("list images: %w", err)
	}
	for _, i := range list.Items {
		if i.Labels[labelVersion] == bottle.Version && len(i.RepoTags) > 0 || named(i.RepoTags) {
			continue
		}
		l := backend.Leftover{Resource: plan.Resource{Kind: "image", Name: i.ID}}
		if l.Held = slices.ContainsFunc(used, func(k container.Summary) bool { return k.ImageID == i.ID }); !l.Held {
			if l.UsedBy, l.LetGo, err = users(ctx, c, i.ID); err != nil {
				return nil, err
			}
		}
		out = append(out, l)
	}
	return out, nil
}

// users tells which container that is no start's has an image, whether it runs or not, and the
// command by which it lets go.
func users(ctx context.Context, c *client.Client, image string) (by, letGo string, err error) {
	list, err := c.ContainerList(ctx, client.ContainerListOptions{All: true})
	if err != nil {
		return "", "", fmt.Errorf("list containers: %w", err)
	}
	for _, k := range list.Items {
		if k.ImageID == image && len(k.Names) > 0 {
			name := bottle.Printable(strings.TrimPrefix(k.Names[0], "/"))
			return "the container " + name, "docker rm " + name, nil
		}
	}
	return "", "", nil
}

// named tells whether somebody gave an image a name that is not ours. What is built on an
// agent's image has its labels, too.
func named(tags []string) bool {
	return slices.ContainsFunc(tags, func(t string) bool { return !strings.HasPrefix(t, agentImages) })
}

// inherited tells whether a container has its identity of its image alone. Whoever runs one of
// an image gets its labels, whatever they say. What has the name that a start gives is a start's;
// docker compose gives others. An image that can't be looked at any more says nothing.
func inherited(ctx context.Context, c *client.Client, labels map[string]string, name, image string) bool {
	id := labels[labelIdentity]
	if name == (names{id}).of(labels[labelRole]) || image == "" {
		return false
	}
	i, err := c.ImageInspect(ctx, image)
	return err == nil && i.Config != nil && i.Config.Labels[labelIdentity] == id
}

// leftovers are gathered; one part that is held holds the whole bottle.
type leftovers struct {
	list []backend.Leftover
	held map[bottle.Identity]bool
}

func (a *leftovers) add(labels map[string]string, kind, name string, running bool, made time.Time) {
	id, err := bottle.ParseIdentity(labels[labelIdentity])
	if err != nil {
		return // no start made it
	}
	a.list = append(a.list, backend.Leftover{Identity: id, Resource: plan.Resource{Kind: kind, Name: name}})
	if a.held == nil {
		a.held = map[bottle.Identity]bool{}
	}
	a.held[id] = a.held[id] || held(labels[labelStart], running, made)
}

// Remove implements backend.Backend. It looks at the label again: a name may have
// come to stand for something else.
func (d *Docker) Remove(ctx context.Context, l backend.Leftover) error {
	c, err := d.engine()
	if err != nil {
		return err
	}
	defer c.Close()
	var labels map[string]string
	var remove func() error
	var tags []string
	name := l.Resource.Name
	switch l.Resource.Kind {
	case "container":
		var k client.ContainerInspectResult
		if k, err = c.ContainerInspect(ctx, name, client.ContainerInspectOptions{}); err == nil && k.Container.Config != nil && !inherited(ctx, c.Client, k.Container.Config.Labels, name, k.Container.Image) {
			labels = k.Container.Config.Labels
		}
		remove = func() error { return take(ctx, c.Client, k.Container.ID) }
	case "image":
		var i client.ImageInspectResult
		if i, err = c.ImageInspect(ctx, name); err == nil && i.Config != nil && i.Config.Labels[labelRole] == roleImage && !named(i.RepoTags) {
			labels, tags = map[string]string{labelIdentity: string(l.Identity)}, i.RepoTags // it has none, nor has the leftover
		}
		remove = func() error { return dropImage(ctx, c.Client, name, tags) }
	case "network":
		var n client.NetworkInspectResult
		if n, err = c.NetworkInspect(ctx, name, client.NetworkInspectOptions{}); err == nil {
			labels = n.Network.Labels
		}
		remove = func() error { return leaveNetwork(ctx, c.Client, n.Network.ID) }
	case "volume":
		var v client.VolumeInspectResult
		if v, err = c.VolumeInspect(ctx, name, client.VolumeInspectOptions{}); err == nil {
			labels = v.Volume.Labels
		}
		remove = func() error { return dropVolume(ctx, c.Client, l.Identity, name) }
	default:
		return fmt.Errorf("remove %s %s: Docker has none of this kind", l.Resource.Kind, name)
	}
	if errdefs.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look at %s %s: %w", l.Resource.Kind, name, err)
	}
	if labels == nil || labels[labelIdentity] != string(l.Identity) || (l.Identity == "") != (l.Resource.Kind == "image") {
		return fmt.Errorf("remove %s %s: it is not of the bottle %s", l.Resource.Kind, name, l.Identity)
	}
	return remove()
}

// take ends a container and waits until the engine has removed it.
func take(ctx context.Context, c *client.Client, id string) error {
	soon, cancel := context.WithTimeout(ctx, inUse)
	defer cancel()
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for {
		gone := c.ContainerWait(ctx, id, client.ContainerWaitOptions{Condition: container.WaitConditionRemoved})
		_, err := c.ContainerRemove(ctx, id, client.ContainerRemoveOptions{Force: true})
		switch {
		case errdefs.IsNotFound(err):
			return nil
		case err == nil, errdefs.IsConflict(err): // conflict: it is being removed already
			return settled(gone)
		case !errdefs.IsInternal(err):
			return fmt.Errorf("remove container: %w", err)
		}
		select { // Podman fails over a container that ends meanwhile
		case <-again.C:
		case <-soon.Done():
			return fmt.Errorf("remove container: %w", err)
		}
	}
}

// settled waits for the end of a wait; that there is nothing to wait for is one.
func settled(w client.ContainerWaitResult) error {
	select {
	case <-w.Result:
		return nil
	case err := <-w.Error:
		if err == nil || errdefs.IsNotFound(err) {
			return nil
		}
		return fmt.Errorf("wait for a container's end: %w", err)
	}
}

func leaveNetwork(ctx context.Context, c *client.Client, id string) error {
	_, err := c.NetworkRemove(ctx, id, client.NetworkRemoveOptions{})
	if err != nil && !errdefs.IsNotFound(err) {
		return fmt.Errorf("remove network: %w", err)
	}
	return nil
}

// dropImage removes an image by each of its names. Nothing is forced: what a container has,
// also one that does not run, and what another image is made of, stays with all of its names.
func dropImage(ctx context.Context, c *client.Client, id string, names []string) error {
	by, letGo, err := users(ctx, c, id)
	if err != nil {
		return err
	}
	if by != "" {
		return bottle.Problems{{Message: "the image " + id + " stays: " + by + " has come to use it", Hint: letGo}}
	}
	if len(names) == 0 {
		names = []string{id}
	}
	for _, name := range names {
		_, err := c.ImageRemove(ctx, name, client.ImageRemoveOptions{PruneChildren: true})
		if errdefs.IsConflict(err) {
			return fmt.Errorf("the image %s stays, as something uses it: %w", id, err)
		}
		if err != nil && !errdefs.IsNotFound(err) {
			return fmt.Errorf("remove image: %w", err)
		}
	}
	return nil
}

// inUse is how long a volume may stay in use by a container whose end is under way: the engine
// lists it no more, and lets go of its volumes last.
const inUse = 10 * time.Second

// dropVolume removes a volume, and what was being made of the same bottle when its start was
// killed: an engine makes the volume first, so a list that was asked for in between has it alone.
func dropVolume(ctx context.Context, c *client.Client, id bottle.Identity, name string) error {
	soon, cancel := context.WithTimeout(ctx, inUse)
	defer cancel()
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for {
		_, err := c.VolumeRemove(ctx, name, client.VolumeRemoveOptions{})
		switch {
		case err == nil || errdefs.IsNotFound(err):
			return nil
		case !errdefs.IsConflict(err):
			return fmt.Errorf("remove volume: %w", err)
		}
		if why := dropUnborn(soon, c, id, name); why != nil {
			return errors.Join(fmt.Errorf("remove volume: %w", err), why)
		}
		select {
		case <-again.C:
		case <-soon.Done():
			return fmt.Errorf("remove volume: %w", err)
		}
	}
}

// dropUnborn removes containers of id that use the volume and were never started.
func dropUnborn(ctx context.Context, c *client.Client, id bottle.Identity, volume string) error {
	list, err := c.ContainerList(ctx, client.ContainerListOptions{All: true, Filters: client.Filters{}.Add("volume", volume).Add("label", labelIdentity+"="+string(id)).Add("status", "created")})
	if err != nil {
		return fmt.Errorf("list containers: %w", err)
	}
	for _, k := range list.Items {
		if err := take(ctx, c, k.ID); err != nil {
			return err
		}
	}
	return nil
}
