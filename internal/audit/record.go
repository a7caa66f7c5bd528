package audit

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"time"
	"unicode"
	"unicode/utf8"
)

// The kinds of records that this package writes by itself or gives meaning to.
const (
	KindLog    = "log"    // about the log itself
	KindPacket = "packet" // what the kernel refused inside the bottle
	KindGit    = "git"    // one fetch or push through the git gate
)

// Kinds are all that a gateway writes, for who asks for one.
func Kinds() []string {
	return []string{"http", "connect", "tls", "tcp", "dns", "stream-end", KindGit, KindPacket, KindLog}
}

// Verdicts that this package knows.
const (
	Allow = "allow"
	Deny  = "deny"
)

// ReasonTorn is the reason of the record that says that a last line, torn by a
// crash, was set aside.
const ReasonTorn = "torn_line_set_aside"

// ReasonBegun is the reason of the record that is made when the agent starts. Its Count is
// how many records before it are of the trial of the walls, or of a gateway's own start.
const ReasonBegun = "agent_started"

// ReasonAgain is the reason of the record with which the log of a bottle goes on that has
// ended before, and is resumed.
const ReasonAgain = "bottle_resumed"

// Record is one decision. Append sets Seq, Prev and Check, and Time if it is
// zero. There is no place for a query string, a header or a body: they may hold
// secrets.
type Record struct {
	Seq        uint64    `json:"seq"`  // from 1, without gaps
	Prev       string    `json:"prev"` // SHA-256 of the previous line with its line feed, hex; 64 zeros on the first
	Time       time.Time `json:"time"` // UTC, microseconds
	Kind       string    `json:"kind"` // http, connect, tls, dns, git, packet, log, …
	Method     string    `json:"method"`
	Host       string    `json:"host"`
	Port       uint16    `json:"port"`
	Path       string    `json:"path"` // never with the query
	Verdict    string    `json:"verdict"`
	Rule       string    `json:"rule"`             // file:line of the route that decided
	Reason     string    `json:"reason"`           // the code that the agent saw too
	Policy     string    `json:"policy"`           // hash of the policy that decided
	Status     int       `json:"status,omitempty"` // HTTP status that the agent got; 0: no HTTP answer
	BytesOut   int64     `json:"bytes_out"`        // from the bottle to the upstream
	BytesIn    int64     `json:"bytes_in"`         // from the upstream to the bottle
	Micros     int64     `json:"duration_us"`      // microseconds
	Credential string    `json:"credential"`       // name of the injected secret, never its value
	Count      uint64    `json:"count,omitempty"`  // how many like events this one stands for; 0 means 1
	Note       string    `json:"note,omitempty"`
	Before     string    `json:"policy_before,omitempty"`     // of a change of the policy: the hash of the one before; Policy is the one after
	Diff       string    `json:"diff,omitempty"`              // and what changed, as a unified diff of routes
	Findings   []Finding `json:"findings,omitempty"`          // secrets in what was about to leave; at most 12
	LeftOut    int       `json:"findings_left_out,omitempty"` // how many more there were
	Check      string    `json:"check"`                       // first 8 bytes of the SHA-256 of the line up to here, hex: finds an edit of the last line, too
}

// Limits of what one record may hold, in bytes. The agent chooses hosts, paths
// and methods; it must not be able to fill the disk with one request.
const (
	maxShort = 128
	maxHost  = 255
	maxNote  = 512
	maxPath  = 1024
	maxDiff  = 4096
	maxLine  = 64 << 10
)

const (
	genesis  = "0000000000000000000000000000000000000000000000000000000000000000"
	checkKey = `,"check":"`
	checkLen = 16
	timeForm = "2006-01-02T15:04:05.000000Z"
)

// JSON is the record as a line of the log, without the line feed.
func (r *Record) JSON() []byte {
	b := r.body(make([]byte, 0, 768))
	return seal(b)
}

