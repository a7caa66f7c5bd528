package cli

import (
	"fmt"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"bottle/internal/bottle"
	"bottle/internal/cli/ui"
	"bottle/internal/lifecycle"
	"bottle/internal/plan"
)

func newProxy(d *deps) *cobra.Command {
	var listen string
	c := &cobra.Command{
		Use:     "proxy BOTTLE",
		GroupID: groupRun,
		Short:   "Run a bottle's gateway alone, as a proxy for programs outside any bottle",
		Long: "Serve the routes of a bottle as an HTTP proxy on an address of this machine, until Ctrl-C: the same\n" +
			"decisions, credentials and log, without walls. A program that does not use the proxy is not held by\n" +
			"it, and everybody who reaches the address can use it: keep it on loopback.",
		Example: "  bottle proxy dev --listen 127.0.0.1:9099\n" +
			"  curl --proxy http://127.0.0.1:9099 --cacert ~/.bot-bottle/state/dev-m3hxd/ca.pem https://api.example.com/",
		Args: words(1, 1), ValidArgsFunction: firstOf(d.bottleNames),
	}
	c.Flags().StringVar(&listen, "listen", "127.0.0.1:9099", "address and port; port 0 takes a free one")
	c.RunE = func(c *cobra.Command, args []string) error {
		tree, err := d.tree()
		if err != nil {
			return err
		}
		name, err := bottle.ParseName(args[0])
		if err != nil {
			return ui.Usage(err, "bottle list bottles")
		}
		spec, problems := tree.Bottle(name)
		if problems.Fatal() {
			return ui.Fail(problems, "bottle validate")
		}
		house, err := d.house("")
		if err != nil {
			return err
		}
		gateway, err := d.helper("bottle-gateway")
		if err != nil {
			return err
		}
		ctx, stop := signal.NotifyContext(c.Context(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
		defer stop()
		if err := house.Proxy(ctx, spec, gateway, listen, d.tellProxy); err != nil {
			return ui.Fail(err, "try another --listen address, or: bottle doctor")
		}
		return nil
	}
	return c
}

func (d *deps) tellProxy(p lifecycle.Proxying) {
	style := d.style(d.Stdout)
	for _, l := range [][2]string{
		{"proxy", "http://" + p.Ready.Services[plan.SocketEgress]}, {"CA", p.CAFile},
		{"log", p.Audit}, {"identity", string(p.Identity)},
	} {
		fmt.Fprintln(d.Stdout, style(plan.Label, fmt.Sprintf("%-10s", l[0]))+l[1])
	}
	fmt.Fprintln(d.Stdout, style(plan.Faint, "Ctrl-C ends it."))
}
