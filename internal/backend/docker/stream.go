package docker

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
)

// maxSaid bounds what is kept of a container's standard error, in bytes.
const maxSaid = 8 << 10

// piece is one container that was started with its streams attached.
type piece struct {
	id    string
	name  string
	conn  client.HijackedResponse
	out   *demux
	lines *bufio.Reader // over out, once line was called
}

// begin creates a container, attaches to it and starts it; after an error it is gone.
// No request to the engine is given up half way: the engine would go on, and what it
// made would belong to nobody.
func (x *Box) begin(ctx context.Context, name string, cfg *container.Config, host *container.HostConfig) (*piece, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("create container %s: %w", name, err)
	}
	c := x.c
	whole, stop := context.WithTimeout(context.WithoutCancel(ctx), upTimeout)
	defer stop()
	if x.podman {
		if err := forPodman(host, x.agentIs); err != nil {
			return nil, err
		}
		if err := x.makeVolumes(whole, host.Mounts); err != nil {
			return nil, err
		}
	}
	made, err := c.ContainerCreate(whole, client.ContainerCreateOptions{Name: name, Config: cfg, HostConfig: host})
	if err != nil {
		return nil, fmt.Errorf("create container %s: %w", name, err)
	}
	p := &piece{id: made.ID, name: name}
	// The connection is the bottle's life, and longer than any step of its start.
	at, err := c.ContainerAttach(context.WithoutCancel(ctx), made.ID, client.ContainerAttachOptions{Stream: true, Stdin: true, Stdout: true, Stderr: true})
	if err == nil {
		p.conn, p.out = at.HijackedResponse, &demux{from: at.Reader}
		if err = ctx.Err(); err == nil {
			_, err = c.ContainerStart(whole, made.ID, client.ContainerStartOptions{})
		}
	} else if _, why := c.ContainerStart(whole, made.ID, client.ContainerStartOptions{}); why != nil {
		err = why // Podman makes a container ready when it is attached to, and the client drops what it then says
	}
	if err != nil {
		p.hangUp()
		return nil, errors.Join(fmt.Errorf("start container %s: %w", name, err), take(whole, c, made.ID))
	}
	return p, nil
}

// hangUp lets go of the streams: the container's standard input ends.
func (p *piece) hangUp() {
	if p != nil && p.conn.Conn != nil {
		p.conn.Close()
	}
}

// blame adds what the container said on its way out.
func (p *piece) blame(err error) error {
	if said := p.out.said(); said != "" {
		return fmt.Errorf("%w: %s", err, said)
	}
	return err
}

// demux reads standard output out of an attached stream, and keeps the end of
// standard error (Engine API, "Attach to a container", stream format).
type demux struct {
	from io.Reader
	left uint32 // of the part under way
	mu   sync.Mutex
	tail []byte
}

func (d *demux) Read(b []byte) (int, error) {
	for d.left == 0 {
		var head [8]byte
		if _, err := io.ReadFull(d.from, head[:]); err != nil {
			return 0, err
		}
		n := binary.BigEndian.Uint32(head[4:])
		switch head[0] {
		case 1:
			d.left = n
		case 2, 3: // 3: the engine's own words
			if err := d.keep(int64(n)); err != nil {
				return 0, err
			}
		default:
			return 0, fmt.Errorf("read container: a part of kind %d", head[0])
		}
	}
	n, err := d.from.Read(b[:min(len(b), int(d.left))])
	if d.left -= uint32(n); d.left > 0 && errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

func (d *demux) keep(n int64) error {
	var part [1024]byte
	for n > 0 {
		m, err := d.from.Read(part[:min(n, int64(len(part)))])
		d.mu.Lock()
		d.tail = append(d.tail, part[:m]...)
		if over := len(d.tail) - maxSaid; over > 0 {
			d.tail = append(d.tail[:0], d.tail[over:]...)
		}
		d.mu.Unlock()
		if n -= int64(m); err != nil && n > 0 {
			return io.ErrUnexpectedEOF
		}
	}
	return nil
}

func (d *demux) said() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return strings.TrimSpace(string(d.tail))
}
