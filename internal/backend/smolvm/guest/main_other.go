//go:build !linux

package guest

import "io"

// Main runs no role: a micro-VM is Linux.
func Main([]string, io.Reader, io.Writer) (code int, ran bool, err error) { return 0, false, nil }
