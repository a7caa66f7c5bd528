package audit

import (
	"bytes"
	"fmt"
	"io"
	"slices"
)

// lastBytes bounds how much of a log's end Last reads, in bytes: some records of the longest kind.
const lastBytes = 256 << 10

// Last gives up to n records from the end of the log at path, the newest last. It reads
// the last 256 KiB and no more, however long the log is; records beyond that are not
// given, and neither are lines that are no records: Read and Verify tell of them. It does
// not check the chain.
func Last(path string, n int) ([]Record, error) {
	f, err := openRead(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	end, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, fmt.Errorf("read decision log: %w", err)
	}
	from := max(0, end-lastBytes)
	text, err := io.ReadAll(io.NewSectionReader(f, from, end-from))
	if err != nil {
		return nil, fmt.Errorf("read decision log: %w", err)
	}
	lines := bytes.Split(text, []byte("\n"))
	lines = lines[:len(lines)-1] // behind the last line feed stands what is not written yet
	if from > 0 && len(lines) > 0 {
		lines = lines[1:] // its beginning was not read
	}
	var out []Record
	for i := len(lines) - 1; i >= 0 && len(out) < n; i-- {
		if r, err := parse(lines[i]); err == nil {
			out = append(out, r)
		}
	}
	slices.Reverse(out)
	return out, nil
}
