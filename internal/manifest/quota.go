package manifest

import (
	"fmt"

	"bottle/internal/bottle"
	"bottle/internal/manifest/rules"
)

// quota checks egress.limits.
func (s *source) quota(raw *quotaFile) bottle.Quota {
	var q bottle.Quota
	if raw == nil {
		return q
	}
	for _, f := range []struct {
		key         string
		raw         integer
		least, most int64
		into        *int
	}{
		{"connections", raw.Connections, rules.MinConnections, rules.MaxConnections, &q.Connections},
		{"tunnels", raw.Tunnels, rules.MinTunnels, rules.MaxTunnels, &q.Tunnels},
	} {
		if f.raw.set() {
			*f.into = int(f.raw.val)
			s.errorIf(f.raw.val < f.least || f.raw.val > f.most, f.raw.at, fmt.Sprintf("write a number from %d to %d", f.least, f.most), "`%s` is out of range", f.key)
		}
	}
	if raw.Tunnels.set() && raw.Connections.set() && raw.Tunnels.val > raw.Connections.val {
		s.warnf(raw.Tunnels.at, "raise `connections`, or lower `tunnels`", "`tunnels` is more than `connections`, and a tunnel is a connection: there will never be so many")
	}
	if r := raw.RequestsPerSecond; r.set() {
		q.RequestsPerSecond = r.val
		s.errorIf(!(r.val >= rules.MinRate && r.val <= rules.MaxRate), r.at, "write a number from 0.1 to 1000000", "`requests_per_second` is out of range")
	}
	for _, f := range []struct {
		key         string
		raw         size
		least, most int64
		into        *int64
	}{
		{"header_size", raw.HeaderSize, rules.MinHeader, rules.MaxHeader, &q.HeaderSize},
		{"url_size", raw.URLSize, rules.MinURL, rules.MaxURL, &q.URLSize},
		{"bytes_out_per_hour", raw.BytesOutPerHour, rules.MinBytesOut, rules.MaxBytesOut, &q.BytesOutPerHour},
		{"host_bytes_out_per_hour", raw.HostBytesOutPerHour, rules.MinBytesOut, rules.MaxBytesOut, &q.HostBytesOutPerHour},
	} {
		if f.raw.set() {
			var err error
			*f.into, err = rules.Size(f.raw.val, f.least, f.most)
			s.errorIf(err != nil, f.raw.at, "", "`%s` %v", f.key, err)
		}
	}
	return q
}
