package guest

import (
	"errors"
	"io"
)

// Main runs the guest's role if args name it; else ran is false.
func Main(args []string, in io.Reader, out io.Writer) (code int, ran bool, err error) {
	if len(args) == 0 || args[0] != Word {
		return 0, false, nil
	}
	if len(args) != 3 || args[1] != "--identity" {
		return 0, true, errors.New("usage: bottle-jail guest --identity ID; people use `bottle start`")
	}
	code, err = Serve(args[2], in, out)
	return code, true, err
}
