package live

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"bottle/internal/bottle"
	"bottle/internal/cli/command"
	"bottle/internal/cli/ui"
	"bottle/internal/manifest"
	"bottle/internal/plan"
	"bottle/internal/policy"
	"bottle/internal/secret"
	"bottle/internal/store"
)

// Reload is the command `bottle reload`.
func (d Desk) Reload() *cobra.Command {
	var yes bool
	c := &cobra.Command{
		Use:     "reload IDENTITY",
		GroupID: d.Group,
		Short:   "Read a running bottle's routes, git rules and watched secrets anew and put them in force",
		Long: "Read the manifest of a running bottle again, show which routes come and go, ask, and put them in\n" +
			"force. A request keeps the policy that it began with; a tunnel or WebSocket that is no longer allowed\n" +
			"is cut. If anything is wrong, everything that is wrong is listed and the old routes stay in force.\n" +
			"Of git the rules under push are taken over, and what a key_file holds; a repository that is gone from\n" +
			"the manifest is served no more. A fetch goes on, and a push ends by the rules that it was judged by. A\n" +
			"new repository, or another upstream, host_key, auth, ca_file, extra_hosts or git_user, waits for the\n" +
			"next start, and is listed.\n" +
			"What egress.watch, env and git keys hold is read again, too: a token that you have just written to a\n" +
			".env does not leave either. What was watched before still is. A gateway is told its credentials once:\n" +
			"a route with a new one is refused. What else a manifest says (env of the agent, mounts, limits) needs\n" +
			"a new start.",
		Example: "  bottle edit dev && bottle reload researcher\n" +
			"  bottle reload researcher-m3hxd --yes\n" +
			"  bottle reload researcher --format json        what would change; with --yes it does\n" +
			"  bottle reload researcher --format json | jq '.git[] | select(.needs_start)'",
		Args: command.Words(1, 1), ValidArgsFunction: d.running,
	}
	c.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	asJSON := command.Formats(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		js, err := asJSON()
		if err != nil {
			return err
		}
		return d.reload(c.Context(), args[0], yes, js)
	}
	return c
}

// change is what a reload comes to, for machines.
type change struct {
	Identity bottle.Identity `json:"identity"`
	Bottle   bottle.Name     `json:"bottle"`
	Added    []bottle.Route  `json:"added"`
	Removed  []bottle.Route  `json:"removed"`
	Waiting  []string        `json:"needs_start"` // keys of the manifest that changed, and that only a new start puts in force
	plan.Reloaded
	Watching *plan.Watching `json:"watching,omitempty"` // what is looked for now; absent: it was not read anew
}

func (d Desk) reload(ctx context.Context, word string, yes, js bool) error {
	meta, socket, err := d.find(word)
	if err != nil {
		return err
	}
	tree, err := d.Tree()
	if err != nil {
		return err
	}
	spec, problems := tree.Bottle(meta.Bottle)
	if problems.Fatal() {
		return ui.Fail(problems, "nothing was changed; when this is mended: bottle reload "+string(meta.Identity))
	}
	ui.Tell(d.Err, d.Style(d.Err), problems)
	var now plan.InForce
	if err := ask(ctx, socket, plan.Control{Op: plan.OpPolicy}, &now); err != nil {
		return err
	}
	out := change{Identity: meta.Identity, Bottle: meta.Bottle, Added: []bottle.Route{}, Removed: []bottle.Route{}, Waiting: waiting(now, spec)}
	req := plan.Control{Op: plan.OpReload, Routes: spec.Routes, Git: repositories(tree, meta, spec), Check: true}
	if err := ask(ctx, socket, req, &out.Reloaded); err != nil {
		return err
	}
	held := out.wait()
	if out.Problems = append(out.Problems, d.keyless(out.Git, spec.Repos)...); out.Problems.Fatal() {
		return ui.Fail(out.Problems, "nothing was changed")
	}
	changes := policy.Diff(now.Base, spec.Routes) // what was granted since stays, whatever the manifest says
	for _, c := range changes {
		if c.Added {
			out.Added = append(out.Added, c.Route)
		} else {
			out.Removed = append(out.Removed, c.Route)
		}
	}
	if !js {
		d.show(out, changes)
	}
	if (len(changes) > 0 || slices.ContainsFunc(out.Git, live)) && (yes || !js) {
		if ok, err := d.Confirm("Put this in force?", yes); err != nil || !ok {
			return d.unchanged(err)
		}
		req.Check = false
		if err := ask(ctx, socket, req, &out.Reloaded); err != nil {
			return err
		}
	}
	if yes || !js {
		if out.Watching, err = d.rewatch(ctx, socket, meta, spec, held); err != nil {
			return err
		}
	}
	if err := d.done(out, now, js); err != nil || js {
		return err
	}
	d.tellWaiting(out.Waiting, meta)
	return nil
}

