package http1

import (
	"bufio"
	"io"
	"sync"
	"sync/atomic"
)

const (
	readSize  = 4 << 10
	writeSize = 16 << 10
	copySize  = 128 << 10
	// maxKept bounds the idle connections of all pools that share a Memory: each holds a
	// descriptor, and a bottle with many hosts could else leave thousands behind.
	maxKept = 512
)

// Memory lends what an exchange needs while it lasts. The zero Memory is ready.
// It also counts what its pools keep.
type Memory struct {
	readers, writers, blocks sync.Pool
	kept                     atomic.Int64
}

// keep makes room for one more idle connection; false: there is none.
func (m *Memory) keep() bool {
	if m.kept.Add(1) <= maxKept {
		return true
	}
	m.kept.Add(-1)
	return false
}

func (m *Memory) reader(src io.Reader) *bufio.Reader {
	if r, ok := m.readers.Get().(*bufio.Reader); ok {
		r.Reset(src)
		return r
	}
	return bufio.NewReaderSize(src, readSize)
}

func (m *Memory) giveReader(r *bufio.Reader) {
	r.Reset(nil)
	m.readers.Put(r)
}

func (m *Memory) writer(dst io.Writer) *bufio.Writer {
	if w, ok := m.writers.Get().(*bufio.Writer); ok {
		w.Reset(dst)
		return w
	}
	return bufio.NewWriterSize(dst, writeSize)
}

func (m *Memory) giveWriter(w *bufio.Writer) {
	w.Reset(nil)
	m.writers.Put(w)
}

// Block is a buffer for copying bodies, 128 KiB.
func (m *Memory) Block() *[]byte {
	if b, ok := m.blocks.Get().(*[]byte); ok {
		return b
	}
	b := make([]byte, copySize)
	return &b
}

// GiveBlock takes a block back.
func (m *Memory) GiveBlock(b *[]byte) { m.blocks.Put(b) }
