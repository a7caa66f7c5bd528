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

// gapOf finds the parts, or gives nil. All groups must be in the tail.
func gapOf(tree *syntax.Regexp) *gap {
	if tree.Op != syntax.OpConcat {
		return nil
	}
	for i, sub := range tree.Sub {
		if sub.MaxCap() > 0 {
			return nil
		}
		if f := flat(sub); f.set.size() < wide || f.max < unbounded || f.min > 0 {
			continue
		}
		tail := &syntax.Regexp{Op: syntax.OpConcat, Flags: tree.Flags, Sub: tree.Sub[i+1:]}
		g := &gap{starts: needles{}}
		for _, way := range (shaper{small: true, most: maxWays, words: true}).ways(&syntax.Regexp{Op: syntax.OpConcat, Sub: tail.Sub[:min(3, len(tail.Sub))]}) {
			all := stretches(way)
			if len(all) == 0 || all[0].at[0] != 0 || len(all[0].text) < shortest {
				return nil
			}
			g.starts.add(all[0].text)
		}
		g.between.expr = `\A(?:` + sub.String() + `)\z`
		g.tail.expr = `\A(?:` + tail.String() + `)`
		return g
	}
	return nil
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
