// Package inside is what runs in the containers of a Docker bottle, and how the
// start talks with it over the one thing that an engine gives: attached streams.
//
//	bottle (docker)             agent's container        helper        bundle
//	  ├── Spec ────────────────▶ Box, pid 1                │      Bundle: binds the meeting
//	  │                            │                       │      socket, becomes the gateway
//	  ├── plan.Bottle ─────────────┼─────────────────────▶ Fence       │
//	  │                            │  in its network ◀─────┤ lo, firewall, sockets
//	  │                            │                       ├── sockets ──▶ serves them
//	  ├── Place, Verify, Run ────▶ │                     (ends)         │
//	  │◀── output, Exited ─────────┤
//
// The end of the attached stream ends the bottle, as a start's death does.
package inside

// The fixed places in the containers.
const (
	// MeetDir is a volume that helper and bundle share; the agent has none of it.
	MeetDir = "/run/bottle"
	// BundleJail and BundleGateway are the programs of the bundle image.
	BundleJail    = "/usr/local/bin/bottle-jail"
	BundleGateway = "/usr/local/bin/bottle-gateway"
)

// The first word of argv.
const (
	BoxWord    = "box"
	FenceWord  = "fence"
	BundleWord = "bundle"
	DoorWord   = "door"
	HealthWord = "healthy"
)

// Control is where the gateway's control socket is if the operator's side has no place for one
// that a bundle is shown, and where the image's own health check asks.
const Control = MeetDir + "/control"

// Check is a health check that asks the gateway whose control socket is at path, without a shell.
func Check(path string) []string { return []string{"CMD", BundleJail, HealthWord, path} }

// Fenced is what the helper says, as a JSON string on a line, when all is done.
const Fenced = "fenced"

// BundleUser runs the bundle of an operator who is root: no user of any host, by
// custom the one of images without root.
const BundleUser = 65532

// MeetPath is where the gateway waits for the bottle's sockets.
const MeetPath = MeetDir + "/meet"
