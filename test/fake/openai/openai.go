// Package openai is a faithful fake of the OpenAI Responses API as the Codex CLI
// uses it: streamed answers, one shell call, and the model list, over HTTPS on
// loopback.
package openai

import (
	"encoding/json"
	"fmt"
	"net/http"
	"sync"

	"bottle/test/fake/loopback"
)

// Options say how the fake behaves.
type Options struct {
	Key     string // the one bearer token that it accepts
	Answer  string // the text of a final answer
	Command string // a shell command that the agent is asked to run first; empty: none
	Script  string // JavaScript that it is asked to run instead, with its tools as functions of `tools`; empty: none
}

// Server is one running fake. Close it.
type Server struct {
	*loopback.Server
	opts Options

	mu      sync.Mutex
	results []string
}

// Start serves a fake for api.openai.com on a free loopback port.
func Start(opts Options) (*Server, error) {
	s := &Server{opts: opts}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/responses", s.authorised(s.responses))
	mux.HandleFunc("GET /v1/models", s.authorised(s.models))
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		fail(w, http.StatusNotFound, "Not Found")
	})
	var err error
	s.Server, err = loopback.Serve(mux, "api.openai.com")
	return s, err
}

// ToolResults are the outputs of the tools that agents ran for the fake.
func (s *Server) ToolResults() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.results...)
}

func (s *Server) authorised(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if s.opts.Key == "" || r.Header.Get("Authorization") != "Bearer "+s.opts.Key {
			fail(w, http.StatusUnauthorized, "Incorrect API key provided")
			return
		}
		next(w, r)
	}
}

// request is a Responses API request, as far as the fake reads it.
type request struct {
	Model string `json:"model"`
	Tools []tool `json:"tools"`
	Input []struct {
		Type   string          `json:"type"`
		Output json.RawMessage `json:"output"`
		Tools  []tool          `json:"tools"` // type additional_tools: newer models get their tools as input
	} `json:"input"`
}

// tool is one tool that the agent offers, or a namespace of them.
type tool struct {
	Type  string `json:"type"`
	Name  string `json:"name"`
	Tools []tool `json:"tools"`

	namespace string
}

// tools lists every tool of a request, those in namespaces too.
func (q request) tools() []tool {
	all := append([]tool(nil), q.Tools...)
	for _, in := range q.Input {
		all = append(all, in.Tools...)
	}
	for _, t := range all {
		for _, inner := range t.Tools {
			inner.namespace = t.Name
			all = append(all, inner)
		}
	}
	return all
}

func (s *Server) responses(w http.ResponseWriter, r *http.Request) {
	var q request
	if err := json.NewDecoder(r.Body).Decode(&q); err != nil || len(q.Input) == 0 {
		fail(w, http.StatusBadRequest, "Missing required parameter: 'input'.")
		return
	}
	ran := false
	for _, in := range q.Input {
		if in.Type == "function_call_output" || in.Type == "custom_tool_call_output" {
			ran = true
			s.keep(in.Output)
		}
	}
	item := map[string]any{
		"type": "message", "id": "msg_0123456789", "role": "assistant", "status": "completed",
		"content": []map[string]any{{"type": "output_text", "text": s.opts.Answer, "annotations": []any{}}},
	}
	if call := s.call(q); call != nil && !ran {
		item = call
	}
	stream(w, q.Model, item, s.opts.Answer)
}

// call asks for the command through whichever shell tool the agent offers.
func (s *Server) call(q request) map[string]any {
	if s.opts.Command == "" && s.opts.Script == "" {
		return nil
	}
	for _, t := range q.tools() {
		var arguments any
		switch t.Name {
		case "exec": // JavaScript around the shell
			if s.opts.Script != "" {
				return t.script(s.opts.Script)
			}
			text, err := json.Marshal(s.opts.Command)
			if err != nil {
				return nil
			}
			return t.script("const r = await tools.exec_command({cmd: " + string(text) + "}); text(r.output);")
		case "exec_command":
			arguments = map[string]any{"cmd": s.opts.Command}
		case "shell_command":
			arguments = map[string]any{"command": s.opts.Command}
		case "shell":
			arguments = map[string]any{"command": []string{"/bin/sh", "-c", s.opts.Command}}
		default:
			continue
		}
		text, err := json.Marshal(arguments)
		if err != nil {
			return nil
		}
		return map[string]any{
			"type": "function_call", "id": "fc_0123456789", "call_id": "call_0123456789",
			"name": t.Name, "arguments": string(text), "status": "completed",
		}
	}
	return nil
}

// script calls a tool that takes JavaScript, in which tools.exec_command is the shell.
func (t tool) script(text string) map[string]any {
	call := map[string]any{
		"type": "custom_tool_call", "id": "ctc_0123456789", "call_id": "call_0123456789", "name": t.Name, "status": "completed",
		"input": text,
	}
	if t.namespace != "" {
		call["namespace"] = t.namespace
	}
	return call
}

// keep notes a tool's output: a string, or a list of texts.
func (s *Server) keep(output json.RawMessage) {
	var text string
	if json.Unmarshal(output, &text) != nil {
		var parts []struct {
			Text string `json:"text"`
		}
		if json.Unmarshal(output, &parts) != nil {
			text = string(output)
		}
		for _, part := range parts {
			text += part.Text
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.results = append(s.results, text)
}

func (s *Server) models(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, map[string]any{"object": "list", "data": []any{}})
}

// stream writes one output item as the API's server-sent events.
func stream(w http.ResponseWriter, model string, item map[string]any, text string) {
	w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
	sequence := 0
	send := func(kind string, event map[string]any) {
		event["type"], event["sequence_number"] = kind, sequence
		sequence++
		data, err := json.Marshal(event)
		if err != nil {
			return
		}
		fmt.Fprintf(w, "event: %s\ndata: %s\n\n", kind, data)
		http.NewResponseController(w).Flush() //nolint:errcheck // a peer that went away sees nothing anyway
	}
	response := func(status string, output []any) map[string]any {
		return map[string]any{"id": "resp_0123456789", "object": "response", "status": status, "model": model, "output": output}
	}
	send("response.created", map[string]any{"response": response("in_progress", []any{})})
	send("response.output_item.added", map[string]any{"output_index": 0, "item": item})
	if item["type"] == "message" {
		send("response.output_text.delta", map[string]any{"output_index": 0, "content_index": 0, "item_id": item["id"], "delta": text})
	}
	send("response.output_item.done", map[string]any{"output_index": 0, "item": item})
	done := response("completed", []any{item})
	done["usage"] = map[string]any{
		"input_tokens": 12, "input_tokens_details": map[string]any{"cached_tokens": 0},
		"output_tokens": 9, "output_tokens_details": map[string]any{"reasoning_tokens": 0}, "total_tokens": 21,
	}
	send("response.completed", map[string]any{"response": done})
}

func fail(w http.ResponseWriter, status int, message string) {
	answer(w, status, map[string]any{"error": map[string]any{"message": message, "type": "invalid_request_error", "param": nil, "code": nil}})
}

func answer(w http.ResponseWriter, status int, body map[string]any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(body) //nolint:errcheck // a peer that went away sees nothing anyway
}
