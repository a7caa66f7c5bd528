package integration

import (
	"context"
	"io"
	"os/exec"
	"slices"
	"sort"
	"strings"
	"testing"
	"time"

	"bottle/internal/backend"
	"bottle/internal/plan"
	"bottle/test/require"
)

// firstWord tells when something was written first.
type firstWord struct{ at time.Time }

func (f *firstWord) Write(b []byte) (int, error) {
	if f.at.IsZero() {
		f.at = time.Now()
	}
	return len(b), nil
}

// BenchmarkDockerStart puts up bottles, from nothing to the agent's first word with all
// walls checked, and each time two bare `docker run`, one after the other, on the same
// engine. The ratio of the medians is what the design bounds.
func BenchmarkDockerStart(b *testing.B) {
	require.Tool(b, "docker")
	be := dockerWalls(b)()
	_, image := require.Docker(b)
	var ours, bare []time.Duration
	for b.Loop() {
		begun := time.Now()
		for range 2 {
			if out, err := exec.Command("docker", "run", "--rm", image, "/bin/true").CombinedOutput(); err != nil {
				b.Fatalf("%v\n%s", err, out)
			}
		}
		bare = append(bare, time.Since(begun))

		begun = time.Now()
		x, _ := dockerBottle(b, be, "192.0.2.1:80", `{"values":{"TOKEN":"of-the-bench"}}`)
		first := &firstWord{}
		if _, err := x.Verify(context.Background(), plan.Probes{Identity: "bench", Sentinel: "127.0.0.1:9", Abstract: "@bench"}); err != nil {
			b.Fatal(err)
		}
		_, err := x.Run(context.Background(), plan.Command{Args: []string{"/bin/echo", "first"}, Env: []string{"PATH=/bin"}, Dir: "/"},
			backend.Stdio{In: strings.NewReader(""), Out: first, Err: io.Discard})
		if err != nil || first.at.IsZero() {
			b.Fatal(err)
		}
		ours = append(ours, first.at.Sub(begun))
		if err := x.Close(); err != nil {
			b.Fatal(err)
		}
	}
	median := func(list []time.Duration) float64 {
		sort.Slice(list, func(i, j int) bool { return list[i] < list[j] })
		return float64(list[len(list)/2].Milliseconds())
	}
	b.ReportMetric(median(ours), "start-ms")
	b.ReportMetric(median(bare), "two-runs-ms")
	b.ReportMetric(median(ours)/median(bare), "ratio")
}

// BenchmarkDockerBundle is what a gateway's container takes of memory when nobody asks it for
// anything, all of it counted: the program's pages that were read, too. At most maxBundleMiB.
func BenchmarkDockerBundle(b *testing.B) {
	require.Tool(b, "docker")
	be := dockerWalls(b)()
	var idle []float64
	for b.Loop() {
		x, id := dockerBottle(b, be, "192.0.2.1:80", `{"values":{"TOKEN":"of-the-bench"}}`)
		idle = append(idle, bundleMiB(b, x, id))
		if err := x.Close(); err != nil {
			b.Fatal(err)
		}
	}
	worst := slices.Max(idle)
	b.ReportMetric(worst, "idle-MiB")
	b.ReportMetric(0, "ns/op") // of no meaning here
	if worst > maxBundleMiB {
		b.Errorf("the bundle takes %.1f MiB, at most %d", worst, maxBundleMiB)
	}
}
