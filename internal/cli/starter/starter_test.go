package starter

import (
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"bottle/internal/bottle"
	"bottle/internal/manifest"
)

// Every first bottle and agent is a manifest without errors or warnings, for
// every credential.
func TestEveryStarterIsValid(t *testing.T) {
	for _, k := range Kinds() {
		for _, c := range append(k.Credentials, Credential{"file:/home/me/a key", "Bearer", "github-token", "", ""}) {
			home := fstest.MapFS{}
			for folder, name := range map[string]string{"bottles": k.Bottle, "agents": k.Agent} {
				text, err := Text(name, c, nil)
				if err != nil {
					t.Fatal(err)
				}
				if strings.Contains(string(text), "@") && !strings.Contains(string(text), "@anthropic") {
					t.Errorf("%s: a hole was left:\n%s", name, text)
				}
				home[folder+"/"+name+".md"] = &fstest.MapFile{Data: text, Mode: 0o600}
			}
			agent, spec, problems := manifest.Tree{Home: home, HomeDir: "/h", UserHome: "/home/me"}.Load(bottle.Name(k.Agent))
			if len(problems) > 0 {
				t.Errorf("%s with %s: %v", k.Template, c.Ref, problems)
			}
			if string(agent.Bottle) != k.Bottle || spec.Provider.Template != k.Template {
				t.Errorf("%s: agent %+v, template %q", k.Template, agent, spec.Provider.Template)
			}
			if len(k.Credentials) > 0 && (len(spec.Routes) != 1 || spec.Routes[0].Auth.TokenRef != c.Ref) {
				t.Errorf("%s with %s: routes %+v", k.Template, c.Ref, spec.Routes)
			}
		}
	}
}

// What stands behind "# " is valid, too, when somebody takes that away.
func TestGitAsideIsValid(t *testing.T) {
	own := []string{"git:", "  - name: lib", "    upstream: https://h.example.com/lib.git", `git_user: {name: "A B", email: "a@b.example"}`}
	for _, k := range Kinds() {
		for _, git := range [][]string{nil, own} {
			text, err := Text(k.Bottle, Credential{Ref: "A_B", Scheme: "Bearer", Role: "github-token"}, git)
			if err != nil {
				t.Fatal(err)
			}
			lines := strings.Split(string(text), "\n")
			for i := slices.Index(lines, "# git:"); strings.HasPrefix(lines[i], "# "); i++ {
				lines[i] = lines[i][2:]
			}
			home := fstest.MapFS{"bottles/" + k.Bottle + ".md": &fstest.MapFile{Data: []byte(strings.Join(lines, "\n")), Mode: 0o600}}
			spec, problems := manifest.Tree{Home: home, HomeDir: "/h", UserHome: "/home/me"}.Bottle(bottle.Name(k.Bottle))
			if len(problems) > 0 || len(spec.Repos) != 1 || (spec.Repos[0].Name == "lib") != (git != nil) || (spec.GitUser.Email != "") != (git != nil) {
				t.Errorf("%s: %v %+v", k.Bottle, problems, spec.Repos)
			}
		}
	}
}

func TestScalar(t *testing.T) {
	for in, want := range map[string]string{
		"A_TOKEN": "A_TOKEN", "A2_B": "A2_B", "NULL": `"NULL"`, "1_0": `"1_0"`, "_A": `"_A"`,
		"file:/x": `"file:/x"`, "a}, tls: passthrough": `"a}, tls: passthrough"`, "a\"\n": `"a\"\n"`,
	} {
		if got := scalar(in); got != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
	}
}
