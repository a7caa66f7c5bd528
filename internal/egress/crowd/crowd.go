// Package crowd bounds the connections of one bottle. When there is no room for
// another one, who has been waiting the longest without asking for anything has to
// go: otherwise some hundred connections that never finish their first line would
// keep every other program of the bottle out (Slowloris, 2009). Who is being
// answered stays.
package crowd

import (
	"container/list"
	"sync"
)

// Crowd is everybody who is inside. Make it with New; the zero Crowd has no room.
type Crowd struct {
	mu     sync.Mutex
	room   int
	inside int
	fresh  list.List // of *Guest that were never answered, the longest waiting in front
	idle   list.List // of *Guest that wait between two requests, same
}

// Guest is one connection. The methods of a nil Guest do nothing.
type Guest struct {
	crowd  *Crowd
	evict  func()
	queue  *list.List    // where it waits; nil: it is being answered, or is not inside
	place  *list.Element // in queue
	leave  func()        // gives back what it holds; nil: nothing
	inside bool
	served bool
	gone   bool
}

// New makes a crowd for at most room connections at one time.
func New(room int) *Crowd { return &Crowd{room: room} }

// Guest makes a guest who is not inside yet. evict ends its connection, from the
// goroutine of whoever enters instead; it is called at most once, after Enter, and
// may call Leave.
func (c *Crowd) Guest(evict func()) *Guest { return &Guest{crowd: c, evict: evict} }

// Enter lets g in, waiting; false: there is no room, and everybody is being
// answered. When it returns true the one who had to go, if any, has gone.
func (g *Guest) Enter() bool {
	c := g.crowd
	c.mu.Lock()
	var out *Guest
	if c.inside >= c.room {
		if out = c.longest(func(*Guest) bool { return true }); out == nil {
			c.mu.Unlock()
			return false
		}
		c.remove(out)
		out.gone = true
	}
	c.inside++
	g.inside = true
	g.join(&c.fresh)
	c.mu.Unlock()
	if out != nil {
		out.end()
	}
	return true
}

// Shed makes the one go who has been waiting the longest of those who hold
// something; false: none of these waits.
func (c *Crowd) Shed() bool {
	c.mu.Lock()
	out := c.longest(func(g *Guest) bool { return g.leave != nil })
	if out != nil {
		c.remove(out)
		out.gone = true
	}
	c.mu.Unlock()
	if out == nil {
		return false
	}
	out.end()
	return true
}

// Hold gives g something that there is a bound of. leave gives it back, once: when
// g leaves or has to go, or at once if it has gone.
func (g *Guest) Hold(leave func()) {
	if g == nil {
		return
	}
	g.crowd.mu.Lock()
	inside := g.inside
	if inside {
		g.leave = leave
	}
	g.crowd.mu.Unlock()
	if !inside {
		leave()
	}
}

// end gives back what a guest holds who had to go, and tells it.
func (g *Guest) end() {
	if leave := g.let(); leave != nil {
		leave()
	}
	g.evict()
}

// let takes out what gives back what g holds.
func (g *Guest) let() (leave func()) {
	g.crowd.mu.Lock()
	defer g.crowd.mu.Unlock()
	leave, g.leave = g.leave, nil
	return leave
}

// remove takes somebody who is inside out.
func (c *Crowd) remove(g *Guest) {
	g.quit()
	g.inside = false
	c.inside--
}

// longest is who of those that ok allows goes first; nil: none waits. A client that
// was answered before comes after all those who have yet to say what they want.
func (c *Crowd) longest(ok func(*Guest) bool) *Guest {
	for _, queue := range []*list.List{&c.fresh, &c.idle} {
		for e := queue.Front(); e != nil; e = e.Next() {
			if g := e.Value.(*Guest); ok(g) {
				return g
			}
		}
	}
	return nil
}

// Work says that g has asked for something whole and is being answered: from now
// on it stays. False: it has been evicted, and nothing must be done for it.
func (g *Guest) Work() bool {
	if g == nil {
		return true
	}
	g.crowd.mu.Lock()
	defer g.crowd.mu.Unlock()
	g.quit()
	return g.inside
}

// Wait says that g is to ask for something. answered: it has got an answer, which
// is not so when what was asked for is only a way to ask (CONNECT).
func (g *Guest) Wait(answered bool) {
	if g == nil {
		return
	}
	c := g.crowd
	c.mu.Lock()
	defer c.mu.Unlock()
	g.quit()
	g.served = g.served || answered
	switch {
	case !g.inside:
	case g.served:
		g.join(&c.idle)
	default:
		g.join(&c.fresh)
	}
}

// Leave says that the connection has ended. Only the first call counts.
func (g *Guest) Leave() {
	if g == nil {
		return
	}
	g.crowd.mu.Lock()
	if g.inside {
		g.crowd.remove(g)
	}
	g.crowd.mu.Unlock()
	if leave := g.let(); leave != nil {
		leave()
	}
}

// Gone reports whether g had to go for another one.
func (g *Guest) Gone() bool {
	if g == nil {
		return false
	}
	g.crowd.mu.Lock()
	defer g.crowd.mu.Unlock()
	return g.gone
}

// Served reports whether g was ever answered.
func (g *Guest) Served() bool {
	if g == nil {
		return false
	}
	g.crowd.mu.Lock()
	defer g.crowd.mu.Unlock()
	return g.served
}

// Inside is how many there are.
func (c *Crowd) Inside() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.inside
}

func (g *Guest) join(queue *list.List) { g.queue, g.place = queue, queue.PushBack(g) }

func (g *Guest) quit() {
	if g.queue != nil {
		g.queue.Remove(g.place)
		g.queue, g.place = nil, nil
	}
}
