package supervise

import "time"

// The bounds, for tests of them.
const (
	MaxBody     = maxBody
	MaxDepth    = maxDepth
	MaxRequests = maxRequests
	MaxWaiting  = maxWaiting
)

// Hurry shortens the time that a body may take.
func (s *Server) Hurry(d time.Duration) { s.bodyTime = d }

// Begin makes what the first call makes.
func (s *Server) Begin() { s.handler() }
