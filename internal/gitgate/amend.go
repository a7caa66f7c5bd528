package gitgate

import (
	"iter"

	"bottle/internal/bottle"
)

// Amend puts other rules of pushing in force: those of the repository of the same name
// in now. A repository that is not in now is served no more; one that the gate was not
// made with stays unknown. A fetch that has begun goes on; a push ends by the
// rules that it was judged by, but where its repository was taken out nothing is sent.
func (g *Gate) Amend(now []bottle.Repo) {
	listed := make(map[string]*bottle.Push, len(now))
	for i := range now {
		push := now[i].Push
		listed[now[i].Name] = &push
	}
	for _, r := range g.repos {
		may := listed[r.Name]
		if may != nil {
			r.amended.Store(may) // before it is served again
		}
		r.gone.Store(may == nil)
	}
}

// may is what may be pushed now.
func (r *repo) may() bottle.Push {
	if p := r.amended.Load(); p != nil {
		return *p
	}
	return r.Push
}

// served are the repositories that the manifest lists.
func (g *Gate) served() iter.Seq[*repo] {
	return func(yield func(*repo) bool) {
		for _, r := range g.repos {
			if !r.gone.Load() && !yield(r) {
				return
			}
		}
	}
}
