package supervise

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/google/jsonschema-go/jsonschema"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"bottle/internal/bottle"
	"bottle/internal/plan"
)

// Outcome is what a call that asks for something is told, as JSON.
type outcome struct {
	Status  bottle.ProposalStatus `json:"status"`
	ID      string                `json:"id,omitempty"`
	Message string                `json:"message"`
	Note    string                `json:"operator_note,omitempty"`
	Given   *shownRoute           `json:"given,omitempty"` // of status modified
	Added   *added                `json:"added,omitempty"` // of packages that were approved
	Next    string                `json:"next"`            // what the agent should do now
}

// Statuses that no queue holds.
const (
	nothingToAsk bottle.ProposalStatus = "not_needed"
	notThere     bottle.ProposalStatus = "unsupported"
)

// add is mcp.AddTool with what is the same for all: readOnly tools ask nobody for anything.
func add[In any](m *mcp.Server, name, title, description string, readOnly bool, schema *jsonschema.Schema, h mcp.ToolHandlerFor[In, any]) {
	no := false
	mcp.AddTool(m, &mcp.Tool{
		Name: name, Title: title, Description: description, InputSchema: schema,
		Annotations: &mcp.ToolAnnotations{ReadOnlyHint: readOnly, IdempotentHint: true, DestructiveHint: &no, OpenWorldHint: &no},
	}, h)
}

func (s *Server) tools(m *mcp.Server) {
	add(m, plan.ToolEgress, "Ask for a host", egressText, false, egressSchema(s.cfg.Wait), s.egressBlock)
	add(m, plan.ToolContent, "Ask for a blocked URL", contentText, false, contentSchema(s.cfg.Wait), s.contentBlock)
	add(m, "capability-block", "Ask for a program", capabilityText, false, capabilitySchema(s.cfg.Wait), s.capabilityBlock)
	if len(s.cfg.Repos) > 0 {
		add(m, "git-push-review", "What may be pushed", pushText, true, pushSchema(s.cfg.Repos), s.pushReview)
	}
	add(m, "list-egress-routes", "What may be reached", routesText, true, object(nil), s.listRoutes)
	add(m, "check-egress", "Would it be let through?", checkText, true, checkSchema(), s.checkEgress)
	add(m, "proposal-status", "What became of an ask", statusText, true, statusSchema(), s.status)
}

// credential is how an agent names one that the bottle has.
type credential struct {
	Scheme   string `json:"scheme"`
	TokenRef string `json:"token_ref"`
}

type egressAsk struct {
	Host          string      `json:"host"`
	Ports         []uint16    `json:"ports"`
	Methods       []string    `json:"methods"`
	Paths         []string    `json:"path_allowlist"`
	Auth          *credential `json:"auth"`
	Wait          *int        `json:"wait_seconds"`
	Justification string      `json:"justification"`
}

// route is what is asked for, as far as the words can be read; the desk judges it.
func (a egressAsk) route() (*bottle.Route, error) {
	host, err := bottle.ParsePattern(a.Host)
	if err != nil {
		return nil, fmt.Errorf("host: %w", err)
	}
	r := &bottle.Route{Host: host, Ports: a.Ports, Paths: a.Paths}
	for _, m := range a.Methods {
		r.Methods = append(r.Methods, strings.ToUpper(m))
	}
	if a.Auth != nil {
		r.Auth = &bottle.Auth{Scheme: a.Auth.Scheme, TokenRef: a.Auth.TokenRef}
		if name, ok := strings.CutPrefix(a.Auth.Scheme, "header:"); ok {
			r.Auth.Scheme, r.Auth.Header = "header", name
		}
	}
	return r, nil
}

func (s *Server) egressBlock(ctx context.Context, _ *mcp.CallToolRequest, in egressAsk) (*mcp.CallToolResult, any, error) {
	r, err := in.route()
	if err != nil {
		return nil, nil, err
	}
	p, err := s.ask(ctx, bottle.Proposal{Kind: bottle.ProposalEgress, Why: in.Justification, Route: r}, in.Wait)
	if err != nil {
		return nil, nil, err
	}
	return nil, told(p), nil
}

type contentAsk struct {
	URL           string `json:"failed_url"`
	Print         string `json:"fingerprint"`
	Wait          *int   `json:"wait_seconds"`
	Justification string `json:"justification"`
}

