package inspect

import (
	"bytes"

	"bottle/internal/dlp"
)

// gathered is how large a body may be from which something is taken out, in bytes: a
// conversation with a model is 100 KB to 1 MB.
const gathered = 1 << 20

// gathers reports whether a body larger than the window is held back as a whole, for
// something may have to be taken out of it. It is scanned all the same as it comes, in
// windows, so that its end takes no longer than that of any other.
func (b *Body) gathers() bool {
	_, sent := b.text.Text()
	if b.l.mode != modeRedact || b.begun || b.kind.form == 0 && !b.kind.unsaid || sent > 0 || b.text.Offset() > 0 || b.text.Held() > gathered {
		return false
	}
	b.held = b.held || b.l.i.memory.Try(gathered)
	return b.held
}

// gather looks at what has come of a body that is held back.
func (b *Body) gather() {
	if !b.suspect {
		b.suspect = b.timed(func() []dlp.Finding { return b.text.Scan(false) }) != nil
	}
}

// windows looks at a whole text that is larger than the window: piece by piece, for all
// that can be found so, and as it would flow, for what is larger than a piece.
func (b *Body) windows(text []byte) (found []dlp.Finding) {
	for at := 0; at < len(text); {
		start, end := max(0, at-overlap), len(text)
		if end-at > dlp.Window {
			end = at + dlp.Window - overlap
			if n := bytes.LastIndexAny(text[end:end+overlap], "\"\n "); n >= 0 {
				end += n + 1
			}
		}
		for _, f := range b.l.engine.Scan(text[start:end], b.l.lets) {
			f.Start, f.End = f.Start+start, f.End+start
			found = append(found, f)
		}
		at = end
	}
	flow := b.fresh()
	defer flow.Release()
	for at := 0; at < len(text); {
		end := min(len(text), at+blockSize)
		flow.Write(text[at:end])
		at = end
		for _, f := range flow.Scan(end == len(text)) {
			f.Start, f.End = f.Start+int(flow.Offset()), f.End+int(flow.Offset())
			found = append(found, f)
			at = len(text) // what stands behind is seen when this was taken out
		}
		_ = flow.Ready()
	}
	return found
}

// tail is where the token ends that goes on behind a finding: what a rule matches may be
// only its beginning.
func tail(text []byte, end int) int {
	const most = 4 << 10
	token := func(c byte) bool {
		return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-' || c == '+' || c == '/' || c == '='
	}
	if end == 0 || end > len(text) || !token(text[end-1]) {
		return end
	}
	for stop := min(len(text), end+most); end < stop; end++ {
		if c := text[end]; !token(c) && (c != '.' || end+1 == stop || !token(text[end+1])) {
			break
		}
	}
	return end
}
