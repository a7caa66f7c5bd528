package secret

import (
	"encoding/json"
	"fmt"

	"bottle/internal/plan"
)

// Line is plan.Secrets as one JSON line without its end, for the gateway's
// standard input and nothing else. proxy is the password of an explicit proxy,
// empty for none. The caller clears the line once it is written.
func Line(values map[string]Value, proxy Value) ([]byte, error) {
	out := plan.Secrets{Values: map[string]string{}, Proxy: proxy.Reveal()}
	for ref, v := range values {
		out.Values[ref] = v.Reveal()
	}
	line, err := json.Marshal(out)
	if err != nil {
		return nil, fmt.Errorf("encode secrets: %w", err)
	}
	return line, nil
}
