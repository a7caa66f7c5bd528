package scan

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"bottle/internal/dlp"
	"bottle/internal/dlp/inbound"
)

// Stdin is the name that stands for standard input.
const Stdin = "-"

// Result is what is known of one file when it has been looked at.
type Result struct {
	File  string // its path, as it was reached; Stdin for standard input
	Hits  []Hit
	Bytes int64 // that were read
	More  bool  // there are over MaxHits; see Read
	Err   error // it could not be read, or not to its end
}

// ahead is how many files may be begun, or done, before the first of them is told:
// results are told in order, and one large file must not make the others pile up.
const ahead = 1024

// job is one file on its way through.
type job struct {
	path  string
	named bool // on the command line: it may be a link, or a pipe
	err   error
	done  chan Result

	patience time.Duration // for a pipe's writer
}

// Walk looks at files, some at a time.
type Walk struct {
	Engine  *dlp.Engine
	Inbound *inbound.Detector // looks in its place; nil: Engine does
	Stdin   io.Reader
	Workers int                    // at least 1
	Tell    func(Result) (on bool) // takes each result, in order; false ends the walk
	Tick    func(read int64)       // is told now and then how many bytes were read; nil: nobody asks
	read    atomic.Int64           // bytes
}

const tick = 200 * time.Millisecond

// Run looks at the files that names mean, and tells each result in the order of names
// and of the folders' entries, from the goroutine that called it. A name is a file, a
// folder (with all that is below it) or Stdin. Below a folder, links, devices, sockets
// and pipes are passed over, and so is what git keeps compressed (.git/objects).
func (w *Walk) Run(names []string) {
	work, order := make(chan job), make(chan job, ahead)
	stop := make(chan struct{})
	var all sync.WaitGroup
	all.Go(func() {
		defer close(order)
		defer close(work)
		feed(names, func(j job) bool {
			j.done, j.patience = make(chan Result, 1), writerWait
			return send(order, j, stop) && send(work, j, stop)
		})
	})
	for range max(w.Workers, 1) {
		all.Go(func() {
			for j := range work {
				j.done <- w.scan(j)
			}
		})
	}
	w.tell(order)
	close(stop)
	all.Wait()
}

func send(to chan<- job, j job, stop <-chan struct{}) bool {
	select {
	case to <- j:
		return true
	case <-stop:
		return false
	}
}

func (w *Walk) tell(order <-chan job) {
	clock := time.NewTicker(tick)
	defer clock.Stop()
	for j := range order {
		for waits := true; waits; {
			select {
			case r := <-j.done:
				if !w.Tell(r) {
					return
				}
				waits = false
			case <-clock.C:
				if w.Tick != nil {
					w.Tick(w.read.Load())
				}
			}
		}
	}
}

// feed hands on every file that names mean, until more says no.
func feed(names []string, more func(job) bool) {
	for _, name := range names {
		if name == Stdin {
			if !more(job{path: name, named: true}) {
				return
			}
			continue
		}
		info, err := os.Stat(name)
		if err != nil || !info.IsDir() {
			if !more(job{path: name, named: true, err: err}) {
				return
			}
			continue
		}
		root := name
		if !os.IsPathSeparator(root[len(root)-1]) {
			root += string(filepath.Separator) // so that a folder is walked that a link leads to
		}
		_ = filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
			switch {
			case err != nil:
			case e.IsDir() && e.Name() == "objects" && filepath.Base(filepath.Dir(path)) == ".git":
				return fs.SkipDir
			case !e.Type().IsRegular():
				return nil
			}
			if !more(job{path: path, err: err}) {
				return fs.SkipAll
			}
			return nil
		}) // its errors went the way of the files
	}
}

func (w *Walk) scan(j job) (r Result) {
	r = Result{File: j.path, Err: j.err}
	if j.err != nil {
		return r
	}
	from := w.Stdin
	if j.path != Stdin {
		f, err := j.open()
		if err != nil {
			r.Err = err
			return r
		}
		defer f.Close()
		from = f
	}
	if from = (counted{from, &w.read}); w.Inbound != nil {
		r.Hits, r.Bytes, r.More, r.Err = Inbound(w.Inbound, from)
		return r
	}
	r.Hits, r.Bytes, r.More, r.Err = Read(w.Engine, from)
	return r
}

// counted adds up what was read of all files, while they are read.
type counted struct {
	io.Reader
	read *atomic.Int64
}

func (c counted) Read(b []byte) (int, error) {
	n, err := c.Reader.Read(b)
	c.read.Add(int64(n))
	return n, err
}

// ErrNoFile says that a name is neither a file nor a pipe.
var ErrNoFile = errors.New("neither a file nor a pipe")

// open opens a file. One that a walk came upon is opened as what it was: who exchanges
// it for a link or a pipe meanwhile leads nobody astray.
func (j job) open() (*os.File, error) {
	flags := os.O_RDONLY
	if !j.named {
		flags |= syscall.O_NOFOLLOW | syscall.O_NONBLOCK // a pipe without a writer would keep us for ever
	}
	f, err := j.openAs(flags)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() && !(j.named && info.Mode().Type() == fs.ModeNamedPipe) {
		err = &fs.PathError{Op: "read", Path: j.path, Err: ErrNoFile}
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// ErrNoWriter says that nobody wrote into a pipe.
var ErrNoWriter = errors.New("nobody writes into this pipe")

// writerWait is how long a named pipe waits for somebody who writes into it.
const writerWait = 10 * time.Second

// openAs opens a file. To open a pipe waits for a writer, who may never come.
func (j job) openAs(flags int) (*os.File, error) {
	if info, err := os.Stat(j.path); !j.named || err != nil || info.Mode().Type() != fs.ModeNamedPipe {
		return os.OpenFile(j.path, flags, 0)
	}
	type opened struct {
		file *os.File
		err  error
	}
	done := make(chan opened, 1)
	go func() {
		f, err := os.OpenFile(j.path, flags, 0)
		done <- opened{f, err}
	}()
	clock := time.NewTimer(j.patience)
	defer clock.Stop()
	select {
	case o := <-done:
		return o.file, o.err
	case <-clock.C:
	}
	if w, err := os.OpenFile(j.path, os.O_WRONLY|syscall.O_NONBLOCK, 0); err == nil { // ends the wait
		if o := <-done; o.err == nil {
			_ = o.file.Close()
		}
		_ = w.Close()
	}
	return nil, &fs.PathError{Op: "open", Path: j.path, Err: ErrNoWriter}
}
