package rewrite

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// take is the edits that take what is gone out of a manifest's lines. A comment above a
// route stays, whatever becomes of the route: it is the operator's.
func take(lines []string, gone []Gone) (edits []edit, ok bool) {
	for _, g := range gone {
		at, found := lineOf(g.Rule)
		if !found || at >= len(lines) {
			return nil, false
		}
		end := itemEnd(lines, at)
		if end <= at {
			return nil, false
		}
		if g.Whole {
			edits = append(edits, edit{at: at, drop: end - at})
			continue
		}
		item := slices.Clone(lines[at:end])
		if len(g.Methods) > 0 && !shorten(item, "methods", g.Methods) || len(g.Paths) > 0 && !shorten(item, "path_allowlist", g.Paths) {
			return nil, false
		}
		for i, l := range item {
			switch {
			case l == lines[at+i]:
			case l == "":
				edits = append(edits, edit{at: at + i, drop: 1})
			default:
				edits = append(edits, edit{at: at + i, drop: 1, add: []string{l}})
			}
		}
	}
	return edits, true
}

// lineOf is the line of a rule, from 0.
func lineOf(rule string) (int, bool) {
	n, err := strconv.Atoi(rule[strings.LastIndexByte(rule, ':')+1:])
	return n - 1, err == nil && n > 0
}

// itemEnd is the line behind the list item that begins at a line; at: none begins there.
func itemEnd(lines []string, at int) int {
	deep := indent(lines[at])
	if deep < 0 || !strings.HasPrefix(lines[at][deep:], "- ") {
		return at
	}
	end := at + 1
	for i := at + 1; i < len(lines); i++ {
		n := indent(lines[i])
		if n >= 0 && n <= deep || strings.HasPrefix(lines[i], "---") {
			break
		}
		if n >= 0 { // comments and empty lines at the end belong to what follows
			end = i + 1
		}
	}
	return end
}

// shorten takes words out of a list of an item's lines: one in brackets on a line, or one
// word to a line. A line that goes becomes empty. What else it takes for a list is found when
// the outcome is read again.
func shorten(item []string, key string, words []string) (ok bool) {
	flow := regexp.MustCompile(`(^|[\s{,-])` + key + `:\s*\[([^\[\]#]*)\]`)
	head := regexp.MustCompile(`^[\s-]*` + key + `:\s*(#.*)?\r?\n?$`)
	for i, line := range item {
		if m := flow.FindStringSubmatchIndex(line); m != nil {
			list := strings.Split(line[m[4]:m[5]], ",")
			kept := slices.DeleteFunc(slices.Clone(list), func(w string) bool { return slices.Contains(words, bare(w)) })
			if len(list)-len(kept) != len(words) || len(kept) == 0 {
				return false
			}
			for j := range kept {
				kept[j] = strings.TrimSpace(kept[j])
			}
			item[i] = line[:m[4]] + strings.Join(kept, ", ") + line[m[5]:]
			return true
		}
		if head.MatchString(line) {
			return strike(item[i+1:], words)
		}
	}
	return false
}

// strike makes those lines of a list empty that hold one of words.
func strike(lines []string, words []string) bool {
	struck := 0
	for i, line := range lines {
		word, is := strings.CutPrefix(strings.TrimLeft(line, " "), "- ")
		if !is && indent(line) >= 0 {
			break
		}
		word, _, _ = strings.Cut(word, " #")
		if is && slices.Contains(words, bare(word)) {
			lines[i] = ""
			struck++
		}
	}
	return struck == len(words)
}

// bare is a word of a list without its quotes.
func bare(w string) string { return strings.Trim(strings.TrimSpace(w), `"'`) }
