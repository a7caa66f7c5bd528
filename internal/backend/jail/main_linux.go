package jail

import (
	"errors"
	"fmt"
	"io"

	"bottle/internal/bottle"
)

// Main runs one of the jail's roles, named by the first argument. It returns the
// exit code; an error is the jail's own failure.
func Main(args []string, in io.Reader, out io.Writer) (int, error) {
	role := ""
	if len(args) > 0 {
		role = args[0]
	}
	switch {
	case role == "version":
		fmt.Fprintln(out, bottle.Version)
		return 0, nil
	case role == "probe" && len(args) == 1:
		return 0, Probe(in, out)
	case role == "launch" && len(args) == 3 && args[1] == "--identity":
		return Launch(args[2])
	case role == "init" && len(args) == 3 && args[1] == "--identity":
		return Init(args[2])
	}
	return 2, errors.New("usage: bottle-jail launch|init --identity ID | probe | version; people use `bottle start`")
}
