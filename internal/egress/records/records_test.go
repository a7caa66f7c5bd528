package records

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pieces is a connection that gives its bytes in pieces of the lengths that are
// wanted, with a deadline that passes now and then.
type pieces struct {
	net.Conn
	data []byte
	cuts []byte // length of each piece; 0: a deadline passes
	at   int
}

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.data) == 0 {
		return 0, io.EOF
	}
	n := len(b)
	if p.at < len(p.cuts) {
		n = int(p.cuts[p.at])
		p.at++
		if n == 0 {
			return 0, os.ErrDeadlineExceeded
		}
		if n == 255 {
			n = 5000 // more than a small buffer
		}
	}
	n = copy(b, p.data[:min(n, len(p.data))])
	p.data = p.data[n:]
	return n, nil
}

// FuzzRecords: whatever comes, and in whatever pieces, Conn gives exactly that; and
// when it says that a whole record is here, one is.
func FuzzRecords(f *testing.F) {
	record := append([]byte{23, 3, 3, 0, 4}, "abcd"...)
	f.Add(record, []byte{1, 2, 0, 3}, byte(1))
	f.Add(append(bytes.Clone(record), 22, 3, 3, 0, 0, 23, 3, 3, 0x40, 0), []byte{3, 0, 9}, byte(200))
	f.Add(bytes.Repeat(append([]byte{23, 3, 3, 0x1f, 0xff}, make([]byte, 0x1fff)...), 9), []byte{255, 255}, byte(255))
	f.Fuzz(func(t *testing.T, data, cuts []byte, room byte) {
		c := New(&pieces{data: data, cuts: cuts}, &Memory{})
		var got []byte
		begin := 0 // of the record that comes next
		p := make([]byte, 1+int(room)*40)
		for {
			for begin+head <= len(got) {
				begin += size(data[begin:])
				if begin > len(got) {
					break
				}
			}
			if c.Ready() && (begin != len(got) || begin+head > len(data) || begin+size(data[begin:]) > len(data)) {
				t.Fatalf("ready at %d, and the record begins at %d of %d", len(got), begin, len(data))
			}
			n, err := c.Read(p)
			got = append(got, p[:n]...)
			if errors.Is(err, os.ErrDeadlineExceeded) {
				continue
			}
			if err != nil {
				break
			}
			if n == 0 {
				t.Fatal("nothing, and no error")
			}
		}
		if !bytes.Equal(got, data) {
			t.Fatalf("%d bytes came, %d went on: %x %x", len(data), len(got), data, got)
		}
	})
}

var certificate = sync.OnceValue(func() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"x.example.com"}, NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
})

// pair is a Stream, and crypto/tls itself at the other end. The first is the server.
func pair(t testing.TB, mem *Memory, conf *tls.Config) (*Stream, *tls.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	there, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	here, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = here.Close(), there.Close() })
	if conf == nil {
		conf = &tls.Config{}
	}
	conf.Certificates = []tls.Certificate{certificate()}
	leaf, err := x509.ParseCertificate(conf.Certificates[0].Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	conf.ServerName, conf.RootCAs = leaf.DNSNames[0], x509.NewCertPool()
	conf.RootCAs.AddCert(leaf)
	raw := New(here, mem)
	s, c := NewStream(tls.Server(raw, conf), raw), tls.Client(there, conf)
	done := make(chan error, 1)
	go func() { done <- c.Handshake() }()
	if err := errors.Join(s.Handshake(), <-done); err != nil {
		t.Fatal(err)
	}
	_, _ = s.SetDeadline(time.Now().Add(20*time.Second)), c.SetDeadline(time.Now().Add(20*time.Second))
	return s, c
}

// Every version and kind of cipher that crypto/tls takes from a peer.
func TestWhatIsWrittenArrives(t *testing.T) {
	for name, conf := range map[string]*tls.Config{
		"1.3":         {MinVersion: tls.VersionTLS13},
		"1.2 GCM":     {MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}},
		"1.2 CBC":     {MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA}},
		"1.2 ChaCha":  {MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256}},
		"full record": {DynamicRecordSizingDisabled: true},
	} {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(rt *rapid.T) {
				s, c := pair(t, &Memory{}, conf.Clone())
				sizes := rapid.SliceOfN(rapid.SampledFrom([]int{0, 1, 100, 4091, 4096, 16 << 10, 16<<10 + 1, 70000}), 1, 4).Draw(rt, "sizes")
				room := rapid.IntRange(1, 70000).Draw(rt, "room")
				var all []byte
				for i, n := range sizes {
					all = append(all, bytes.Repeat([]byte{byte(i + 1)}, n)...)
				}
				pump := func(dst io.Writer, end func() error) {
					for i, n := range sizes {
						_, _ = dst.Write(bytes.Repeat([]byte{byte(i + 1)}, n))
					}
					_ = end()
				}
				var wg sync.WaitGroup
				wg.Go(func() { pump(c, c.CloseWrite) })
				wg.Go(func() { pump(s, s.CloseWrite) })
				var got []byte
				wg.Go(func() { got, _ = io.ReadAll(c) })
				p, mine := make([]byte, room), []byte(nil)
				for {
					n, err := s.Read(p)
					mine = append(mine, p[:n]...)
					if err != nil {
						break
					}
				}
				wg.Wait()
				_, _ = c.Close(), s.Close()
				if !bytes.Equal(mine, all) || !bytes.Equal(got, all) {
					rt.Fatalf("%d bytes of %d came, %d went", len(mine), len(all), len(got))
				}
			})
		})
	}
}

