package decode

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"bottle/test/require"

	"golang.org/x/sys/unix"
)

const window = 256 << 10

// tree reads files below GOROOT until there are about most bytes.
func tree(tb testing.TB, most int, suffix ...string) []byte {
	var out []byte
	root := filepath.Join(require.GoRoot(tb), "src")
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || len(out) > most {
			return err
		}
		for _, s := range suffix {
			if strings.HasSuffix(p, s) {
				b, err := os.ReadFile(p)
				out = append(out, b...)
				return err
			}
		}
		return nil
	})
	if err != nil {
		tb.Fatal(err)
	}
	return out
}

// comments keeps the comments of Go source: English prose.
func comments(src []byte) []byte {
	var out []byte
	for line := range bytes.Lines(src) {
		if c, ok := bytes.CutPrefix(line, []byte("// ")); ok {
			out = append(out, c...)
		}
	}
	return out
}

func conversation(src []byte) []byte {
	type message struct {
		Role    string `json:"role"`
		Content string `json:"content"`
	}
	var all []message
	for len(src) > 0 && len(all) < 2000 {
		n := min(len(src), 2000)
		all = append(all, message{"user", "Please look at this file and tell me what is wrong with it."}, message{"assistant", string(src[:n])})
		src = src[n:]
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(all); err != nil {
		panic(err)
	}
	return b.Bytes()
}

func images() []byte {
	raw := make([]byte, 3<<20)
	r := rand.NewChaCha8([32]byte{1})
	r.Read(raw)
	return fmt.Appendf(nil, `{"image":"%s"}`, base64.StdEncoding.EncodeToString(raw))
}

func binary1() []byte {
	raw := make([]byte, 3<<20)
	r := rand.NewChaCha8([32]byte{1})
	r.Read(raw)
	return raw
}

// prose of other scripts: words of letters with the frequency of Russian, and so on.
func foreign(words string) []byte {
	r := rand.New(rand.NewPCG(1, 2))
	w := strings.Fields(words)
	var b bytes.Buffer
	for b.Len() < 2<<20 {
		b.WriteString(w[r.IntN(len(w))])
		if r.IntN(9) == 0 {
			b.WriteString(", ")
		} else {
			b.WriteByte(' ')
		}
	}
	return b.Bytes()
}

const russian = `Все люди рождаются свободными и равными в своем достоинстве и правах Они наделены разумом и совестью и должны поступать в отношении друг друга в духе братства ресторан постоянно каждый человек имеет право на жизнь свободу и личную неприкосновенность восстановить Москва`
const greek = `Όλοι οι άνθρωποι γεννιούνται ελεύθεροι και ίσοι στην αξιοπρέπεια και τα δικαιώματα Είναι προικισμένοι με λογική και συνείδηση και οφείλουν να συμπεριφέρονται μεταξύ τους με πνεύμα αδελφοσύνης`
const french = `Tous les êtres humains naissent libres et égaux en dignité et en droits Ils sont doués de raison et de conscience et doivent agir les uns envers les autres dans un esprit de fraternité développement préférés générale l’égalité «réciproquement» naïve`
const japanese = `すべての人間は、生れながらにして自由であり、かつ、尊厳と権利とについて平等である。人間は、理性と良心とを授けられており、互いに同胞の精神をもって行動しなければならない。（ＡＢＣ）１２３`
const chinese = `人人生而自由，在尊严和权利上一律平等。他们赋有理性和良心，并应以兄弟关系的精神相对待。人人有资格享有本宣言所载的一切权利和自由，不分种族、肤色、性别、语言`
const english = `“Don’t” is a word — and the café’s naïve résumé… isn’t 100 % ASCII: it’s typographic, isn’t it? All human beings are born free and equal in dignity and rights – they are endowed 👍🏽 with reason ❤️ and conscience`

func corpora(tb testing.TB) map[string][]byte {
	src := tree(tb, 24<<20, ".go")
	return map[string][]byte{
		"go": src, "prose": comments(src), "json": conversation(src), "images": images(), "binary": binary1(),
		"russian": foreign(russian), "greek": foreign(greek), "french": foreign(french), "japanese": foreign(japanese),
		"chinese": foreign(chinese), "english": foreign(english),
		"data": tree(tb, 8<<20, ".txt", ".s", ".html", ".json", ".mod", ".sum", ".pem", ".golden"),
	}
}

func windows(text []byte, do func([]byte, bool)) {
	for len(text) > 0 {
		n := min(window, len(text))
		do(text[:n], n == len(text))
		text = text[n:]
	}
}

// cpu is the time that this thread has used: on a machine that is shared, the wall's
// clock says little.
func cpu(tb testing.TB) time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(t.Nano())
}

