package recipe

import (
	"fmt"
	"regexp"
	"strings"
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
	goesOn := escape(lines)
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
		cut, more := strings.CutSuffix(strings.TrimRight(l, blanks), goesOn)
		if !more {
			cut = l
		}
		if open.text += cut; more {
			continue
		}
		open.text = strings.Trim(open.text, blanks)
		i = r.heredocs(open.text, lines, i)
		open = nil
	}
	return out
}

// escape is what a line that goes on ends with: a backslash, or what the directive in the
// first lines says.
func escape(lines []string) string {
	directive := regexp.MustCompile(`^#\s*([a-zA-Z][a-zA-Z0-9]*)\s*=\s*(.+?)\s*$`)
	for _, l := range lines {
		m := directive.FindStringSubmatch(strings.TrimSpace(l))
		if m == nil {
			break
		}
		if strings.EqualFold(m[1], "escape") && m[2] == "`" {
			return "`"
		}
	}
	return `\`
}

// heredocs skips the texts that an instruction brings, and gives the line of the last end.
// Not every engine knows them, and each has its own mind about quotes. So a text whose
// end is not there is none, and one that another engine could read as a RUN with flags
// is refused.
func (r *reader) heredocs(text string, lines []string, at int) int {
	word, _ := cutWord(text)
	if w := strings.ToUpper(word); w != "RUN" && w != "COPY" {
		return at
	}
	flagged := regexp.MustCompile(`(?i)^\s*(ONBUILD\s+)?RUN\s+--`)
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
		for i := at + 1; i < end; i++ {
			if flagged.MatchString(lines[i]) {
				r.refuse(i+1, "a text within the recipe looks like RUN with flags", "keep the text in a file, and COPY it")
			}
		}
		at = end
	}
	return at
}
