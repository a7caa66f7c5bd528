// bottle-gateway is the one process of a bottle that has network and credentials. People start it
// through `bottle start`; it is a program of its own because what holds the keys should hold little else.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"bottle/internal/bottle"
	"bottle/internal/gateway"
	"bottle/internal/gateway/check"
)

func main() {
	var err error
	switch args := os.Args[1:]; {
	case len(args) == 1 && args[0] == "version":
		fmt.Println("bottle-gateway", bottle.Version)
	case len(args) > 0 && args[0] == "check":
		err = check.Main(args[1:], os.Stdout)
	case len(args) > 0 && args[0] == gateway.GitWord:
		err = gateway.Git(args[1:]) // becomes a confined git
	case len(args) != 3 || args[0] != "serve" || args[1] != "--identity":
		fmt.Fprintln(os.Stderr, "usage: bottle-gateway serve --identity ID < what to serve\n       bottle-gateway check [--format json]\n       bottle-gateway version")
		os.Exit(2)
	default: // what the operator's foreground group is sent is not for us; a caller that is gone ends our input
		signal.Ignore(syscall.SIGINT, syscall.SIGQUIT, syscall.SIGHUP, syscall.SIGPIPE, syscall.SIGTSTP)
		if err = gateway.Harden(); err == nil { // first: it may start the program anew
			ctx, _ := signal.NotifyContext(context.Background(), syscall.SIGTERM)
			err = gateway.Run(ctx, gateway.Start{Stdin: os.Stdin, Stdout: os.Stdout, Inherited: gateway.Inherited(), Version: bottle.Version, Identity: args[2]})
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bottle-gateway:", err)
		os.Exit(1)
	}
}
