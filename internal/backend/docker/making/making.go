// Package making reads what an engine says while it makes an image.
package making

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"

	"bottle/internal/bottle"
)

// maxWords bounds what the engine says while it makes an image, in bytes; it is read and
// thrown away.
const maxWords = 1 << 30

// maxSaid bounds what is kept of what a command said, in bytes.
const maxSaid = 8 << 10

// Follow reads what the engine says of a build (Engine API, "Build an image"), to its end;
// say hears of each step. The step that failed and the last 8 KiB of what its command said
// say why, so they are the error, with nothing that a terminal would obey.
func Follow(r io.Reader, say func(step, of int, what string)) error {
	var last, at, doing string
	for dec := json.NewDecoder(io.LimitReader(r, maxWords)); ; {
		var word struct {
			Stream string `json:"stream"`
			Error  string `json:"error"`
		}
		if err := dec.Decode(&word); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if word.Error != "" {
			return &failedStep{doing, strings.TrimSpace(at + bottle.Printable(word.Error) + "\n" + bottle.SaidLines(ofCommand(last)))}
		}
		if step, of, what := stepOf(word.Stream); of > 0 {
			what = bottle.Printable(what)
			say(step, of, what)
			last, doing, at = "", what, fmt.Sprintf("step %d of %d, %s: ", step, of, what)
			continue
		}
		if last += word.Stream; len(last) > maxSaid {
			last = last[len(last)-maxSaid:]
		}
	}
}

// ofCommand is what a command said, without what Docker's classic builder puts around it: the
// colour of its standard error, and the container that it ran in.
func ofCommand(said string) string {
	said = strings.NewReplacer("\x1b[91m", "", "\x1b[0m", "").Replace(said)
	var out []string
	for l := range strings.SplitSeq(said, "\n") {
		if !strings.HasPrefix(l, " ---> ") && !strings.HasPrefix(l, "Removing intermediate container ") && strings.TrimSpace(l) != "" {
			out = append(out, l)
		}
	}
	return strings.Join(out, "\n")
}

// stepOf reads the line by which an engine begins a step: "Step 1/3 : FROM x" of Docker,
// "STEP 1/3: FROM x" or, of one stage among several, "[1/2] STEP 1/3: FROM x" of Podman. of is
// 0 for any other line.
func stepOf(said string) (step, of int, what string) {
	if _, rest, ok := strings.Cut(said, "] STEP "); ok && strings.HasPrefix(said, "[") {
		said = "STEP " + rest
	}
	head, what, _ := strings.Cut(said, ":")
	if len(head) < len("Step 1/1") || !strings.EqualFold(head[:5], "Step ") {
		return 0, 0, ""
	}
	if n, _ := fmt.Sscanf(head[5:], "%d/%d", &step, &of); n != 2 {
		return 0, 0, ""
	}
	return step, of, strings.TrimSpace(what)
}

// failedStep is where the making of an image ended.
type failedStep struct{ what, words string }

func (f *failedStep) Error() string { return f.words }

// NoBase adds to an error of Follow what to do about a base that the engine neither has nor gets.
func NoBase(err error) error {
	var f *failedStep
	if !errors.As(err, &f) {
		return err
	}
	base, is := strings.CutPrefix(f.what, "FROM ")
	if !is {
		return err
	}
	base, _, _ = strings.Cut(base, " ")
	if !regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._/:@-]*$`).MatchString(base) { // a recipe's words, which a shell may obey: nobody is told to type them
		return err
	}
	return fmt.Errorf("%w\nthe engine must have this base: docker pull %s, or name another in the recipe, one of: docker images", err, base)
}
