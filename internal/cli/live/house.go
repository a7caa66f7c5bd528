package live

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"bottle/internal/bottle"
	"bottle/internal/cli/rewrite"
	"bottle/internal/cli/ui"
	"bottle/internal/plan"
	"bottle/internal/store"
	"bottle/internal/tui"
)

const (
	lookWait      = 3 * time.Second // for one gateway: the others are shown meanwhile
	lastDecisions = 50
	// Proposals are read again after so many times of what the last reading took: the
	// gateway weighs each of them anew, and an agent may have made many.
	restAfter = 20
)

// house is the running bottles as the dashboard sees them.
type house struct {
	Desk
	mu   sync.Mutex
	last map[bottle.Identity]seen
}

// seen is what one gateway said of its proposals, and when it is asked again.
type seen struct {
	list []plan.Proposal
	next time.Time
}

// Look implements tui.House.
func (h *house) Look(ctx context.Context, of bottle.Identity) tui.Sight {
	out := tui.Sight{Bottles: []tui.Bottle{}, Proposals: []tui.Asking{}, Problems: []string{}}
	s, err := h.Store()
	var list []store.Entry
	if err == nil {
		list, err = s.List()
	}
	if err != nil {
		out.Problems = append(out.Problems, ui.OneLine(err).Error())
		return out
	}
	ctx, cancel := context.WithTimeout(ctx, lookWait)
	defer cancel()
	var all sync.WaitGroup
	var mu sync.Mutex
	for _, e := range list {
		if !e.Live || e.Problem != "" || e.Metadata.Status == store.Starting {
			continue
		}
		all.Go(func() {
			b, proposals, err := h.one(ctx, s, e.Metadata)
			mu.Lock()
			defer mu.Unlock()
			if err != nil && (s.Layout(b.Identity).Ended() || !s.Live(b.Identity)) {
				return // it ends at this moment; its gateway, which puts its socket away, goes first
			}
			if err != nil {
				out.Problems = append(out.Problems, fmt.Sprintf("%s does not tell: %v", b.Identity, ui.OneLine(err)))
				proposals = h.known(b.Identity) // they are not gone because it is slow
			}
			out.Bottles = append(out.Bottles, b)
			for _, p := range proposals {
				out.Proposals = append(out.Proposals, tui.Asking{Identity: b.Identity, Proposal: p})
			}
		})
	}
	all.Wait()
	slices.Sort(out.Problems)
	slices.SortFunc(out.Bottles, func(a, b tui.Bottle) int { return cmp.Compare(a.Identity, b.Identity) })
	slices.SortFunc(out.Proposals, func(a, b tui.Asking) int {
		return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.Identity, b.Identity), cmp.Compare(a.Seq, b.Seq))
	})
	out.Log = h.tail(of)
	return out
}

// one is a bottle, and its proposals that wait.
func (h *house) one(ctx context.Context, s *store.Store, m store.Metadata) (b tui.Bottle, waiting []plan.Proposal, err error) {
	b = tui.Bottle{Identity: m.Identity, Agent: m.Agent, Bottle: m.Bottle, Backend: m.Backend, Started: m.Started}
	socket := s.Layout(m.Identity).Control
	if socket == "" {
		return b, nil, errors.New("it has no control socket: the path of the state folder is too long for one")
	}
	var now struct {
		Allowed uint64 `json:"allowed"`
		Denied  uint64 `json:"denied"`
		Pending int    `json:"pending"`
	}
	if err := ask(ctx, socket, plan.Control{Op: plan.OpStatus}, &now); err != nil {
		return b, nil, err
	}
	b.Requests, b.Denied, b.Pending = now.Allowed+now.Denied, now.Denied, now.Pending
	var counted plan.Metrics
	if err := ask(ctx, socket, plan.Control{Op: plan.OpMetrics}, &counted); err != nil {
		return b, nil, err
	}
	for _, f := range counted.Families {
		if f.Name == "bottle_host_bytes_out_total" || f.Name == "bottle_host_bytes_in_total" {
			for _, s := range f.Samples {
				b.Bytes += uint64(max(0, s.Value))
			}
		}
	}
	if now.Pending == 0 {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.last, m.Identity)
		return b, nil, nil
	}
	waiting, err = h.waiting(ctx, socket, m.Identity)
	return b, waiting, err
}

// waiting are a bottle's proposals that nobody decided.
func (h *house) waiting(ctx context.Context, socket string, id bottle.Identity) ([]plan.Proposal, error) {
	h.mu.Lock()
	last := h.last[id]
	h.mu.Unlock()
	if time.Now().Before(last.next) {
		return last.list, nil
	}
	begun := time.Now()
	var got plan.Proposals
	if err := ask(ctx, socket, plan.Control{Op: plan.OpProposals}, &got); err != nil {
		return nil, err
	}
	got.List = slices.DeleteFunc(got.List, func(p plan.Proposal) bool { return p.Settled() || !bottle.IsProposalID(p.ID) })
	h.mu.Lock()
	defer h.mu.Unlock()
	h.last[id] = seen{got.List, time.Now().Add(restAfter * time.Since(begun))}
	return got.List, nil
}

// known are the proposals that a bottle had when it told of them last.
func (h *house) known(id bottle.Identity) []plan.Proposal {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.last[id].list
}

// forget has the proposals of a bottle read anew at the next look.
func (h *house) forget(id bottle.Identity) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.last[id] = seen{list: h.last[id].list}
}

