// Package udiff compares texts line by line, and writes what differs as a unified diff
// (diffutils' manual, "Detailed Description of Unified Format").
package udiff

import (
	"fmt"
	"strings"
)

// The bounds of a diff.
const (
	maxEdits = 1000 // lines that differ; the search takes the square of it
	around   = 3    // lines of context
)

// Edit is one line of a comparison.
type Edit struct {
	Op   byte // ' ' in both, '-' in the first only, '+' in the second only
	Line string
}

// Unified renders the difference of a and b in hunks, without a header: empty where there is
// none. Each line has its line feed, but for the last.
func Unified(a, b []string) string {
	edits := Compare(a, b)
	var out strings.Builder
	lineA, lineB := 0, 0 // before edits[i]
	for i := 0; i < len(edits); {
		if edits[i].Op == ' ' {
			i, lineA, lineB = i+1, lineA+1, lineB+1
			continue
		}
		from := max(i-around, 0)
		end, quiet := i, 0 // the hunk ends where twice the context is unchanged
		for j := i; j < len(edits) && quiet <= 2*around; j++ {
			if quiet++; edits[j].Op != ' ' {
				end, quiet = j+1, 0
			}
		}
		to := min(end+around, len(edits))
		hunk(&out, edits[from:to], lineA-(i-from), lineB-(i-from))
		for ; i < to; i++ {
			if edits[i].Op != '+' {
				lineA++
			}
			if edits[i].Op != '-' {
				lineB++
			}
		}
	}
	return out.String()
}

func hunk(out *strings.Builder, edits []Edit, a, b int) {
	countA, countB := 0, 0
	for _, e := range edits {
		if e.Op != '+' {
			countA++
		}
		if e.Op != '-' {
			countB++
		}
	}
	at := func(start, count int) string {
		if count > 0 {
			start++ // lines count from 1; of no line, the one before is told
		}
		return fmt.Sprintf("%d,%d", start, count)
	}
	fmt.Fprintf(out, "@@ -%s +%s @@\n", at(a, countA), at(b, countB))
	for _, e := range edits {
		out.WriteByte(e.Op)
		out.WriteString(e.Line)
		if !strings.HasSuffix(e.Line, "\n") {
			out.WriteString("\n\\ No newline at end of file\n")
		}
	}
}

// Compare finds a short way from a to b: Myers, "An O(ND) Difference Algorithm
// and Its Variations" (1986). What differs in more than maxEdits lines is replaced
// as a whole.
func Compare(a, b []string) []Edit {
	head := 0
	for head < len(a) && head < len(b) && a[head] == b[head] {
		head++
	}
	tail := 0
	for tail < len(a)-head && tail < len(b)-head && a[len(a)-1-tail] == b[len(b)-1-tail] {
		tail++
	}
	var out []Edit
	put := func(op byte, lines []string) {
		for _, l := range lines {
			out = append(out, Edit{op, l})
		}
	}
	put(' ', a[:head])
	x, y := a[head:len(a)-tail], b[head:len(b)-tail]
	if middle, ok := shortest(x, y); ok {
		out = append(out, middle...)
	} else {
		put('-', x)
		put('+', y)
	}
	put(' ', a[len(a)-tail:])
	return out
}

// shortest is the forward search: far[k] is how far along a the diagonal k = x-y
// is reached by d edits. The ways back are kept for each d.
func shortest(a, b []string) ([]Edit, bool) {
	limit := min(len(a)+len(b), maxEdits)
	far := make([]int, 2*limit+2)
	var trace [][]int // trace[d] is far[-d..d] before round d
	for d := 0; d <= limit; d++ {
		trace = append(trace, append([]int{}, far[limit-d:limit+d+1]...))
		for k := -d; k <= d; k += 2 {
			x := 0
			switch {
			case d == 0:
			case k == -d || k != d && far[limit+k-1] < far[limit+k+1]:
				x = far[limit+k+1]
			default:
				x = far[limit+k-1] + 1
			}
			for x < len(a) && x-k < len(b) && a[x] == b[x-k] {
				x++
			}
			far[limit+k] = x
			if x >= len(a) && x-k >= len(b) {
				return walkBack(a, b, trace), true
			}
		}
	}
	return nil, false
}

// walkBack follows the trace from the ends of a and b.
func walkBack(a, b []string, trace [][]int) []Edit {
	var back []Edit
	x, y := len(a), len(b)
	for d := len(trace) - 1; d >= 0; d-- {
		far := func(k int) int { return trace[d][d+k] }
		k, prevX, prevY := x-y, 0, 0
		if d > 0 {
			prev := k - 1
			if k == -d || k != d && far(k-1) < far(k+1) {
				prev = k + 1
			}
			prevX = far(prev)
			prevY = prevX - prev
		}
		for x > prevX && y > prevY {
			x, y = x-1, y-1
			back = append(back, Edit{' ', a[x]})
		}
		switch {
		case x > prevX:
			x--
			back = append(back, Edit{'-', a[x]})
		case y > prevY:
			y--
			back = append(back, Edit{'+', b[y]})
		}
	}
	for i, j := 0, len(back)-1; i < j; i, j = i+1, j-1 {
		back[i], back[j] = back[j], back[i]
	}
	return back
}
