// Package source reads a body in blocks, and says when its sender pauses.
package source

import (
	"errors"
	"io"
	"net/http"
	"sync"
	"time"
)

// BlockSize is how many bytes are read at once at most.
const BlockSize = 128 << 10

const quiet = 30 * time.Millisecond // without a byte: the sender may wait for an answer

// Block is the memory that a body is read into.
type Block [BlockSize]byte

// ErrQuiet says that the sender pauses.
var ErrQuiet = errors.New("read body: its sender pauses")

// Source reads a body in blocks. One whose length is not known may be a stream whose
// sender waits for an answer, so it is read by a goroutine, which Close waits for.
type Source struct {
	src    io.ReadCloser
	blocks *sync.Pool
	back   []byte // put back
	err    error  // behind what was read last

	block *Block
	ask   chan struct{} // nil: it is read at once
	got   chan piece
	busy  bool          // a read is under way
	over  chan struct{} // closed by Close
	done  chan struct{} // closed when nobody reads any more
	once  sync.Once
	quiet *time.Timer
}

type piece struct {
	n   int
	err error
}

// New makes a Source of src. stream says that its length is not known. blocks holds
// *Block, and gives one for as long as it is read. Close must be called.
func New(src io.ReadCloser, stream bool, blocks *sync.Pool) *Source {
	s := &Source{src: src, blocks: blocks}
	if stream {
		s.ask, s.got = make(chan struct{}, 1), make(chan piece, 1)
		s.over, s.done = make(chan struct{}), make(chan struct{})
		s.block = blocks.Get().(*Block)
		go s.read()
	}
	return s
}

// Unread puts back what Next gave.
func (s *Source) Unread(b []byte) { s.back = append([]byte(nil), b...) }

// Next gives the next bytes, valid until the next call, or ErrQuiet where none have come
// for a while, or the error that the body ended with. Both may come at once.
func (s *Source) Next() ([]byte, error) {
	if b := s.back; b != nil {
		s.back = nil
		return b, nil
	}
	if s.err != nil {
		return nil, s.err
	}
	if s.ask == nil {
		return s.fill()
	}
	if !s.busy {
		s.busy = true
		s.ask <- struct{}{}
	}
	if s.quiet == nil {
		s.quiet = time.NewTimer(quiet)
	} else {
		s.quiet.Reset(quiet)
	}
	defer s.quiet.Stop()
	select {
	case p := <-s.got:
		s.busy, s.err = false, p.err
		return s.block[:p.n], p.err
	case <-s.quiet.C:
		return nil, ErrQuiet
	case <-s.over:
		s.err = http.ErrBodyReadAfterClose
		return nil, s.err
	}
}

// Wait is next where nothing can be done while the sender pauses.
func (s *Source) Wait() ([]byte, error) {
	for {
		b, err := s.Next()
		if !errors.Is(err, ErrQuiet) {
			return b, err
		}
	}
}

// fill reads a block as full as it comes: its sender waits for nobody.
func (s *Source) fill() ([]byte, error) {
	if s.block == nil {
		s.block = s.blocks.Get().(*Block)
	}
	n := 0
	for n < len(s.block) && s.err == nil {
		var m int
		m, s.err = s.src.Read(s.block[n:])
		n += m
	}
	if s.err != nil {
		return s.block[:n], s.err
	}
	return s.block[:n], nil
}

// read is the goroutine's.
func (s *Source) read() {
	defer close(s.done)
	for {
		select {
		case <-s.ask:
		case <-s.over:
			return
		}
		n, err := s.src.Read(s.block[:])
		s.got <- piece{n, err}
		if err != nil {
			return
		}
	}
}

// Release gives the block back, if nobody can write to it any more. What Next gave is
// not valid after it.
func (s *Source) Release() {
	if s.err != nil && !s.busy && s.block != nil {
		s.blocks.Put(s.block)
		s.block = nil
	}
}

// Close ends the reading, and waits for its end. It may be called while Next waits.
func (s *Source) Close() error {
	err := s.src.Close()
	if s.ask != nil {
		s.once.Do(func() { close(s.over) })
		<-s.done
	}
	return err
}
