package ui

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"golang.org/x/term"

	"bottle/internal/bottle"
)

// Asker asks a person: questions go to Out, answers come from In.
type Asker struct {
	In       io.Reader
	Out      io.Writer
	Terminal bool // somebody is there to answer
}

// Confirm asks a y/N question on the terminal. yes (the flag --yes) answers it
// beforehand. Without a terminal nobody can answer: that is a mistake on the
// command line, not a no. The end of input is a no.
func (a Asker) Confirm(question string, yes bool) (bool, error) {
	if yes {
		return true, nil
	}
	if !a.Terminal {
		return false, Usage(errors.New("this needs a yes, and standard input is not a terminal"), "add --yes to go ahead without being asked")
	}
	for range 3 {
		fmt.Fprintf(a.Out, "%s [y/N] ", question)
		answer, err := ReadLine(a.In)
		switch strings.ToLower(strings.TrimSpace(answer)) {
		case "y", "yes":
			return true, nil
		case "", "n", "no":
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return false, err
		}
		fmt.Fprintln(a.Out, "Please answer y or n.")
	}
	return false, nil
}

// Choose asks for one of options by number; an empty answer takes the first.
func (a Asker) Choose(question string, options []string) (int, error) {
	for range 3 {
		fmt.Fprintln(a.Out, question)
		for i, o := range options {
			fmt.Fprintf(a.Out, "  %d) %s\n", i+1, o)
		}
		fmt.Fprint(a.Out, "Your choice [1]: ")
		answer, err := ReadLine(a.In)
		if err != nil {
			return 0, Fail(errors.New("no choice was made"), "")
		}
		answer = strings.TrimSpace(answer)
		if answer == "" {
			return 0, nil
		}
		if n, err := strconv.Atoi(answer); err == nil && n >= 1 && n <= len(options) {
			return n - 1, nil
		}
		fmt.Fprintf(a.Out, "Please type a number from 1 to %d.\n", len(options))
	}
	return 0, Usage(errors.New("no choice was made"), "")
}

// ReadLine reads one line, a byte at a time: what was typed ahead belongs to
// whoever reads the terminal next. The end of input ends the line; before the
// first byte it is io.EOF.
func ReadLine(r io.Reader) (string, error) {
	var line []byte
	for b := make([]byte, 1); len(line) < 4096; {
		n, err := r.Read(b)
		if n == 1 && b[0] == '\n' {
			return string(line), nil
		}
		line = append(line, b[:n]...)
		if errors.Is(err, io.EOF) && len(line) > 0 {
			return string(line), nil
		}
		if errors.Is(err, io.EOF) {
			return "", io.EOF
		}
		if err != nil {
			return "", fmt.Errorf("read answer: %w", err)
		}
	}
	return "", errors.New("read answer: the line is too long")
}

// Secret asks without echo. The end of ctx ends the question and gives the
// terminal its echo back.
func (a Asker) Secret(ctx context.Context, question string) (string, error) {
	in, ok := a.In.(*os.File)
	if !ok {
		return "", errors.New("there is no terminal to ask on")
	}
	before, err := term.GetState(int(in.Fd()))
	if err != nil {
		return "", fmt.Errorf("look at the terminal: %w", err)
	}
	fmt.Fprint(a.Out, bottle.Printable(question)+": ")
	defer fmt.Fprintln(a.Out)
	type reply struct {
		text []byte
		err  error
	}
	got := make(chan reply, 1)
	go func() { // after a cancelled question it waits for the line that never comes, until the program ends
		text, err := term.ReadPassword(int(in.Fd()))
		got <- reply{text, err}
	}()
	select {
	case r := <-got:
		if r.err != nil {
			return "", fmt.Errorf("read the answer: %w", r.err)
		}
		return string(r.text), nil
	case <-ctx.Done():
		return "", errors.Join(ctx.Err(), term.Restore(int(in.Fd()), before))
	}
}
