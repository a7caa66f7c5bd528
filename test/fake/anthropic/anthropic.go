// Package anthropic is a faithful fake of the Anthropic Messages API as Claude
// Code uses it: streamed and plain answers, tool use, token counting, model
// lists and the reachability check, over HTTPS on loopback.
package anthropic

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"

	"bottle/test/fake/loopback"
)

// Options say how the fake behaves.
type Options struct {
	Key     string // the one credential that it accepts, as x-api-key or as bearer token
	Answer  string // the text of a final answer
	Command string // a shell command that the agent is asked to run first; empty: none
	Tool    string // a tool that it is asked to call instead, with Input; empty: none
	Input   any
}

// Server is one running fake. Close it.
type Server struct {
	*loopback.Server
	opts Options

	mu      sync.Mutex
	results []string
	offered []string
}

// Start serves a fake for api.anthropic.com on a free loopback port.
func Start(opts Options) (*Server, error) {
	s := &Server{opts: opts}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/messages", s.authorised(s.messages))
	mux.HandleFunc("POST /v1/messages/count_tokens", s.authorised(s.countTokens))
	mux.HandleFunc("GET /v1/models", s.authorised(s.models))
	mux.HandleFunc("/{$}", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	mux.HandleFunc("/", notFound)
	var err error
	s.Server, err = loopback.Serve(mux, "api.anthropic.com")
	return s, err
}

// ToolResults are the outputs of the tools that agents ran for the fake.
func (s *Server) ToolResults() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.results...)
}

// Offered are the names of the tools that the agent offered last.
func (s *Server) Offered() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.offered...)
}

// message is a Messages API request, as far as the fake reads it.
type message struct {
	Model    string `json:"model"`
	Stream   bool   `json:"stream"`
	Messages []struct {
		Role    string          `json:"role"`
		Content json.RawMessage `json:"content"`
	} `json:"messages"`
	Tools []struct {
		Name string `json:"name"`
	} `json:"tools"`
}

// block is one content block of a message.
type block struct {
	Type    string          `json:"type"`
	Text    string          `json:"text,omitempty"`
	ID      string          `json:"id,omitempty"`
	Name    string          `json:"name,omitempty"`
	Input   json.RawMessage `json:"input,omitempty"`
	Content json.RawMessage `json:"content,omitempty"`
}

// authorised answers 401 in the API's own form unless the real key came.
func (s *Server) authorised(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		key := r.Header.Get("X-Api-Key")
		if token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok && key == "" {
			key = token
		}
		if s.opts.Key == "" || key != s.opts.Key {
			fail(w, http.StatusUnauthorized, "authentication_error", "invalid x-api-key")
			return
		}
		next(w, r)
	}
}

func (s *Server) messages(w http.ResponseWriter, r *http.Request) {
	var m message
	if err := json.NewDecoder(r.Body).Decode(&m); err != nil || len(m.Messages) == 0 {
		fail(w, http.StatusBadRequest, "invalid_request_error", "messages: at least one message is required")
		return
	}
	reply, stop := s.reply(m)
	if m.Stream {
		stream(w, m.Model, reply, stop)
		return
	}
	body := envelope(m.Model)
	body["content"], body["stop_reason"] = []block{reply}, stop
	answer(w, http.StatusOK, body)
}

// reply asks for the command once, if the agent offers a shell and has not yet
// run it; else it answers.
func (s *Server) reply(m message) (block, string) {
	ran := false
	for i := len(m.Messages) - 1; i >= 0 && m.Messages[i].Role != "assistant"; i-- { // an agent's own reminders may follow a result
		var blocks []block
		if json.Unmarshal(m.Messages[i].Content, &blocks) != nil {
			continue // a plain string: no tool result in it
		}
		for _, b := range blocks {
			if b.Type == "tool_result" {
				ran = true
				s.keep(b.Content)
			}
		}
	}
	name, arguments := "Bash", any(map[string]string{"command": s.opts.Command, "description": "run it"})
	if s.opts.Tool != "" {
		name, arguments = s.opts.Tool, s.opts.Input
	}
	there := s.offers(m, name)
	if s.opts.Command == "" && s.opts.Tool == "" || ran || !there {
		return block{Type: "text", Text: s.opts.Answer}, "end_turn"
	}
	input, err := json.Marshal(arguments)
	if err != nil {
		return block{Type: "text", Text: err.Error()}, "end_turn"
	}
	return block{Type: "tool_use", ID: "toolu_01AbCdEfGhIjKlMnOpQrStUv", Name: name, Input: input}, "tool_use"
}

