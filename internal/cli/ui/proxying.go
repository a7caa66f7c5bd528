package ui

import (
	"fmt"
	"io"
	"net/url"
	"strings"

	"bottle/internal/bottle"
	"bottle/internal/lifecycle"
	"bottle/internal/plan"
)

// Proxying prints what the user of a gateway on its own needs: where it is and what
// to trust, how to watch it, and two lines that can be pasted into a shell.
func Proxying(w io.Writer, style plan.Style, p lifecycle.Proxying) {
	address := url.URL{Scheme: "http", Host: p.Ready.Services[plan.SocketEgress]}
	if p.Password != "" {
		address.User = url.UserPassword("bottle", p.Password)
	}
	for _, l := range [][2]string{
		{"proxy", address.String()}, {"CA", p.CAFile}, {"log", p.Audit}, {"identity", string(p.Identity)},
		{"watch", "bottle audit " + string(p.Identity) + " --follow"},
	} {
		fmt.Fprintln(w, style(plan.Label, fmt.Sprintf("%-10s", l[0]))+l[1])
	}
	if p.Password == "" {
		fmt.Fprintln(w, style(plan.Warn, "Every user of this machine can use it, with the bottle's credentials."))
	}
	fmt.Fprintln(w, "In another shell:")
	fmt.Fprintln(w, "  export HTTPS_PROXY="+address.String())
	fmt.Fprintln(w, "  curl --cacert "+quoted(p.CAFile)+" "+sample(p.Routes))
	fmt.Fprintln(w, style(plan.Faint, "Ctrl-C ends it."))
}

// quoted is a word as a shell takes it.
func quoted(word string) string {
	if strings.Trim(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:") == "" {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// sample is a URL that the routes let through, if one of them names a whole host.
func sample(routes []bottle.Route) string {
	for _, r := range routes {
		if r.Host.Sub || len(r.Ports) == 0 || len(r.Methods) > 0 {
			continue
		}
		path := "/"
		if len(r.Paths) > 0 {
			path = r.Paths[0]
		}
		u := url.URL{Scheme: "https", Host: r.Host.String(), Path: path}
		if r.Ports[0] != 443 {
			u.Host = fmt.Sprintf("%s:%d", u.Host, r.Ports[0])
		}
		return quoted(u.String())
	}
	return "https://HOST/"
}
