package gateway

import (
	"errors"
	"net/http"
	"time"

	"bottle/internal/bottle"
	"bottle/internal/egress"
	"bottle/internal/plan"
	"bottle/internal/supervise"
)

// askDoor is the server that the agent asks at, as the egress sees it. It needs the
// desk, which needs the egress, so it is made second, before anything is served.
type askDoor struct{ *supervise.Server }

// services are what answers the bottle besides the egress. None is open yet.
func (g *gateway) services() (s egress.Services) {
	if len(g.told.Repos) > 0 {
		s = append(s, g.gitService())
	}
	if g.told.Supervise {
		g.ask = &askDoor{}
		s = append(s, g.ask)
	}
	return append(s, proxyDoor{})
}

// proxyDoor is the short name of the explicit proxy: connections there may be opened,
// and are the explicit proxy's. It answers no request.
type proxyDoor struct{}

// Near implements the egress's view of a service.
func (proxyDoor) Near(host bottle.Host, port uint16) bool {
	return host == plan.PipelockName && (port == 0 || port == plan.PipelockPort)
}

// Takes implements it, too.
func (proxyDoor) Takes(*http.Request, bottle.Host, uint16) bool { return false }

// Serve implements it, too.
func (proxyDoor) Serve(http.ResponseWriter, *http.Request, bottle.Host, uint16) bool { return false }

// openSupervise makes the server behind the door.
func (g *gateway) openSupervise() (err error) {
	if g.ask == nil {
		return nil
	}
	if g.desk == nil {
		return errors.New("told of an agent that may ask, and of no folder for what it asks")
	}
	var repos []string
	for _, r := range g.told.Repos {
		repos = append(repos, r.Name)
	}
	g.ask.Server, err = supervise.New(supervise.Config{Desk: g.desk, Repos: repos, Wait: time.Duration(g.told.Wait) * time.Second, Version: g.Version, Recipe: g.told.Recipe})
	return err
}
