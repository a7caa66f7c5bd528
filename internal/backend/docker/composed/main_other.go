//go:build !linux

package composed

import "io"

// Main runs none of the roles: containers are Linux.
func Main([]string, io.Reader, io.Writer, io.Writer) (code int, ran bool, err error) {
	return 0, false, nil
}
