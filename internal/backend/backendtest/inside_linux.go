package backendtest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"bottle/internal/plan"
)

// insideWord is the first argument of the program when it is an agent.
const insideWord = "backendtest-inside"

// dialWait bounds one attempt; a wall answers at once.
const dialWait = 2 * time.Second

// Inside must be the first thing in the TestMain of a program that calls the
// suite: with args (os.Args) of an agent it does the agent's work, and ran is true.
func Inside(args []string) (code int, ran bool) {
	if len(args) < 3 || args[1] != insideWord {
		return 0, false
	}
	if err := agent(args[2], args[3:]); err != nil {
		fmt.Fprintln(os.Stderr, "inside:", err)
		return 99, true
	}
	return 0, true
}

func agent(role string, args []string) error {
	word := func(i int) string {
		if i < len(args) {
			return args[i]
		}
		return ""
	}
	switch role {
	case "flood":
		return flood(os.Stdout)
	case "neighbour":
		return neighbour(word(0), os.Stdin, os.Stdout)
	case "look":
		return tell(look(word(0), word(1), word(2)))
	case "attacks":
		return tell(append(attacks(word(0), word(1), word(2)), ownNamespaces(word(3))...))
	case "raw":
		return rawCall(word(0))
	case "tty":
		return typeInto()
	case "eat":
		return eat(word(0))
	case "wait":
		_, err := io.Copy(io.Discard, os.Stdin)
		return err
	case "gateway":
		page, err := gatewayPage()
		fmt.Println(firstLine(page), err)
		return nil
	case "dial":
		detail, _ := unreachable("tcp4", word(0))
		fmt.Println(detail)
		return nil
	case "dial-unix":
		detail, _ := unreachable("unix", word(0))
		fmt.Println(detail)
		return nil
	case "identity":
		fmt.Println(unix.Getuid(), unix.Geteuid(), unix.Getgid(), unix.Getegid())
		return nil
	}
	return errors.New("no such role " + role)
}

func tell(list []outcome) error { return json.NewEncoder(os.Stdout).Encode(list) }

// try says first what it tries, so that an attempt that hangs is known by name.
func try(name string, f func() (string, bool)) outcome {
	fmt.Fprintln(os.Stderr, "trying "+name)
	detail, held := f()
	return outcome{Name: name, Held: held, Detail: detail}
}

// refused is what a wall says: an error, at once.
func refused(err error) (string, bool) {
	if err == nil {
		return "it was allowed", false
	}
	return err.Error(), true
}

// unreachable wants a connect to fail at once.
func unreachable(network, addr string) (string, bool) {
	start := time.Now()
	c, err := net.DialTimeout(network, addr, dialWait)
	if err == nil {
		c.Close()
		return "connected", false
	}
	if time.Since(start) >= dialWait {
		return "it hung instead of failing", false
	}
	return err.Error(), true
}

func listenUnix(addr string) (net.Listener, error) { return net.Listen("unix", addr) }

func listenTCP(addr string) (net.Listener, error) { return net.Listen("tcp4", addr) }

func touch(path string) error { return os.WriteFile(path, []byte("neighbour\n"), 0o666) }

func absent(path string) (string, bool) {
	_, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "absent", true
	}
	return fmt.Sprintf("%s: %v", path, err), false
}

func noProcess(word string) (string, bool) {
	list, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return err.Error(), false
	}
	for _, p := range list {
		body, err := os.ReadFile(p)
		if err == nil && strings.Contains(string(body), word) {
			return p + " is " + strconv.Quote(string(body)), false
		}
	}
	return strconv.Itoa(len(list)) + " processes, none of them", true
}

func notIn(word string, files ...string) (string, bool) {
	for _, f := range files {
		body, err := os.ReadFile(f)
		if err != nil {
			return err.Error(), false
		}
		if strings.Contains(string(body), word) {
			return f + " tells of it", false
		}
	}
	return "not told of", true
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\r\n")
	return line
}

// gatewayPage asks the own gateway who it is.
func gatewayPage() (string, error) {
	c, err := net.DialTimeout("tcp4", "127.0.0.1:"+strconv.Itoa(plan.EgressPort), dialWait)
	if err != nil {
		return "", err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(dialWait)); err != nil {
		return "", err
	}
	if _, err := io.WriteString(c, "GET http://"+plan.GatewayHost+"/ HTTP/1.1\r\nHost: "+plan.GatewayHost+"\r\nConnection: close\r\n\r\n"); err != nil {
		return "", err
	}
	body, err := io.ReadAll(io.LimitReader(c, 64<<10))
	return string(body), err
}

// typeInto tries TIOCSTI and TIOCLINUX, also with rubbish where a 64-bit filter
// would look and the kernel does not (CVE-2019-10063).
func typeInto() error {
	for _, high := range []uintptr{0, 1 << 32, 0xdead << 32} {
		for _, req := range []uintptr{unix.TIOCSTI, unix.TIOCLINUX} {
			b := byte('x')
			if errno := ioctl(0, req|high, &b); errno != unix.EPERM {
				return fmt.Errorf("ioctl %#x: %v", req|high, errno)
			}
		}
	}
	fmt.Println("all refused")
	return nil
}

// eat takes MiB of memory and touches all of it.
func eat(mib string) error {
	n, err := strconv.Atoi(mib)
	if err != nil {
		return err
	}
	var all [][]byte
	for range n {
		b := make([]byte, 1<<20)
		for i := range b {
			b[i] = byte(i)
		}
		all = append(all, b)
	}
	fmt.Println("full", len(all))
	return nil
}
