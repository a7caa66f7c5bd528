package ui

import (
	"fmt"
	"io"
	"strings"

	"bottle/internal/bottle"
	"bottle/internal/plan"
	"bottle/internal/policy"
)

// Verdict prints what the gateway would answer, on a screen of width cells (0: lines as
// long as they are).
func Verdict(w io.Writer, style plan.Style, width int, v policy.Verdict) {
	role := plan.Strong
	if !v.Allowed() {
		role = plan.Shout
	}
	line := Labelled(w, style, width)
	fmt.Fprintln(w, style(plan.Label, fmt.Sprintf("%-11s", "verdict"))+style(role, v.Action.String()))
	line("reason", string(v.Reason))
	line("", v.Message)
	line("rule", v.Rule)
	line("credential", Injected(v))
	if v.Route != nil && v.Allowed() {
		line("tls", v.Route.TLS)
		line("dlp", v.Route.DLP)
		line("inbound", v.Route.Inbound)
		line("h2c", map[bool]string{true: "HTTP/2 without TLS may be spoken"}[v.Route.H2C])
	}
}

// Labelled prints a label and, beside it, a text; an empty text is left out. width is that
// of the screen in cells, 0: lines as long as they are.
func Labelled(w io.Writer, style plan.Style, width int) func(label, text string) {
	return func(label, text string) {
		if text != "" {
			fmt.Fprintln(w, style(plan.Label, fmt.Sprintf("%-11s", label))+Hang(strings.Repeat(" ", 11)+bottle.Printable(text), width, 11)[11:])
		}
	}
}

// Injected is the name of the credential that the gateway would add.
func Injected(v policy.Verdict) string {
	if !v.Allowed() || v.Route == nil || v.Route.Auth == nil {
		return ""
	}
	return v.Route.Auth.TokenRef
}