// body appends everything up to the check.
func (r *Record) body(b []byte) []byte {
	b = append(b, `{"seq":`...)
	b = strconv.AppendUint(b, r.Seq, 10)
	b = text(b, `,"prev":"`, r.Prev, maxShort)
	b = append(b, `,"time":"`...)
	b = r.Time.UTC().AppendFormat(b, timeForm)
	b = append(b, '"')
	b = text(b, `,"kind":"`, r.Kind, maxShort)
	b = text(b, `,"method":"`, r.Method, maxShort)
	b = text(b, `,"host":"`, r.Host, maxHost)
	b = append(b, `,"port":`...)
	b = strconv.AppendUint(b, uint64(r.Port), 10)
	b = text(b, `,"path":"`, r.Path, maxPath)
	b = text(b, `,"verdict":"`, r.Verdict, maxShort)
	b = text(b, `,"rule":"`, r.Rule, maxNote)
	b = text(b, `,"reason":"`, r.Reason, maxShort)
	b = text(b, `,"policy":"`, r.Policy, maxShort)
	if r.Status != 0 {
		b = append(b, `,"status":`...)
		b = strconv.AppendInt(b, int64(r.Status), 10)
	}
	b = append(b, `,"bytes_out":`...)
	b = strconv.AppendInt(b, r.BytesOut, 10)
	b = append(b, `,"bytes_in":`...)
	b = strconv.AppendInt(b, r.BytesIn, 10)
	b = append(b, `,"duration_us":`...)
	b = strconv.AppendInt(b, r.Micros, 10)
	b = text(b, `,"credential":"`, r.Credential, maxShort)
	if r.Count != 0 {
		b = append(b, `,"count":`...)
		b = strconv.AppendUint(b, r.Count, 10)
	}
	if r.Note != "" {
		b = text(b, `,"note":"`, r.Note, maxNote)
	}
	if r.Before != "" {
		b = text(b, `,"policy_before":"`, r.Before, maxShort)
	}
	if r.Diff != "" {
		b = text(b, `,"diff":"`, r.Diff, maxDiff)
	}
	return findings(b, r.Findings, r.LeftOut)
}

// seal appends the check over everything in b, and closes the object.
func seal(b []byte) []byte {
	sum := sha256.Sum256(b)
	b = append(b, checkKey...)
	b = hex.AppendEncode(b, sum[:checkLen/2])
	return append(b, '"', '}')
}

// text appends key and s as a JSON string of at most limit bytes of s. Whatever
// a terminal could obey (C0, C1, bidirectional and invisible characters) is
// escaped, so that the log may be shown by cat.
func text(b []byte, key, s string, limit int) []byte {
	b = append(b, key...)
	cut := 0
	if len(s) > limit {
		keep := limit
		for keep > 0 && keep > limit-utf8.UTFMax && !utf8.RuneStart(s[keep]) {
			keep--
		}
		cut, s = len(s)-keep, s[:keep]
	}
	for i := 0; i < len(s); {
		c := s[i]
		if c >= ' ' && c < 0x7f {
			if c == '"' || c == '\\' {
				b = append(b, '\\')
			}
			b = append(b, c)
			i++
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError || !unicode.IsPrint(r):
			b = escape(b, r)
		default:
			b = append(b, s[i:i+size]...)
		}
		i += size
	}
	if cut > 0 {
		b = append(b, "…(+"...)
		b = strconv.AppendInt(b, int64(cut), 10)
		b = append(b, ')')
	}
	return append(b, '"')
}

// escape appends r as \uXXXX, as two of them above the basic plane.
func escape(b []byte, r rune) []byte {
	if r > 0xffff {
		r -= 0x10000
		b = fmt.Appendf(b, `\u%04x`, 0xd800+(r>>10))
		r = 0xdc00 + (r & 0x3ff)
	}
	return fmt.Appendf(b, `\u%04x`, r)
}

// parse reads one line, without its line feed, and checks its check.
func parse(line []byte) (Record, error) { return parseBehind(line, &Record{}) }

// parseBehind is parse of a line that stands behind another one.
func parseBehind(line []byte, last *Record) (Record, error) {
	r, ok := quick(line, last)
	if !ok {
		r = Record{}
		if err := json.Unmarshal(line, &r); err != nil {
			return Record{}, fmt.Errorf("not a record: %w", err)
		}
	}
	tail := len(line) - len(checkKey) - checkLen - len(`"}`)
	if tail < 0 || string(line[tail:tail+len(checkKey)]) != checkKey {
		return r, fmt.Errorf("not a record: it does not end with its check")
	}
	sum := sha256.Sum256(line[:tail])
	var check [checkLen]byte
	if hex.Encode(check[:], sum[:checkLen/2]); string(check[:]) != r.Check || string(line[len(line)-len(`"}`)-checkLen:len(line)-2]) != r.Check {
		return r, fmt.Errorf("changed: the line does not match its own check")
	}
	return r, nil
}

// lineHash is what the next record's Prev must be; line has no line feed.
func lineHash(line []byte) string {
	h := sha256.New()
	h.Write(line)
	h.Write([]byte{'\n'})
	return hex.EncodeToString(h.Sum(nil))
}
