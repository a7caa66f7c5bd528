package judge

import (
	"encoding/hex"
	"fmt"
)

// mostLinks is how many ids of submodules one push may bring.
const mostLinks = 1 << 16

// links are the ids of submodules of a push, each once, in the order in which they were
// met. Nobody checks what stands in one, for the commit is another repository's: each
// carries 20 or 32 bytes of whatever the agent likes.
type links struct {
	ids  []byte // one behind the other
	size int
	have map[string]bool
	in   []string // the commit in which each was met
}

// add notes an id; false: there are too many.
func (l *links) add(id []byte, commit string) bool {
	if l.have[string(id)] {
		return true
	}
	if len(l.in) >= mostLinks {
		return false
	}
	if l.have == nil {
		l.have, l.size = map[string]bool{}, len(id)
	}
	l.have[string(id)] = true
	l.ids, l.in = append(l.ids, id...), append(l.in, commit)
	return true
}

// submodules looks for secrets in the ids of submodules: in their bytes and in their
// digits, for either can be a secret by itself, and in those of one behind the other.
func (j *Judge) submodules() {
	l := &j.links
	if len(l.in) == 0 || j.full() {
		return
	}
	for _, form := range []struct {
		text []byte
		each int
	}{{l.ids, l.size}, {[]byte(hex.EncodeToString(l.ids)), 2 * l.size}} {
		hits := j.text(form.text)
		for _, h := range hits {
			h.line = 0
			at := min(int(h.at)/form.each, len(l.in)-1)
			j.secret(Failure{Commit: l.in[at]}, h, fmt.Sprintf("the id of a submodule (%.12s)", hex.EncodeToString(l.ids[at*l.size:(at+1)*l.size])))
		}
		if len(hits) > 0 {
			break // the digits say the same, less exactly
		}
	}
	*l = links{}
}
