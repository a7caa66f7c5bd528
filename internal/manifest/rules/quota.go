package rules

import (
	"cmp"

	"bottle/internal/bottle"
)

// Bounds of egress.limits and push.max_file: below them an honest client fails, above them the
// number is a slip of the keyboard.
const (
	MinConnections, MaxConnections = 8, 16384
	MinTunnels, MaxTunnels         = 1, 16384
	MinRate, MaxRate               = 0.1, 1_000_000
	MinHeader, MaxHeader           = 8 << 10, 1 << 20
	MinURL, MaxURL                 = 1 << 10, 256 << 10
	MinBytesOut, MaxBytesOut       = 1 << 20, 16 << 40
	MinFile, MaxFile               = 1 << 10, 2 << 30 // of git: a pack has 2 GiB at most
)

// OverlayUser lays over over under, field by field.
func OverlayUser(under, over bottle.GitUser) bottle.GitUser {
	return bottle.GitUser{Name: cmp.Or(over.Name, under.Name), Email: cmp.Or(over.Email, under.Email)}
}

// OverlayLimits lays child over parent, field by field.
func OverlayLimits(parent, child bottle.Limits) bottle.Limits {
	return bottle.Limits{
		Memory:    cmp.Or(child.Memory, parent.Memory),
		CPUs:      cmp.Or(child.CPUs, parent.CPUs),
		PIDs:      cmp.Or(child.PIDs, parent.PIDs),
		OpenFiles: cmp.Or(child.OpenFiles, parent.OpenFiles),
	}
}

// OverlayQuota lays child over parent, field by field.
func OverlayQuota(parent, child bottle.Quota) bottle.Quota {
	return bottle.Quota{
		Connections:         cmp.Or(child.Connections, parent.Connections),
		Tunnels:             cmp.Or(child.Tunnels, parent.Tunnels),
		RequestsPerSecond:   cmp.Or(child.RequestsPerSecond, parent.RequestsPerSecond),
		HeaderSize:          cmp.Or(child.HeaderSize, parent.HeaderSize),
		URLSize:             cmp.Or(child.URLSize, parent.URLSize),
		BytesOutPerHour:     cmp.Or(child.BytesOutPerHour, parent.BytesOutPerHour),
		HostBytesOutPerHour: cmp.Or(child.HostBytesOutPerHour, parent.HostBytesOutPerHour),
	}
}
