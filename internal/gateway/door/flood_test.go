package door

import (
	"bufio"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"bottle/internal/plan"
)

// The attack: another user of the host connects as fast as he can, from many threads, and
// never knocks. This proves that who knows the token is let in all the same: before there were so many places, two of three were not.
func TestFloodOfStrangersShutsNobodyOut(t *testing.T) {
	d, address := opened(t, right())
	service, _ := d.Egress.Listener()
	defer service.Close()
	go func() {
		for {
			c, err := service.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, "in")
			c.Close()
		}
	}()
	var flood sync.WaitGroup
	var over atomic.Bool
	var came atomic.Int64
	for range 32 {
		flood.Go(func() {
			var mine []net.Conn
			for !over.Load() {
				c, err := net.DialTimeout("tcp4", address, time.Second)
				if err != nil {
					continue
				}
				came.Add(1)
				mine = append(mine, c)
				if len(mine) == 64 {
					mine[0].Close()
					mine = mine[1:]
				}
			}
			for _, c := range mine {
				c.Close()
			}
		})
	}
	defer flood.Wait()
	defer over.Store(true)
	try := func() bool {
		c, err := net.DialTimeout("tcp4", address, 10*time.Second)
		if err != nil {
			return false
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(10 * time.Second))
		r := bufio.NewReader(c)
		var challenge [plan.ChallengeSize]byte
		if _, err := r.ReadString('\n'); err != nil {
			return false
		}
		if _, err := io.ReadFull(r, challenge[:]); err != nil {
			return false
		}
		time.Sleep(2 * time.Millisecond) // a VM's way is longer
		if _, err := c.Write(knock(right(), plan.DoorEgress, challenge)); err != nil {
			return false
		}
		said, _ := io.ReadAll(r)
		return len(said) == plan.ProofSize+2
	}
	time.Sleep(200 * time.Millisecond)
	in := 0
	const tries = 20
	begun := time.Now()
	for range tries {
		if try() {
			in++
		}
	}
	t.Logf("%d of %d in, %s each, %d strangers (%.0f/s)", in, tries, time.Since(begun)/tries, came.Load(), float64(came.Load())/time.Since(begun).Seconds())
	if in < tries/2 {
		t.Errorf("%d of %d were let in", in, tries)
	}
}

// A door takes no more of its process than an eighth.
func TestRoomOfADoor(t *testing.T) {
	for files, want := range map[uint64]int{0: 16, 200: 25, 1024: 128, 8192: 1024, 1 << 63: 1024} {
		if got := Room(files); got != want {
			t.Errorf("with %d files %d may wait", files, got)
		}
	}
}
