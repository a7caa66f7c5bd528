package demo

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"bottle/internal/bottle"
	"bottle/internal/policy"
)

// maxOutput bounds what is kept of the agent's output, in bytes.
const maxOutput = 4 << 20

// Answer is what the agent says that it got for one attempt: its own words, and
// so never a proof of anything but of what was written.
type Answer []string

func (a Answer) field(i int) string {
	if i < len(a) {
		return a[i]
	}
	return ""
}

// The fields of a fetch, as agent.sh writes them.
func (a Answer) exit() string  { return a.field(0) } // curl's exit code
func (a Answer) http() string  { return a.field(1) } // status, 000 for none
func (a Answer) proxy() string { return a.field(2) } // status of CONNECT, 000 for none
func (a Answer) body() string  { return a.field(4) }

// seconds is how long it took, or a very long time.
func (a Answer) seconds() float64 {
	s, err := strconv.ParseFloat(a.field(3), 64)
	if err != nil {
		return 1e9
	}
	return s
}

// The exit codes of curl(1) that matter here.
const (
	curlOK      = "0"
	curlNoName  = "6"
	curlRefused = "7"
	curlTimeout = "28"
	curlProxy   = "56"
)

// told is a fetch's answer in words for a person.
func (a Answer) told() string {
	switch a.exit() {
	case curlOK:
		var denial struct{ Reason policy.Reason }
		if json.Unmarshal([]byte(a.body()), &denial) == nil && denial.Reason != "" {
			return a.http() + " " + denial.Reason.Text()
		}
		return strings.TrimSpace(a.http() + " " + a.body())
	case curlNoName:
		return "no such name"
	case curlRefused:
		return "connection refused after " + time.Duration(a.seconds()*float64(time.Second)).Round(100*time.Microsecond).String()
	case curlTimeout:
		return "no answer in time"
	case curlProxy:
		return fmt.Sprintf("%s from the gateway, no tunnel", a.proxy())
	case "":
		return "nothing"
	}
	return "failed (curl's exit code " + a.exit() + ")"
}

// hearing reads the agent's output as it comes: lines of fields between tabs.
// Whatever else it says is kept and searched, and never shown.
type hearing struct {
	mu      sync.Mutex
	tell    func(Event)
	line    []byte
	all     []byte
	answers map[string]Answer
}

func (h *hearing) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.keep(p)
	for _, b := range p {
		if b != '\n' {
			if len(h.line) < 8<<10 {
				h.line = append(h.line, b)
			}
			continue
		}
		h.heard(strings.Split(string(h.line), "\t"))
		h.line = h.line[:0]
	}
	return len(p), nil
}

func (h *hearing) keep(p []byte) {
	h.all = append(h.all, p[:min(len(p), maxOutput-len(h.all))]...)
}

func (h *hearing) heard(fields []string) {
	if len(fields) < 2 {
		return
	}
	a, known := attemptOf(fields[1])
	switch {
	case !known:
	case fields[0] == "try":
		h.tell(Event{Kind: Trying, Attempt: a.words})
	case fields[0] == "got":
		for i := range fields {
			fields[i] = bottle.Printable(fields[i])
		}
		answer := Answer(fields[2:])
		if _, twice := h.answers[a.id]; !twice {
			h.answers[a.id] = answer
			h.tell(Event{Kind: Got, Attempt: a.words, Text: a.told(answer)})
		}
	}
}

// stderr is where the agent's complaints go: kept for the search, too.
type stderr struct{ h *hearing }

func (s stderr) Write(p []byte) (int, error) {
	s.h.mu.Lock()
	defer s.h.mu.Unlock()
	s.h.keep(p)
	return len(p), nil
}

// said is everything that the agent wrote, and its answers; call it when the
// agent has ended.
func (h *hearing) said() ([]byte, map[string]Answer) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return bytes.Clone(h.all), h.answers
}
