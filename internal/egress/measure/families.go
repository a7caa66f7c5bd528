package measure

import (
	"maps"
	"runtime"
	"runtime/metrics"
	"slices"
	"strings"
	"time"

	"bottle/internal/metric"
)

// About is what the gateway is, as labels.
type About struct {
	Identity, Bottle, Version, Policy string
}

// Families gives every number, in a fixed order: what never was is left out, but
// for the totals.
func (m *Set) Families(about About) []metric.Family {
	out := []metric.Family{
		one("bottle_info", "What this gateway is: always 1.", metric.Gauge, metric.Sample{Value: 1, Labels: map[string]string{
			"identity": about.Identity, "bottle": about.Bottle, "version": about.Version, "policy": about.Policy, "go": runtime.Version()}}),
		plain("bottle_uptime_seconds", "How long it serves.", metric.Gauge, time.Since(m.start).Seconds()),
		{Name: "bottle_decisions_total", Help: "Decisions since the agent began, by what was asked, the verdict and the reason.", Kind: metric.Counter, Samples: m.decisions()},
		count("bottle_records_total", "Records written to the decision log; like refusals share one.", m.Records.Load()),
		count("bottle_records_lost_total", "Decisions that could not be recorded; what they stood for was refused or broken off.", m.Lost.Load()),
		plain("bottle_connections_open", "Connections of the bottle that are open.", metric.Gauge, float64(m.Conns.open.Load())),
		count("bottle_connections_total", "Connections of the bottle that were accepted.", m.Conns.total.Load()),
		plain("bottle_tunnels_open", "Tunnels that are open: by CONNECT, and redirected TLS connections.", metric.Gauge, float64(m.Tunnels.open.Load())),
		count("bottle_tunnels_total", "Tunnels that were opened.", m.Tunnels.total.Load()),
		plain("bottle_streams_open", "Passed-through tunnels and WebSockets that are open.", metric.Gauge, float64(m.Streams.open.Load())),
		count("bottle_streams_total", "Passed-through tunnels and WebSockets that were opened.", m.Streams.total.Load()),
		count("bottle_streams_revoked_total", "Streams that were cut because a new policy no longer allows them.", m.Revoked.Load()),
		count("bottle_credentials_injected_total", "Requests that got a credential.", m.Injected.Load()),
		count("bottle_echoes_masked_total", "Places where a credential came back from an upstream and was starred.", m.Masked.Load()),
		count("bottle_policy_reloads_total", "Policies that replaced the one before.", m.Reloads.Load()),
		{Name: "bottle_dns_queries_total", Help: "Queries of the bottle's DNS, by answer.", Kind: metric.Counter, Samples: m.queries()},
		{Name: "bottle_dlp_findings_total", Help: "Secrets found in what was about to leave, by what became of them.", Kind: metric.Counter, Samples: m.findings()},
		count("bottle_dlp_bytes_scanned_total", "Bytes of requests and messages that were looked at for secrets.", m.Scanned.Load()),
		one("bottle_dlp_scan_duration_seconds", "How long the bodies of requests were looked at.", metric.Histogram, m.Scans.sample(nil)),
		one("bottle_request_duration_seconds", "Requests, from their first step to their record.", metric.Histogram, m.Requests.sample(nil)),
		{Name: "bottle_step_duration_seconds", Help: "How long each step of a request took.", Kind: metric.Histogram, Samples: m.stepTimes()},
	}
	return append(append(out, m.byHost()...), process()...)
}

func one(name, help string, kind metric.Kind, s metric.Sample) metric.Family {
	return metric.Family{Name: name, Help: help, Kind: kind, Samples: []metric.Sample{s}}
}

func plain(name, help string, kind metric.Kind, v float64) metric.Family {
	return one(name, help, kind, metric.Sample{Value: v})
}

func count(name, help string, n uint64) metric.Family {
	return plain(name, help, metric.Counter, float64(n))
}

func (m *Set) decisions() (out []metric.Sample) {
	for k, kind := range [kinds]string{"http", "connect", "tls", "tcp", "dns", other} {
		for v, verdict := range [verdicts]string{"deny", "allow"} {
			for r := range m.decided[k][v] {
				if n := m.decided[k][v][r].Load(); n > 0 {
					out = append(out, metric.Sample{Value: float64(n), Labels: map[string]string{"kind": kind, "verdict": verdict, "reason": m.names[r]}})
				}
			}
		}
	}
	return out
}

func (m *Set) queries() (out []metric.Sample) {
	for a, name := range [answers]string{"denied", "found", "failed"} {
		out = append(out, metric.Sample{Value: float64(m.answers[a].Load()), Labels: map[string]string{"answer": name}})
	}
	return out
}

func (m *Set) findings() (out []metric.Sample) {
	for o, name := range [outcomes]string{"deny", "redact", "admit", "hand_back"} {
		out = append(out, metric.Sample{Value: float64(m.found[o].Load()), Labels: map[string]string{"action": name}})
	}
	return out
}

func (m *Set) stepTimes() (out []metric.Sample) {
	for s := range steps {
		if h := m.step[s].sample(map[string]string{"step": s.String()}); h.Count() > 0 {
			out = append(out, h)
		}
	}
	return out
}

// byHost is three families over the same hosts.
func (m *Set) byHost() []metric.Family {
	known := map[string]*Host{}
	m.hosts.known.Range(func(name, h any) bool {
		known[name.(string)] = h.(*Host)
		return true
	})
	out := []metric.Family{
		{Name: "bottle_host_requests_total", Help: "Allowed requests and streams that ended, by host.", Kind: metric.Counter},
		{Name: "bottle_host_bytes_out_total", Help: "Bytes of bodies and streams to a host.", Kind: metric.Counter},
		{Name: "bottle_host_bytes_in_total", Help: "Bytes of bodies and streams from a host.", Kind: metric.Counter},
	}
	for _, name := range slices.SortedFunc(maps.Keys(known), strings.Compare) {
		h := known[name]
		for i, n := range []uint64{h.Requests.Load(), h.Out.Load(), h.In.Load()} {
			out[i].Samples = append(out[i].Samples, metric.Sample{Value: float64(n), Labels: map[string]string{"host": name}})
		}
	}
	return out
}

// process is what Go's runtime says of the gateway; it stops nothing for it.
func process() []metric.Family {
	read := []metrics.Sample{{Name: "/sched/goroutines:goroutines"}, {Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/total:bytes"}, {Name: "/gc/cycles/total:gc-cycles"}}
	metrics.Read(read)
	values := make([]float64, len(read))
	for i, s := range read {
		if s.Value.Kind() == metrics.KindUint64 {
			values[i] = float64(s.Value.Uint64())
		}
	}
	return []metric.Family{
		plain("go_goroutines", "Goroutines of the gateway.", metric.Gauge, values[0]),
		plain("go_heap_objects_bytes", "Memory of live objects and of those not collected yet.", metric.Gauge, values[1]),
		plain("go_memory_total_bytes", "Memory that Go's runtime has mapped.", metric.Gauge, values[2]),
		plain("go_gc_cycles_total", "Collections of garbage that were completed.", metric.Counter, values[3]),
	}
}
