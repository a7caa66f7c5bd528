// Package recipe reads a Dockerfile for what it copies out of the folder that it stands
// in. It is no engine: what it does not see as a COPY is not sent to one, and then the
// engine, which has no such file, fails.
package recipe

import (
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"bottle/internal/bottle"
)

// Copy is one COPY out of the folder.
type Copy struct {
	Line    int // from 1
	Sources []Source
}

// Bounds of what is read.
const (
	maxLines   = 20_000
	maxSources = 500
)

// Read answers what the Dockerfile text copies out of its folder. What a recipe may not
// do is a finding with its line, and then the copies are void. file is what the findings call it.
func Read(file, text string) ([]Copy, bottle.Problems) {
	r := &reader{file: file}
	for _, l := range r.join(text) {
		r.instruction(l.number, l.text, true)
	}
	if n := r.sources; n > maxSources {
		r.refuse(0, fmt.Sprintf("it copies from more than %d places", maxSources), "copy the folder that holds them")
	}
	if len(r.problems) > 0 {
		return nil, r.problems
	}
	return r.copies, nil
}

type reader struct {
	file     string
	problems bottle.Problems
	copies   []Copy
	stages   []string // their names in lower case; those without have an empty one
	sources  int
}

func (r *reader) refuse(line int, why, hint string) {
	if len(r.problems) < 20 { // nobody reads more
		r.problems = append(r.problems, bottle.Problem{File: r.file, Line: line, Message: why, Hint: hint})
	}
}

// instruction judges one. ONBUILD holds another one, which a later stage may run.
func (r *reader) instruction(line int, text string, outer bool) {
	word, rest := cutWord(text)
	switch strings.ToUpper(word) {
	case "FROM":
		r.from(line, rest)
	case "COPY":
		r.copy(line, rest)
	case "ADD":
		r.refuse(line, "ADD unpacks archives and fetches URLs", "write COPY for a file, and RUN with curl and sha256sum -c for what is fetched")
	case "RUN":
		r.run(line, rest)
	case "ONBUILD":
		if !outer {
			r.refuse(line, "ONBUILD stands within ONBUILD", "write it once")
			return
		}
		r.instruction(line, rest, false)
	case "ARG":
		for _, word := range strings.Fields(rest) { // FROM may name it
			if _, value, _ := strings.Cut(word, "="); transport(value) {
				r.place(line, value)
			}
		}
	case "CMD", "ENTRYPOINT", "ENV", "EXPOSE", "HEALTHCHECK", "LABEL", "MAINTAINER", "SHELL", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR":
	default:
		r.refuse(line, "no instruction of a Dockerfile is called "+strconv.Quote(bottle.Printable(short(word))), "write FROM, RUN, COPY, ENV, …; a line that goes on ends with \\")
	}
}

func (r *reader) from(line int, rest string) {
	_, rest = flags(rest)
	words, name := strings.Fields(rest), ""
	if len(words) > 0 && transport(words[0]) {
		r.place(line, words[0])
	}
	if len(words) == 3 && strings.EqualFold(words[1], "as") {
		name = strings.ToLower(words[2])
	}
	r.stages = append(r.stages, name)
}

// transport tells whether what is made FROM is a file or folder of the engine's machine, as
// Podman knows them (containers-transports(5)).
func transport(from string) bool {
	kind, _, found := strings.Cut(strings.Trim(from, `"'`), ":")
	return found && slices.Contains([]string{"dir", "oci", "oci-archive", "docker-archive", "docker-daemon", "containers-storage", "ostree", "sif", "tarball"}, strings.ToLower(kind))
}

func (r *reader) place(line int, from string) {
	r.refuse(line, "FROM "+bottle.Printable(short(from))+": to some engines it is a file or a folder of their machine", "name an image, such as debian:bookworm-slim")
}

// run refuses flags: they mount what is not the image's, or lift what bounds the command.
// Docker's classic builder, which makes the images, has none.
func (r *reader) run(line int, rest string) {
	given, _ := flags(rest)
	for _, f := range given {
		if name, value, _ := strings.Cut(f, "="); name == "--network" && (value == "none" || value == "default") {
			continue
		}
		r.refuse(line, "RUN "+bottle.Printable(short(f))+": a recipe's commands get no mounts and no rights of their own", "COPY what the command needs, and take the flag away")
	}
}

