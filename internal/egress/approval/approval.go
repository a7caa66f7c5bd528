// Package approval keeps what an operator lets pass: one exact value, known by its
// fingerprint, to one host, until a time.
package approval

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"bottle/internal/bottle"
)

// most is how many may be in force at one time. Of more, the one that ends first is
// forgotten.
const most = 1024

// Approval is one of them.
type Approval struct {
	Print string      // the value's fingerprint
	Host  bottle.Host // where it may be sent
	Since time.Time
	Until time.Time // then it ends
	By    string    // who said so
}

// Book is all of one bottle. Make it with New; it is safe for many goroutines.
type Book struct {
	now  func() time.Time
	mu   sync.Mutex
	list map[key]Approval
}

type key struct {
	print string
	host  bottle.Host
}

// New makes a book in which nothing is.
func New(now func() time.Time) *Book { return &Book{now: now, list: map[key]Approval{}} }

// Add enters one, in the place of one of the same value and host.
func (b *Book) Add(a Approval) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sweep()
	k := key{a.Print, a.Host}
	if _, ok := b.list[k]; !ok && len(b.list) >= most {
		first := b.sorted()[0]
		delete(b.list, key{first.Print, first.Host})
	}
	b.list[k] = a
}

// Has reports whether a value may pass to a host now.
func (b *Book) Has(print string, host bottle.Host) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	a, ok := b.list[key{print, host}]
	return ok && b.now().Before(a.Until)
}

// Revoke takes out those of a value, to one host or, where that is empty, to all. It
// gives them as they were.
func (b *Book) Revoke(print string, host bottle.Host) (gone []Approval) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sweep()
	for _, a := range b.sorted() {
		if a.Print == print && (host == "" || a.Host == host) {
			gone = append(gone, a)
			delete(b.list, key{a.Print, a.Host})
		}
	}
	return gone
}

// List gives those in force, the one that ends first in front.
func (b *Book) List() []Approval {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sweep()
	return b.sorted()
}

func (b *Book) sweep() {
	now := b.now()
	for k, a := range b.list {
		if !now.Before(a.Until) {
			delete(b.list, k)
		}
	}
}

func (b *Book) sorted() []Approval {
	out := make([]Approval, 0, len(b.list))
	for _, a := range b.list {
		out = append(out, a)
	}
	slices.SortFunc(out, func(a, c Approval) int {
		return cmp.Or(a.Until.Compare(c.Until), cmp.Compare(a.Host, c.Host), cmp.Compare(a.Print, c.Print))
	})
	return out
}
