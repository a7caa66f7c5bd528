package recipe

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode"

	"bottle/internal/bottle"
)

// line is one instruction, with the lines that it goes on in.
type line struct {
	number int
	text   string
}

// join gives the instructions of a Dockerfile, without comments, empty lines and the
// texts of heredocs (BuildKit's Dockerfile reference, "Format", "Here-Documents").
func (r *reader) join(text string) []line {
	lines := strings.Split(strings.TrimPrefix(text, "\ufeff"), "\n")
	if len(lines) > maxLines {
		r.refuse(0, fmt.Sprintf("it has more than %d lines", maxLines), "shorten it")
		return nil
	}
	r.escape(lines)
	var out []line
	var open *line
	for i := 0; i < len(lines); i++ {
		l := strings.TrimRight(lines[i], "\r")
		bare := strings.Trim(l, blanks)
		if bare == "" || strings.HasPrefix(bare, "#") {
			continue // within an instruction, too
		}
		if open == nil {
			out = append(out, line{number: i + 1})
			open = &out[len(out)-1]
		}
		cut, more := r.goesOn(i+1, lines[i])
		if open.text += cut; more {
			continue
		}
		open.text = strings.Trim(open.text, blanks)
		i = r.heredocs(open.text, lines, i)
		open = nil
	}
	return out
}

// escape refuses another character by which lines go on than the backslash. Engines differ
// in which comment says so, and then in where an instruction begins.
func (r *reader) escape(lines []string) {
	directive := regexp.MustCompile(`(?i)^#.*escape\s*=\s*(.*)$`)
	for i, l := range lines {
		l = strings.TrimSpace(l)
		if l != "" && !strings.HasPrefix(l, "#") {
			return
		}
		if m := directive.FindStringSubmatch(l); m != nil && m[1] != `\` {
			r.refuse(i+1, "engines differ in what this comment makes of the lines below", `write # escape=\, or take it away; a line that goes on ends with \`)
		}
	}
}

// goesOn cuts the backslash off a line that goes on. What only some engines take for one
// that does is refused: what one sees as the middle of a RUN is to another a command of its own.
func (r *reader) goesOn(number int, l string) (cut string, more bool) {
	l = strings.TrimSuffix(l, "\r")
	seen := strings.TrimRight(l, " \t")
	bare := strings.TrimRightFunc(l, unicode.IsSpace)
	cut, more = strings.CutSuffix(bare, `\`)
	switch {
	case !more:
		return strings.TrimRight(l, "\r"), false
	case bare != seen:
		r.refuse(number, "a backslash and then characters that nobody can see end this line", "take them away")
	case strings.HasSuffix(cut, `\`):
		r.refuse(number, "two backslashes end this line: engines differ in whether it goes on", `end it with one, or with another character`)
	}
	return cut, true
}

// heredocs skips the texts that an instruction brings, and gives the line of the last end.
// Not every engine knows them, and each has its own mind about quotes. So a text whose
// end is not there is none, and one in which another engine could read what a recipe may
// not is refused.
func (r *reader) heredocs(text string, lines []string, at int) int {
	word, _ := cutWord(text)
	if w := strings.ToUpper(word); w != "RUN" && w != "COPY" {
		return at
	}
	for _, m := range regexp.MustCompile(`(?:^|\s)\d*<<(-?)(["']?)([A-Za-z_][A-Za-z0-9_]*)(["']?)`).FindAllStringSubmatch(text, 16) {
		end := at + 1
		for end < len(lines) {
			l := strings.TrimRight(lines[end], "\r")
			if m[1] == "-" {
				l = strings.TrimLeft(l, "\t")
			}
			if l == m[3] {
				break
			}
			end++
		}
		if end == len(lines) || m[2] != m[4] {
			continue
		}
		r.within(lines[at+1:end], at+2)
		at = end
	}
	return at
}

// within refuses lines of a text that begin what no recipe may: RUN with flags, which mount;
// ADD, which fetches as the engine and so from this machine's own addresses; COPY --from.
// Each line is tried, for nobody knows at which another engine begins.
func (r *reader) within(lines []string, first int) {
	bad := regexp.MustCompile(`(?i)^(ONBUILD )*(RUN --|ADD |COPY --)`)
	next := "" // the head of the line below, with what it goes on with
	for i := len(lines) - 1; i >= 0; i-- {
		l := strings.TrimRightFunc(lines[i], unicode.IsSpace)
		bare := strings.TrimLeftFunc(l, unicode.IsSpace)
		if bare == "" || strings.HasPrefix(bare, "#") {
			continue
		}
		cut, more := strings.CutSuffix(l, `\`)
		if more {
			cut += next
		}
		next = head(cut)
		if bad.MatchString(strings.TrimPrefix(next, " ")) {
			r.refuse(first+i, "a text within the recipe looks like "+strconv.Quote(bottle.Printable(short(bare))), "keep the text in a file, and COPY it")
		}
	}
}

// head is how a line begins, with one blank for many.
func head(l string) string {
	var out strings.Builder
	blank := false
	for _, c := range l {
		if out.Len() > 100 {
			break
		}
		if unicode.IsSpace(c) {
			if !blank {
				out.WriteByte(' ')
			}
			blank = true
			continue
		}
		blank = false
		out.WriteRune(c)
	}
	return out.String()
}
