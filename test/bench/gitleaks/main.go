// Command gitleaks is the peer of the scanner's benchmark: the gitleaks library with its
// default rules, on the same text. Built with the tag gore2regex it uses RE2 (compiled to
// WebAssembly) in place of Go's regexp.
//
// Its arguments are the size of a piece and the files to read. It says, as JSON, how
// long it took for all pieces and how many findings there were. With the arguments git,
// a repository and options of git-log(1), it does what `gitleaks git --log-opts` does.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"

	"github.com/rs/zerolog"
	"github.com/zricethezav/gitleaks/v8/detect"
	"github.com/zricethezav/gitleaks/v8/logging"
	"github.com/zricethezav/gitleaks/v8/regexp"
	"github.com/zricethezav/gitleaks/v8/sources"

	"bottle/test/bench/peer"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 3 && args[0] == "git" {
		return git(args[1], args[2])
	}
	if len(args) < 2 {
		return fmt.Errorf("usage: gitleaks SIZE FILE… | gitleaks git REPOSITORY OPTIONS")
	}
	size, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	logging.Logger = zerolog.Nop()
	detector, err := detect.NewDetectorDefaultConfig()
	if err != nil {
		return err
	}
	var took []float64 // seconds, of each file
	findings := 0
	for _, file := range args[1:] {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		detector.DetectString(string(text[:min(len(text), 64<<10)])) // what is made at the first use is made
		began := peer.Used()
		for len(text) > 0 {
			n := min(len(text), size)
			findings += len(detector.DetectString(string(text[:n])))
			text = text[n:]
		}
		took = append(took, (peer.Used() - began).Seconds())
	}
	return json.NewEncoder(os.Stdout).Encode(map[string]any{"engine": regexp.Version, "took": took, "findings": findings})
}

// git looks at what the commits of a range add, as the program's own command does.
func git(repository, options string) error {
	logging.Logger = zerolog.Nop()
	detector, err := detect.NewDetectorDefaultConfig()
	if err != nil {
		return err
	}
	log, err := sources.NewGitLogCmd(repository, options)
	if err != nil {
		return err
	}
	found, err := detector.DetectSource(context.Background(), &sources.Git{Cmd: log, Config: &detector.Config, Remote: &sources.RemoteInfo{}, Sema: detector.Sema})
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(map[string]any{"engine": regexp.Version, "findings": len(found)})
}
