// Package refused hears of the packets that a bottle's kernel refused by itself, and
// makes records of them.
package refused

import (
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"bottle/internal/audit"
	"bottle/internal/policy"
)

const (
	packetEvery = time.Second // one record for one destination in this time
	maxDistinct = 32          // destinations told apart in this time; a port scan gets one record for the rest
	packetRead  = 64 << 10    // bytes read at once
)

// Packets turns what the kernel refused into records: the first packet to a
// destination at once, the like ones of the same second as one record with a
// count, so that a flood cannot fill the disk.
type Packets struct {
	Record func(audit.Record)
	Hash   func() string // of the policy in force
	Lost   atomic.Uint64 // unreadable, or dropped by the kernel because we were slow

	mu    sync.Mutex
	seen  map[packet]uint64 // since the last flush; the count is of those not recorded yet
	extra uint64            // to destinations past maxDistinct
}

// Serve reads f until it is closed. It returns when its goroutine has.
func (p *Packets) Serve(f *os.File) {
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		t := time.NewTicker(packetEvery)
		defer t.Stop()
		for {
			select {
			case <-t.C:
				p.flush(time.Now())
			case <-stop:
				p.flush(time.Now())
				return
			}
		}
	})
	buf := make([]byte, packetRead)
	for {
		n, err := f.Read(buf)
		if errors.Is(err, syscall.ENOBUFS) { // the kernel dropped some: netlink(7)
			p.Lost.Add(1)
			continue
		}
		if err != nil {
			break
		}
		found, bad := parsePackets(buf[:n])
		p.Lost.Add(uint64(bad))
		for _, k := range found {
			p.saw(k, time.Now())
		}
	}
	close(stop)
	wg.Wait()
}

// saw records the first packet of its kind in a second, and counts the others.
func (p *Packets) saw(k packet, now time.Time) {
	p.mu.Lock()
	if n, ok := p.seen[k]; ok {
		p.seen[k] = n + 1
		p.mu.Unlock()
		return
	}
	if len(p.seen) >= maxDistinct {
		p.extra++
		p.mu.Unlock()
		return
	}
	if p.seen == nil {
		p.seen = make(map[packet]uint64, maxDistinct)
	}
	p.seen[k] = 0
	p.mu.Unlock()
	p.Record(p.describe(k, 1, now))
}

// flush records what was counted since the last flush, and begins anew.
func (p *Packets) flush(now time.Time) {
	p.mu.Lock()
	seen, extra := p.seen, p.extra
	p.seen, p.extra = nil, 0
	p.mu.Unlock()
	for k, n := range seen {
		if n > 0 {
			p.Record(p.describe(k, n, now))
		}
	}
	if extra > 0 {
		r := p.describe(packet{}, extra, now)
		r.Note = "to many other destinations"
		p.Record(r)
	}
}

func (p *Packets) describe(k packet, count uint64, now time.Time) audit.Record {
	r := audit.Record{Time: now, Kind: audit.KindPacket, Method: k.Proto, Port: k.Port, Verdict: audit.Deny,
		Reason: string(policy.KernelRefused), Policy: p.Hash(), Count: count}
	if k.Dst.IsValid() {
		r.Host = k.Dst.String()
	}
	return r
}
