package inspect

import (
	"bottle/internal/dlp"
	"bottle/internal/dlp/place"
)

// maxHeld is how much of a message may be held back, in bytes: what the WebSockets'
// relay bears.
const maxHeld = 64 << 10

// Messages looks at what an agent says on a WebSocket. It is not safe for many
// goroutines.
type Messages struct {
	l      *Look
	number int
	before []byte // the end of what went on of the message that is not at its end
	joint  []byte
	values *dlp.Joiner // of the strings of messages
	found  []dlp.Finding
}

// Messages begins to look at the messages of a connection; nil: nobody wants to.
func (l *Look) Messages() *Messages {
	if l == nil {
		return nil
	}
	return &Messages{l: l}
}

// Control looks at the payload of a control frame.
func (m *Messages) Control(data []byte) *Refusal {
	where := place.Message(m.number)
	if no := m.judge(m.l.engine.Scan(data, m.l.lets), data, where); no != nil {
		return no
	}
	bad := m.l.sort(m.l.remember(data, where))
	return m.l.refuse(bad)
}

// Next looks at what came of a message: data begins with what was held back before. It
// gives how many bytes at the end may not go on yet, and of a refusal that nothing may.
// A message of up to 64 KiB is judged as a whole, whatever its fragments are; of a larger
// one what is judged is seen together with the 16 KiB before it.
func (m *Messages) Next(begin, final bool, data []byte) (hold int, no *Refusal) {
	if begin {
		m.number++
		m.before = m.before[:0]
		if s := m.l.i.current(); s != nil && s.engine != m.l.engine {
			m.l.state, m.values = s, nil // a stream may outlive an engine
		}
		if m.values == nil {
			m.values = m.l.joiner("", &m.found)
		}
		m.values.Begin()
	}
	if !final && len(data) <= maxHeld-blockOfRelay {
		return len(data), nil
	}
	where := place.Message(m.number - 1)
	text := data
	if len(m.before) > 0 {
		m.joint = append(append(m.joint[:0], m.before...), data...)
		text = m.joint
	}
	m.l.scanned(len(text))
	look := m.l.engine.Scan
	if !final {
		look, hold = m.l.engine.ScanPart, overlap
	}
	if no := m.judge(look(text, m.l.lets), text, where); no != nil {
		return 0, no
	}
	bad := m.l.sort(append(m.l.remember(data, where), m.together(data[:len(data)-hold], where)...))
	if no := m.l.refuse(bad); no != nil || final {
		return 0, no
	}
	out := text[:len(text)-hold]
	m.before = append(m.before[:0], out[max(0, len(out)-overlap):]...)
	return hold, nil
}

// together looks for known secrets that were cut over the strings of a message, or over
// messages.
func (m *Messages) together(goes []byte, where string) []dlp.Finding {
	m.found = m.found[:0]
	m.values.Part(goes)
	m.values.Look()
	for i := range m.found {
		m.found[i].Place = where
	}
	return m.found
}

// blockOfRelay is how many bytes the relay adds to what is held at most before it asks
// again.
const blockOfRelay = 16 << 10

func (m *Messages) judge(found []dlp.Finding, text []byte, where string) *Refusal {
	for i := range found {
		found[i].Place = where
	}
	bad := m.l.sort(found)
	if len(bad) > 0 && dlp.BeginsJSON(text) {
		t := kind{form: place.JSON}
		t.begin()
		if len(m.before) == 0 {
			t.place(bad, text, 0, 0)
			for i := range bad {
				bad[i].Place = where + bad[i].Place[len("body.json:$"):]
			}
		}
	}
	return m.l.refuse(bad)
}
