package supervise

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"bottle/internal/bottle"
	"bottle/internal/plan"
)

// Bounds of what a client may take.
const (
	maxBody     = 64 << 10         // bytes of one message
	maxDepth    = 32               // objects and arrays within each other
	bodyTime    = 10 * time.Second // for a body, as a whole
	maxRequests = 16               // at one time; for one more: 503
	maxWaiting  = 8                // calls that wait for the operator; one more is answered "pending" at once
	defaultWait = bottle.DefaultWait * time.Second
)

// Config is what a server is made of. The zero Config is refused.
type Config struct {
	Desk    Desk
	Repos   []string      // names of the repositories behind the git gate
	Wait    time.Duration // how long a call waits for the operator that does not say how long; 0: 30 s
	Version string        // of this program
	Recipe  bool          // the agent's image is made by a recipe, behind which lines can be asked for
}

// Server is one bottle's MCP server. It is safe for use by many at once.
type Server struct {
	cfg      Config
	requests chan struct{}
	waiting  chan struct{}
	handler  func() http.Handler // made by the first request: most bottles never ask
	origins  http.CrossOriginProtection
	bodyTime time.Duration
}

// New makes a server. It listens nowhere and starts nothing.
func New(cfg Config) (*Server, error) {
	if cfg.Desk == nil {
		return nil, errors.New("make the supervise server: no desk")
	}
	if cfg.Wait <= 0 {
		cfg.Wait = defaultWait
	}
	s := &Server{cfg: cfg, requests: make(chan struct{}, maxRequests), waiting: make(chan struct{}, maxWaiting), bodyTime: bodyTime}
	s.handler = sync.OnceValue(s.protocol)
	return s, nil
}

// Near reports whether this is the server's own name and one of its ports. Port 0 is any.
func (s *Server) Near(host bottle.Host, port uint16) bool {
	return named(host) && (port == 0 || port == 80 || port == plan.SupervisePort)
}

// Takes reports whether Serve would answer a request.
func (s *Server) Takes(_ *http.Request, host bottle.Host, port uint16) bool {
	return port != 0 && s.Near(host, port)
}

// Serve answers what is for this server. False: it is not, and nothing was written.
// Nothing is recorded here: the desk records what is asked.
func (s *Server) Serve(w http.ResponseWriter, r *http.Request, host bottle.Host, port uint16) bool {
	if !s.Takes(r, host, port) {
		return false
	}
	select {
	case s.requests <- struct{}{}:
		defer func() { <-s.requests }()
	default:
		w.Header().Set("Retry-After", "1")
		plain(w, http.StatusServiceUnavailable, "as many requests are being answered as may be: try again in a second\n")
		return true
	}
	s.answer(w, r)
	return true
}

// protocol makes what speaks MCP.
func (s *Server) protocol() http.Handler {
	m := mcp.NewServer(&mcp.Implementation{Name: "supervise", Title: "Ask the operator of this bottle", Version: s.cfg.Version}, &mcp.ServerOptions{
		Instructions: instructions,
		// Not nil: the default would promise logging. Lists never change while a server lives.
		Capabilities: &mcp.ServerCapabilities{Tools: &mcp.ToolCapabilities{}, Resources: &mcp.ResourceCapabilities{}},
	})
	m.AddReceivingMiddleware(s.guarded)
	s.tools(m)
	s.resources(m)
	return mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return m }, &mcp.StreamableHTTPOptions{
		Stateless:           true, // a session would be memory that the agent can take
		JSONResponse:        true, // one answer, no stream that stays open
		MaxRequestBodyBytes: maxBody,
		// It refuses names other than localhost on a loopback listener, because a web page
		// could have its name resolve there. Here the name is always supervise.bottle, by
		// which the request was led here, and no other is served; see Serve and answer.
		DisableLocalhostProtection: true,
	})
}

// while is ctx until the client of the HTTP request is gone, too: the SDK cuts the one
// from the other.
func while(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	r, ok := ctx.Value(requestKey{}).(context.Context)
	if !ok {
		return ctx, cancel
	}
	stop := context.AfterFunc(r, cancel)
	return ctx, func() { stop(); cancel() }
}

type requestKey struct{}

// ask gives a proposal to the desk and waits as long as the call says, or as long as calls
// do that say nothing.
func (s *Server) ask(ctx context.Context, p bottle.Proposal, seconds *int) (bottle.Proposal, error) {
	ctx, cancel := while(ctx)
	defer cancel()
	wait := s.cfg.Wait
	if seconds != nil {
		wait = time.Duration(*seconds) * time.Second
	}
	select {
	case s.waiting <- struct{}{}:
		defer func() { <-s.waiting }()
	default:
		wait = 0
	}
	return s.cfg.Desk.Ask(ctx, p, wait)
}

func (s *Server) hasRepo(name string) bool {
	for _, r := range s.cfg.Repos {
		if strings.EqualFold(r, name) {
			return true
		}
	}
	return false
}
