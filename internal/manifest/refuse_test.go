package manifest

import "testing"

// TestRefuseByBothNames. The weakness: ~/.bot-bottle may be a link into a folder
// of dotfiles, and the rules knew the link alone. The attack: an agent that works
// in the dotfiles writes its own limits. What this proves: the operator's folders
// are refused by the name they are called and by the one they have.
func TestRefuseByBothNames(t *testing.T) {
	tree := Tree{
		UserHome: "/home/op", HomeDir: "/home/op/.bot-bottle",
		RealUserHome: "/data/op", RealHomeDir: "/data/op/dot/bb", Linked: []string{"/data/vault/ssh"},
	}
	for _, p := range []string{
		"/home/op", "/home/op/.bot-bottle/bottles", "/data/op", "/data/op/dot", "/data/op/dot/bb", "/data/op/dot/bb/agents",
		"/home/op/.ssh", "/data/op/.ssh", "/data/vault", "/data/vault/ssh", "/data/vault/ssh/id", "/data/op/.config",
	} {
		if why, hint := tree.RefuseMount(p); why == "" || hint == "" {
			t.Errorf("%s may be mounted", p)
		}
		if why, hint := tree.RefuseWorkspace(p); why == "" || hint == "" {
			t.Errorf("an agent may work in %s", p)
		}
	}
	for _, p := range []string{"/data/op/app", "/home/op/app", "/data/op/dotty", "/data/vaults"} {
		if why, _ := tree.RefuseMount(p); why != "" {
			t.Errorf("mount %s: %s", p, why)
		}
		if why, _ := tree.RefuseWorkspace(p); why != "" {
			t.Errorf("work in %s: %s", p, why)
		}
	}
}

// A Dockerfile is named from /, from ~/ or from the file that names it, which it stays
// where another bottle extends that.
func TestWhereADockerfileIs(t *testing.T) {
	for named, want := range map[string]string{
		"/src/a/../Dockerfile": "/src/Dockerfile", "~/app/Dockerfile": "/home/op/app/Dockerfile",
		"./Dockerfile": "/home/op/.bot-bottle/bottles/Dockerfile", "../images/x": "/home/op/.bot-bottle/images/x",
	} {
		tr := tree(map[string]string{"bottles/base.md": "---\nagent_provider: {dockerfile: " + named + "}\n---\n", "bottles/dev.md": "---\nextends: base\n---\n"})
		spec, probs := tr.Bottle("dev")
		if probs.Fatal() || spec.Provider.Dockerfile != want {
			t.Errorf("%s is %s: %v", named, spec.Provider.Dockerfile, probs)
		}
	}
}