// measure runs do until the benchmark ends, and reports the fastest run.
func measure(b *testing.B, size int, do func()) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	b.SetBytes(int64(size))
	b.ReportAllocs()
	best := time.Duration(math.MaxInt64)
	for b.Loop() {
		start := cpu(b)
		do()
		best = min(best, cpu(b)-start)
	}
	b.ReportMetric(float64(best)/float64(size), "cpu-ns/byte")
}

func BenchmarkFind(b *testing.B) {
	d := New()
	for name, text := range corpora(b) {
		b.Run(name, func(b *testing.B) {
			var spans []Span
			measure(b, len(text), func() {
				windows(text, func(w []byte, final bool) { spans, _ = d.Find(spans[:0], w, final) })
			})
		})
	}
}

// BenchmarkPart tells what each part of Find costs.
func BenchmarkPart(b *testing.B) {
	d := New()
	parts := []struct {
		name string
		do   func(*finder)
	}{
		{"runs", (*finder).runs}, {"lists", (*finder).lists}, {"percents", (*finder).percents}, {"escapes", (*finder).escapes},
		{"entities", (*finder).entities}, {"quoted", (*finder).quoted}, {"wide", (*finder).wide}, {"packed", (*finder).packed},
		{"unicode", func(f *finder) { f.unicode(firstHigh(f.text)) }},
	}
	for name, text := range corpora(b) {
		for _, p := range parts {
			b.Run(name+"/"+p.name, func(b *testing.B) {
				var spans []Span
				measure(b, len(text), func() {
					windows(text, func(w []byte, final bool) {
						f := finder{d: d, text: w, final: final, spans: spans[:0], room: MaxSpans, raw: len(w)}
						p.do(&f)
						spans = f.spans
					})
				})
			})
		}
	}
}

func BenchmarkBoth(b *testing.B) {
	d := New()
	for name, text := range corpora(b) {
		b.Run(name, func(b *testing.B) {
			var spans []Span
			var out []byte
			var bytes, count int
			measure(b, len(text), func() {
				bytes, count = 0, 0
				windows(text, func(w []byte, final bool) {
					spans, _ = d.Find(spans[:0], w, final)
					for _, s := range spans {
						count++
						out, _, _ = d.Decode(out[:0], w, s, 1<<20)
						bytes += len(out)
					}
				})
			})
			b.ReportMetric(100*float64(bytes)/float64(len(text)), "%out")
			b.ReportMetric(float64(count)/float64(len(text))*1e6, "spans/MB")
		})
	}
}

// TestShare shows which kinds make the views of each corpus.
func TestShare(t *testing.T) {
	if testing.Short() {
		t.Skip()
	}
	d := New()
	for name, text := range corpora(t) {
		got := map[Kind][2]int{}
		total := 0
		windows(text, func(w []byte, final bool) {
			spans, more := d.Find(nil, w, final)
			if more {
				t.Logf("%s: more", name)
			}
			for _, s := range spans {
				out, _, _ := d.Decode(nil, w, s, 1<<20)
				g := got[s.Kind]
				got[s.Kind] = [2]int{g[0] + 1, g[1] + len(out)}
				total += len(out)
			}
		})
		t.Logf("%s: %d bytes, %.2f%% out: %v", name, len(text), 100*float64(total)/float64(len(text)), got)
	}
}
