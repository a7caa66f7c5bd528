// Package metric is numbers with names: how the gateway tells its measurements,
// and how they are written for Prometheus. It measures nothing itself.
package metric

import (
	"bufio"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Kind is what a family's numbers mean.
type Kind string

// The kinds, by the words of the exposition format.
const (
	Counter   Kind = "counter"   // only ever grows
	Gauge     Kind = "gauge"     // is what it is now
	Histogram Kind = "histogram" // how often a value was how large
)

// Family is every number of one name.
type Family struct {
	Name    string   `json:"name"`
	Help    string   `json:"help"`
	Kind    Kind     `json:"type"`
	Samples []Sample `json:"samples"`
}

// Sample is one number, or one histogram, told apart by its labels.
type Sample struct {
	Labels  map[string]string `json:"labels,omitempty"`
	Value   float64           `json:"value"`             // not of a histogram
	Buckets []Bucket          `json:"buckets,omitempty"` // of a histogram: ascending, the last one without a bound
	Sum     float64           `json:"sum,omitempty"`     // of a histogram: of all values
}

// Bucket is how many values were at most Bound; cumulative.
type Bucket struct {
	Bound float64 `json:"le"` // 0: no bound, for JSON has no infinity
	Count uint64  `json:"count"`
}

// Count is how many values a histogram has seen.
func (s Sample) Count() uint64 {
	if len(s.Buckets) == 0 {
		return 0
	}
	return s.Buckets[len(s.Buckets)-1].Count
}

// Quantile estimates below which value the share q (0 to 1) of a histogram's
// values lies, as evenly spread within its bucket. What is past the last bound
// counts as that bound. Without values it is 0.
func (s Sample) Quantile(q float64) float64 {
	want := q * float64(s.Count())
	if want <= 0 {
		return 0
	}
	var low float64
	var under uint64
	for _, b := range s.Buckets {
		if float64(b.Count) >= want {
			if b.Bound == 0 || b.Count == under {
				return low
			}
			return low + (b.Bound-low)*(want-float64(under))/float64(b.Count-under)
		}
		low, under = b.Bound, b.Count
	}
	return low
}

// ContentType is what the text of Write is called in HTTP.
const ContentType = "text/plain; version=0.0.4; charset=utf-8"

// Write writes families in the text format of Prometheus, version 0.0.4
// (https://prometheus.io/docs/instrumenting/exposition_formats/). Families come
// in their order, labels by name.
func Write(w io.Writer, families []Family) error {
	t := bufio.NewWriter(w)
	for _, f := range families {
		t.WriteString("# HELP " + f.Name + " " + escaped(f.Help, false) + "\n# TYPE " + f.Name + " " + string(f.Kind) + "\n")
		for _, s := range f.Samples {
			if f.Kind == Histogram {
				s.histogram(t, f.Name)
				continue
			}
			line(t, f.Name, labels(s.Labels, ""), number(s.Value))
		}
	}
	return t.Flush() // the first error of all stays with the writer
}

func (s Sample) histogram(t *bufio.Writer, name string) {
	for _, b := range s.Buckets {
		bound := "+Inf"
		if b.Bound != 0 {
			bound = number(b.Bound)
		}
		line(t, name+"_bucket", labels(s.Labels, bound), strconv.FormatUint(b.Count, 10))
	}
	line(t, name+"_sum", labels(s.Labels, ""), number(s.Sum))
	line(t, name+"_count", labels(s.Labels, ""), strconv.FormatUint(s.Count(), 10))
}

func line(t *bufio.Writer, name, labels, value string) {
	t.WriteString(name + labels + " " + value + "\n")
}

// escaped spells text by the format's own words. A host is what the agent asked
// for: without this it could write samples of its own.
func escaped(s string, quotes bool) string {
	s = strings.ReplaceAll(strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), `\`, `\\`), "\n", `\n`)
	if quotes {
		s = strings.ReplaceAll(s, `"`, `\"`)
	}
	return s
}

// labels spells a set of labels; bound is the le of a bucket, or empty.
func labels(set map[string]string, bound string) string {
	var out []string
	for _, k := range slices.Sorted(maps.Keys(set)) {
		out = append(out, k+`="`+escaped(set[k], true)+`"`)
	}
	if bound != "" {
		out = append(out, `le="`+bound+`"`)
	}
	if len(out) == 0 {
		return ""
	}
	return "{" + strings.Join(out, ",") + "}"
}

func number(v float64) string {
	switch {
	case math.IsInf(v, 1):
		return "+Inf"
	case math.IsInf(v, -1):
		return "-Inf"
	}
	return strconv.FormatFloat(v, 'g', -1, 64)
}
