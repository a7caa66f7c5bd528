package session

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"bottle/internal/bottle"
	"bottle/internal/cli/command"
	"bottle/internal/cli/ui"
	"bottle/internal/lifecycle/share"
	"bottle/internal/plan"
	"bottle/internal/store"
)

// Command is `bottle attach`.
func (d Desk) Command() *cobra.Command {
	var word string
	c := &cobra.Command{
		Use:     "attach [IDENTITY]",
		GroupID: d.Group,
		Short:   "Join the terminal of a running agent",
		Long: "Show the agent's screen here, too, and type to it. All who are attached, and the terminal of its\n" +
			"bottle start, see the same and can type; the agent's screen is as large as the smallest of them.\n" +
			"Ctrl-] detaches, and the agent goes on. Without IDENTITY it is the one bottle that runs.\n" +
			"The exit code is the agent's if it ends meanwhile, and 0 if you detach.",
		Example: "  bottle start --detach claude\n" +
			"  bottle attach claude\n" +
			"  bottle attach claude-m3hxd --detach-keys ctrl-p,ctrl-q",
		Args: command.Words(0, 1), ValidArgsFunction: d.Names,
	}
	c.Flags().StringVar(&word, "detach-keys", share.DefaultKeys, "the `KEYS` that detach, with commas between: ctrl-a,d; none: no key does")
	_ = c.RegisterFlagCompletionFunc("detach-keys", cobra.FixedCompletions([]string{share.DefaultKeys, "ctrl-p,ctrl-q", "none"}, cobra.ShellCompDirectiveNoFileComp)) // fails only for a flag that is not there
	c.RunE = func(c *cobra.Command, args []string) error {
		keys, err := share.ParseKeys(word)
		if err != nil {
			return ui.Usage(err, "bottle attach --detach-keys ctrl-p,ctrl-q")
		}
		code, _, err := d.Attach(c.Context(), strings.Join(args, ""), keys)
		if err != nil {
			return err
		}
		return ui.Exit(code)
	}
	return c
}

// Attach joins this terminal to the bottle that word means, until its agent has ended, with
// code, or until the operator detaches; said is which, in words. On the terminal it is said
// as well.
func (d Desk) Attach(ctx context.Context, word string, keys share.Keys) (code int, said string, err error) {
	if !d.Terminal(d.In) || !d.Terminal(d.Out) {
		return 0, "", ui.Usage(errors.New("attaching needs a terminal, to show the agent's and to type"), "bottle list active; what it may do is decided without one: bottle proposals")
	}
	id, path, err := d.place(word)
	if err != nil {
		return 0, "", err
	}
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	t, done, err := d.own()
	if err != nil {
		return 0, "", err
	}
	defer done()
	guest, err := share.Reach(ctx, path, t.Size)
	if err != nil {
		return 0, "", refused(id, err)
	}
	restore, err := t.Attach()
	if err != nil {
		return 0, "", err
	}
	if err = d.greet(t.Stdio.Out, id, keys, int(t.Size.Rows)); err != nil {
		return 0, "", errors.Join(err, restore())
	}
	code, detached, err := guest.Attend(ctx, t.Stdio, keys)
	if err = errors.Join(err, restore()); err != nil {
		return 0, "", refused(id, err)
	}
	if said = fmt.Sprintf("%s has ended, with exit code %d", id, code); detached {
		code, said = 0, fmt.Sprintf("detached from %s, which goes on: bottle attach %s", id, id)
	}
	fmt.Fprintln(d.Err, "\n"+d.Style(d.Err)(plan.Faint, said))
	return code, said, nil
}

// greet moves what the terminal shows out of sight, where it can be scrolled to, and says how
// to get away.
func (d Desk) greet(w io.Writer, id bottle.Identity, keys share.Keys, rows int) error {
	out := strings.Repeat("\r\n", max(1, rows))
	if d.Dumb {
		out = "\r\n"
	} else {
		out += "\x1b[H"
	}
	how := "; no key detaches"
	if k := keys.String(); k != "" {
		how = "; " + k + " detaches, and it goes on"
	}
	_, err := io.WriteString(w, out+d.Style(d.Out)(plan.Faint, "attached to "+string(id)+how)+"\r\n")
	if err != nil {
		return fmt.Errorf("write to the terminal: %w", err)
	}
	return nil
}

// place is the running bottle that word means, and where to attach to it. An empty word is
// the only one that runs.
func (d Desk) place(word string) (bottle.Identity, string, error) {
	s, err := d.Store()
	if err != nil {
		return "", "", err
	}
	id, err := pick(s, word)
	if err != nil {
		return "", "", err
	}
	if !s.Live(id) {
		hint := "bottle list active; what it did is still there: bottle audit " + string(id)
		if info, err := os.Lstat(s.Layout(id).Log); err == nil && info.Size() > 0 {
			hint = "its start had something to say: cat " + s.Layout(id).Log
		}
		return "", "", ui.Fail(fmt.Errorf("the bottle %s has ended", id), hint)
	}
	path := s.Layout(id).Attach
	if path == "" {
		return "", "", ui.Fail(fmt.Errorf("nobody can attach to %s: the path of the state folder is too long for a socket", id), "set XDG_RUNTIME_DIR, or BOTTLE_HOME to a shorter path, and start the bottle anew")
	}
	return id, path, nil
}

func pick(s *store.Store, word string) (bottle.Identity, error) {
	if word != "" {
		id, err := s.Match(word)
		if err != nil {
			return "", ui.Fail(err, "bottle list active")
		}
		return id, nil
	}
	list, err := s.List()
	if err != nil {
		return "", err
	}
	var live []string
	for _, e := range list {
		if e.Live {
			live = append(live, string(e.Metadata.Identity))
		}
	}
	switch len(live) {
	case 0:
		return "", ui.Fail(errors.New("no bottle runs"), "bottle start --detach AGENT")
	case 1:
		return bottle.Identity(live[0]), nil
	}
	return "", ui.Usage(fmt.Errorf("%d bottles run: %s", len(live), strings.Join(live, ", ")), "bottle attach "+live[0])
}

// refused is why a terminal was not attached, with what to do about it.
func refused(id bottle.Identity, err error) error {
	var no *share.Refused
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return ui.Fail(fmt.Errorf("%s has no terminal to attach to: its agent does not run yet, or was started on pipes", id), "try again; or stop it and start it with bottle start --detach")
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, share.ErrGone):
		return ui.Fail(fmt.Errorf("%s: %w", id, err), "bottle list active; bottle cleanup")
	case errors.Is(err, share.ErrSilent):
		return ui.Fail(fmt.Errorf("%s: %w", id, err), "fg, in the shell where it was started")
	case errors.As(err, &no):
		return ui.Fail(fmt.Errorf("%s does not take this terminal: %s", id, bottle.Printable(no.Why)), "bottle list active")
	}
	return ui.Fail(fmt.Errorf("%s: %w", id, err), "bottle list active")
}
