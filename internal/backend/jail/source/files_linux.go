package source

import (
	"os"

	"bottle/internal/plan"
)

// Link makes at a symbolic link to the folder to, of the agent, which outlives the bottle.
// An earlier agent may have put anything in that folder's place: it is not looked at, and
// what does not work then is the next agent's loss alone.
func Link(to, at string) error {
	_ = os.Mkdir(to, 0o700)
	return os.Symlink(to, at)
}

// HostBundle reads the machine's own trust store, before the pivot.
func HostBundle() []byte {
	for _, p := range plan.HostBundles() {
		if b, err := os.ReadFile(p); err == nil {
			return append(b, '\n')
		}
	}
	return nil
}
