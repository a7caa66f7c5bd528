package quota

// span is how many minutes a window holds: an hour, and the minute that is not
// over yet. So a byte counts for an hour at least and a minute more at most.
const span = 61

// window is the bytes of the last hour, minute by minute. The zero window is empty.
type window struct {
	minutes [span]int64
	last    int64 // the minute of the newest entry, since 1970
	total   int64 // of all entries
}

// advance forgets what is older than the window. A clock that goes back forgets
// nothing: what is booked then counts for the newest minute.
func (w *window) advance(minute int64) int64 {
	if minute <= w.last {
		return w.last
	}
	for m := max(w.last+1, minute-span+1); m <= minute; m++ {
		w.total -= w.minutes[m%span]
		w.minutes[m%span] = 0
	}
	w.last = minute
	return minute
}

func (w *window) add(minute, n int64) {
	minute = w.advance(minute)
	w.minutes[minute%span] += n
	w.total += n
}

func (w *window) sum(minute int64) int64 {
	w.advance(minute)
	return w.total
}

// wait is in how many minutes n more bytes stay within the limit: 0 now, and the
// whole window if they never do. No limit: 0.
func (w *window) wait(minute, n, limit int64) int64 {
	if limit <= 0 {
		return 0
	}
	minute = w.advance(minute)
	if n < 0 || n > limit {
		return span
	}
	left := w.total
	for later := range int64(span) {
		if left <= limit-n { // not left+n, which could be past the largest number
			return later
		}
		left -= w.minutes[(minute+later+1)%span]
	}
	return span
}
