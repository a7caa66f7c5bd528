//go:build !linux

package jail

import (
	"errors"
	"io"
)

// Main refuses: namespaces are Linux's.
func Main(_ []string, _ io.Reader, _ io.Writer) (int, error) {
	return 0, errors.New("the native backend needs Linux")
}