// answered is what a gateway is told for an answer.
func answered(a tui.Answer) plan.Control {
	req := plan.Control{Op: plan.OpDecide, Proposal: a.Proposal, Verdict: "approve", Seconds: int(a.For / time.Second), Note: a.Note, By: operator(), Seen: a.Seen, Route: a.Route, Bill: a.Bill, Stage: a.Stage, NotWhole: a.NotWhole}
	switch {
	case a.Reject:
		req.Verdict = "reject"
	case a.Route != nil:
		req.Verdict = "modify"
	}
	return req
}

// whole is all of the proposal that is answered.
func (h *house) whole(ctx context.Context, a tui.Answer) (meta store.Metadata, socket string, p plan.Proposal, err error) {
	if meta, socket, err = h.find(string(a.Bottle)); err != nil {
		return meta, socket, p, err
	}
	var got plan.Proposals
	if err := ask(ctx, socket, plan.Control{Op: plan.OpProposals, Proposal: a.Proposal}, &got); err != nil {
		return meta, socket, p, err
	}
	if len(got.List) != 1 || got.List[0].ID != a.Proposal {
		return meta, socket, p, ui.Fail(fmt.Errorf("the gateway of %s does not know %s", a.Bottle, a.Proposal), "bottle proposals --all")
	}
	return meta, socket, got.List[0], nil
}

// Fetch implements tui.House, as `bottle approve` does.
func (h *house) Fetch(ctx context.Context, a tui.Answer, say func(string)) (out *tui.Brought, err error) {
	defer func() { err = ui.OneLine(err) }()
	_, _, p, err := h.whole(ctx, a)
	if err != nil {
		return nil, err
	}
	b, err := h.Desk.Fetch(ctx, a.Bottle, p, say)
	if err != nil {
		return nil, err
	}
	out = &tui.Brought{Bill: b.Bill, Stage: b.Stage, Close: b.Close}
	for _, l := range b.Lines {
		out.Lines = append(out.Lines, tui.Line(l))
	}
	return out, nil
}

// Weigh implements tui.House.
func (h *house) Weigh(ctx context.Context, a tui.Answer) (w tui.Weighed, err error) {
	defer func() { err = ui.OneLine(err) }()
	h.forget(a.Bottle)
	meta, socket, p, err := h.whole(ctx, a)
	if err != nil {
		return w, err
	}
	if w.Proposal, w.Seen, err = weigh(ctx, socket, p, answered(a)); err != nil {
		return w, err
	}
	if a.Always {
		lasting, err := h.lasting(meta, w.Proposal, a.Route)
		if err != nil {
			return w, err
		}
		if lasting != nil {
			w.File, w.Lines = lasting.Path, lasting.Added
		}
	}
	return w, nil
}

// Decide implements tui.House. The gateway compares what was seen with what it would give,
// while nothing else can be put in force.
func (h *house) Decide(ctx context.Context, a tui.Answer) (said string, err error) {
	defer func() { err = ui.OneLine(err) }()
	h.forget(a.Bottle)
	if !a.Reject && a.Seen == "" {
		return "", errors.New("nothing was approved: nobody saw what it would open")
	}
	meta, socket, err := h.find(string(a.Bottle))
	if err != nil {
		return "", err
	}
	var lasting *rewrite.Change
	if a.Always {
		w, err := h.Weigh(ctx, a)
		if err != nil {
			return "", err
		}
		if lasting, err = h.lasting(meta, w.Proposal, a.Route); err != nil {
			return "", err
		}
		var lines []string
		if lasting != nil {
			lines = lasting.Added
		}
		if !slices.Equal(lines, a.Lines) {
			return "", errors.New("the manifest was changed meanwhile, and needs other lines than you were shown: nothing was decided")
		}
	}
	var out plan.Decided
	if err := ask(ctx, socket, answered(a), &out); err != nil {
		return "", err
	}
	if out.ID != a.Proposal || !out.Settled() {
		return "", ui.Fail(errors.New("the gateway did not take it"), "bottle proposals "+a.Proposal)
	}
	if lasting != nil {
		if err := lasting.Write(); err != nil {
			return "", ui.Fail(fmt.Errorf("it holds as long as the bottle, and the manifest was not written: %w", err), "bottle approve "+a.Proposal+" --for always")
		}
	}
	if out.Lease == nil {
		return fmt.Sprintf("%s %s", out.Status, out.ID), nil
	}
	until := "as long as the bottle"
	if !out.Lease.Until.IsZero() {
		until = "until " + ui.Clock(out.Lease.Until)
	}
	said = fmt.Sprintf("%s %s, %s; to take it back: bottle revoke %s", out.Status, out.ID, until, out.Lease.ID)
	if lasting != nil {
		said = strings.Replace(said, ";", ", and written;", 1)
	}
	return said, nil
}

// Stop implements tui.House.
func (h *house) Stop(ctx context.Context, id bottle.Identity) error {
	return ui.OneLine(h.End(ctx, id))
}

// Edit implements tui.House: as `bottle edit` and then `bottle reload` do it.
func (h *house) Edit(ctx context.Context, id bottle.Identity) error {
	meta, _, err := h.find(string(id))
	if err == nil {
		err = h.EditBottle(ctx, meta.Bottle)
	}
	if err == nil {
		err = saved(id, h.reload(ctx, string(id), false, false))
	}
	return ui.OneLine(err)
}

// saved is what became of a reload after an edit: who says no to it has saved all the same.
func saved(id bottle.Identity, err error) error {
	if f := (*ui.Failure)(nil); errors.As(err, &f) && f.Err == nil {
		return fmt.Errorf("the manifest stays as it was saved, and is not in force: bottle reload %s", id)
	}
	return err
}
