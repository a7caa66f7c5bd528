package demo

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
)

// Exit codes that only the client gives, as curl(1) numbers them.
const (
	clientUsage  = 2
	clientEmpty  = 52
	clientCA     = 60
	clientNoFile = 23
)

// client is one call of the tiny client.
type client struct {
	method, body, out, format, target string
	proxy, connectTo                  string
	noproxy                           *string
	header                            http.Header
	timeout                           time.Duration
	tunnel                            int // status of CONNECT
}

// Client makes one request as curl would, for the few options that agent.sh
// uses, and returns curl's exit code. It runs inside a bottle where there is no
// curl, and has nothing that curl would not have.
func Client(args []string, stdout io.Writer) int {
	c := client{method: http.MethodGet, header: http.Header{}, timeout: 5 * time.Second}
	if !c.parse(args) {
		return clientUsage
	}
	begun := time.Now()
	status, err := c.fetch()
	fill := strings.NewReplacer(
		"%{http_code}", fmt.Sprintf("%03d", status), "%{http_connect}", fmt.Sprintf("%03d", c.tunnel),
		"%{time_total}", strconv.FormatFloat(time.Since(begun).Seconds(), 'f', 6, 64),
	)
	fmt.Fprint(stdout, fill.Replace(c.format))
	return c.exitCode(err)
}

func (c *client) parse(args []string) bool {
	for len(args) > 0 {
		option := args[0]
		args = args[1:]
		if option == "-sS" {
			continue
		}
		if !strings.HasPrefix(option, "-") {
			c.target = option
			continue
		}
		if len(args) == 0 || !c.option(option, args[0]) {
			return false
		}
		args = args[1:]
	}
	return c.target != ""
}

func (c *client) option(name, value string) bool {
	switch name {
	case "-X":
		c.method = value
	case "-H":
		k, v, ok := strings.Cut(value, ": ")
		c.header.Set(k, v)
		return ok
	case "--data":
		c.body = value
	case "-o":
		c.out = value
	case "-w":
		c.format = value
	case "-x":
		c.proxy = value
	case "--noproxy":
		c.noproxy = &value
	case "--connect-to":
		c.connectTo = value
	case "-m":
		n, err := strconv.Atoi(value)
		c.timeout = time.Duration(n) * time.Second
		return err == nil
	default:
		return false
	}
	return true
}

func (c *client) fetch() (status int, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), c.timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, c.method, c.target, strings.NewReader(c.body))
	if err != nil {
		return 0, fmt.Errorf("make request: %w", err)
	}
	req.Header = c.header
	transport := &http.Transport{
		Proxy: c.way, DialContext: c.dial, DisableKeepAlives: true, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12},
		OnProxyConnectResponse: func(_ context.Context, _ *url.URL, _ *http.Request, res *http.Response) error {
			c.tunnel = res.StatusCode
			return nil
		},
	}
	res, err := transport.RoundTrip(req)
	if err != nil {
		return 0, fmt.Errorf("send request: %w", err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, 64<<10))
	if err == nil && c.out != "" {
		err = os.WriteFile(c.out, body, 0o600)
	}
	return res.StatusCode, err
}

// way is the proxy of a request: the one of -x, or of the environment, unless
// --noproxy says that every host does without.
func (c *client) way(r *http.Request) (*url.URL, error) {
	switch {
	case c.noproxy != nil && *c.noproxy == "*":
		return nil, nil
	case c.proxy != "":
		return url.Parse(c.proxy)
	}
	return http.ProxyFromEnvironment(r)
}

// dial takes HOST1:PORT1:HOST2:PORT2 of --connect-to to heart.
func (c *client) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	if to, ok := strings.CutPrefix(c.connectTo, addr+":"); ok {
		addr = to
	}
	return (&net.Dialer{}).DialContext(ctx, network, addr)
}

func (c *client) exitCode(err error) int {
	var name *net.DNSError
	var op *net.OpError
	var unknown x509.UnknownAuthorityError
	switch {
	case err == nil:
		return 0
	case errors.Is(err, context.DeadlineExceeded):
		return 28
	case c.tunnel != 0 && c.tunnel != http.StatusOK:
		return 56
	case errors.As(err, &name):
		return 6
	case errors.As(err, &op) && op.Op == "dial":
		return 7
	case errors.As(err, &unknown):
		return clientCA
	case errors.Is(err, os.ErrPermission), errors.Is(err, os.ErrNotExist):
		return clientNoFile
	}
	return clientEmpty
}
