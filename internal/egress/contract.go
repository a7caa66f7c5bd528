package egress

import (
	"time"

	"bottle/internal/bottle"
)

// Admit lets the value with this fingerprint pass to host until then.
func (p *Proxy) Admit(print string, host bottle.Host, until time.Time) {}
