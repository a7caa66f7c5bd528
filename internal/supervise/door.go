package supervise

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"bottle/internal/bottle"
	"bottle/internal/plan"
)

// answer lets what may be an MCP message through to the protocol, and nothing else.
func (s *Server) answer(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	switch {
	case !ours(r.Host):
		plain(w, http.StatusMisdirectedRequest, "this is "+plan.SuperviseHost+" and no other host\n")
	case !s.ownOrigin(r):
		plain(w, http.StatusForbidden, "a page of another origin may not speak for the agent\n")
	case r.URL.Path == "/" && (r.Method == http.MethodGet || r.Method == http.MethodHead):
		plain(w, http.StatusOK, welcome)
	case r.URL.EscapedPath() != plan.SupervisePath || r.URL.RawQuery != "":
		plain(w, http.StatusNotFound, "there is only POST http://"+plan.SuperviseHost+plan.SupervisePath+"\n")
	case r.Method != http.MethodPost:
		h.Set("Allow", http.MethodPost) // the server has no stream and no session (MCP 2025-11-25, transports)
		plain(w, http.StatusMethodNotAllowed, "the server takes POST only: there are no streams and no sessions\n")
	case r.Header.Get("Content-Encoding") != "":
		plain(w, http.StatusUnsupportedMediaType, "send the message without a Content-Encoding\n")
	case !jsonType(r.Header.Get("Content-Type")):
		plain(w, http.StatusUnsupportedMediaType, "the Content-Type is application/json\n")
	default:
		body, err := s.read(w, r)
		if err != nil {
			refuse(w, err)
			return
		}
		r = r.WithContext(context.WithValue(r.Context(), requestKey{}, r.Context()))
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
		s.handler().ServeHTTP(w, r)
	}
}

// named reports whether host is one of the server's own names.
func named(host bottle.Host) bool { return host == plan.SuperviseHost || host == plan.SuperviseName }

// ours reports whether a Host is ours: a request of which the egress thinks otherwise
// never comes here, so this is the second lock.
func ours(host string) bool {
	name, _, err := bottle.ParseHostPort(host, 80)
	return err == nil && named(name)
}

// ownOrigin keeps web pages out that a browser in the bottle shows: their requests carry
// Origin, and Sec-Fetch-Site in all browsers since 2023. MCP demands it (transports,
// security warning). A preflight is an OPTIONS, which is refused.
func (s *Server) ownOrigin(r *http.Request) bool {
	if len(r.Header.Values("Origin")) > 1 || len(r.Header.Values("Sec-Fetch-Site")) > 1 {
		return false
	}
	return s.origins.Check(r) == nil
}

func jsonType(s string) bool {
	kind, _, err := mime.ParseMediaType(s)
	return err == nil && kind == "application/json"
}

// fault is why a body is not taken.
type fault struct {
	code int // of HTTP
	text string
}

func (f fault) Error() string { return f.text }

// read takes a body in its bounds: of size, of time, and one JSON object that does not
// nest deeply. Batches are gone from the protocol since 2025-06-18; before that they
// were optional to send.
func (s *Server) read(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	if r.ContentLength > maxBody {
		return nil, tooLarge()
	}
	c := http.NewResponseController(w)
	if err := c.SetReadDeadline(time.Now().Add(s.bodyTime)); err != nil {
		return nil, fmt.Errorf("limit the time of a request: %w", err)
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	_ = c.SetReadDeadline(time.Time{}) // it could be set
	switch {
	case len(body) > maxBody:
		return nil, tooLarge()
	case err != nil:
		return nil, fault{http.StatusRequestTimeout, "the message did not arrive within " + s.bodyTime.String()}
	}
	return body, shape(body)
}

func tooLarge() error {
	return fault{http.StatusRequestEntityTooLarge, "a message has at most " + strconv.Itoa(maxBody) + " bytes"}
}

// shape looks at a message without reading it: one object, and not deeper than maxDepth.
func shape(body []byte) error {
	text := bytes.TrimLeft(body, " \t\r\n")
	switch {
	case len(text) == 0:
		return fault{http.StatusBadRequest, "the body is empty"}
	case text[0] == '[':
		return fault{http.StatusBadRequest, "send one message a request: batches are not taken"}
	case text[0] != '{':
		return fault{http.StatusBadRequest, "a message is one JSON object"}
	}
	depth, quoted, escaped := 0, false, false
	for _, c := range text {
		switch {
		case escaped:
			escaped = false
		case quoted:
			escaped, quoted = c == '\\', c != '"'
		case c == '"':
			quoted = true
		case c == '{' || c == '[':
			if depth++; depth > maxDepth {
				return fault{http.StatusBadRequest, "the message is nested more than " + strconv.Itoa(maxDepth) + " deep"}
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	if !json.Valid(text) { // what follows the object, too: the SDK would drop it
		return fault{http.StatusBadRequest, "a message is one JSON object, and nothing behind it"}
	}
	return nil
}

// refuse tells why no message was read. It ends the connection: the rest of the body is
// still on its way.
func refuse(w http.ResponseWriter, err error) {
	f := fault{http.StatusInternalServerError, "the request can't be read"}
	_ = errors.As(err, &f)
	if f.code != http.StatusBadRequest {
		w.Header().Set("Connection", "close")
	}
	plain(w, f.code, f.text+"\n")
}

func plain(w http.ResponseWriter, code int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(len(text)))
	w.WriteHeader(code)
	_, _ = io.WriteString(w, text) // the client may be gone
}

// spoken reports whether a method of the protocol is served. All others are refused
// before the SDK's code for them runs: what holds a connection open, what keeps state,
// and what decodes cursors that this server never gave.
func spoken(method string, req mcp.Request) bool {
	switch method {
	case "initialize", "server/discover", "notifications/initialized", "notifications/cancelled", "notifications/progress", "ping", "tools/call", "resources/read":
		return true
	case "tools/list":
		p, ok := req.GetParams().(*mcp.ListToolsParams)
		return !ok || p == nil || p.Cursor == ""
	case "resources/list":
		p, ok := req.GetParams().(*mcp.ListResourcesParams)
		return !ok || p == nil || p.Cursor == ""
	case "resources/templates/list":
		p, ok := req.GetParams().(*mcp.ListResourceTemplatesParams)
		return !ok || p == nil || p.Cursor == ""
	}
	return false
}

// guarded stands before every method: it refuses those that are not served, and a fault
// in one call must not end the gateway.
func (s *Server) guarded(next mcp.MethodHandler) mcp.MethodHandler {
	return func(ctx context.Context, method string, req mcp.Request) (res mcp.Result, err error) {
		defer func() {
			if recover() != nil {
				res, err = nil, &jsonrpc.Error{Code: jsonrpc.CodeInternalError, Message: "the server failed; nothing was changed by this call"}
			}
		}()
		if !spoken(method, req) {
			return nil, &jsonrpc.Error{Code: jsonrpc.CodeMethodNotFound, Message: fmt.Sprintf("this server does not serve %.40q, or not in this way", method)}
		}
		res, err = next(ctx, method, req)
		if call, ok := res.(*mcp.CallToolResult); ok && err == nil && call != nil {
			bound(call)
		}
		return res, err
	}
}

// bound shortens what a call is told of its mistakes: they are quoted, and may be long.
func bound(r *mcp.CallToolResult) {
	const most = 1 << 10
	for _, c := range r.Content {
		if t, ok := c.(*mcp.TextContent); ok && r.IsError && len(t.Text) > most {
			t.Text = strings.ToValidUTF8(t.Text[:most], "") + "…"
		}
	}
}
