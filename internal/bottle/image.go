package bottle

import (
	"errors"
	"fmt"
	"path"
	"strings"
	"time"
)

// ImageAsk asks for lines behind the recipe of the agent's image, a Dockerfile. Each is one
// whole instruction that adds to the image: RUN, ENV or WORKDIR.
type ImageAsk struct {
	Lines []string `json:"lines"`
}

// Bounds of one ImageAsk: an operator reads every line before he says yes.
const (
	MaxImageLines = 32
	MaxImageLine  = 512 // bytes
	maxImageGap   = 8   // spaces in a row
)

// SplitImage takes a text apart into lines, without those that are empty. Proposal.Canonical
// judges them.
func SplitImage(text string) *ImageAsk {
	out := &ImageAsk{}
	for l := range strings.Lines(text) {
		if l = strings.Trim(l, " \t\r\n"); l != "" {
			out.Lines = append(out.Lines, l)
		}
	}
	return out
}

// Grows reports whether lines of it stand behind the recipe of an image that is made at now.
func (a Asked) Grows(now time.Time) bool { return a.Image != nil && a.Approved() && a.Lease.Holds(now) }

func askedImage(a ImageAsk) (*ImageAsk, error) {
	if len(a.Lines) == 0 || len(a.Lines) > MaxImageLines {
		return nil, fmt.Errorf("it is from 1 to %d lines that go behind the recipe of the image, such as: RUN apt-get update && apt-get install -y jq", MaxImageLines)
	}
	out := &ImageAsk{}
	for _, l := range a.Lines {
		canon, err := imageLine(l)
		if err != nil {
			return nil, fmt.Errorf("the line %.60q: %w", l, err)
		}
		out.Lines = append(out.Lines, canon)
	}
	return out, nil
}

// imageLine gives a line in its one form: the instruction in capitals, one space, the rest.
// What would make the next line part of this one, or something else than an operator reads,
// is refused: continuations, here-documents and flags (Dockerfile reference, "Escape
// characters", "Here-Documents", "RUN --mount", "RUN --security"). So is what a terminal
// shows otherwise than it is: all but printable ASCII.
func imageLine(l string) (string, error) {
	verb, rest, _ := strings.Cut(strings.Trim(l, " "), " ")
	verb, rest = strings.ToUpper(verb), strings.Trim(rest, " ")
	switch {
	case strings.ContainsFunc(l, func(r rune) bool { return r < ' ' || r > '~' }):
		return "", errors.New("only printable ASCII can be read the same by everybody")
	case strings.Contains(l, strings.Repeat(" ", maxImageGap+1)):
		return "", fmt.Errorf("it has more than %d spaces in a row: what stands behind them is overlooked", maxImageGap)
	case len(l) > MaxImageLine:
		return "", fmt.Errorf("it has more than %d bytes: write several RUN lines", MaxImageLine)
	case verb != "RUN" && verb != "ENV" && verb != "WORKDIR":
		return "", errors.New("each line begins with RUN, ENV or WORKDIR; base, files, user and what is started stay the operator's")
	case rest == "":
		return "", errors.New("there is nothing behind the instruction")
	case strings.HasSuffix(rest, `\`) || strings.HasSuffix(rest, "`"):
		return "", errors.New("it goes on in the next line: write each instruction on one line")
	case strings.Contains(rest, "<<"):
		return "", errors.New("no here-documents: write each instruction on one line")
	case strings.HasPrefix(rest, "--"):
		return "", errors.New("an instruction has no flags here: no --mount, --network or --security")
	case verb == "ENV" && !isSetting(rest):
		return "", errors.New("write ENV NAME=value")
	case verb == "WORKDIR" && !isFolder(rest):
		return "", errors.New("write WORKDIR /srv/name: an absolute path, of letters, digits and . _ - alone, outside of /proc, /sys and /dev")
	}
	return verb + " " + rest, nil
}

// isSetting: NAME=…, with a name that shells know.
func isSetting(s string) bool {
	name, _, ok := strings.Cut(s, "=")
	return ok && word(name, lower+capitals+"_", digits)
}

// isFolder: an absolute path that is what it says. In /proc are the descriptors of whoever makes
// the container; a working directory there led out of it (CVE-2024-21626).
func isFolder(s string) bool {
	first, _, _ := strings.Cut(strings.TrimPrefix(s, "/"), "/")
	return path.IsAbs(s) && path.Clean(s) == s && strings.Trim(s, lower+capitals+digits+"/._-") == "" && first != "proc" && first != "sys" && first != "dev"
}
