package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"bottle/internal/bottle"
)

// Head says where a log stands: the last record's number and its line's hash.
// Kept outside, it is what a later Verify can be held against.
type Head struct {
	Seq  uint64 `json:"seq"`
	Hash string `json:"hash"` // SHA-256 of the line with its line feed, hex
}

// String is SEQ:HASH, the form in which a person keeps a head.
func (h Head) String() string { return strconv.FormatUint(h.Seq, 10) + ":" + h.Hash }

// ParseHead reads SEQ:HASH: a record's number from 1, and 64 hex digits.
func ParseHead(s string) (Head, error) {
	seq, hash, _ := strings.Cut(s, ":")
	n, err := strconv.ParseUint(seq, 10, 63)
	if _, bad := hex.DecodeString(hash); err != nil || bad != nil || n == 0 || len(hash) != hex.EncodedLen(sha256.Size) {
		return Head{}, fmt.Errorf("%q is not SEQ:HASH, as --verify prints it", s)
	}
	return Head{Seq: n, Hash: strings.ToLower(hash)}, nil
}

// Log appends to one decision log. It is the file's only writer.
type Log struct {
	mu     sync.Mutex
	file   *os.File
	head   Head
	size   int64 // bytes up to and with the last whole record
	buf    []byte
	failed error // set when the file's end is no longer known; then nothing is appended
	room   int64 // bytes of the file that the disk has promised
	scarce error // why the disk promised no more
	bound  int64 // bytes that the file may have

	allocate func(f *os.File, offset, n int64) error
}

// Open creates the log at path (0600) or continues an existing one after checking
// its last line. It refuses a symbolic link, another user's file, a file that
// others may write, and a log that another process is writing. A last line that
// a crash tore is moved to path.torn, and a record says so.
func Open(path string) (*Log, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_APPEND|os.O_CREATE|syscall.O_NOFOLLOW|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0o600)
	if errors.Is(err, syscall.ELOOP) {
		return nil, refuse(path, "is a symbolic link", "rm "+path)
	}
	if err != nil {
		return nil, fmt.Errorf("open decision log: %w", err)
	}
	l := &Log{file: f, head: Head{Hash: genesis}, buf: make([]byte, 0, 1024), bound: MaxSize, allocate: allocate}
	if err := l.start(path); err != nil {
		f.Close()
		return nil, err
	}
	return l, nil
}

func (l *Log) start(path string) error {
	info, err := l.file.Stat()
	if err != nil {
		return fmt.Errorf("look at decision log: %w", err)
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case !ok || !info.Mode().IsRegular():
		return refuse(path, "is not a regular file", "rm "+path)
	case st.Uid != uint32(os.Geteuid()):
		return refuse(path, fmt.Sprintf("belongs to another user (uid %d)", st.Uid), "sudo rm "+path)
	case st.Nlink != 1:
		return refuse(path, "has a second name (hard link)", "rm "+path)
	case info.Mode().Perm()&0o022 != 0:
		return refuse(path, fmt.Sprintf("is writable by others (mode %04o)", info.Mode().Perm()), "chmod 600 "+path)
	}
	// Two writers would break the chain for each other.
	if err := syscall.Flock(int(l.file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return fmt.Errorf("lock decision log %s: another process writes it: %w", path, err)
	}
	last, torn, err := tail(l.file, info.Size())
	if err != nil {
		return fmt.Errorf("read the end of decision log %s: %w", path, err)
	}
	l.size = info.Size() - int64(len(torn))
	if last != nil {
		r, err := parse(last)
		if err != nil {
			return refuse(path, "has a last line that is "+err.Error(), "bottle audit --verify tells more; move the file away to begin a new log")
		}
		l.head = Head{Seq: r.Seq, Hash: lineHash(last)}
	}
	if len(torn) == 0 {
		l.provide()
		return nil
	}
	return l.setAside(path, torn)
}

// tail reads the last whole line of a log, without its line feed, and what
// stands behind it.
func tail(f io.ReaderAt, size int64) (last, torn []byte, err error) {
	from := max(0, size-2*maxLine)
	b := make([]byte, size-from)
	if _, err := f.ReadAt(b, from); err != nil && err != io.EOF {
		return nil, nil, err
	}
	end := bytes.LastIndexByte(b, '\n')
	if end < 0 {
		if from > 0 || len(b) > maxLine {
			return nil, nil, errors.New("it is not made of lines")
		}
		return nil, b, nil
	}
	torn = b[end+1:]
	begin := bytes.LastIndexByte(b[:end], '\n') + 1
	if (begin == 0 && from > 0) || end-begin > maxLine {
		return nil, nil, errors.New("its last line is longer than any record")
	}
	return b[begin:end], torn, nil
}

// setAside keeps the torn bytes in a file beside the log before it cuts them
// off, so that a crash between the two loses nothing.
func (l *Log) setAside(path string, torn []byte) error {
	aside := path + ".torn"
	f, err := os.OpenFile(aside, os.O_WRONLY|os.O_APPEND|os.O_CREATE|syscall.O_NOFOLLOW|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0o600)
	if err != nil {
		return fmt.Errorf("set torn line aside: %w", err)
	}
	_, err = f.Write(append(bytes.Clone(torn), '\n'))
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("set torn line aside: %w", err)
	}
	if err := l.file.Truncate(l.size); err != nil {
		return fmt.Errorf("set torn line aside: %w", err)
	}
	sum := sha256.Sum256(torn)
	return l.Append(Record{Kind: KindLog, Verdict: Deny, Reason: ReasonTorn, BytesOut: 0,
		Note: fmt.Sprintf("%d bytes without a line end, SHA-256 %s, moved to %s", len(torn), hex.EncodeToString(sum[:]), aside)})
}

