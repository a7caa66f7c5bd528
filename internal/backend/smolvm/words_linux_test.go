package smolvm

import (
	"strings"
	"testing"
	"time"
)

// A version is told with a v before it, too; and what stands behind it is no message of ours.
func TestVersionsAreRead(t *testing.T) {
	for said, want := range map[string]string{
		"smolvm 1.9.3": "1.9.3", "smolvm v1.9.3 (abc)": "1.9.3", "smolvm 0.8.0-rc.1": "0.8.0-rc.1",
		"1.9.3" + strings.Repeat("x", 5000): "1.9.3" + strings.Repeat("x", 32),
	} {
		d, err := scripted(t, `case "$*" in --version) echo '`+said+`';; *) echo "--name";; esac`).learn(t.Context())
		if err != nil || d.version != want {
			t.Errorf("%.40s: %.40q, %v", said, d.version, err)
		}
	}
	if d := (dialect{version: "1.9.3"}); !d.archives() {
		t.Error("1.9.3 takes no archives")
	}
}

// The weakness: a call that was ended since it gave no answer is told as one that was killed,
// and nobody knows by whom.
func TestACallThatHangsIsToldSo(t *testing.T) {
	_, err := scripted(t, "exec /bin/sleep 60").run(t.Context(), 200*time.Millisecond, "machine", "ls")
	if err == nil || !strings.Contains(err.Error(), "no answer within 200ms") || !strings.Contains(err.Error(), "machine ls") {
		t.Error(err)
	}
	if exits(err, 137) {
		t.Error("it counts as a call that was killed")
	}
}
