package measure

import (
	"bytes"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"bottle/internal/metric"
	"bottle/internal/policy"
)

// read is what Prometheus's own parser makes of the text.
func read(t *testing.T, m *Set) (map[string]*dto.MetricFamily, string) {
	t.Helper()
	var b bytes.Buffer
	if err := metric.Write(&b, m.Families(About{Identity: "dev-abc12", Version: "1", Policy: "ff"})); err != nil {
		t.Fatal(err)
	}
	parser := expfmt.NewTextParser(model.LegacyValidation)
	got, err := parser.TextToMetricFamilies(strings.NewReader(b.String()))
	if err != nil {
		t.Fatalf("Prometheus does not read it: %v\n%s", err, b.String())
	}
	return got, b.String()
}

func value(f *dto.MetricFamily, labels ...string) float64 {
	for _, m := range f.GetMetric() {
		fits := 0
		for _, l := range m.GetLabel() {
			for i := 0; i+1 < len(labels); i += 2 {
				if l.GetName() == labels[i] && l.GetValue() == labels[i+1] {
					fits++
				}
			}
		}
		if fits == len(labels)/2 {
			return m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return math.NaN()
}

// TestPrometheusReadsIt proves the text by the parser of Prometheus itself.
func TestPrometheusReadsIt(t *testing.T) {
	m := New()
	m.Decided("http", "allow", "listed")
	m.Decided("http", "allow", "listed")
	m.Decided("dns", "deny", "dns_name_not_listed")
	m.Decided("made up", "perhaps", "because")
	m.Conns.Up()
	m.Conns.Up()
	m.Conns.Down()
	m.Asked(AnswerFound)
	m.Asked(200)
	m.Moved("api.example.com", 1, 2048, 1024)
	m.Moved("evil\"} 1\nbottle_info 2\\", 1, -5, 7)
	m.Requests.Observe(3 * time.Millisecond)
	m.Found(OutcomeRedacted, 2)
	m.Found(OutcomeDenied, -1)
	m.Scanned.Add(4096)
	m.Scans.Observe(time.Millisecond)
	sp := m.Begin()
	sp.Done(StepTarget)
	sp.Done(StepRelay)
	got, text := read(t, m)
	for _, want := range []struct {
		value  float64
		family string
		labels []string
	}{
		{2, "bottle_decisions_total", []string{"kind", "http", "verdict", "allow", "reason", "listed"}},
		{1, "bottle_decisions_total", []string{"kind", "dns", "verdict", "deny", "reason", "dns_name_not_listed"}},
		{1, "bottle_decisions_total", []string{"kind", "other", "verdict", "deny", "reason", "other"}},
		{1, "bottle_connections_open", nil},
		{2, "bottle_connections_total", nil},
		{1, "bottle_dns_queries_total", []string{"answer", "found"}},
		{1, "bottle_dns_queries_total", []string{"answer", "failed"}},
		{2048, "bottle_host_bytes_out_total", []string{"host", "api.example.com"}},
		{7, "bottle_host_bytes_in_total", []string{"host", "evil\"} 1\nbottle_info 2\\"}},
		{2, "bottle_dlp_findings_total", []string{"action", "redact"}},
		{0, "bottle_dlp_findings_total", []string{"action", "deny"}},
		{4096, "bottle_dlp_bytes_scanned_total", nil},
		{1, "bottle_dlp_scan_duration_seconds", nil},
		{1, "bottle_request_duration_seconds", nil},
		{1, "bottle_step_duration_seconds", []string{"step", "target"}},
		{1, "bottle_step_duration_seconds", []string{"step", "relay"}},
		{1, "bottle_info", []string{"identity", "dev-abc12", "policy", "ff"}},
	} {
		if v := value(got[want.family], want.labels...); v != want.value {
			t.Errorf("%s%q is %v, want %v in\n%s", want.family, want.labels, v, want.value, text)
		}
	}
	if v := value(got["go_goroutines"]); !(v >= 1) {
		t.Errorf("%v goroutines", v)
	}
	if len(got["bottle_info"].GetMetric()) != 1 {
		t.Errorf("a host wrote a sample of its own:\n%s", text)
	}
}

// Buckets are cumulative, end with all, and a value on a bound belongs below it.
func TestBuckets(t *testing.T) {
	for _, of := range []struct {
		d     time.Duration
		bound time.Duration // 0: past the last
	}{
		{-time.Second, time.Microsecond}, {0, time.Microsecond}, {1, time.Microsecond}, {time.Microsecond, time.Microsecond},
		{time.Microsecond + 1, 2 * time.Microsecond}, {2 * time.Microsecond, 2 * time.Microsecond}, {1025 * time.Microsecond, 2048 * time.Microsecond},
		{time.Microsecond << 28, time.Microsecond << 28}, {time.Microsecond<<28 + 1, 0}, {math.MaxInt64, 0},
	} {
		var h Times
		h.Observe(of.d)
		s := h.sample(nil)
		if len(s.Buckets) != buckets || s.Count() != 1 || s.Buckets[buckets-1].Bound != 0 {
			t.Fatalf("%v: %+v", of.d, s)
		}
		for _, b := range s.Buckets {
			if b.Count == 1 {
				if b.Bound != of.bound.Seconds() {
					t.Errorf("%v is in the bucket of %v, want %v", of.d, b.Bound, of.bound)
				}
				break
			}
		}
	}
}

// Every reason of the policy has a counter of its own.
func TestEveryReasonIsCounted(t *testing.T) {
	m := New()
	for i, r := range policy.Reasons() {
		for range i + 1 {
			m.Decided("http", "deny", string(r))
		}
	}
	got, _ := read(t, m)
	for i, r := range policy.Reasons() {
		if v := value(got["bottle_decisions_total"], "reason", string(r)); v != float64(i+1) {
			t.Errorf("%s was counted %v times, want %d", r, v, i+1)
		}
	}
}

// The weakness: a label that an agent chooses. The attack: as many hosts as it can
// name under a wildcard. This proves that they are bounded, and nothing is lost.
func TestHostsAreBounded(t *testing.T) {
	m := New()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := range 2 * maxHosts {
				m.Moved(fmt.Sprintf("h%d.example.com", i), 1, 1, 0)
			}
		})
	}
	wg.Wait()
	got, _ := read(t, m)
	hosts, sum := got["bottle_host_requests_total"].GetMetric(), 0.0
	for _, h := range hosts {
		sum += h.GetCounter().GetValue()
	}
	if len(hosts) > maxHosts+1 || sum != 8*maxHosts {
		t.Errorf("%d hosts, %v requests", len(hosts), sum)
	}
	if v := value(got["bottle_host_requests_total"], "host", Others); !(v >= 4*(maxHosts-4)) {
		t.Errorf("the others had %v requests", v)
	}
}

func TestNothingIsAllocated(t *testing.T) {
	m := New()
	m.Moved("a", 1, 1, 1)
	if n := testing.AllocsPerRun(100, func() {
		sp := m.Begin()
		sp.Done(StepTarget)
		m.Decided("http", "allow", "listed")
		m.Moved("a", 1, 1, 1)
	}); n > 0 {
		t.Errorf("%v allocations for a request", n)
	}
	var none Span
	none.Done(StepTarget)
}

func BenchmarkRequest(b *testing.B) {
	m := New()
	for b.Loop() {
		sp := m.Begin()
		for s := range steps {
			sp.Done(s)
		}
		m.Decided("http", "allow", "listed")
		m.Moved("api.example.com", 1, 2048, 1024)
		m.Requests.Observe(time.Millisecond)
	}
}
