// bottle-jail is the launcher and pid 1 of a native bottle. People start it
// through `bottle start`; it is a program of its own because what stands beside
// the agent should hold little, and start fast.
package main

import (
	"fmt"
	"os"

	"bottle/internal/backend/native/jail"
)

func main() {
	code, err := jail.Main(os.Args[1:], os.Stdin, os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "bottle-jail:", err)
		os.Exit(125)
	}
	os.Exit(code)
}
