package answer

import "bottle/internal/dlp/inbound"

// Messages looks at the text messages of a WebSocket that come from an upstream. A nil
// one does nothing.
type Messages struct {
	l    *Look
	text *inbound.Stream
}

// Messages begins to look at them.
func (l *Look) Messages() (*Messages, error) {
	if l == nil {
		return nil, nil
	}
	s, err := l.stream(inbound.Guess)
	if err != nil || s == nil {
		return nil, err
	}
	return &Messages{l: l, text: s}, nil
}

// Next looks at a piece of a message. held says how many bytes at its end do not go on
// yet: the next piece begins with them. An error says that the piece must not go on.
func (m *Messages) Next(b []byte, begin, final bool, held int) error {
	if m == nil {
		return nil
	}
	if begin {
		m.text.Reset(inbound.Guess)
	}
	if final {
		held = 0
	}
	return m.l.heard(m.text.Next(b[:len(b)-held], final), "answer.message")
}