// A head of which a part has come when a deadline passes is not taken for another.
func TestADeadlineInsideAHead(t *testing.T) {
	c := New(&pieces{data: append([]byte{23, 3, 3, 0, 4}, "abcd\x17\x03\x03\x00\x01x"...), cuts: []byte{3, 0, 1, 0, 20}}, &Memory{})
	var got []byte
	for p := make([]byte, 64); ; {
		n, err := c.Read(p)
		got = append(got, p[:n]...)
		if n > 0 && n != 9 && len(got) != 15 {
			t.Fatalf("%x came at once", p[:n])
		}
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			break
		}
	}
	if len(got) != 15 {
		t.Errorf("%x", got)
	}
}

// slow is a connection on which nothing is written until it may be.
type slow struct {
	net.Conn
	begun  chan struct{}
	goOn   chan struct{}
	writes atomic.Int32
	got    bytes.Buffer
	fail   error
}

func (s *slow) Write(b []byte) (int, error) {
	if s.writes.Add(1) == 1 && s.begun != nil {
		close(s.begun)
		<-s.goOn
	}
	if s.fail != nil {
		_, _ = s.got.Write(b[:len(b)/2])
		return len(b) / 2, s.fail
	}
	return s.got.Write(b)
}

// The weakness: a buffer that two goroutines give back to the pool serves two
// connections from then on. The attack: a KeyUpdate that wants an answer, which
// crypto/tls writes from the reader's goroutine, while what was held back is being
// written. This proves that each byte is written once and the buffer given back once.
func TestAWriteWhileAnotherUncorks(t *testing.T) {
	below := &slow{begun: make(chan struct{}), goOn: make(chan struct{})}
	var mem Memory
	c := New(below, &mem)
	c.Cork()
	_, _ = c.Write([]byte("one "))
	var wg sync.WaitGroup
	wg.Go(func() { _ = c.Uncork() })
	<-below.begun
	wg.Go(func() { _, _ = c.Write([]byte("two ")) })
	wg.Go(func() { _ = c.Uncork() })
	time.Sleep(20 * time.Millisecond)
	close(below.goOn)
	wg.Wait()
	if below.got.String() != "one two " {
		t.Errorf("%q was written", below.got.String())
	}
	if a, b := mem.get(), mem.get(); a == b {
		t.Error("one buffer was given back twice")
	}
}

// Behind what was cut nothing follows: the peer could take it for the rest.
func TestNothingFollowsAFailedFlush(t *testing.T) {
	below := &slow{fail: errors.New("no")}
	c := New(below, &Memory{})
	c.Cork()
	_, _ = c.Write([]byte("12345678"))
	if err := c.Uncork(); err == nil {
		t.Fatal("no error")
	}
	below.fail = nil
	if _, err := c.Write([]byte("more")); err == nil || below.got.String() != "1234" {
		t.Errorf("%q was written, %v", below.got.String(), err)
	}
	c.Cork()
	if _, err := c.Write([]byte("more")); err == nil {
		t.Error("and held back")
	}
}

// What has come is given at once, also when a record without data follows it.
func TestReadDoesNotWaitForMore(t *testing.T) {
	s, c := pair(t, &Memory{}, &tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA}})
	for _, part := range []string{"a", "", "b"} {
		_, _ = c.Write([]byte(part)) // an empty one is a record of its own in TLS 1.2
	}
	time.Sleep(20 * time.Millisecond)
	got, p := "", make([]byte, 100)
	for len(got) < 2 {
		n, err := s.Read(p)
		if err != nil {
			t.Fatal(err)
		}
		got += string(p[:n])
	}
	if got != "ab" {
		t.Errorf("%q", got)
	}
}

// Many write at once, some of them much: crypto/tls allows it.
func TestManyWriteAtOnce(t *testing.T) {
	var mem Memory
	s, c := pair(t, &mem, nil)
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for range 20 {
				if _, err := s.Write(bytes.Repeat([]byte{byte(i)}, 40000)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Go(func() {
		block := make([]byte, 40000)
		for range 80 {
			if _, err := io.ReadFull(c, block); err != nil {
				t.Error(err)
				return
			}
			if block[0] > 3 || bytes.Count(block, block[:1]) != len(block) {
				t.Error("a write was mixed with another")
			}
		}
	})
	wg.Wait()
}
