package recipe

import (
	"fmt"
	"path"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func sources(t *testing.T, text string) []string {
	t.Helper()
	copies, problems := Read("Dockerfile", text)
	if len(problems) > 0 {
		t.Fatalf("%q: %v", text, problems)
	}
	var out []string
	for _, c := range copies {
		for _, s := range c.Sources {
			out = append(out, fmt.Sprintf("%d:%s", c.Line, s))
		}
	}
	return out
}

func TestWhatIsCopied(t *testing.T) {
	for text, want := range map[string][]string{
		"FROM x\nRUN true":  nil,
		"FROM x\nCOPY a /b": {"2:a"},
		"FROM x\ncopy --chown=1:1 --link a b/ ./c//d /e/":                                                {"2:a", "2:b", "2:c/d"},
		"FROM x\nCOPY . /app":                                                                            {"2:"},
		"FROM x\nCOPY / /app":                                                                            {"2:"},
		"FROM x\nCOPY /a /app":                                                                           {"2:a"},
		"FROM x\nCOPY *.txt sub/[ab]?/* /app/":                                                           {"2:*.txt", "2:sub/[ab]?/*"},
		"FROM x\nCOPY [\"a b\", \"/app/\"]":                                                              {"2:a b"},
		"FROM x\nCOPY a \\\n  # a comment\n\n  b \\\n  /c\nRUN x":                                        {"2:a", "2:b"},
		"# escape=\\\nFROM x\nCOPY a \\ \t\r\n b /c":                                                     {"3:a", "3:b"},
		"FROM x\nRUN cat <<E\n  added\\\n\nRUNNING --x\nE\nCOPY a /b":                                    {"7:a"},
		"FROM x\r\nCOPY a /b\r\n":                                                                        {"2:a"},
		"\ufeffFROM x\nCOPY a /b":                                                                        {"2:a"},
		"FROM x AS One\nCOPY a /\nFROM y\nCOPY --from=one /z /z\nCOPY --from=0 /z /z":                    {"2:a"},
		"FROM x\nONBUILD COPY a /b":                                                                      {"2:a"},
		"FROM x\nRUN <<EOF\nCOPY no /no\nEOF\nCOPY a /b":                                                 {"5:a"},
		"FROM x\nRUN cat <<-'EOF' > y\nCOPY no /no\n\tEOF\nCOPY a /b":                                    {"5:a"},
		"FROM x\nRUN echo $((1 <<x))\nCOPY a /b":                                                         {"3:a"},
		"FROM x\nCOPY <<EOF /conf\nhello\nEOF\nCOPY a /b":                                                {"5:a"},
		"FROM x\n# COPY no /no\nLABEL a=\"COPY no\"\nENV A=b":                                            nil,
		"ARG B=registry.example.com:5000/team/debian:12\nFROM ${B}\nARG U=https://example.com/a V=/a:/b": nil,
		"FROM x\nRUN --network=none true":                                                                nil,
	} {
		if d := cmp.Diff(want, sources(t, text)); d != "" {
			t.Errorf("%q: %s", text, d)
		}
	}
}

// A stranger's recipe names what is not below it, has another image's files, a URL, an
// archive that is unpacked, mounts or a network of its own: each is refused, with its line.
func TestWhatARecipeMayNot(t *testing.T) {
	for text, why := range map[string]string{
		"COPY ../../.ssh /x":                                 "leads out",
		"COPY a/../../b /x":                                  "leads out",
		"COPY /../b /x":                                      "leads out",
		`COPY ["../.ssh", "/x"]`:                             "leads out",
		"ARG A=..\nCOPY $A/.ssh /x":                          "variable",
		"COPY ${A} /x":                                       "variable",
		`COPY "a" /x`:                                        "two ways",
		`COPY .\./a /x`:                                      "two ways",
		`COPY ["\u0000a", "/x"]`:                             "nobody can see",
		"COPY https://example.com/a /x":                      "no file",
		"COPY git://example.com/a /x":                        "no file",
		"ADD a /x":                                           "ADD",
		"ADD https://example.com/a.tgz /x":                   "ADD",
		"AD\\\nD a /x":                                       "ADD",
		"COPY --from=alpine /etc /x":                         "no earlier stage",
		"COPY --from=1 /etc /x":                              "no earlier stage",
		"COPY --from=0 /etc /x":                              "no earlier stage",
		"COPY --from=-1 /etc /x":                             "no earlier stage",
		"COPY --from= /etc /x":                               "no earlier stage",
		"COPY --from /etc /x":                                "says nothing",
		"COPY --from=$A /etc /x":                             "no earlier stage",
		"FROM y AS z\nCOPY --from=z /etc /x":                 "no earlier stage",
		"COPY a":                                             "wants",
		"COPY [a /x":                                         "malformed",
		"RUN --mount=type=bind,src=/,dst=/h true":            "no mounts",
		"RUN --mount=type=ssh true":                          "no mounts",
		"run --network=host true":                            "no mounts",
		"RUN --security=insecure true":                       "no mounts",
		"RUN \\\n --network=host true":                       "no mounts",
		"RUN echo \"<<CMD\"\nRUN --network=host x\nCMD":      "no mounts",
		"RUN cat <<CMD\nRUN --network=host x\nCMD":           "looks like",
		"ONBUILD ADD a /x":                                   "ADD",
		"ONBUILD ONBUILD ADD a /x":                           "ONBUILD",
		"FROM dir:/home/me":                                  "of their machine",
		"FROM --platform=linux/amd64 oci-archive:a.tar AS b": "of their machine",
		"FROM \"docker-archive:/a\"":                         "of their machine",
		"ARG A=x B=oci:/home/me\nFROM $B":                    "of their machine",
		"INCLUDE other":                                      "no instruction",
		"RUN a\n--network=host":                              "no instruction",
		"-----BEGIN OPENSSH PRIVATE KEY-----":                "no instruction",
		strings.Repeat("COPY a /x\n", 501):                   "500 places",
		strings.Repeat("\n", 20_001):                         "20000 lines",
	} {
		copies, problems := Read("Dockerfile", "FROM x\n"+text)
		if len(problems) == 0 || !strings.Contains(problems.Error(), why) || len(copies) > 0 {
			t.Errorf("%.60q: %v, %v", text, copies, problems)
		}
		for _, p := range problems {
			if p.Hint == "" || p.File == "" {
				t.Errorf("%.60q: no hint: %v", text, p)
			}
		}
	}
}

func TestSources(t *testing.T) {
	for _, c := range []struct {
		s, p                 Source
		names, takes, toward bool
	}{
		{"a", "a", true, true, false},
		{"a", "a/b", false, true, false},
		{"a/b", "a", false, false, true},
		{"a/b", "a/c", false, false, false},
		{"", "a", false, true, false},
		{"*", "a/b", false, true, false},
		{"*.txt", "a.txt", true, true, false},
		{"*.txt", "d/a.txt", false, false, false},
		{"*/x", "a", false, false, true},
		{"a", "ab", false, false, false},
	} {
		if names, takes, toward := c.s.Names(string(c.p)), c.s.Takes(string(c.p)), c.s.Toward(string(c.p)); names != c.names || takes != c.takes || toward != c.toward {
			t.Errorf("%q of %q: %v %v %v", c.p, c.s, names, takes, toward)
		}
	}
}

// Whatever a recipe says, a source is a clean name below the folder.
func FuzzRead(f *testing.F) {
	for _, s := range []string{"FROM x\nCOPY a b /c\n", "# escape=`\nCOPY a `\n /b", "COPY [\"..\", \"/x\"]", "RUN <<A\nA", "COPY --from=0 <<E /x\nE", "ONBUILD COPY a*[b-c] /"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		copies, problems := Read("f", text)
		if len(problems) > 0 && copies != nil {
			t.Error("copies of a refused recipe")
		}
		for _, c := range copies {
			for _, s := range c.Sources {
				p := string(s)
				if p != "" && (path.Clean(p) != p || path.IsAbs(p) || p == ".." || strings.HasPrefix(p, "../") || strings.ContainsAny(p, "$\\'\"")) {
					t.Errorf("%q copies %q", text, p)
				}
				s.Takes("a/b")
				s.Toward("a/b")
			}
		}
	})
}