// repositories are what the manifest says of git, with the agent's own committer. A
// gateway on its own has no git.
func repositories(tree manifest.Tree, meta store.Metadata, spec bottle.Spec) *plan.Repositories {
	if meta.Backend == store.Proxy {
		return nil
	}
	out := &plan.Repositories{Repos: spec.Repos}
	if _, s, problems := tree.Load(meta.Agent); !problems.Fatal() && s.Name == spec.Name {
		out.User = &s.GitUser
	}
	return out
}

// wait adds what of git waits for a start, and gives the repositories that it is about:
// their key may be for another server.
func (c *change) wait() (held map[string]bool) {
	held = map[string]bool{}
	for _, g := range c.Git {
		if g.Waits {
			c.Waiting = append(c.Waiting, waits(g))
			held[g.Repo] = true
		}
	}
	return held
}

func live(g plan.GitChange) bool { return !g.Waits }

// keyless says of each key_file that is another one now why it cannot be used: the gateway
// would go on with the key from before, and would be said to use this one.
func (d Desk) keyless(changes []plan.GitChange, repos []bottle.Repo) (out bottle.Problems) {
	for _, r := range repos {
		if slices.ContainsFunc(changes, func(g plan.GitChange) bool { return live(g) && g.Repo == r.Name && g.Key == "key_file" }) {
			out = append(out, d.Key(r)...)
		}
	}
	return out
}

// waits names what of git waits for a start.
func waits(g plan.GitChange) string {
	switch {
	case g.Repo == "":
		return g.Key
	case g.Key == plan.GitRepository:
		return "git " + g.Repo + " (new)"
	}
	return "git " + g.Repo + " " + g.Key
}

// rewatch reads what must not leave, and tells the gateway. The key of a repository in
// held is looked for and not used.
func (d Desk) rewatch(ctx context.Context, socket string, meta store.Metadata, spec bottle.Spec, held map[string]bool) (*plan.Watching, error) {
	if meta.Backend == store.Proxy { // what it was told of at its start
		spec = bottle.Spec{Watch: spec.Watch}
	}
	values, warnings := d.Watched(spec, meta.Workspace)
	ui.Tell(d.Err, d.Style(d.Err), warnings)
	for repo := range held {
		name := "git:" + repo + " key_file"
		if v, ok := values[name]; ok {
			delete(values, name)
			values[name+" of the next start"] = v
		}
	}
	line, err := secret.WatchLine(values, spec.Watch)
	if err != nil {
		return nil, err
	}
	defer clear(line)
	var out plan.Watching
	if err := say(ctx, socket, plan.OpWatch, line, &out); err != nil {
		return nil, err
	}
	return &out, nil
}

// waiting are the keys of the manifest whose value is another one than the gateway
// was told. Of what it was not told (env, mounts, limits) it knows nothing.
func waiting(now plan.InForce, spec bottle.Spec) []string {
	out := []string{}
	if now.Limits != spec.Egress {
		out = append(out, "egress.limits")
	}
	if !reflect.DeepEqual(now.Onward, spec.Onward) {
		out = append(out, "egress.upstream_proxy")
	}
	return out
}