// contentBlock asks for one URL, or for one value that was found on its way to it. The
// fingerprint stands in the denial; an agent that does not give it means the last one.
func (s *Server) contentBlock(ctx context.Context, _ *mcp.CallToolRequest, in contentAsk) (*mcp.CallToolResult, any, error) {
	u, err := url.Parse(in.URL)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
		return nil, nil, fmt.Errorf("failed_url: %.80q is not a URL: write the whole one that failed, such as https://api.example.com/v1/things", in.URL)
	}
	port := uint16(443)
	if u.Scheme == "http" {
		port = 80
	}
	host, port, err := bottle.ParseHostPort(u.Host, port)
	if err != nil {
		return nil, nil, fmt.Errorf("failed_url: %w", err)
	}
	c := bottle.ContentAsk{Host: host, Path: u.EscapedPath(), Print: strings.ToLower(in.Print)}
	if c.Path == "" {
		c.Path = "/"
	}
	found := false
	for _, d := range slices.Backward(s.cfg.Desk.Denials()) {
		if found = d.Host == string(host) && d.Path == c.Path && (d.Port == 0 || d.Port == port); found {
			if c.Print == "" {
				c.Print = d.Print
			}
			break
		}
	}
	if v, err := s.cfg.Desk.Check("GET", in.URL); c.Print == "" && !found && err == nil && v.Allowed() {
		return nil, outcome{Status: nothingToAsk,
			Message: "Nothing of this session was blocked at that URL, and the policy lets a GET of it through.",
			Next:    "Try again. If it fails, read \"error\" in the answer: \"denied\" is the gateway, and has a fingerprint where a value was found; anything else comes from the server itself."}, nil
	}
	p, err := s.ask(ctx, bottle.Proposal{Kind: bottle.ProposalContent, Why: in.Justification, Content: &c}, in.Wait)
	if err != nil {
		return nil, nil, err
	}
	return nil, told(p), nil
}

type capabilityAsk struct {
	Packages      []string `json:"packages"`
	Dockerfile    string   `json:"dockerfile"`
	Wait          *int     `json:"wait_seconds"`
	Justification string   `json:"justification"`
}

// added is where programs are that an operator brought in.
type added struct {
	Folder   string   `json:"folder"`
	Programs []string `json:"programs"`
}

// capabilityBlock asks for packages, or for lines behind the recipe of the agent's image. An
// image cannot be rebuilt under a running agent, so those come with a resume.
func (s *Server) capabilityBlock(ctx context.Context, _ *mcp.CallToolRequest, in capabilityAsk) (*mcp.CallToolResult, any, error) {
	p := bottle.Proposal{Kind: bottle.ProposalCapability, Why: in.Justification, Capability: &bottle.CapabilityAsk{Packages: in.Packages}}
	switch {
	case in.Dockerfile != "" && len(in.Packages) > 0:
		return nil, nil, errors.New("packages and dockerfile are two asks: packages come while you work, lines of a dockerfile with the next resume; call it once for each")
	case len(in.Packages) > 0:
	case !s.cfg.Recipe:
		return nil, outcome{Status: notThere,
			Message: "There is no image here that lines of a Dockerfile could change. Nothing was queued, and no operator was asked.",
			Next:    "Ask for the packages themselves: \"packages\": [\"deb:NAME\", \"npm:NAME@VERSION\"]. What these cannot give, tell the operator in your answer."}, nil
	case in.Dockerfile != "":
		p.Kind, p.Capability, p.Image = bottle.ProposalImage, nil, bottle.SplitImage(in.Dockerfile)
	}
	p, err := s.ask(ctx, p, in.Wait)
	if err != nil {
		return nil, nil, err
	}
	return nil, told(p), nil
}

type pushAsk struct {
	Repo string `json:"repo"`
}

func (s *Server) pushReview(_ context.Context, _ *mcp.CallToolRequest, in pushAsk) (*mcp.CallToolResult, any, error) {
	text, ok := s.cfg.Desk.GitPolicy(in.Repo)
	if !ok || !s.hasRepo(in.Repo) {
		return nil, nil, fmt.Errorf("no repository %.40q: this bottle has %s", in.Repo, strings.Join(s.cfg.Repos, ", "))
	}
	return nil, struct {
		Policy string `json:"policy"`
		Next   string `json:"next"`
	}{text, "Push. All that is wrong is told at once. If only what an operator may allow is wrong, git shows the id of a proposal: " +
		"wait with proposal-status, and when it is approved push the very same commits once more."}, nil
}

func (s *Server) listRoutes(context.Context, *mcp.CallToolRequest, struct{}) (*mcp.CallToolResult, any, error) {
	list := []shownRoute{}
	for _, r := range s.cfg.Desk.Routes() {
		list = append(list, shown(r))
	}
	next := "Everything that is not in this list is refused. Ask for more with egress-block: the narrowest that does the work is approved soonest."
	return nil, struct {
		Routes []shownRoute `json:"routes"`
		Next   string       `json:"next"`
	}{list, next}, nil
}

type checkAsk struct {
	Method string `json:"method"`
	URL    string `json:"url"`
}

type verdict struct {
	Verdict string `json:"verdict"` // allow or deny
	Reason  string `json:"reason"`
	Rule    string `json:"rule,omitempty"`
	Message string `json:"message"`
	Next    string `json:"next"`
}

