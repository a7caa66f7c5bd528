package rule

import "regexp/syntax"

// gap is an expression in three parts: a beginning that the walk judges, anything at
// all, and a tail that begins with one of a few texts: curl ... -H "...". The whole
// expression would look at each byte of the gap for each beginning in a dozen ways. Here
// each tail is judged alone, and only from the last beginning before it.
type gap struct {
	starts  needles // of the tail
	between lazy    // what the gap may be
	tail    lazy
}

// tails is how many starts of a tail one hit looks at.
const tails = 32

// gapOf finds the parts of an expression, or gives nil. All groups must be in the tail.
func gapOf(tree *syntax.Regexp, expr string) *gap {
	if tree.Op != syntax.OpConcat {
		return nil
	}
	for i, sub := range tree.Sub {
		if f := flat(sub); f.set.size() >= wide && f.max >= unbounded && f.min == 0 && maxCap(tree.Sub[:i+1]) == 0 {
			return gapAt(tree, i, expr)
		}
	}
	return nil
}

func maxCap(subs []*syntax.Regexp) int {
	n := 0
	for _, sub := range subs {
		n = max(n, sub.MaxCap())
	}
	return n
}

// gapAt takes the parts as they stand in the expression's text: to write them from the
// tree takes 30 ms for a class like [^"].
func gapAt(tree *syntax.Regexp, i int, expr string) *gap {
	g := &gap{}
	tail := &syntax.Regexp{Op: syntax.OpConcat, Flags: tree.Flags, Sub: tree.Sub[i+1:]}
	first := &syntax.Regexp{Op: syntax.OpConcat, Sub: tail.Sub[:min(3, len(tail.Sub))]}
	for _, way := range (shaper{small: true, most: maxWays, words: true}).ways(first) {
		all := stretches(way)
		if len(all) == 0 || all[0].at[0] != 0 || len(all[0].text) < shortest {
			return nil
		}
		g.starts.add(all[0].text)
	}
	starts := partStarts(expr)
	for n := 1; n < len(starts); n++ {
		between, rest := expr[starts[n-1]:starts[n]], expr[starts[n]:]
		if spell(between, tree.Sub[i]) && spell(rest, tail) {
			g.between.expr, g.tail.expr = `\A(?:`+between+`)\z`, `\A(?:`+rest+`)`
			return g
		}
	}
	return nil
}

func spell(expr string, tree *syntax.Regexp) bool {
	got, err := syntax.Parse(expr, syntax.Perl)
	return err == nil && got.Equal(tree)
}

// partStarts gives where the groups and classes begin that are in no group.
func partStarts(expr string) []int {
	var out []int
	depth, class := 0, false
	for i := 0; i < len(expr); i++ {
		c := expr[i]
		switch {
		case c == '\\':
			i++
		case class:
			class = c != ']'
		case c == '[' || c == '(':
			if depth == 0 {
				out = append(out, i)
			}
			class = c == '['
			if c == '(' {
				depth++
			}
		case c == ')':
			depth--
		}
	}
	return out
}

// across judges the tails behind a beginning that ends at end.
func (p *plan) across(dst []Match, effort *int, w *walk, from, end int) []Match {
	g := p.judge.gap
	begin := w.text[from:end]
	text := w.text[:min(end+reach, len(w.text))]
	tries := 0
	for i := end; i+1 < len(text) && tries < tails; i++ {
		if i > end && begins(text, i, begin) {
			return dst // it has a hit of its own
		}
		if !g.starts.at(text[i:]) {
			continue
		}
		tries++
		rest := w.text[i:min(i+around, len(w.text))]
		if !spend(effort, len(rest)) {
			return dst
		}
		loc := g.tail.get().FindSubmatchIndex(rest)
		if loc == nil || !spend(effort, i-end) || !g.between.get().Match(text[end:i]) {
			continue
		}
		loc[0] = from - i
		dst = p.found(dst, w.text, loc, i)
	}
	return dst
}

// begins says whether the same beginning stands at i again, as a word.
func begins(text []byte, i int, begin []byte) bool {
	end := i + len(begin)
	return text[i] == begin[0] && end < len(text) && !isWord(text[i-1]) && !isWord(text[end]) && string(text[i:end]) == string(begin)
}
