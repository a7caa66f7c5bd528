package check

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"

	"bottle/internal/plan"
)

// maxAnswer bounds what is read of an answer, in bytes.
const maxAnswer = 1 << 20

// ask sends one request to the gateway as its agent would, and gives what came back.
func (t *trial) ask(ctx context.Context, method, url, body string) (status int, said string, err error) {
	if t.addr == "" {
		return 0, "", errNone
	}
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json, text/event-stream")
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", t.addr)
	if err != nil {
		return 0, "", fmt.Errorf("reach the gateway that was begun: %w", err)
	}
	defer conn.Close()
	if end, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(end) // a connection always takes one
	}
	if err := req.WriteProxy(conn); err != nil {
		return 0, "", fmt.Errorf("ask the gateway: %w", err)
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), req)
	if err != nil {
		return 0, "", fmt.Errorf("hear the gateway: %w", err)
	}
	defer res.Body.Close()
	all, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return 0, "", fmt.Errorf("hear the gateway: %w", err)
	}
	return res.StatusCode, string(all), nil
}

// call is one message of MCP and its answer, which comes as JSON or as one event.
func (t *trial) call(ctx context.Context, message string, into any) error {
	status, said, err := t.ask(ctx, "POST", "http://"+plan.SuperviseHost+plan.SupervisePath, message)
	if err != nil {
		return err
	}
	text := []byte(said)
	if _, event, ok := bytes.Cut(text, []byte("data: ")); ok {
		text, _, _ = bytes.Cut(event, []byte("\n"))
	}
	if status != http.StatusOK || json.Unmarshal(text, into) != nil {
		return fmt.Errorf("its server answered %d %.200q", status, said)
	}
	return nil
}
