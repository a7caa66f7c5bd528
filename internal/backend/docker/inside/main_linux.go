package inside

import (
	"errors"
	"io"
)

// Main runs one of the roles in a container, if args name one; else ran is false.
func Main(args []string, in io.Reader, out io.Writer) (code int, ran bool, err error) {
	if len(args) == 0 {
		return 0, false, nil
	}
	named := len(args) == 3 && args[1] == "--identity"
	switch {
	case args[0] == BoxWord && named:
		code, err = Box(args[2], in, out)
	case args[0] == BundleWord && named:
		err = Bundle(args[2])
	case args[0] == DoorWord && named:
		err = Door(args[2])
	case args[0] == FenceWord && len(args) == 1:
		err = Fence(in, out)
	case args[0] == HealthWord && len(args) == 2:
		err = Healthy(args[1])
	case args[0] == BoxWord, args[0] == BundleWord, args[0] == DoorWord, args[0] == FenceWord, args[0] == HealthWord:
		err = errors.New("usage: bottle-jail box|bundle|door --identity ID | fence | healthy CONTROL; people use `bottle start`")
	default:
		return 0, false, nil
	}
	return code, true, err
}
