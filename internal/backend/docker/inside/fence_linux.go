package inside

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"bottle/internal/backend/jail/fence"
	"bottle/internal/plan"
)

// Fence makes the agent's network from inside its namespace, which this helper
// shares, and hands its sockets to the bundle. in holds a plan.Bottle.
func Fence(in io.Reader, out io.Writer) error {
	var b plan.Bottle
	if err := json.NewDecoder(in).Decode(&b); err != nil {
		return fmt.Errorf("read what to fence: %w", err)
	}
	if err := fence.Loopback(hasIPv6()); err != nil {
		return fmt.Errorf("make the network: %w", err)
	}
	if err := fence.Firewall(b); err != nil { // before anything is served
		return fmt.Errorf("make the network: %w", err)
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open socket: %w", err)
	}
	gw := os.NewFile(uintptr(fd), "gateway")
	defer gw.Close()
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: MeetPath}); err != nil {
		return fmt.Errorf("meet the gateway: %w", err)
	}
	if err := fence.HandOver(gw); err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(Fenced)
}

// hasIPv6 tells whether lo may have an IPv6 address: an engine can switch the
// family off for one container, and then a route for it is refused.
func hasIPv6() bool {
	body, err := os.ReadFile("/proc/net/if_inet6")
	return err == nil && strings.Contains(string(body), " lo\n")
}
