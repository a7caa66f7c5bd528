package learn

import (
	"strings"
)

// siblings is how many different ids must have been seen at one place of a path before it
// is taken that others stand there, too.
const siblings = 3

// foldable tells of which requests the path becomes a shorter prefix: /users/17/posts,
// /users/23 and /users/42 become /users/, which is everything below /users. That is so where
// at one place at least three different ids were seen with the same method below the same
// names, and never in the first segment: that would be every path of a host. Where several
// places do, the first one counts, since its prefix holds the others. Names are never
// folded, however many there are: the next one could be anybody's. veto, if there is one,
// forbids a prefix.
func foldable[T any](requests map[request]T, veto func(method, prefix string) bool) map[request]string {
	seen := map[request]map[string]bool{} // by method and the text before the id
	for r := range requests {
		eachID(r.path, func(prefix, id string) bool {
			at := request{r.method, prefix}
			if seen[at] == nil {
				seen[at] = map[string]bool{}
			}
			if len(seen[at]) < siblings {
				seen[at][id] = true
			}
			return true
		})
	}
	for at, ids := range seen {
		if len(ids) < siblings || veto != nil && veto(at.method, at.path) {
			delete(seen, at)
		}
	}
	out := map[request]string{}
	for r := range requests {
		eachID(r.path, func(prefix, _ string) bool {
			if seen[request{r.method, prefix}] == nil {
				return true
			}
			out[r] = prefix
			return false
		})
	}
	return out
}

// eachID calls f for each id of a path behind its first segment, with the text before it,
// which ends in a slash, until f says false.
func eachID(path string, f func(prefix, id string) bool) {
	start, first := 1, true
	for start < len(path) {
		stop := len(path)
		if i := strings.IndexByte(path[start:], '/'); i >= 0 {
			stop = start + i
		}
		if seg := path[start:stop]; !first && isID(seg) && !f(path[:start], seg) {
			return
		}
		first, start = false, stop+1
	}
}

// isID reports whether a segment looks like what a program counts or draws: a number, a
// version, a date or an address of one; seven or more hex digits with a number among them;
// a UUID; or sixteen or more letters, digits, - and _ with at least three digits and three
// letters.
func isID(seg string) bool {
	digits, letters, hex, marks := 0, 0, 0, 0
	for i := range len(seg) {
		switch c := seg[i]; {
		case c >= '0' && c <= '9':
			digits++
			hex++
		case c >= 'a' && c <= 'f', c >= 'A' && c <= 'F':
			letters++
			hex++
		case c >= 'g' && c <= 'z', c >= 'G' && c <= 'Z':
			letters++
		case c == '-' || c == '_':
			marks++
		case c == '.':
			hex = -len(seg) // no hash
			marks++
		default:
			return false
		}
	}
	switch {
	case digits == 0:
		return false
	case letters == 0:
		return true
	case hex >= 7 && hex+strings.Count(seg, "-") == len(seg):
		return true
	}
	return len(seg) >= 16 && digits >= 3 && letters >= 3 && !strings.Contains(seg, ".")
}
