package quota

import (
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"bottle/internal/policy"
)

// TestAccountBooksWhatIsWritten: bytes that go out without HTTP count, each before it goes,
// and none goes past the bound.
func TestAccountBooksWhatIsWritten(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	a := Account{Book: New(Limits{HostBytesOut: 100, BytesOut: 150}), Host: "git.example.com", Now: func() time.Time { return now }}
	ours, theirs := net.Pipe()
	got := make(chan int64, 1)
	go func() { n, _ := io.Copy(io.Discard, theirs); got <- n }()
	c := a.Over(ours)
	if err := a.Fits(90); err != nil {
		t.Error(err)
	}
	if _, err := c.Write(make([]byte, 90)); err != nil {
		t.Fatal(err)
	}
	n, err := c.Write(make([]byte, 20))
	var spent Spent
	if n != 0 || !errors.As(err, &spent) || spent.Reason() != policy.LimitBytesOut || spent.Wait <= 0 || !strings.Contains(err.Error(), "wait ") {
		t.Errorf("%d %v", n, err)
	}
	if err := a.Fits(101); err == nil || !strings.Contains(err.Error(), "larger than all") {
		t.Errorf("%v", err)
	}
	now = now.Add(2 * time.Hour)
	if _, err := c.Write(make([]byte, 20)); err != nil {
		t.Errorf("an hour later: %v", err)
	}
	_ = c.Close()
	if n := <-got; n != 110 {
		t.Errorf("%d bytes went out", n)
	}
	if err := (Account{Now: time.Now}).Fits(1 << 50); err != nil {
		t.Errorf("no book bounds nothing: %v", err)
	}
}
