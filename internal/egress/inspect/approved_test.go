package inspect

import (
	"bytes"
	"compress/flate"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"slices"
	"strings"
	"testing"
	"time"

	"bottle/internal/bottle"
	"bottle/internal/dlp"
	"bottle/internal/dlp/known"
	"bottle/internal/egress/approval"
	"bottle/internal/egress/measure"
	"bottle/internal/policy"
)

// approvedValue may pass; watched may not.
const approvedValue = "pQ4xW8nM2kV7sR1jT6yB9dF3hL5gC0aZ8eU"

// approving is a look by which approvedValue passes.
func approving(t *testing.T, mode string) *Look {
	t.Helper()
	e, err := dlp.New(dlp.Config{Known: []known.Secret{{Name: "W", Value: []byte(watched), Certain: true}, {Name: "A", Value: []byte(approvedValue), Certain: true}}})
	if err != nil {
		t.Fatal(err)
	}
	pattern, err := bottle.ParsePattern("api.example.com")
	if err != nil {
		t.Fatal(err)
	}
	i := New(Config{Identity: "dev-1", Engine: func() *dlp.Engine { return e }, Now: time.Now, Measured: measure.New()})
	for _, f := range e.Scan([]byte(approvedValue), nil) {
		i.Approved().Add(approval.Approval{Print: f.Print, Host: "api.example.com", Until: time.Now().Add(time.Hour)})
	}
	l, no := i.Look(&bottle.Route{Host: pattern, DLP: mode}, "api.example.com")
	if no != nil {
		t.Fatal(no)
	}
	return l
}

// halfStored is a gzip member: stored stands in it as it is, packed behind it compressed.
func halfStored(stored, packed []byte) []byte {
	out := []byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3}
	for part := range slices.Chunk(stored, 60_000) {
		n := uint16(len(part))
		out = append(out, 0)
		out = binary.LittleEndian.AppendUint16(out, n)
		out = binary.LittleEndian.AppendUint16(out, ^n)
		out = append(out, part...)
	}
	var rest bytes.Buffer
	w, _ := flate.NewWriter(&rest, flate.BestCompression)
	_, _ = w.Write(packed)
	_ = w.Close()
	out = append(out, rest.Bytes()...)
	all := slices.Concat(stored, packed)
	out = binary.LittleEndian.AppendUint32(out, crc32.ChecksumIEEE(all))
	return binary.LittleEndian.AppendUint32(out, uint32(len(all)))
}

// The weakness: where a value was let pass, looking begins anew behind it. The attack: a
// value that an operator approved stands in the middle of an archive, or in front of it,
// and a secret behind it. This proves that the archive is looked into to its end, or
// refused.
func TestArchiveBehindWhatIsApproved(t *testing.T) {
	noise := incompressible(1_000_000)
	text := []byte(base64.StdEncoding.EncodeToString(noise[:300_000]))
	hidden := slices.Concat(text, []byte(" "+watched+" "), text[:1000])
	stored := slices.Concat(noise[:600_000], []byte(" "+approvedValue+" "), noise[:100_000])
	part := []byte("--b\r\nContent-Disposition: form-data; name=\"f\"\r\n\r\n")
	form := func(b []byte) []byte { return slices.Concat(part, b, []byte("\r\n--b--\r\n")) }
	json := func(b []byte) []byte {
		return []byte(`{"note":"` + approvedValue + `","data":"` + base64.StdEncoding.EncodeToString(b) + `"}`)
	}
	for _, c := range []struct {
		name, mode, kind string
		body             []byte
	}{
		{"in it", "block", "multipart/form-data; boundary=b", form(halfStored(stored, hidden))},
		{"in one in another", "block", "multipart/form-data; boundary=b", form(pack("gzip", slices.Concat([]byte("x"), halfStored(stored, hidden), []byte("y"))))},
		{"before it", "block", "application/json", json(halfStored(nil, hidden))},
		{"before it, redacted", "redact", "application/json", json(halfStored(nil, slices.Concat(text, hidden)))},
	} {
		if i := bytes.Index(c.body, []byte(watched)); i >= 0 {
			t.Fatalf("%s: the secret stands there as it is", c.name)
		}
		for _, length := range []int64{-1, int64(len(c.body))} {
			out, err := sent(approving(t, c.mode), bytes.NewReader(c.body), length, "Content-Type", c.kind)
			if err == nil {
				t.Errorf("%s: all of it passed", c.name)
				continue
			}
			var no *Refusal
			if r := refusal(t, err); r != policy.SecretFound && r != policy.NotScannable || len(out) == len(c.body) {
				t.Errorf("%s: %d of %d bytes, %v", c.name, len(out), len(c.body), err)
			}
			if errors.As(err, &no); c.name == "in it" && (no.Reason != policy.NotScannable || !strings.Contains(no.Message, "goes on behind a value that may pass")) {
				t.Errorf("%s: %s: %s", c.name, no.Reason, no.Message)
			}
		}
	}
}

// What is approved passes in a large body without anything compressed, however it is
// looked at.
func TestApprovedInALargeBody(t *testing.T) {
	words := strings.Repeat("what an agent and a model say to each other; ", 16_000)
	for _, mode := range []string{"block", "redact"} {
		body := `{"messages":[{"content":"` + words[:300_000] + approvedValue + words[:400_000] + `"}]}`
		out, err := sent(approving(t, mode), strings.NewReader(body), int64(len(body)), "Content-Type", "application/json")
		if err != nil || string(out) != body {
			t.Errorf("%s: %d of %d bytes, %v", mode, len(out), len(body), err)
		}
	}
}
