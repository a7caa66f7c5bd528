package composed

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"bottle/internal/plan"
)

// patience is how long one part waits for the others.
const patience = 60 * time.Second

// Main runs one of the roles, if args name one; else ran is false.
func Main(args []string, in io.Reader, out, errs io.Writer) (code int, ran bool, err error) {
	if len(args) == 0 || args[0] != AgentWord && args[0] != FenceWord && args[0] != GatewayWord {
		return 0, false, nil
	}
	if len(args) != 2 {
		return 0, true, errors.New("usage: bottle-jail " + args[0] + " JSON; people use `bottle export compose`")
	}
	ctx := context.Background()
	switch args[0] {
	case AgentWord:
		var a Agent
		if err = told(args[1], &a); err == nil {
			code, err = a.Run(ctx, in, out, errs)
		}
	case FenceWord:
		var b plan.Bottle
		if err = told(args[1], &b); err == nil {
			err = Fence(ctx, b)
		}
	case GatewayWord:
		var g Gateway
		if err = told(args[1], &g); err == nil {
			err = g.Become()
		}
	}
	return code, true, err
}

func told(word string, into any) error {
	if err := json.Unmarshal([]byte(word), into); err != nil {
		return fmt.Errorf("read what was told: %w", err)
	}
	return nil
}

// until asks again and again until ready has no error, and gives the last one where it never has.
func until(ctx context.Context, ready func() error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		err := ready()
		if err == nil {
			return nil
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return err
		}
	}
}

// network names this process's network namespace, which agent and fence share.
func network() (string, error) { return os.Readlink("/proc/self/ns/net") }
