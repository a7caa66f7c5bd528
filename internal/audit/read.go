package audit

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"syscall"
	"time"
)

// Filter picks records. The zero Filter picks all.
type Filter struct {
	Denied bool      // only what was not allowed
	Kind   string    // only this kind
	Since  time.Time // only records of this time or later
}

// Match reports whether the filter picks r.
func (f Filter) Match(r Record) bool {
	return (!f.Denied || r.Verdict != Allow) && (f.Kind == "" || f.Kind == r.Kind) && !r.Time.Before(f.Since)
}

// poll is how often a followed log is looked at.
const poll = 100 * time.Millisecond

// Read yields the records of the log at path that the filter picks. A line that
// is not a record yields an error with its number, and the reading goes on. With
// follow it waits for more until ctx ends or the log is removed; both are an
// ordinary end. Read does not check the chain: Verify does.
func Read(ctx context.Context, path string, filter Filter, follow bool) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		f, err := openRead(path)
		if err != nil {
			yield(Record{}, err)
			return
		}
		defer f.Close()
		r := reader{src: bufio.NewReaderSize(f, 64<<10), file: f, filter: filter}
		for r.drain(ctx, yield) && follow && r.wait(ctx) {
		}
		if !follow && len(r.part) > 0 && ctx.Err() == nil {
			yield(Record{}, fmt.Errorf("line %d: %w", r.line+1, ErrTorn))
		}
	}
}

// ErrTorn is what Read yields for a last line without its end: a crash cut it, or it is
// being written at this moment.
var ErrTorn = errors.New("torn: it has no line end")

func openRead(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("read decision log: %w", err)
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("not a regular file")
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("read decision log %s: %w", path, err)
	}
	return f, nil
}

type reader struct {
	src    *bufio.Reader
	file   *os.File
	filter Filter
	line   int
	part   []byte // of a line whose end has not been seen
	last   Record
}

// drain yields what is there; false means that the caller has had enough.
func (r *reader) drain(ctx context.Context, yield func(Record, error) bool) bool {
	for ctx.Err() == nil {
		line, err := r.next()
		if err == io.EOF {
			return true
		}
		if err != nil {
			yield(Record{}, err)
			return false
		}
		r.line++
		rec, err := parseBehind(line, &r.last)
		r.last = rec
		switch {
		case err != nil:
			if !yield(rec, fmt.Errorf("line %d: %w", r.line, err)) {
				return false
			}
		case r.filter.Match(rec) && !yield(rec, nil):
			return false
		}
	}
	return false
}

// next is one whole line without its line feed; io.EOF when there is none yet.
func (r *reader) next() ([]byte, error) {
	b, err := r.src.ReadSlice('\n')
	if err == nil && len(r.part) == 0 {
		return b[:len(b)-1], nil
	}
	r.part = append(r.part, b...)
	switch {
	case err == nil:
		line := r.part
		r.part = nil
		return line[:len(line)-1], nil
	case len(r.part) > maxLine+1:
		return nil, fmt.Errorf("line %d: longer than any record", r.line+1)
	case errors.Is(err, bufio.ErrBufferFull):
		return r.next()
	case err == io.EOF:
		return nil, io.EOF
	}
	return nil, fmt.Errorf("read decision log: %w", err)
}

// wait blocks until the next look; false when there will be no more.
func (r *reader) wait(ctx context.Context) bool {
	info, err := r.file.Stat()
	if err != nil {
		return false
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && st.Nlink == 0 {
		return false
	}
	t := time.NewTimer(poll)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// Report is what Verify found.
type Report struct {
	OK      bool   `json:"ok"`
	Records uint64 `json:"records"` // whole and in order, from the start
	Head    Head   `json:"head"`    // of the last of them
	Line    int    `json:"line"`    // the first broken line, from 1; 0: none
	Problem string `json:"problem"` // what is wrong with it
}

// Verify reads the whole log at path and finds the first line that was changed,
// removed, inserted, moved or cut. An error means that the file could not be
// read, not that it is broken. What it cannot find: see the package comment.
func Verify(path string) (Report, error) {
	rep, _, err := verify(path, Head{})
	return rep, err
}

// VerifyAgainst is Verify, held against a head that was kept outside: it also
// finds a log that was cut at its end or written anew since.
func VerifyAgainst(path string, kept Head) (Report, error) {
	rep, seen, err := verify(path, kept)
	if err != nil || !rep.OK || kept.Seq == 0 || seen {
		return rep, err
	}
	rep.OK = false
	rep.Line, rep.Problem = int(kept.Seq), fmt.Sprintf("record %d is not the one that was kept: the log was written anew", kept.Seq)
	if rep.Records < kept.Seq {
		rep.Line = int(rep.Records) + 1
		rep.Problem = fmt.Sprintf("removed: the log ends with record %d, but record %d was there", rep.Records, kept.Seq)
	}
	return rep, nil
}

func verify(path string, kept Head) (rep Report, seen bool, err error) {
	f, err := openRead(path)
	if err != nil {
		return Report{}, false, err
	}
	defer f.Close()
	rep.Head.Hash = genesis
	r := reader{src: bufio.NewReaderSize(f, 64<<10), file: f}
	for {
		line, err := r.next()
		if err == io.EOF {
			break
		}
		r.line++
		if err != nil {
			rep.Line, rep.Problem = r.line, err.Error()
			return rep, seen, nil
		}
		if !rep.step(r.line, bytes.Clone(line)) {
			return rep, seen, nil
		}
		seen = seen || rep.Head == kept
	}
	if len(r.part) > 0 {
		rep.Line, rep.Problem = r.line+1, ErrTorn.Error()
		return rep, seen, nil
	}
	rep.OK = true
	return rep, seen, nil
}

// step holds one line against the chain so far.
func (rep *Report) step(number int, line []byte) bool {
	rec, err := parse(line)
	want := rep.Head.Seq + 1
	switch {
	case err != nil:
		rep.Line, rep.Problem = number, err.Error()
	case rec.Seq > want:
		rep.Line, rep.Problem = number, fmt.Sprintf("removed or moved: record %d stands where record %d should be", rec.Seq, want)
	case rec.Seq < want:
		rep.Line, rep.Problem = number, fmt.Sprintf("inserted or moved: record %d stands where record %d should be", rec.Seq, want)
	case rec.Prev != rep.Head.Hash && number == 1:
		rep.Line, rep.Problem = number, "changed: the first record is chained to something before it"
	case rec.Prev != rep.Head.Hash:
		rep.Line, rep.Problem = number-1, fmt.Sprintf("changed: record %d was chained to another record %d", want, want-1)
	default:
		rep.Records, rep.Head = rep.Records+1, Head{Seq: rec.Seq, Hash: lineHash(line)}
		return true
	}
	return false
}