// MaxSize bounds one log, in bytes: some 400,000 requests. The agent decides how
// much there is to record, and the disk is the operator's.
const MaxSize = 256 << 20

// reserve is the end of the bound, kept for the denials and the closing words of
// a log that is full, in bytes.
const reserve = 1 << 20

// ErrFull says that a log has come to its bound. It is full for good: the operator
// moves the file away, or begins another bottle.
var ErrFull = errors.New("the decision log has come to its bound")

// Full reports whether the log at path has come to its bound, so that no gateway could go
// on with it.
func Full(path string) bool {
	info, err := os.Lstat(path)
	return err == nil && info.Size() > MaxSize-reserve
}

// Append writes one record: it has been handed to the kernel when Append
// returns nil. After an error nothing of the record is in the log, and the caller
// must not let happen what it could not record. Append may be called again: a
// disk that was full may have room later. It is safe for concurrent use.
func (l *Log) Append(r Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failed != nil {
		return l.failed
	}
	if r.Time.IsZero() {
		r.Time = time.Now()
	}
	r.Seq, r.Prev = l.head.Seq+1, l.head.Hash
	b := append(seal(r.body(l.buf[:0])), '\n')
	l.buf = b
	if l.size+int64(len(b)) > l.bound {
		return fmt.Errorf("append to decision log: %w of %d bytes", ErrFull, l.bound)
	}
	n, err := l.file.Write(b)
	if err != nil {
		return l.recover(n, fmt.Errorf("append to decision log: %w", err))
	}
	l.size += int64(len(b))
	l.provide()
	sum := sha256.Sum256(b)
	l.head = Head{Seq: r.Seq, Hash: hex.EncodeToString(sum[:])}
	return nil
}

// recover takes back a record that was written in part, so that the next one
// does not continue a torn line.
func (l *Log) recover(written int, cause error) error {
	if written == 0 {
		return cause
	}
	if err := l.file.Truncate(l.size); err != nil {
		l.failed = fmt.Errorf("take back half a record: %w (after: %w)", err, cause)
		return l.failed
	}
	l.room = 0 // cut off, too
	return cause
}

// ahead is how much the disk is asked to promise, in bytes: room for what is in
// flight when the disk fills up.
const ahead = 1 << 20

// provide keeps at least half of ahead promised.
func (l *Log) provide() {
	if l.room-l.size >= ahead/2 {
		l.scarce = nil
		return
	}
	if l.scarce = l.allocate(l.file, l.size, ahead); l.scarce == nil {
		l.room = l.size + ahead
	}
}

// Room is nil while the next records have a place in the log and, where the file
// system can promise one, on the disk for certain. An error comes before Append begins to fail, so
// that a caller can stop what it could soon not record.
func (l *Log) Room() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.failed != nil:
		return l.failed
	case l.size > l.bound-reserve:
		return fmt.Errorf("reserve room for the decision log: %w of %d bytes", ErrFull, l.bound)
	case l.scarce != nil:
		return fmt.Errorf("reserve room for the decision log: %w", l.scarce)
	}
	return nil
}

// Head is the last record that was appended; Seq 0 means none.
func (l *Log) Head() Head {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.head
}

// Close gives the file back. Later Appends fail.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failed == nil {
		l.failed = fmt.Errorf("append to decision log: %w", os.ErrClosed)
		_ = l.file.Truncate(l.size) // gives the promised room back; the size is the same
	}
	if err := l.file.Close(); err != nil {
		return fmt.Errorf("close decision log: %w", err)
	}
	return nil
}

func refuse(path, why, hint string) error {
	return bottle.Problems{{File: path, Message: "the decision log " + why, Hint: hint}}
}
