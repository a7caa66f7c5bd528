package inside

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"bottle/internal/plan"
)

// Somebody swapped a source between the operator's yes and the engine's bind: pid 1
// sees another file, and refuses. So it does where a link of the image leads elsewhere.
func TestShownIsWhatWasAllowed(t *testing.T) {
	dir := t.TempDir()
	file, link := filepath.Join(dir, "file"), filepath.Join(dir, "link")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	stat := func(path string) plan.Inode {
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			t.Fatal(err)
		}
		return is(st)
	}
	one := func(m plan.Mount) plan.Bottle { return plan.Bottle{Mounts: []plan.Mount{m}} }
	other := stat(file)
	other.Ino += stat(dir).Ino // which is neither's
	for name, c := range map[string]struct {
		told plan.Bottle
		want string
	}{
		"as allowed":             {one(plan.Mount{Target: file, Is: stat(file)}), ""},
		"a folder to write":      {one(plan.Mount{Target: dir, Is: stat(dir), Writable: true}), ""},
		"a view has another one": {one(plan.Mount{Target: dir, Is: other}), ""},
		"another file":           {one(plan.Mount{Target: file, Is: other}), "something else"},
		"another folder":         {one(plan.Mount{Target: dir, Is: other, Writable: true}), "something else"},
		"nobody looked":          {one(plan.Mount{Target: file}), "something else"},
		"below a link":           {one(plan.Mount{Target: link + "/file", Is: stat(file)}), "symlink"},
		"not there":              {one(plan.Mount{Target: dir + "/none"}), "none"},
		"numbers of gVisor":      {plan.Bottle{Mounts: []plan.Mount{{Target: file, Is: other}}, Container: plan.Container{Runtime: plan.GVisor}}, ""},
		"a link in gVisor":       {plan.Bottle{Mounts: []plan.Mount{{Target: link + "/file"}}, Container: plan.Container{Runtime: plan.GVisor}}, "symlink"},
		"a workspace elsewhere":  {plan.Bottle{Workspace: plan.WorkspaceMount{Mode: "bind", Is: other}}, "workspace"},
	} {
		err := shown(c.told)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
