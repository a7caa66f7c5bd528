package inspect

import (
	"errors"
	"io"
	"net/http"
	"sync"
	"time"
)

// errQuiet says that the sender pauses.
var errQuiet = errors.New("read body: its sender pauses")

// source reads a body in blocks. One whose length is not known may be a stream whose
// sender waits for an answer, so it is read by a goroutine, which close waits for.
type source struct {
	src    io.ReadCloser
	blocks *sync.Pool
	back   []byte // put back
	err    error  // behind what was read last

	block *[blockSize]byte
	ask   chan struct{} // nil: it is read at once
	got   chan piece
	busy  bool          // a read is under way
	over  chan struct{} // closed by close
	done  chan struct{} // closed when nobody reads any more
	once  sync.Once
	quiet *time.Timer
}

type piece struct {
	n   int
	err error
}

func newSource(src io.ReadCloser, stream bool, blocks *sync.Pool) *source {
	s := &source{src: src, blocks: blocks}
	if stream {
		s.ask, s.got = make(chan struct{}, 1), make(chan piece, 1)
		s.over, s.done = make(chan struct{}), make(chan struct{})
		s.block = blocks.Get().(*[blockSize]byte)
		go s.read()
	}
	return s
}

// unread puts back what next gave.
func (s *source) unread(b []byte) { s.back = append([]byte(nil), b...) }

// next gives the next bytes, valid until the next call, or errQuiet where none have come
// for a while, or the error that the body ended with. Both may come at once.
func (s *source) next() ([]byte, error) {
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
		return nil, errQuiet
	case <-s.over:
		s.err = http.ErrBodyReadAfterClose
		return nil, s.err
	}
}

// wait is next where nothing can be done while the sender pauses.
func (s *source) wait() ([]byte, error) {
	for {
		b, err := s.next()
		if !errors.Is(err, errQuiet) {
			return b, err
		}
	}
}

// fill reads a block as full as it comes: its sender waits for nobody.
func (s *source) fill() ([]byte, error) {
	if s.block == nil {
		s.block = s.blocks.Get().(*[blockSize]byte)
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
func (s *source) read() {
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

// release gives the block back, if nobody can write to it any more. What next gave is
// not valid after it.
func (s *source) release() {
	if s.err != nil && !s.busy && s.block != nil {
		s.blocks.Put(s.block)
		s.block = nil
	}
}

// close ends the reading, and waits for its end. It may be called while next waits.
func (s *source) close() error {
	err := s.src.Close()
	if s.ask != nil {
		s.once.Do(func() { close(s.over) })
		<-s.done
	}
	return err
}
