package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"bottle/internal/audit"
	"bottle/internal/bottle"
	"bottle/internal/cli/command"
	"bottle/internal/cli/ui"
	"bottle/internal/cli/wish"
	"bottle/internal/plan"
)

func newAudit(d *deps) *cobra.Command {
	var follow, denied, verify bool
	var head, kind string
	c := &cobra.Command{
		Use:     "audit IDENTITY",
		GroupID: groupRun,
		Short:   "Show what a bottle's gateway decided, or verify that the log is whole",
		Long: "Show the decision log of one bottle, a line a decision. An identity may be shortened as long\n" +
			"as it means one bottle. The first refusals (192.0.2.1, 2001:db8::1, 169.254.169.254, bottle-probe.invalid)\nare of the start's own check of the walls, before the agent begins. --verify checks the chain of hashes instead: exit code 1 when it is broken.\n" +
			"A chain proves nothing about its own end: keep the last SEQ:HASH elsewhere and give it to --head.",
		Example: "  bottle audit researcher-m3hxd\n" +
			"  bottle audit researcher --follow --denied\n" +
			"  bottle audit researcher --kind git                    fetches and pushes\n" +
			"  bottle audit researcher-m3hxd --verify\n" +
			"  bottle audit researcher-m3hxd --verify --head 12:9f86d081…",
		Args: command.Words(1, 1), ValidArgsFunction: firstOf(d.identities),
	}
	c.Flags().BoolVarP(&follow, "follow", "f", false, "wait for more, until Ctrl-C")
	c.Flags().BoolVar(&denied, "denied", false, "only what was not allowed")
	c.Flags().StringVar(&kind, "kind", "", "only records of this `KIND`: "+strings.Join(audit.Kinds(), ", "))
	_ = c.RegisterFlagCompletionFunc("kind", cobra.FixedCompletions(audit.Kinds(), cobra.ShellCompDirectiveNoFileComp)) // fails only for a flag that is not there
	c.Flags().BoolVar(&verify, "verify", false, "check that no line was changed, removed or inserted")
	c.Flags().StringVar(&head, "head", "", "with --verify: SEQ:HASH kept from an earlier one; the log must still hold it")
	asJSON := command.Formats(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		js, err := asJSON()
		if err != nil {
			return err
		}
		var kept audit.Head
		if head != "" {
			if kept, err = audit.ParseHead(head); err != nil || !verify {
				return ui.Usage(errors.Join(errors.New("--head SEQ:HASH goes with --verify"), err), "bottle audit "+args[0]+" --verify")
			}
		}
		if verify && (follow || denied || kind != "") {
			return ui.Usage(errors.New("--verify reads the whole log: it takes neither --follow nor --denied nor --kind"), "leave them out")
		}
		if kind != "" && !slices.Contains(audit.Kinds(), kind) {
			return ui.Usage(fmt.Errorf("there is no kind %q", kind), "one of: "+strings.Join(audit.Kinds(), ", "))
		}
		id, path, err := d.auditLog(args[0])
		if err != nil {
			return err
		}
		if verify {
			return d.verifyLog(path, kept, js)
		}
		return d.showLog(c.Context(), id, path, audit.Filter{Denied: denied, Kind: kind}, follow, js)
	}
	return c
}

// auditLog finds the log of the one bottle that word means.
func (d *deps) auditLog(word string) (id bottle.Identity, path string, err error) {
	s, err := d.state()
	if err != nil {
		return "", "", err
	}
	if id, err = s.Match(word); err != nil {
		return "", "", err
	}
	path = s.Layout(id).Audit
	if _, err := os.Lstat(path); err != nil {
		return "", "", ui.Fail(fmt.Errorf("the bottle %s has no decision log: its gateway decided nothing yet", id), "bottle list active --all")
	}
	return id, path, nil
}

func (d *deps) verifyLog(path string, kept audit.Head, js bool) error {
	r, err := audit.VerifyAgainst(path, kept)
	if err != nil {
		return err
	}
	style := d.style(d.Stdout)
	switch {
	case js:
		err = ui.JSON(d.Stdout, r)
	case r.OK:
		fmt.Fprintf(d.Stdout, "%s: %s, in order; the last is %s\n", style(plan.Strong, "whole"), ui.Plural(int(r.Records), "record"), r.Head)
	default:
		fmt.Fprintf(d.Stdout, "%s: %s:%d: %s (%s before it in order)\n", style(plan.Shout, "broken"), d.tilde(path), r.Line,
			bottle.Printable(r.Problem), ui.Plural(int(r.Records), "record"))
	}
	if err == nil && !r.OK {
		err = ui.Exit(ui.CodeNo)
	}
	return err
}

// showLog prints records as they come. Ctrl-C is the ordinary end of --follow. A
// line that is no record is told on standard error, and makes the exit code 125.
func (d *deps) showLog(ctx context.Context, id bottle.Identity, path string, filter audit.Filter, follow, js bool) error {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	style, width := d.style(d.Stdout), ui.Width(d.Stdout, d.Terminal(d.Stdout))
	var broken error
	var said string
	for r, err := range audit.Read(ctx, path, filter, follow) {
		switch {
		case err != nil:
			broken = ui.Fail(fmt.Errorf("%s: %w", d.tilde(path), err), "the same command with --verify says what holds")
			if follow {
				_ = ui.Report(d.Stderr, d.style(d.Stderr), broken)
			}
		case js:
			fmt.Fprintf(d.Stdout, "%s\n", r.JSON())
		case r.Verdict == audit.Allow:
			fmt.Fprintln(d.Stdout, ui.Hang(audit.Text(r, time.Local), width, 14))
		default:
			fmt.Fprintln(d.Stdout, style(plan.Warn, ui.Hang(audit.Text(r, time.Local), width, 14)))
			if command := wish.Approving(id, r); command != "" && command != said { // an agent tries again
				said = command
				fmt.Fprintln(d.Stdout, "              "+style(plan.Faint, "to let it pass: "+command)) // in one piece, to be copied
			}
		}
	}
	return broken
}
