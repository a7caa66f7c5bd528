// Package bounds is how much of each thing one bottle's egress takes.
package bounds

import "time"

// Limits hold against a slow or endless peer. A zero field is its default.
type Limits struct {
	Conns        int           // connections of the bottle at one time; for one more the one that has waited longest without asking for anything is closed; if all are being answered, it is reset; 512
	HeaderBytes  int           // of a request, together; 64 KiB
	URLBytes     int           // of a request's target; 16 KiB
	HeaderTime   time.Duration // from a request's first byte to the end of its headers; 10 s
	HelloTime    time.Duration // for a ClientHello, or any first byte; 10 s
	KeepAlive    time.Duration // between two requests; 2 min
	Idle         time.Duration // without one byte in either direction while a request or tunnel is open; 15 min
	DialTime     time.Duration // resolve, connect and shake hands with an upstream, each; 10 s
	AnswerHeader int64         // bytes of an upstream's response header; 256 KiB
	Tunnels      int           // of the bottle at one time; three quarters of Conns: the rest is for what needs no tunnel
	Requests     float64       // a second, on average, that are allowed; 0: no bound
	BytesOut     int64         // an hour, to all upstreams together: targets, headers and bodies; 0: no bound
	HostBytesOut int64         // an hour, to each host; 0: no bound
}

// WithDefaults fills in what is not set.
func (l Limits) WithDefaults() Limits {
	set(&l.Conns, 512)
	set(&l.HeaderBytes, 64<<10)
	set(&l.URLBytes, 16<<10)
	set(&l.HeaderTime, 10*time.Second)
	set(&l.HelloTime, 10*time.Second)
	set(&l.KeepAlive, 2*time.Minute)
	set(&l.Idle, 15*time.Minute)
	set(&l.DialTime, 10*time.Second)
	set(&l.AnswerHeader, 256<<10)
	set(&l.Tunnels, max(l.Conns*3/4, 1))
	return l
}

// set fills in a default; a negative limit would be no limit, so it is one too.
func set[T int | int64 | time.Duration](v *T, def T) {
	if *v <= 0 {
		*v = def
	}
}
