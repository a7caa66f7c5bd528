// Command bottle is what people type: see bottle --help.
package main

import (
	"os"

	"bottle/internal/cli"
)

func main() {
	os.Exit(cli.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
