package dlp

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
)

// inPieces gives JSON texts that hold the first n pieces of the secret, far apart.
func inPieces() map[string]func(size, n int) []byte {
	gap := strings.Repeat(" ", 4500)
	numbers := strings.Repeat("12345,", 800)
	talk := strings.Repeat("some words of a talk\\n", 300)
	build := func(head, format, tail string, write func(string) string) func(size, n int) []byte {
		return func(size, n int) []byte {
			var b strings.Builder
			b.WriteString(head + `"` + string(filler(9000, 5)) + `"`)
			for at := 0; at < len(secretValue) && n > 0; at, n = at+size, n-1 {
				fmt.Fprintf(&b, format, write(secretValue[at:min(at+size, len(secretValue))]))
			}
			b.WriteString(tail)
			return []byte(b.String())
		}
	}
	plain := func(s string) string { return s }
	return map[string]func(size, n int) []byte{
		"values and blanks":  build(`[`, `,`+gap+`"%s"`, `]`, plain),
		"values and numbers": build(`[`, `,[`+numbers+`0],"%s"`, `]`, plain),
		"values in base64": build(`[`, `,`+gap+`"%s"`, `]`, func(s string) string {
			return base64.StdEncoding.EncodeToString([]byte(s))
		}),
		"values in hex":           build(`[`, `,`+gap+`"%s"`, `]`, func(s string) string { return fmt.Sprintf("%x", s) }),
		"keys and long values":    build(`{"a":`, `,"%s":"`+talk+`"`, `}`, plain),
		"values and long numbers": build(`[`, `,"%s",`+strings.Repeat("9", 5000), `]`, plain),
	}
}

// However far apart the pieces of a known secret stand, they are put together in a
// conversation that grows and in a body whose sender pauses.
func TestPiecesFarApart(t *testing.T) {
	for name, text := range inPieces() {
		for _, size := range []int{1, 3, 7} {
			if strings.Contains(name, " in ") {
				size = max(size, 3) // fewer digits are looked for as text
			}
			all := (len(secretValue) + size - 1) / size
			whole := text(size, all)
			if len(whole) > Window {
				continue
			}
			if _, found := sendJSON(engine(t), whole, len(whole)); !has(found, KnownSecret) {
				t.Fatalf("%s of %d: not found at once", name, size)
			}
			e, grown := engine(t), []Finding(nil)
			for n := 1; n <= all && grown == nil; n++ {
				_, grown = sendJSON(e, text(size, n), Window)
			}
			if !has(grown, KnownSecret) {
				t.Errorf("%s of %d: not found as it grows", name, size)
			}
			for _, step := range []int{1500, 2500, 5001} {
				if out, found := sendJSON(engine(t), whole, step); !has(found, KnownSecret) {
					t.Errorf("%s of %d: not found where the sender pauses after %d; %d of %d have gone out", name, size, step, out, len(whole))
				}
			}
		}
	}
}

// What was found clean between pieces that are none, is not clean between others.
func TestPiecesInOtherCompany(t *testing.T) {
	gap := strings.Repeat(" ", 4500)
	part := func(from, to int) string { return `"` + secretValue[from:to] + `",` + gap }
	head := `["` + string(filler(9000, 5)) + `",` + gap
	const harmless = `"a word",`
	e := engine(t)
	for _, body := range []string{
		head + part(0, 6) + harmless + gap + "1]",
		head + harmless + gap + part(6, 12) + harmless + gap + "1]",
		head + harmless + gap + part(12, 18) + harmless + gap + "1]",
		head + harmless + gap + gap + part(6, 12) + part(12, 18) + harmless + gap + "1]",
		head + part(0, 6) + gap + gap + harmless + gap + "1]",
	} {
		if _, found := sendJSON(e, []byte(body), Window); found != nil {
			t.Fatalf("a third is found: %v", found)
		}
	}
	if _, found := sendJSON(e, []byte(head+part(0, 6)+part(6, 12)+part(12, 18)+harmless+gap+"1]"), Window); !has(found, KnownSecret) {
		t.Error("what is put together from texts that were clean is not found")
	}
	if _, found := sendJSON(e, []byte(head+part(0, 6)+gap+gap+part(6, 12)+part(12, 18)+harmless+gap+"1]"), Window); !has(found, KnownSecret) {
		t.Error("with a gap that was clean between, it is not found")
	}
}

// sendJSON sends a body in steps, behind each of which the sender pauses if they are
// shorter than the window.
func sendJSON(e *Engine, body []byte, step int) (out int, found []Finding) {
	b := e.Body()
	defer b.Release()
	b.JSON = true
	for at := 0; at < len(body); at += step {
		end := at+step >= len(body)
		b.Write(body[at:min(at+step, len(body))])
		if found = b.Scan(end); found == nil && step < Window && !end {
			found = b.Flush()
		}
		if found != nil {
			return out, found
		}
		out += len(b.Ready())
	}
	return out, nil
}
