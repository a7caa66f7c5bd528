//go:build !linux

package need

func landlock() int { return 0 }