// offers notes what the agent offers, and reports whether name is among it.
func (s *Server) offers(m message, name string) bool {
	if len(m.Tools) == 0 {
		return false
	}
	var names []string
	for _, t := range m.Tools {
		names = append(names, t.Name)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.offered = names
	return slices.Contains(names, name)
}

// keep notes a tool's output: a string, or a list of text blocks.
func (s *Server) keep(content json.RawMessage) {
	var text string
	if json.Unmarshal(content, &text) != nil {
		var blocks []block
		if json.Unmarshal(content, &blocks) != nil {
			text = string(content)
		}
		for _, b := range blocks {
			text += b.Text
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.results = append(s.results, text)
}

func (s *Server) countTokens(w http.ResponseWriter, r *http.Request) {
	answer(w, http.StatusOK, map[string]any{"input_tokens": 1 + r.ContentLength/4})
}

func (s *Server) models(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, map[string]any{"data": []any{}, "has_more": false, "first_id": nil, "last_id": nil})
}

func envelope(model string) map[string]any {
	return map[string]any{
		"id": "msg_01AbCdEfGhIjKlMnOpQrStUv", "type": "message", "role": "assistant", "model": model,
		"content": []block{}, "stop_reason": nil, "stop_sequence": nil,
		"usage": map[string]any{"input_tokens": 12, "output_tokens": 1, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0},
	}
}

// stream writes a reply as the API's server-sent events, each flushed at once.
func stream(w http.ResponseWriter, model string, reply block, stop string) {
	w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
	w.Header().Set("Cache-Control", "no-cache")
	w.Header().Set("Request-Id", "req_01AbCdEfGhIjKlMnOpQrStUv")
	send := func(kind string, event map[string]any) {
		event["type"] = kind
		data, err := json.Marshal(event)
		if err != nil {
			return
		}
		fmt.Fprintf(w, "event: %s\ndata: %s\n\n", kind, data)
		http.NewResponseController(w).Flush() //nolint:errcheck // a peer that went away sees nothing anyway
	}
	send("message_start", map[string]any{"message": envelope(model)})
	start := map[string]any{"type": "text", "text": ""}
	deltas := []map[string]any{}
	if reply.Type == "tool_use" {
		start = map[string]any{"type": "tool_use", "id": reply.ID, "name": reply.Name, "input": map[string]any{}}
		half := len(reply.Input) / 2
		for _, part := range []string{string(reply.Input[:half]), string(reply.Input[half:])} {
			deltas = append(deltas, map[string]any{"type": "input_json_delta", "partial_json": part})
		}
	} else {
		for _, word := range strings.SplitAfter(reply.Text, " ") {
			deltas = append(deltas, map[string]any{"type": "text_delta", "text": word})
		}
	}
	send("content_block_start", map[string]any{"index": 0, "content_block": start})
	send("ping", map[string]any{})
	for _, delta := range deltas {
		send("content_block_delta", map[string]any{"index": 0, "delta": delta})
	}
	send("content_block_stop", map[string]any{"index": 0})
	send("message_delta", map[string]any{"delta": map[string]any{"stop_reason": stop, "stop_sequence": nil}, "usage": map[string]any{"output_tokens": 9}})
	send("message_stop", map[string]any{})
}

func notFound(w http.ResponseWriter, _ *http.Request) {
	fail(w, http.StatusNotFound, "not_found_error", "Not Found")
}

func fail(w http.ResponseWriter, status int, kind, message string) {
	answer(w, status, map[string]any{"type": "error", "error": map[string]any{"type": kind, "message": message}})
}

func answer(w http.ResponseWriter, status int, body map[string]any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(body) //nolint:errcheck // a peer that went away sees nothing anyway
}