// copy takes the sources of one COPY, unless they are of a stage.
func (r *reader) copy(line int, rest string) {
	given, rest := flags(rest)
	for _, f := range given {
		if value, ok := strings.CutPrefix(f, "--from="); ok {
			if !r.stage(value) {
				r.refuse(line, "COPY --from="+bottle.Printable(short(value))+": it is no earlier stage of this recipe", "FROM that image AS a stage above, and copy from the stage")
			}
			return
		}
		if f == "--from" {
			r.refuse(line, "COPY --from says nothing", "write --from=STAGE")
			return
		}
	}
	words := list(rest)
	if len(words) < 2 {
		r.refuse(line, "COPY wants what to copy, and where to", "write COPY requirements.txt /app/")
		return
	}
	c := Copy{Line: line}
	for _, w := range words[:len(words)-1] {
		if strings.HasPrefix(w, "<<") { // the text stands in the recipe itself
			continue
		}
		s, why, hint := source(w)
		if why != "" {
			r.refuse(line, "COPY "+bottle.Printable(short(w))+": "+why, hint)
			continue
		}
		c.Sources = append(c.Sources, s)
	}
	if r.sources += len(c.Sources); len(c.Sources) > 0 && r.sources <= maxSources {
		r.copies = append(r.copies, c)
	}
}

// stage tells whether a name or number is that of a stage before the one that is made.
func (r *reader) stage(name string) bool {
	before := max(len(r.stages)-1, 0)
	if n, err := strconv.Atoi(name); err == nil {
		return n >= 0 && n < before
	}
	return name != "" && slices.Contains(r.stages[:before], strings.ToLower(name))
}

// list splits what follows the flags: words, or a list in JSON.
func list(rest string) []string {
	var words []string
	if strings.HasPrefix(rest, "[") && json.Unmarshal([]byte(rest), &words) == nil {
		return words
	}
	return strings.Fields(rest)
}

// flags splits the words in front that begin with two dashes.
func flags(rest string) (given []string, after string) {
	for {
		word, more := cutWord(rest)
		if !strings.HasPrefix(word, "--") || word == "--" {
			return given, rest
		}
		given, rest = append(given, word), more
	}
}

func cutWord(s string) (word, rest string) {
	s = strings.TrimLeftFunc(s, unicode.IsSpace)
	if i := strings.IndexFunc(s, unicode.IsSpace); i >= 0 {
		return s[:i], strings.TrimLeftFunc(s[i:], unicode.IsSpace)
	}
	return s, ""
}

const blanks = " \t\v\f\r\u0085\u00a0"

func short(s string) string {
	if len(s) > 80 {
		return strings.ToValidUTF8(s[:80], "") + "…"
	}
	return s
}

// Source is what one word of a COPY names: a clean path below the folder, of which each
// part may be a pattern of path.Match. The empty Source is the folder itself.
type Source string

// source parses one. Whoever makes the image replaces variables and takes quotes away;
// so that there is one reading, there are none.
func source(w string) (s Source, why, hint string) {
	const plain = "write the name as it is"
	switch {
	case !utf8.ValidString(w) || strings.ContainsFunc(w, func(c rune) bool { return c < ' ' || c == 0x7f }):
		return "", "its name has characters that nobody can see", plain
	case strings.Contains(w, "://"):
		return "", "it is no file of the folder", "fetch it by RUN with curl and sha256sum -c"
	case strings.ContainsAny(w, "$"):
		return "", "what it names depends on a variable", plain
	case strings.ContainsAny(w, "'\"\\`"):
		return "", "a quote or a backslash can be read in two ways", plain + `; one with blanks in JSON: COPY ["a b", "/app/"]`
	case len(w) > 4096:
		return "", "its name is too long", plain
	}
	parts := strings.Split(w, "/")
	if slices.Contains(parts, "..") {
		return "", "it leads out of the folder of the Dockerfile", "move what is copied below the Dockerfile, and name it from there without .."
	}
	clean := strings.TrimPrefix(path.Clean("/"+w), "/")
	for part := range strings.SplitSeq(clean, "/") {
		if _, err := path.Match(part, ""); err != nil {
			return "", "its pattern is malformed", "close each [ with ], within one part of the path"
		}
	}
	return Source(clean), "", ""
}

// Pattern tells whether it is a pattern rather than a name.
func (s Source) Pattern() bool { return strings.ContainsAny(string(s), "*?[") }

// Names tells whether p, clean and below the folder, is what it names itself.
func (s Source) Names(p string) bool {
	return s.covers(p) && strings.Count(string(s), "/") == strings.Count(p, "/")
}

// Takes tells whether p is what it names, or below that.
func (s Source) Takes(p string) bool { return s == "" || s.covers(p) }

// Toward tells whether what it names may be below the folder p.
func (s Source) Toward(p string) bool {
	mine, theirs := strings.Split(string(s), "/"), strings.Split(p, "/")
	return s != "" && len(theirs) < len(mine) && matches(mine[:len(theirs)], theirs)
}

func (s Source) covers(p string) bool {
	mine, theirs := strings.Split(string(s), "/"), strings.Split(p, "/")
	return s != "" && len(mine) <= len(theirs) && matches(mine, theirs[:len(mine)])
}

func matches(patterns, parts []string) bool {
	for i, p := range patterns {
		if ok, err := path.Match(p, parts[i]); !ok || err != nil {
			return false
		}
	}
	return true
}