func (s *Server) checkEgress(_ context.Context, _ *mcp.CallToolRequest, in checkAsk) (*mcp.CallToolResult, any, error) {
	v, err := s.cfg.Desk.Check(strings.ToUpper(in.Method), in.URL)
	if err != nil {
		return nil, nil, fmt.Errorf("url: %w", err)
	}
	out := verdict{Verdict: v.Action.String(), Reason: string(v.Reason), Rule: v.Rule, Message: v.Message,
		Next: "Nothing was sent. If the work needs it, ask with egress-block for this host, method and path."}
	if v.Allowed() {
		out.Next = "Nothing was sent. The request may go out; what it carries is still looked into for secrets."
	}
	return nil, out, nil
}

type statusAsk struct {
	ID string `json:"id"`
}

func (s *Server) status(_ context.Context, _ *mcp.CallToolRequest, in statusAsk) (*mcp.CallToolResult, any, error) {
	p, ok := s.cfg.Desk.Proposal(in.ID)
	if !ok {
		return nil, nil, fmt.Errorf("this bottle has no proposal %.20q: use the id that the call which asked gave you", in.ID)
	}
	return nil, told(p), nil
}

// shownRoute is a route as an agent may know it: nothing of the operator's machine.
type shownRoute struct {
	Host    string      `json:"host"`
	Ports   []uint16    `json:"ports"`
	Methods []string    `json:"methods"`        // ["any"]
	Paths   []string    `json:"path_allowlist"` // ["any"]
	Auth    *credential `json:"auth,omitempty"` // put in by the gateway
	TLS     string      `json:"tls,omitempty"`
	DLP     string      `json:"dlp,omitempty"` // what happens to secrets on the way out
}

func shown(r bottle.Route) shownRoute {
	out := shownRoute{Host: r.Host.String(), Ports: r.Ports, Methods: orAny(r.Methods), Paths: orAny(r.Paths), TLS: r.TLS, DLP: r.DLP}
	if r.Auth != nil {
		out.Auth = &credential{Scheme: r.Auth.Scheme, TokenRef: r.Auth.TokenRef}
		if r.Auth.Header != "" {
			out.Auth.Scheme += ":" + r.Auth.Header
		}
	}
	return out
}

func orAny(list []string) []string {
	if len(list) == 0 {
		return []string{"any"}
	}
	return list
}

// told is what an agent hears about a proposal, and what it should do.
func told(p bottle.Proposal) outcome {
	out := outcome{Status: p.Status, ID: p.ID, Note: p.Note}
	switch p.Status {
	case bottle.ProposalApproved:
		out.Message, out.Next = "The operator approved it. It is in force now.", retry(p.Kind)
		if p.Image != nil {
			out.Message = "The operator approved it. The image is made anew when he resumes this bottle, and not before."
		}
		if p.Bill != nil {
			out.Added = &added{Folder: plan.Added + "/bin", Programs: append([]string{}, p.Bill.Programs...)}
		}
	case bottle.ProposalModified:
		out.Message, out.Next = "The operator approved something else than you asked for; it is in force now.", "Look at \"given\" and work within it. "+retry(p.Kind)
		if p.Given != nil {
			given := shown(*p.Given)
			out.Given = &given
		}
	case bottle.ProposalRejected:
		out.Message, out.Next = "The operator rejected it.", "Do not ask for the same again. Read operator_note if there is one, and do the work without this; if it can't be done so, say so in your answer."
	case bottle.ProposalExpired:
		out.Message, out.Next = "Nobody decided in time, so it is not allowed.", "If you still need it, ask once more; else go on without it."
	case bottle.ProposalPending:
		out.Message = "The operator has not decided yet. The proposal stays queued."
		if p.Count > 1 {
			out.Message += " It was asked " + strconv.Itoa(p.Count) + " times and is one proposal."
		}
		out.Next = "Go on with other work, and call proposal-status with this id later. Asking again does not make it faster."
	default:
		out.Message, out.Next = "It is not known what became of it, so it is not allowed.", "Call proposal-status with this id later."
	}
	return out
}

func retry(k bottle.ProposalKind) string {
	switch k {
	case bottle.ProposalPush:
		return "Push the very same commits again: it counts once, for these commits alone."
	case bottle.ProposalContent:
		return "Send the very same request again."
	case bottle.ProposalCapability:
		return "The programs named in \"added\" are in its folder, which is the last on PATH: run them by name, or by their whole path where the system has one of that name. " +
			"Nothing else was installed: no service runs, and no install script ran. If the grant is taken back or its time is over, they are gone."
	}
	if k == bottle.ProposalImage {
		return "Go on with what does not need it. Then say in your answer that the bottle has to be resumed for it; this conversation goes on there."
	}
	return "Make your request now."
}
