package inspect

import (
	"bytes"

	"bottle/internal/dlp"
	"bottle/internal/egress/source"
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
	b.held = b.held || b.l.i.ration.Try(gathered)
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
	return append(found, b.flowing(text)...)
}

// flowing gives what is found in a whole text as it would flow. Behind what may pass it
// begins anew, as a body that flows does.
func (b *Body) flowing(text []byte) (found []dlp.Finding) {
	flow, before := b.fresh(), 0
	defer func() { flow.Release() }()
	add := func(list []dlp.Finding) (stops bool) {
		for _, f := range list {
			stops = stops || b.l.lets(f) == dlp.Stops
			f.Start, f.End = f.Start+before+int(flow.Offset()), f.End+before+int(flow.Offset())
			found = append(found, f)
		}
		return stops
	}
	for at := 0; at < len(text); {
		end := min(len(text), at+source.BlockSize)
		flow.Write(text[at:end])
		at = end
		list := flow.Scan(at == len(text))
		_ = flow.Ready()
		if list == nil {
			continue
		}
		if add(list) {
			return found // what stands behind is seen when this was taken out
		}
		held, _ := flow.Text()
		if at < len(text) {
			list = b.l.engine.ScanPart(held, b.l.lets)
		} else {
			list = b.l.engine.Scan(held, b.l.lets)
		}
		if add(list) {
			return found
		}
		if flow.Follows() {
			return append(found, dlp.Finding{Rule: dlp.Undecodable, Start: 0, End: len(text)})
		}
		if at == len(text) {
			return found
		}
		goes := len(held) - min(overlap, len(held))
		next := b.fresh()
		next.Write(held[goes:])
		before += int(flow.Offset()) + goes
		flow.Release()
		flow = next
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