// Engines differ in what goes on in the next line, and in what a text within the recipe is.
// So what one sees as a part of a RUN is to another one an ADD, which fetches from the
// engine's own machine, or a RUN that mounts.
func TestEnginesThatReadOtherwise(t *testing.T) {
	const add, run = "ADD http://127.0.0.1:1/ /x\n", "RUN --mount=type=bind,target=/m true\n"
	for text, why := range map[string]string{
		"# a=b\n# escape=`\nFROM x\nRUN echo `echo `\n" + add:            "engines differ",
		"# escape=`x\nFROM x\nLABEL x=\\\n" + run:                        "engines differ",
		"#ESCAPE = `\nFROM x\nRUN echo `\n" + run:                        "engines differ",
		"\n# syntax=docker/dockerfile:1 escape=`\nFROM x\nRUN `\n" + run: "engines differ",
		"FROM x\nRUN echo \\\u00a0\n" + add:                              "nobody can see",
		"FROM x\nRUN echo \\\f\n" + add:                                  "nobody can see",
		"FROM x\nRUN echo \\\v\n" + run:                                  "nobody can see",
		"FROM x\nRUN echo \\\u2003\n" + run:                              "nobody can see",
		"FROM x\nRUN echo \\\r\r\n" + run:                                "nobody can see",
		"FROM x\nRUN echo \\\\\n" + run:                                  "two backslashes",
		"FROM x\nRUN cat <<CMD\n" + add + "CMD\n":                        "looks like",
		"FROM x\nRUN cat <<CMD\nRUN \\\n\n# c\n  --mount=a\nCMD\n":       "looks like",
		"FROM x\nRUN cat <<CMD\nRU\\\nN --mount=a\nCMD\n":                "looks like",
		"FROM x\nRUN cat <<CMD\nRUN\v--mount=a\nCMD\n":                   "looks like",
		"FROM x\nRUN cat <<CMD\n\tonbuild  add a b\nCMD\n":               "looks like",
		"FROM x\nRUN cat <<CMD\nCOPY --from=y / /x\nCMD\n":               "looks like",
		"FROM x\nRUN \u2003--mount=a\n":                                  "no mounts",
	} {
		if copies, problems := Read("Dockerfile", text); !strings.Contains(problems.Error(), why) || len(copies) > 0 {
			t.Errorf("%q: %v", text, problems)
		}
	}
	begun := time.Now() // a text of lines that all go on
	Read("Dockerfile", "FROM x\nRUN cat <<X\n"+strings.Repeat("a "+strings.Repeat(" ", 40)+"\\\n", 19_990)+"X\n")
	if took := time.Since(begun); took > 10*time.Second {
		t.Errorf("it took %s", took)
	}
}
