package rule

import (
	"math/rand/v2"
	"regexp/syntax"
	"strings"
)

// fromExpr makes a text that an expression takes, of ASCII. Repeats go a little over
// their minimum.
func fromExpr(r *rand.Rand, expr string) string {
	tree, err := syntax.Parse(expr, syntax.Perl)
	if err != nil {
		return ""
	}
	var b strings.Builder
	fromTree(r, tree, &b)
	return b.String()
}

func fromTree(r *rand.Rand, re *syntax.Regexp, b *strings.Builder) {
	switch re.Op {
	case syntax.OpLiteral:
		for _, c := range re.Rune {
			if re.Flags&syntax.FoldCase != 0 && c < 128 && isLower(lower(byte(c))) && r.IntN(2) == 0 {
				c ^= 0x20
			}
			b.WriteRune(c)
		}
	case syntax.OpCharClass:
		var members []rune
		for i := 0; i+1 < len(re.Rune); i += 2 {
			for c := re.Rune[i]; c <= min(re.Rune[i+1], 126); c++ {
				if c >= 32 || c == '\n' || c == '\t' || c == '\r' {
					members = append(members, c)
				}
			}
		}
		if len(members) > 0 {
			b.WriteRune(members[r.IntN(len(members))])
		}
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		b.WriteByte(byte(32 + r.IntN(95)))
	case syntax.OpConcat, syntax.OpCapture:
		for _, s := range re.Sub {
			fromTree(r, s, b)
		}
	case syntax.OpAlternate:
		fromTree(r, re.Sub[r.IntN(len(re.Sub))], b)
	case syntax.OpStar, syntax.OpPlus, syntax.OpQuest, syntax.OpRepeat:
		lo, hi := bounds(re)
		for range lo + r.IntN(min(hi-lo, 7)+1) {
			fromTree(r, re.Sub[0], b)
		}
	}
}
