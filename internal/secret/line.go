package secret

import (
	"encoding/json"
	"fmt"

	"bottle/internal/plan"
)

// Line is plan.Secrets as one JSON line without its end, for the gateway's
// standard input and nothing else. watched must not leave, as values must not; proxy
// is the password of an explicit proxy, empty for none. The caller clears the line
// once it is written.
func Line(values, watched map[string]Value, proxy Value) ([]byte, error) {
	out := plan.Secrets{Values: map[string]string{}, Watched: map[string]string{}, Proxy: proxy.Reveal()}
	for name, v := range watched {
		out.Watched[name] = v.Reveal()
	}
	for ref, v := range values {
		out.Values[ref] = v.Reveal()
	}
	line, err := json.Marshal(out)
	if err != nil {
		return nil, fmt.Errorf("encode secrets: %w", err)
	}
	return line, nil
}

// WatchLine is a plan.Control of OpWatch as one JSON line without its end, for a
// gateway's control socket and nothing else. The caller clears the line once it is
// written.
func WatchLine(watched map[string]Value, watch []string) ([]byte, error) {
	out := plan.Control{Op: plan.OpWatch, Watched: map[string]string{}, Watch: watch}
	for name, v := range watched {
		out.Watched[name] = v.Reveal()
	}
	line, err := json.Marshal(out)
	if err != nil {
		return nil, fmt.Errorf("encode secrets: %w", err)
	}
	return line, nil
}

// UpdateLine is plan.Update as one JSON line without its end, for the gateway's
// standard input and nothing else: new values, and the references whose value has
// expired without a new one. The caller clears the line once it is written.
func UpdateLine(values map[string]Value, lapsed []string) ([]byte, error) {
	out := plan.Update{Secrets: map[string]string{}, Lapsed: lapsed}
	for ref, v := range values {
		out.Secrets[ref] = v.Reveal()
	}
	line, err := json.Marshal(out)
	if err != nil {
		return nil, fmt.Errorf("encode secrets: %w", err)
	}
	return line, nil
}
