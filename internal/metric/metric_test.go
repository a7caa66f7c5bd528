package metric

import (
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestWrite holds the text to the letter of the format.
func TestWrite(t *testing.T) {
	families := []Family{
		{Name: "a_total", Help: "back\\slash and\nline \"quoted\"", Kind: Counter, Samples: []Sample{
			{Value: 3}, {Value: 0.5, Labels: map[string]string{"z": "1", "host": "a\"b\\c\nd\xff"}}}},
		{Name: "g", Help: "h", Kind: Gauge, Samples: []Sample{{Value: math.Inf(1)}, {Value: math.Inf(-1)}, {Value: 1e9}}},
		{Name: "h_seconds", Help: "h", Kind: Histogram, Samples: []Sample{{
			Labels: map[string]string{"step": "x"}, Sum: 2.5,
			Buckets: []Bucket{{Bound: 1, Count: 2}, {Bound: 2, Count: 2}, {Count: 3}}}}},
	}
	want := `# HELP a_total back\\slash and\nline "quoted"
# TYPE a_total counter
a_total 3
a_total{host="a\"b\\c\nd�",z="1"} 0.5
# HELP g h
# TYPE g gauge
g +Inf
g -Inf
g 1e+09
# HELP h_seconds h
# TYPE h_seconds histogram
h_seconds_bucket{step="x",le="1"} 2
h_seconds_bucket{step="x",le="2"} 2
h_seconds_bucket{step="x",le="+Inf"} 3
h_seconds_sum{step="x"} 2.5
h_seconds_count{step="x"} 3
`
	var b strings.Builder
	if err := Write(&b, families); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, b.String()); d != "" {
		t.Error(d)
	}
	// What crosses a socket as JSON comes out the same.
	raw, err := json.Marshal(families[2:])
	if err != nil {
		t.Fatal(err)
	}
	var back []Family
	if err := json.Unmarshal(raw, &back); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(families[2:], back); d != "" {
		t.Error(d)
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no room") }

func TestWriteTellsOfAFullDisk(t *testing.T) {
	if err := Write(full{}, []Family{{Name: "a", Kind: Gauge, Samples: []Sample{{}}}}); err == nil {
		t.Error("nothing was written, and nobody was told")
	}
}

func TestQuantile(t *testing.T) {
	h := Sample{Buckets: []Bucket{{Bound: 1, Count: 50}, {Bound: 2, Count: 50}, {Bound: 4, Count: 100}, {Count: 101}}}
	for q, want := range map[float64]float64{0: 0, 0.25: 0.505, 0.75: 3.03, 1: 4, -1: 0} {
		if got := h.Quantile(q); math.Abs(got-want) > 1e-9 {
			t.Errorf("quantile %v is %v, want %v", q, got, want)
		}
	}
	if got := (Sample{}).Quantile(0.5); got != 0 {
		t.Errorf("of nothing: %v", got)
	}
	if got := (Sample{Buckets: []Bucket{{Bound: 1}, {Count: 9}}}).Quantile(0.5); got != 1 {
		t.Errorf("past the last bound: %v", got)
	}
}
