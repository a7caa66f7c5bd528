package cli

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// confirm asks a y/N question on the terminal. yes (the flag --yes) answers it
// beforehand. Without a terminal nobody can answer: that is a mistake on the
// command line, not a no. The end of input is a no.
func (d *deps) confirm(question string, yes bool) (bool, error) {
	if yes {
		return true, nil
	}
	if !d.Terminal(d.Stdin) {
		return false, usage(errors.New("this needs a yes, and standard input is not a terminal"), "add --yes to go ahead without being asked")
	}
	for range 3 {
		fmt.Fprintf(d.Stderr, "%s [y/N] ", question)
		answer, err := readLine(d.Stdin)
		switch strings.ToLower(strings.TrimSpace(answer)) {
		case "y", "yes":
			return true, nil
		case "", "n", "no":
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return false, err
		}
		fmt.Fprintln(d.Stderr, "Please answer y or n.")
	}
	return false, nil
}

// choose asks for one of options by number; an empty answer takes the first.
func (d *deps) choose(question string, options []string) (int, error) {
	for range 3 {
		fmt.Fprintln(d.Stderr, question)
		for i, o := range options {
			fmt.Fprintf(d.Stderr, "  %d) %s\n", i+1, o)
		}
		fmt.Fprint(d.Stderr, "Your choice [1]: ")
		answer, err := readLine(d.Stdin)
		if err != nil {
			return 0, fail(errors.New("no choice was made"), "")
		}
		answer = strings.TrimSpace(answer)
		if answer == "" {
			return 0, nil
		}
		if n, err := strconv.Atoi(answer); err == nil && n >= 1 && n <= len(options) {
			return n - 1, nil
		}
		fmt.Fprintf(d.Stderr, "Please type a number from 1 to %d.\n", len(options))
	}
	return 0, usage(errors.New("no choice was made"), "")
}

// readLine reads one line, a byte at a time: what was typed ahead belongs to
// whoever reads the terminal next. The end of input ends the line; before the
// first byte it is io.EOF.
func readLine(r io.Reader) (string, error) {
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
