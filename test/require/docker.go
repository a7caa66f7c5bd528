package require

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

// dockerImage is what .ci/run makes with debootstrap: Debian with git, CA
// certificates, procps, and the user agent, uid 1000.
const dockerImage = "bottle-test-base:latest"

// Docker needs a Docker engine that has the image for tests, and gives the engine's
// address and the image's name. DOCKER_HOST names another engine's unix socket,
// BOTTLE_TEST_IMAGE another image.
func Docker(t testing.TB) (host, image string) {
	t.Helper()
	host, image = os.Getenv("DOCKER_HOST"), os.Getenv("BOTTLE_TEST_IMAGE")
	if host == "" {
		host = "unix:///var/run/docker.sock"
	}
	if image == "" {
		image = dockerImage
	}
	if err := dockerHas(host, image); err != nil {
		Missing(t, "docker", err.Error())
	}
	return host, image
}

var dockerSeen sync.Map // host and image -> error; a probe a process is enough

func dockerHas(host, image string) error {
	key := host + " " + image
	if err, ok := dockerSeen.Load(key); ok {
		return err.(probed).error
	}
	err := askDocker(host, image)
	dockerSeen.Store(key, probed{err})
	return err
}

type probed struct{ error }

func askDocker(host, image string) error {
	path, ok := strings.CutPrefix(host, "unix://")
	if !ok {
		return fmt.Errorf("DOCKER_HOST is %s, which is no unix socket", host)
	}
	c := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", path)
	}}}
	for what, url := range map[string]string{"the engine": "/_ping", "the image " + image: "/images/" + url.PathEscape(image) + "/json"} {
		r, err := c.Get("http://engine" + url)
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, r.Body)
		if err = joinClose(err, r.Body.Close()); err != nil {
			return err
		}
		if r.StatusCode != http.StatusOK {
			return fmt.Errorf("%s: %s", what, r.Status)
		}
	}
	return nil
}

func joinClose(err, closed error) error {
	if err != nil {
		return err
	}
	return closed
}
