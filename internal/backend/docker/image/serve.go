package image

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// served is the name and tag of the one image of a registry of ours.
const served = "bottle/vm"

// Serve is a registry that has one image, that of the archive at path, on a port of
// 127.0.0.1 until stop is called. It answers what a pull asks (OCI distribution
// specification, "Pull") and nothing else: the library's own registry takes pushes, from
// every user of this host. Whoever asks may read it, so nothing secret is in it. ref is the image's name there.
func Serve(path string) (ref string, stop func(), err error) {
	img, err := tarball.ImageFromPath(path, nil)
	if err != nil {
		return "", nil, fmt.Errorf("read the image %s: %w", path, err)
	}
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return "", nil, fmt.Errorf("serve the image: %w", err)
	}
	srv := &http.Server{Handler: registry{img}, ReadHeaderTimeout: 10 * time.Second, MaxHeaderBytes: 64 << 10}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = srv.Serve(l) // until stop closes it
	}()
	return l.Addr().String() + "/" + served + ":latest", func() { _ = srv.Close(); <-done }, nil
}

type registry struct{ img v1.Image }

func (r registry) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	if q.Method != http.MethodGet && q.Method != http.MethodHead {
		http.Error(w, "only pulls", http.StatusMethodNotAllowed)
		return
	}
	rest, ours := strings.CutPrefix(q.URL.Path, "/v2/"+served+"/")
	kind, what, _ := strings.Cut(rest, "/")
	var err error
	switch {
	case q.URL.Path == "/v2/":
		w.WriteHeader(http.StatusOK)
	case ours && kind == "manifests":
		err = r.manifest(w, q, what)
	case ours && kind == "blobs":
		err = r.blob(w, q, what)
	default:
		http.NotFound(w, q)
	}
	if err != nil {
		http.NotFound(w, q)
	}
}

func (r registry) manifest(w http.ResponseWriter, q *http.Request, what string) error {
	body, err := r.img.RawManifest()
	if err != nil {
		return err
	}
	digest, err := r.img.Digest()
	if err != nil {
		return err
	}
	if what != "latest" && what != digest.String() {
		return fmt.Errorf("no manifest %s", what)
	}
	kind, err := r.img.MediaType()
	if err != nil {
		return err
	}
	return answer(w, q, kind, digest.String(), int64(len(body)), strings.NewReader(string(body)))
}

func (r registry) blob(w http.ResponseWriter, q *http.Request, what string) error {
	digest, err := v1.NewHash(what)
	if err != nil {
		return err
	}
	if name, err := r.img.ConfigName(); err == nil && name == digest {
		body, err := r.img.RawConfigFile()
		if err != nil {
			return err
		}
		return answer(w, q, types.DockerConfigJSON, what, int64(len(body)), strings.NewReader(string(body)))
	}
	layer, err := r.img.LayerByDigest(digest)
	if err != nil {
		return err
	}
	size, err := layer.Size()
	if err != nil {
		return err
	}
	body, err := layer.Compressed()
	if err != nil {
		return err
	}
	defer body.Close()
	return answer(w, q, types.DockerLayer, what, size, body)
}

func answer(w http.ResponseWriter, q *http.Request, kind types.MediaType, digest string, size int64, body io.Reader) error {
	w.Header().Set("Content-Type", string(kind))
	w.Header().Set("Docker-Content-Digest", digest)
	w.Header().Set("Content-Length", fmt.Sprint(size))
	if q.Method == http.MethodGet {
		_, _ = io.Copy(w, body) // who pulls goes away
	}
	return nil
}
