// bottle-jail is the launcher and pid 1 of a bottle. People start it
// through `bottle start`; it is a program of its own because what stands beside
// the agent should hold little, and start fast.
//
// The runtime would keep a file of the control group open beside the agent, to follow
// its limit of processors.
//
//go:debug containermaxprocs=0
package main

import (
	"fmt"
	"os"

	"bottle/internal/backend/docker/composed"
	"bottle/internal/backend/docker/inside"
	"bottle/internal/backend/jail"
	"bottle/internal/backend/smolvm/guest"
)

func main() {
	code, ran, err := inside.Main(os.Args[1:], os.Stdin, os.Stdout)
	if !ran {
		code, ran, err = composed.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	}
	if !ran {
		code, ran, err = guest.Main(os.Args[1:], os.Stdin, os.Stdout)
	}
	if !ran {
		code, err = jail.Main(os.Args[1:], os.Stdin, os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bottle-jail:", err)
		os.Exit(125)
	}
	os.Exit(code)
}