// tellWaiting says what a reload does not put in force, and how to.
func (d Desk) tellWaiting(keys []string, meta store.Metadata) {
	style := d.Style(d.Err)
	if len(keys) == 0 {
		fmt.Fprintln(d.Err, style(plan.Faint, "The agent's env, mounts, workspace and limits are those of the bottle's start."))
		return
	}
	again := "bottle start " + string(meta.Agent)
	if meta.Backend == store.Proxy {
		again = "bottle proxy " + string(meta.Bottle)
	}
	fmt.Fprintln(d.Err, style(plan.Warn, bottle.Printable(strings.Join(keys, " and "))+" changed, and not in the running bottle: that needs a new start"))
	fmt.Fprintf(d.Err, "  %s bottle stop %s && %s\n", style(plan.Faint, "→"), meta.Identity, again)
}

func (d Desk) unchanged(err error) error {
	if err != nil {
		return err
	}
	fmt.Fprintln(d.Err, "Nothing was changed.")
	return ui.Exit(ui.CodeNo)
}

// show prints what would change, and what to know before saying yes.
func (d Desk) show(c change, changes []policy.Change) {
	style := d.Style(d.Err)
	if len(changes) == 0 && !slices.ContainsFunc(c.Git, live) {
		return
	}
	fmt.Fprintf(d.Err, "%s, the bottle %s:\n", style(plan.Strong, string(c.Identity)), c.Bottle)
	for _, ch := range changes {
		role := plan.Warn // what is opened deserves the second look
		if !ch.Added {
			role = plan.Faint
		}
		fmt.Fprintln(d.Err, "  "+style(role, bottle.Printable(ch.String())))
	}
	for _, g := range c.Git {
		if live(g) {
			fmt.Fprintln(d.Err, "  "+style(plan.Warn, bottle.Printable(g.String())))
		}
	}
	ui.Tell(d.Err, style, c.Problems)
}

// tellWatching says what is looked for now.
func (d Desk) tellWatching(w *plan.Watching) {
	if w == nil || w.Watched+w.Before+len(w.Skipped) == 0 {
		return
	}
	line := fmt.Sprintf("watched: %s, %d new", ui.Plural(w.Watched, "value"), w.New)
	if w.Before > 0 {
		line += fmt.Sprintf("; %d from before, which still do not leave", w.Before)
	}
	fmt.Fprintln(d.Out, line)
	for _, k := range w.Keys {
		fmt.Fprintf(d.Out, "git %s: another key is used from now on\n", bottle.Printable(k))
	}
	for _, s := range w.Skipped[:min(len(w.Skipped), 5)] {
		fmt.Fprintln(d.Err, "  "+d.Style(d.Err)(plan.Faint, "not looked for: "+bottle.Printable(s)))
	}
}

// short is a policy's hash as the preflight shows it: whole, it breaks on a terminal.
func short(hash string) string {
	if len(hash) <= 16 {
		return hash
	}
	return hash[:15] + "…"
}

// done says what is in force now.
func (d Desk) done(c change, before plan.InForce, js bool) error {
	switch {
	case c.Problems.Fatal():
		return ui.Fail(c.Problems, "nothing was changed")
	case js:
		return ui.JSON(d.Out, c)
	case !c.Applied && c.New == c.Old:
		what := "no route changed"
		if len(before.Routes) == 0 { // a bottle of git alone
			what = "nothing changed of routes and git"
		}
		fmt.Fprintf(d.Out, "%s: those of %s are in force, policy %s\n", what, c.Bottle, short(c.Old))
		d.tellWatching(c.Watching)
		return nil
	case !c.Applied:
		return ui.Fail(errors.New("the gateway did not take the routes"), "bottle reload "+string(c.Identity))
	}
	fmt.Fprintf(d.Out, "in force: policy %s\n", short(c.New))
	d.tellWatching(c.Watching)
	style := d.Style(d.Err)
	if c.Cut > 0 {
		fmt.Fprintf(d.Err, "cut: %s that it no longer allows\n", ui.Plural(c.Cut, "open stream"))
	}
	if c.Old != before.Hash {
		fmt.Fprintln(d.Err, style(plan.Warn, "somebody else reloaded in between; what was in force before was not what is shown above"))
	}
	if !c.Recorded {
		fmt.Fprintln(d.Err, style(plan.Shout, "the decision log takes no records: everything is denied until it does"))
	}
	return nil
}
