package supervise

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"bottle/internal/bottle"
	"bottle/internal/plan"
)

// The addresses of what can be read besides the tools.
const (
	policyURI  = "bottle://policy"
	denialsURI = "bottle://denials"
	gitURI     = "bottle://git/" // and the repository's name
)

func (s *Server) resources(m *mcp.Server) {
	m.AddResource(&mcp.Resource{
		URI: policyURI, Name: "policy", Title: "What this bottle may do", MIMEType: "text/plain",
		Description: "The bottle's policy in words: what may be reached, what may be pushed, what is looked into.",
	}, read1("text/plain", func() (string, error) { return s.cfg.Desk.Policy(), nil }))
	m.AddResource(&mcp.Resource{
		URI: denialsURI, Name: "denials", Title: "What was denied in this session", MIMEType: "application/json",
		Description: "Every request of this session that was refused, folded, the newest last: why, and what to ask for to mend it.",
	}, read1("application/json", s.denials))
	for _, repo := range s.cfg.Repos {
		m.AddResource(&mcp.Resource{
			URI: gitURI + repo, Name: "git " + repo, Title: "What may be pushed to " + repo, MIMEType: "text/plain",
			Description: "The branches, tags and paths of the repository " + repo + " that may be pushed.",
		}, read1("text/plain", func() (string, error) {
			text, ok := s.cfg.Desk.GitPolicy(repo)
			if !ok {
				return "", fmt.Errorf("no repository %.40q", repo)
			}
			return text, nil
		}))
	}
}

func read1(kind string, get func() (string, error)) mcp.ResourceHandler {
	return func(_ context.Context, req *mcp.ReadResourceRequest) (*mcp.ReadResourceResult, error) {
		text, err := get()
		if err != nil {
			return nil, err
		}
		return &mcp.ReadResourceResult{Contents: []*mcp.ResourceContents{{URI: req.Params.URI, MIMEType: kind, Text: text}}}, nil
	}
}

// denied is one denial as an agent may know it.
type denied struct {
	Last    string `json:"last"`
	Count   int    `json:"count"`
	Method  string `json:"method,omitempty"`
	Host    string `json:"host"`
	Port    uint16 `json:"port,omitempty"`
	Path    string `json:"path,omitempty"`
	Reason  string `json:"reason"`
	Message string `json:"message"`
	Print   string `json:"fingerprint,omitempty"`
	Hint    string `json:"hint,omitempty"`
}

func (s *Server) denials() (string, error) {
	list := []denied{}
	for _, d := range s.cfg.Desk.Denials() {
		list = append(list, denied{Last: d.Last.UTC().Format("2006-01-02T15:04:05Z"), Count: d.Count, Method: d.Method, Host: d.Host, Port: d.Port,
			Path: d.Path, Reason: d.Reason, Message: d.Text, Print: d.Print, Hint: hint(d.Ask)})
	}
	b, err := json.MarshalIndent(list, "", " ")
	return string(b), err
}

// hint is the call that would mend a denial, ready to be made.
func hint(p *bottle.Proposal) string {
	switch {
	case p == nil:
		return ""
	case p.Route != nil:
		args := map[string]any{"host": p.Route.Host.String(), "justification": "…"}
		if len(p.Route.Ports) > 0 {
			args["ports"] = p.Route.Ports
		}
		if len(p.Route.Methods) > 0 {
			args["methods"] = p.Route.Methods
		}
		if len(p.Route.Paths) > 0 {
			args["path_allowlist"] = p.Route.Paths
		}
		return call(plan.ToolEgress, args)
	case p.Content != nil:
		args := map[string]any{"failed_url": "https://" + string(p.Content.Host) + p.Content.Path, "justification": "…"}
		if p.Content.Print != "" {
			args["fingerprint"] = p.Content.Print
		}
		return call(plan.ToolContent, args)
	}
	return ""
}

func call(tool string, args map[string]any) string {
	b, err := json.Marshal(args)
	if err != nil {
		return tool // can't happen: strings and numbers only
	}
	return tool + " " + string(b)
}
