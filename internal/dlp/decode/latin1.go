package decode

import "bytes"

// latin1 looks for bytes each of which was taken for a character (ISO 8859-1), as
// compressed data is where it stands in a string. Every eighth byte of such is a control
// of C1, U+0080 to U+009F, which no text has; zstd keeps a short text as it is, so there
// its mark tells.
func (f *finder) latin1(first int) {
	const lead, zstd = 0xc2, "(µ/ý"
	n := len(f.spans)
	for i := first; i+1 < len(f.text); i++ {
		j := bytes.IndexByte(f.text[i:], lead)
		if j < 0 {
			break
		}
		i += j
		control := i+1 < len(f.text) && f.text[i+1]>>5 == 0x80>>5
		if (control || i > 0 && bytes.HasPrefix(f.text[i-1:], []byte(zstd))) && f.isLatin1(i) {
			f.near(Latin1, i, i+2)
		}
	}
	for _, s := range f.spans[n:] { // in JSON, quotes and ASCII's controls are escaped
		if bytes.IndexByte(f.text[s.Start:s.End], '\\') >= 0 {
			f.add(Escape, s.Start, s.End)
		}
	}
}

// isLatin1 tells such characters from bytes that are no UTF-8, by those around a place.
func (f *finder) isLatin1(i int) bool {
	const around = 16
	b := f.text[max(0, i-around):min(len(f.text), i+around)]
	for i := 0; i < len(b); i++ {
		if b[i] < 0x80 || i == 0 && isTail(b[i]) {
			continue
		}
		if b[i]>>1 != 0xc2>>1 || i+1 < len(b) && !isTail(b[i+1]) {
			return false
		}
		i++
	}
	return true
}

// readLatin1 reads one character that is not ASCII, and gives what stands for no byte as
// it is.
func readLatin1(s []byte) (value, int) {
	if len(s) > 1 && s[0]>>1 == 0xc2>>1 && isTail(s[1]) {
		return value{r: rune(s[0]&3)<<6 | rune(s[1]&0x3f), byte: true}, 2
	}
	return value{}, 0
}
