//go:build !linux

package hostexec

// keepToOurselves does nothing: only Linux has close_range(2), and the runtime
// marks what it opens itself.
func keepToOurselves() error { return nil }
