package docker

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"

	"bottle/internal/backend"
	"bottle/internal/backend/jail"
	"bottle/internal/plan"
)

func part(kind byte, text string) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{kind, 0, 0, 0}, uint32(len(text))), text...)
}

// Standard output comes through whole, standard error is kept to a bound, and a
// stream that is none is refused.
func TestDemuxTakesTheStreamsApart(t *testing.T) {
	noise := strings.Repeat("n", maxSaid)
	stream := bytes.Join([][]byte{part(1, "first "), part(2, noise), part(2, "last words"), part(1, ""), part(1, "second")}, nil)
	d := &demux{from: oneByte{bytes.NewReader(stream)}}
	out, err := io.ReadAll(d)
	if err != nil || string(out) != "first second" {
		t.Errorf("%q, %v", out, err)
	}
	if said := d.said(); len(said) > maxSaid || !strings.HasSuffix(said, "last words") {
		t.Errorf("%d bytes were kept, ending %q", len(said), said[max(0, len(said)-20):])
	}
	for _, bad := range []string{"\x09\x00\x00\x00\x00\x00\x00\x01x", "\x02\x00\x00\x00\xff\xff\xff\xffx"} {
		if _, err := io.ReadAll(&demux{from: strings.NewReader(bad)}); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

// oneByte gives one byte a read.
type oneByte struct{ r io.Reader }

func (o oneByte) Read(b []byte) (int, error) { return o.r.Read(b[:min(1, len(b))]) }

func TestTargetsThatAreTheBottlesOwn(t *testing.T) {
	for _, bad := range []string{"/", "", "srv", "/srv/", "/a/../b", "/etc", "/etc/ssl", "/etc/ssl/x", "/proc/x", "/dev", "/sys", "/var", "/var/lib/bottle", jail.SelfPath} {
		if goodTarget(bad) == nil {
			t.Errorf("%q was taken", bad)
		}
	}
	for _, good := range []string{"/srv/x", "/home/me/tool", "/opt/tool", "/etc/mine"} {
		if err := goodTarget(good); err != nil {
			t.Error(err)
		}
	}
}

// A backend that was told too little creates nothing.
func TestZeroValueCreatesNothing(t *testing.T) {
	b := plan.Bottle{Identity: "zero-aaaaa", State: t.TempDir()}
	if _, err := (&Docker{}).Create(t.Context(), b, plan.Gateway{}, nil); err == nil || !strings.Contains(err.Error(), "bottle image build") {
		t.Errorf("%v", err)
	}
}

func TestFreshEngines(t *testing.T) {
	for api, want := range map[string]bool{"1.41": true, "1.56": true, "1.100": true, "1.40": false, "1.9": false, "": false, "2.50": false} {
		if fresh(api) != want {
			t.Errorf("%q is fresh: %t", api, !want)
		}
	}
}

// Every wall that the plan shows is proved by some attempt of the jail's probe: the trial of
// `bottle doctor` wants each.
func TestEveryWallIsProved(t *testing.T) {
	tried := map[string]bool{}
	for _, name := range []string{"tcp-direct", "denied-name", "write-usr", "init-root", "capabilities", "io-uring", "descriptors"} {
		tried[backend.Proved([]plan.ProbeResult{{Name: name}})[0].Wall] = true
	}
	for _, w := range walls() {
		if !tried[w.Name] {
			t.Errorf("nothing tries %s", w.Name)
		}
	}
}

// TestEngineThatDoesNotAnswer: who may not talk to it is told something else than who has none.
func TestEngineThatDoesNotAnswer(t *testing.T) {
	dir := t.TempDir()
	l, err := net.Listen("unix", dir+"/shut.sock")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := os.Chmod(dir+"/shut.sock", 0); err != nil {
		t.Fatal(err)
	}
	for host, want := range map[string]string{"unix://" + dir + "/none.sock": "sudo systemctl start docker", "unix://" + dir + "/shut.sock": "usermod -aG docker"} {
		if strings.HasSuffix(host, "shut.sock") && os.Geteuid() == 0 {
			continue // nothing is shut to root; the words are tried below
		}
		facts, err := (&Docker{Host: host}).Facts(t.Context())
		if err != nil || len(facts.Checks) != 1 || facts.Checks[0].OK || !strings.Contains(facts.Checks[0].Fix, want) {
			t.Errorf("%s: %+v, %v", host, facts.Checks, err)
		}
	}
	if got := reach(errors.New("dial unix /var/run/docker.sock: connect: permission denied")); !strings.Contains(got, "usermod -aG docker") {
		t.Error(got)
	}
}
