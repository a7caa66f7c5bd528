//go:build !linux

package require

import (
	"errors"
	"runtime"
)

func probe() error { return errors.New("native is for Linux, this is " + runtime.GOOS) }
