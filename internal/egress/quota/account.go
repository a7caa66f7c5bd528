package quota

import (
	"net"
	"time"

	"bottle/internal/policy"
)

// Account is what one host may be sent, by the caller's clock. It is for who speaks no
// HTTP to it: bytes are booked as they are written.
type Account struct {
	Book *Book
	Host string
	Now  func() time.Time
}

// Spent is the error of a write that would be past a bound.
type Spent struct{ Wait time.Duration } // how long until it would not be; 0: it never would

// Error implements error.
func (s Spent) Error() string {
	if s.Wait <= 0 {
		return "it is larger than all that the bottle may send in an hour (egress.limits): an operator raises the limit"
	}
	return "the bottle has sent as much as it may in an hour (egress.limits): wait " + s.Wait.Round(time.Minute).String() + ", or an operator raises the limit"
}

// Reason is the code for it.
func (s Spent) Reason() policy.Reason { return policy.LimitBytesOut }

// Fits is nil, or Spent where n bytes more would be past a bound.
func (a Account) Fits(n int64) error {
	if wait, ok := a.Book.Fits(a.Now(), a.Host, n); !ok {
		return Spent{wait}
	}
	return nil
}

// Over is c, with each write booked before it is made, or refused.
func (a Account) Over(c net.Conn) net.Conn { return booked{c, a} }

type booked struct {
	net.Conn
	account Account
}

// Write implements io.Writer.
func (b booked) Write(p []byte) (int, error) {
	if wait, ok := b.account.Book.Spend(b.account.Now(), b.account.Host, int64(len(p))); !ok {
		return 0, Spent{wait}
	}
	return b.Conn.Write(p)
}
