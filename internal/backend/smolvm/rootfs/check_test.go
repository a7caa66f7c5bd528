package rootfs

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"strings"
	"testing"
)

type file struct {
	name, link string
	kind       byte
	body       []byte
	major      int64
	minor      int64
}

func tarOf(t testing.TB, files ...file) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range files {
		kind := f.kind
		if kind == 0 {
			kind = tar.TypeReg
		}
		h := &tar.Header{Typeflag: kind, Name: f.name, Linkname: f.link, Size: int64(len(f.body)), Mode: 0o644, Devmajor: f.major, Devminor: f.minor}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(f.body); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func zipped(t testing.TB, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	if _, err := z.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// saved is an archive of one image.
func saved(t testing.TB, layers ...[]byte) []byte {
	t.Helper()
	var files []file
	var names []string
	for i, l := range layers {
		name := "blobs/sha256/" + string(rune('a'+i))
		files, names = append(files, file{name: name, body: l}), append(names, `"`+name+`"`)
	}
	return tarOf(t, append(files, file{name: "manifest.json", body: []byte(`[{"Layers":[` + strings.Join(names, ",") + `]}]`)})...)
}

// headers is a header for a file that never comes, with 2 KB of attributes.
func headers(t *testing.T) []byte {
	t.Helper()
	b := tarOf(t, file{name: "x/" + strings.Repeat("n", 2000)})
	return b[:len(b)-3*512] // without the file's own header, and the end
}

// small bounds, so that no test needs gigabytes.
func small() Bounds {
	return Bounds{Bytes: 8 << 20, Entries: 1000, Names: 64 << 10, Ratio: 100, Slack: 1 << 20}
}

// What images are like is taken: their links, their usual devices, layers of both makes.
func TestCheckTakesImages(t *testing.T) {
	base := tarOf(t, file{name: "./", kind: tar.TypeDir}, file{name: "./bin", link: "usr/bin", kind: tar.TypeSymlink}, file{name: "var/run", link: "/run", kind: tar.TypeSymlink},
		file{name: "usr/bin/sh", body: []byte("x")}, file{name: "usr/bin/dash", link: "usr/bin/sh", kind: tar.TypeLink}, file{name: "dev/null", kind: tar.TypeChar, major: 1, minor: 3},
		file{name: "dev/console", kind: tar.TypeChar, major: 5, minor: 1}, file{name: "etc/up", link: "../usr", kind: tar.TypeSymlink}, file{name: "etc/..data/x..", body: []byte("x")},
		file{name: "a/b/c", link: "../../usr/bin", kind: tar.TypeSymlink}, file{name: "a/b/c/tool", body: []byte("x")}, file{name: "run/fifo", kind: tar.TypeFifo})
	more := tarOf(t, file{name: "bin/more", body: []byte("x")}, file{name: "etc/.wh.up"}, file{name: "var/run", kind: tar.TypeDir})
	empty := make([]byte, 1024)
	for name, archive := range map[string][]byte{
		"plain": saved(t, base, more), "zipped layers": saved(t, zipped(t, base), more), "zipped": zipped(t, saved(t, base, zipped(t, more))), "an empty layer": saved(t, base, empty),
		"older": tarOf(t, file{name: "1/layer.tar", body: base}, file{name: "2/layer.tar", link: "../1/layer.tar", kind: tar.TypeSymlink}, file{name: "1/json", body: []byte("{}")},
			file{name: "manifest.json", body: []byte(`[{"Layers":["1/layer.tar","2/layer.tar"]}]`)}),
	} {
		if err := Check(bytes.NewReader(archive), small()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Each attack on whoever unpacks has its own reason.
func TestCheckRefuses(t *testing.T) {
	layer := func(f ...file) []byte { return saved(t, tarOf(t, f...)) }
	many := make([]file, 1001)
	for i := range many {
		many[i] = file{name: "x"}
	}
	zstd := append([]byte{0x28, 0xb5, 0x2f, 0xfd}, make([]byte, 1000)...)
	for name, c := range map[string]struct {
		archive []byte
		says    string
	}{
		"name up":                {layer(file{name: "usr/../../etc/passwd"}), "leads out"},
		"absolute name":          {layer(file{name: "/etc/passwd"}), "not below"},
		"hard link up":           {layer(file{name: "x", link: "../../etc/shadow", kind: tar.TypeLink}), "leads out"},
		"hard link to absolute":  {layer(file{name: "x", link: "/etc/shadow", kind: tar.TypeLink}), "not below"},
		"through a link":         {layer(file{name: "x", link: "/etc", kind: tar.TypeSymlink}, file{name: "x/cron.d/a"}), "goes through the link"},
		"through a later link":   {layer(file{name: "x/cron.d/a"}, file{name: "x", link: "/etc", kind: tar.TypeSymlink}), "goes through the link"},
		"through another layer":  {saved(t, tarOf(t, file{name: "x", link: "/etc", kind: tar.TypeSymlink}), tarOf(t, file{name: "x/a"})), "goes through the link"},
		"a relative link":        {layer(file{name: "a/x", link: "../../etc", kind: tar.TypeSymlink}, file{name: "a/x/a"}), "outside"},
		"two links":              {layer(file{name: "a", link: "b", kind: tar.TypeSymlink}, file{name: "b", link: "/etc", kind: tar.TypeSymlink}, file{name: "a/x"}), "goes through the link"},
		"links in a circle":      {layer(file{name: "a", link: "b", kind: tar.TypeSymlink}, file{name: "b", link: "a", kind: tar.TypeSymlink}, file{name: "a/x"}), "goes through the link"},
		"hard link through one":  {layer(file{name: "x", link: "/etc", kind: tar.TypeSymlink}, file{name: "y", link: "x/shadow", kind: tar.TypeLink}), "goes through the link"},
		"over its own link":      {layer(file{name: "x", link: "/etc/passwd", kind: tar.TypeSymlink}, file{name: "x", body: []byte("root")}), "there twice"},
		"the root is a link":     {layer(file{name: ".", link: "/", kind: tar.TypeSymlink}), "there twice"},
		"a disk":                 {layer(file{name: "dev/sda", kind: tar.TypeBlock, major: 8}), "no file of a system"},
		"the memory":             {layer(file{name: "dev/null", kind: tar.TypeChar, major: 1, minor: 1}), "is a device (1:1)"},
		"kvm":                    {layer(file{name: "dev/kvm", kind: tar.TypeChar, major: 10, minor: 232}), "is a device"},
		"a bomb":                 {saved(t, zipped(t, tarOf(t, file{name: "zeros", body: make([]byte, 4<<20)}))), "bomb"},
		"a bomb in the archive":  {zipped(t, tarOf(t, file{name: "zeros", body: make([]byte, 4<<20)})), "bomb"},
		"a bomb of headers":      {saved(t, zipped(t, bytes.Repeat(headers(t), 4096))), "bomb"},
		"too much":               {layer(file{name: "a", body: bytes.Repeat([]byte("0123456789abcdef"), 9<<16)}), "more than"},
		"too many":               {layer(many...), "more than 1000 files"},
		"names":                  {layer(file{name: strings.Repeat("n/", 40<<10) + "n"}), "names of more"},
		"a link of the archive":  {tarOf(t, file{name: "l", link: "../../etc/passwd", kind: tar.TypeSymlink}), "leads out of the archive"},
		"a device of it":         {tarOf(t, file{name: "l", kind: tar.TypeChar}), "no file of an image"},
		"a name of it":           {tarOf(t, file{name: "../l"}), "leads out"},
		"no manifest":            {tarOf(t, file{name: "x"}), "no manifest.json"},
		"a layer that lacks":     {tarOf(t, file{name: "manifest.json", body: []byte(`[{"Layers":["a"]}]`)}), "not there"},
		"aliases in a circle":    {tarOf(t, file{name: "a", link: "b", kind: tar.TypeSymlink}, file{name: "b", link: "a", kind: tar.TypeSymlink}, file{name: "manifest.json", body: []byte(`[{"Layers":["a"]}]`)}), "not there"},
		"a layer nobody reads":   {saved(t, zstd), "neither a layer that is plain or gzip"},
		"two images":             {tarOf(t, file{name: "manifest.json", body: []byte(`[{"Layers":["a"]},{"Layers":["a"]}]`)}), "holds 2 images"},
		"an image of nothing":    {saved(t), "no layer"},
		"a manifest that is not": {tarOf(t, file{name: "manifest.json", body: []byte("{")}), "manifest.json"},
		"a long manifest":        {tarOf(t, file{name: "manifest.json", body: make([]byte, maxManifest+1)}), "larger than"},
		"words":                  {[]byte("no archive at all"), "look into"},
		"nothing":                {nil, "no manifest.json"},
	} {
		if err := Check(bytes.NewReader(c.archive), small()); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// described is a layer of one empty file with a record of pax.
func described(t testing.TB, key, value string) []byte {
	t.Helper()
	record := fmt.Sprintf("%d %s=%s\n", len(key)+len(value)+5, key, value)
	b := tarOf(t, file{name: "pax", body: []byte(record)}, file{name: "x"})
	b[156] = 'x' // the kind
	stamp(b)
	return b
}

// stamp makes the check sum of a header right.
func stamp(b []byte) {
	copy(b[148:156], "        ")
	sum := 0
	for _, c := range b[:512] {
		sum += int(c)
	}
	copy(b[148:156], fmt.Sprintf("%06o\x00 ", sum))
}

// What another reader of the same bytes, or another order of the layers, makes of an image
// is looked into, too.
func TestCheckRefusesWhatIsReadInTwoWays(t *testing.T) {
	link := func(name, to string) file { return file{name: name, link: to, kind: tar.TypeSymlink} }
	hard := func(name, to string) file { return file{name: name, link: to, kind: tar.TypeLink} }
	good := tarOf(t, file{name: "x"})
	names := func(layer string) file {
		return file{name: "manifest.json", body: []byte(`[{"Layers":["` + layer + `"]}]`)}
	}
	old := bytes.Replace(tarOf(t, file{name: "../x"}), []byte("ustar\x0000"), make([]byte, 8), 1) // no magic word
	stamp(old)
	for name, c := range map[string]struct {
		archive []byte
		says    string
	}{
		"a link that a later layer mends":   {saved(t, tarOf(t, link("a", "/etc")), tarOf(t, file{name: "a/x"}), tarOf(t, link("a", "b"))), "goes through the link"},
		"a link below one that is replaced": {saved(t, tarOf(t, link("a", "b")), tarOf(t, file{name: "a", kind: tar.TypeDir}, link("a/c", "/etc"), file{name: "a/c/x"})), "goes through the link"},
		"a hard link to a link as a folder": {saved(t, tarOf(t, link("a", "/etc"), hard("h", "a"), file{name: "h/x"})), "goes through the link"},
		"a hard link of a hard link":        {saved(t, tarOf(t, link("a", "/etc"), hard("g", "a"), hard("h", "g"), file{name: "h/x"})), "goes through the link"},
		"over a hard link to a link":        {saved(t, tarOf(t, link("a", "/etc/x"), hard("h", "a"), file{name: "h"})), "there twice"},
		"a link by its capital letter":      {saved(t, tarOf(t, link("A", "/etc"), file{name: "a/x"})), "goes through the link"},
		"over a link by its capital letter": {saved(t, tarOf(t, link("A", "/etc/x"), file{name: "a"})), "there twice"},
		"links at one name without an end": {saved(t, func() (all [][]byte) {
			for i := range 300 {
				all = append(all, tarOf(t, link("a", fmt.Sprint(i))))
			}
			return all
		}()...), "more than 256 links"},
		"a whiteout of the root":           {saved(t, tarOf(t, file{name: ".wh."})), "removes the folder"},
		"a whiteout of what is above":      {saved(t, tarOf(t, file{name: "a/.wh..."})), "removes the folder"},
		"a name that no system has":        {saved(t, tarOf(t, file{name: strings.Repeat("n/", 3000) + "n"})), "name of more than"},
		"two manifests":                    {tarOf(t, file{name: "a", body: good}, names("b"), file{name: "./manifest.json", body: names("a").body}), "there twice"},
		"two layers of a name":             {tarOf(t, file{name: "a", body: good}, file{name: "a", body: []byte("{}")}, names("a")), "there twice"},
		"another layer, of the old kind":   {tarOf(t, file{name: "a", body: good}, file{name: "b", body: old}, names("a")), "leads out"},
		"another layer, in a coding":       {tarOf(t, file{name: "a", body: good}, file{name: "b", body: []byte("\x28\xb5\x2f\xfd")}, names("a")), "neither a layer"},
		"behind the end of a layer":        {saved(t, append(good[:len(good):len(good)], tarOf(t, file{name: "../x"})...)), "behind its end"},
		"behind the end of a zipped layer": {saved(t, append(zipped(t, good), zipped(t, tarOf(t, file{name: "../x"}))...)), "behind its end"},
		"behind the end of the archive":    {append(saved(t, good), saved(t, tarOf(t, file{name: "../x"}))...), "behind its end"},
		"a bomb behind the end":            {saved(t, zipped(t, append(good[:len(good):len(good)], make([]byte, 4<<20)...))), "bomb"},
		"a size beside the header's":       {saved(t, described(t, "size", "0")), "described twice"},
		"sparse in the words of pax":       {saved(t, described(t, "GNU.sparse.minor", "1")), "described twice"},
	} {
		if err := Check(bytes.NewReader(c.archive), small()); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// 4 GiB of zeros in 4 MB are seen by their header, and not unpacked.
func TestCheckReadsNoBomb(t *testing.T) {
	var head bytes.Buffer
	if err := tar.NewWriter(&head).WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "zeros", Size: 4 << 30, Mode: 0o644}); err != nil {
		t.Fatal(err)
	}
	z := zipped(t, head.Bytes())
	z = append(z, bytes.Repeat(zipped(t, make([]byte, 16<<20)), 256)...)
	r := &counted{from: bytes.NewReader(saved(t, z))}
	if err := Check(r, Usual()); err == nil || !strings.Contains(err.Error(), "bomb") || r.n > 1<<20 {
		t.Errorf("after %d bytes: %v", r.n, err)
	}
}

func FuzzCheck(f *testing.F) {
	layer := tarOf(f, file{name: "x", link: "/etc", kind: tar.TypeSymlink}, file{name: "y/z", body: []byte("x")})
	f.Add(saved(f, layer))
	f.Add(saved(f, zipped(f, layer)))
	f.Add(zipped(f, saved(f, layer)))
	f.Fuzz(func(t *testing.T, b []byte) {
		if err := Check(bytes.NewReader(b), small()); err != nil {
			return
		}
		// What passes holds no name that leads out, whoever unpacks it.
		in := &inspection{Bounds: small(), read: &counted{n: int64(len(b))}}
		r, _, err := in.unzipped(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		for tr := tar.NewReader(r); ; {
			h, err := tr.Next()
			if err == io.EOF {
				return
			}
			if err != nil || strings.HasPrefix(h.Name, "/") || strings.Contains("/"+h.Name+"/", "/../") {
				t.Fatalf("%v, %v", h, err)
			}
		}
	})
}
