package cli

import (
	"errors"
	"fmt"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"bottle/internal/bottle"
	"bottle/internal/cli/command"
	"bottle/internal/cli/ui"
	"bottle/internal/lifecycle"
)

func newProxy(d *deps) *cobra.Command {
	var listen string
	var open bool
	c := &cobra.Command{
		Use:     "proxy BOTTLE",
		GroupID: groupRun,
		Short:   "Run a bottle's gateway alone, as a proxy for programs outside any bottle",
		Long: "Serve the routes of a bottle as an HTTP proxy on an address of this machine, until Ctrl-C: the same\n" +
			"decisions, credentials and log, without walls. A program that does not use the proxy is not held by\n" +
			"it. Every user of this machine reaches its loopback, so the address that is printed holds a password,\n" +
			"drawn anew each time; give it to the programs that may use the bottle's credentials. The same port\n" +
			"speaks HTTP, HTTPS (a client that trusts the CA that is printed may speak TLS to the proxy itself) and\n" +
			"SOCKS5 with remote names (socks5h).",
		Example: "  bottle proxy dev --listen 127.0.0.1:9099\n" +
			"  export HTTPS_PROXY=http://bottle:PASSWORD@127.0.0.1:9099      as it was printed\n" +
			"  curl --cacert ~/.bot-bottle/state/dev-m3hxd/ca.pem https://api.example.com/",
		Args: command.Words(1, 1), ValidArgsFunction: firstOf(d.bottleNames),
	}
	c.Flags().StringVar(&listen, "listen", "127.0.0.1:9099", "address and port; port 0 takes a free one")
	c.Flags().BoolVar(&open, "no-auth", false, "ask for no password: every user of this machine may then use the bottle's credentials")
	c.RunE = func(c *cobra.Command, args []string) error {
		spec, err := d.bottle(args[0])
		if err != nil {
			return err
		}
		house, err := d.house("")
		if err != nil {
			return err
		}
		gateway, err := d.helper("bottle-gateway")
		if err != nil {
			return err
		}
		cwd, err := d.Getwd()
		if err != nil {
			return fmt.Errorf("find current folder: %w", err)
		}
		home, _ := d.userHome() // without one, a ~/ in the manifest was a finding
		ctx, stop := signal.NotifyContext(c.Context(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
		defer stop()
		err = house.Proxy(ctx, lifecycle.Solo{Spec: spec, Gateway: gateway, Listen: listen, Home: home, Dir: cwd, Open: open, Warn: ui.Warn(d.Stderr, d.style(d.Stderr)),
			Up: func(p lifecycle.Proxying) { ui.Proxying(d.Stdout, d.style(d.Stdout), p) }})
		if errors.Is(err, lifecycle.ErrListen) {
			return ui.Fail(err, "try another address: bottle proxy "+args[0]+" --listen 127.0.0.1:0")
		}
		return err
	}
	return c
}

// bottle reads a bottle by its name.
func (d *deps) bottle(word string) (bottle.Spec, error) {
	tree, err := d.tree()
	if err != nil {
		return bottle.Spec{}, err
	}
	name, err := bottle.ParseName(word)
	if err != nil {
		return bottle.Spec{}, ui.Usage(err, "bottle list bottles")
	}
	spec, problems := tree.Bottle(name)
	if problems.Fatal() {
		return bottle.Spec{}, ui.Fail(problems, "bottle validate")
	}
	return spec, nil
}
