package rules

import (
	"slices"

	"bottle/internal/bottle"
)

// Overlay is parent with every item replaced that child has under the same key,
// in the parent's place, and the child's new items behind.
func Overlay[T any](parent, child []T, key func(T) string) []T {
	place := make(map[string]int, len(parent)+len(child))
	var out []T
	for _, v := range slices.Concat(parent, child) {
		if i, ok := place[key(v)]; ok {
			out[i] = v
			continue
		}
		place[key(v)] = len(out)
		out = append(out, v)
	}
	return out
}

// OverlayRoutes puts the child's routes first and takes from the parent's every
// host and path that the child names itself: a child that narrows a path must
// not leave the parent's wider rule standing beside its own.
func OverlayRoutes(parent, child []bottle.Route) []bottle.Route {
	type key struct {
		host bottle.Pattern
		path string
	}
	taken := make(map[key]bool)
	for _, r := range child {
		for _, p := range PathsOf(r) {
			taken[key{r.Host, p}] = true
		}
	}
	out := slices.Clone(child)
	for _, r := range parent {
		var left []string
		for _, p := range PathsOf(r) {
			if !taken[key{r.Host, p}] {
				left = append(left, p)
			}
		}
		if len(left) == 0 {
			continue
		}
		if len(r.Paths) > 0 {
			r.Paths = left
		}
		out = append(out, r)
	}
	return out
}

// PathsOf is the route's paths, or the one empty path that stands for any.
func PathsOf(r bottle.Route) []string {
	if len(r.Paths) == 0 {
		return []string{""}
	}
	return r.Paths
}
