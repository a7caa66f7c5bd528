package bottle_test

import (
	"strings"
	"testing"
	"time"

	"bottle/internal/bottle"
)

func asksForLines(text string) (bottle.Proposal, error) {
	return bottle.Proposal{Kind: bottle.ProposalImage, Image: bottle.SplitImage(text)}.Canonical()
}

// Lines have one form, so that the same ask in other clothes is the same ask.
func TestLinesHaveOneForm(t *testing.T) {
	one, err := asksForLines("RUN apt-get update && apt-get install -y jq\nENV A=b c\nWORKDIR /srv")
	if err != nil {
		t.Fatal(err)
	}
	two, err := asksForLines("\r\n  run   apt-get update && apt-get install -y jq  \r\n\n\tEnv A=b c\r\nworkdir /srv\n")
	if err != nil || one.Key() != two.Key() {
		t.Errorf("%v: %q and %q", err, one.Key(), two.Key())
	}
	if more, err := asksForLines("RUN apt-get update && apt-get install -y jq\nENV A=b c\nWORKDIR /srv\nRUN true"); err != nil || one.Key() == more.Key() {
		t.Errorf("another: %v", err)
	}
}

// What an operator would read otherwise than a builder does, and what reaches beyond the image,
// is no line.
func TestHostileLines(t *testing.T) {
	for name, text := range map[string]string{
		"nothing":                    " \n\t\n",
		"another base":               "FROM scratch",
		"a file of the host's":       "COPY . /x",
		"a file from a URL":          "ADD http://192.0.2.1/x /x",
		"another user":               "USER root",
		"another program":            "ENTRYPOINT [\"/x\"]",
		"what is started":            "CMD /x",
		"a trigger":                  "ONBUILD RUN /x",
		"another shell":              "SHELL [\"/x\"]",
		"a label, as cleanup reads":  "LABEL bot-bottle.role=image",
		"a volume":                   "VOLUME /x",
		"a comment":                  "# this is harmless",
		"a directive":                "# syntax=192.0.2.1/x",
		"a folder of the engine's":   "RUN --mount=type=bind,source=/,target=/x cat /x",
		"a secret of the engine's":   "RUN  --mount=type=secret,id=x cat /run/secrets/x",
		"the host's network":         "run --network=host true",
		"no walls":                   "RUN --security=insecure true",
		"a line that goes on":        "RUN true \\\nFROM scratch",
		"one with a space behind":    "RUN true \\ \nFROM scratch",
		"one with another escape":    "RUN true `\nFROM scratch",
		"a here-document":            "RUN <<E\nUSER root\nE",
		"another":                    "RUN cat <<-'E' | sh\nUSER root\nE",
		"an escape sequence":         "RUN true\x1b[2K\rRUN echo",
		"a carriage return inside":   "RUN /x #\rRUN true",
		"text that runs backwards":   "RUN \u202eeurt",
		"letters that look like a d": "RUN ap\u0442-get",
		"what stands far off":        "RUN true" + strings.Repeat(" ", 200) + "; /x",
		"a descriptor of runc's":     "WORKDIR /proc/self/fd/8",
		"one by a variable":          "ENV A=/proc/self/fd/8\nWORKDIR $A",
		"one in small steps":         "WORKDIR /srv/../proc/self/fd/8",
		"one from where it is":       "WORKDIR /proc\nWORKDIR self/fd/8",
		"nothing behind it":          "RUN",
		"an old ENV":                 "ENV A b",
		"a name that is none":        "ENV 1=b",
		"a long line":                "RUN " + strings.Repeat("x", bottle.MaxImageLine),
		"many lines":                 strings.Repeat("RUN true\n", bottle.MaxImageLines+1),
	} {
		if p, err := asksForLines(text); err == nil {
			t.Errorf("%s: %q", name, p.Image.Lines)
		}
	}
	if _, err := (bottle.Proposal{Kind: bottle.ProposalCapability, Image: bottle.SplitImage("RUN true")}).Canonical(); err == nil {
		t.Error("lines pass as another kind")
	}
}

// What a queue's file holds is held to the same: who writes one by hand gets nothing by it.
func TestLinesInAQueue(t *testing.T) {
	p, err := asksForLines("RUN true")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now().UTC().Truncate(time.Millisecond)
	p.ID, p.Seq, p.Count, p.Created, p.Status, p.Decided, p.Grant = "p222222", 1, 1, now, bottle.ProposalApproved, now, "g222222"
	b, err := bottle.MarshalAsked(bottle.Asked{Proposal: p, Lease: &bottle.Grant{ID: "g222222", Proposal: "p222222", Since: now}})
	if err != nil {
		t.Fatal(err)
	}
	if a, err := bottle.ParseAsked(b); err != nil || a.Image == nil || a.Key() != p.Key() {
		t.Errorf("%+v, %v", a, err)
	}
	for _, bad := range []string{"run true", "RUN  true", "RUN --mount=x true", "FROM scratch", `RUN true\nFROM scratch`} {
		if _, err := bottle.ParseAsked([]byte(strings.Replace(string(b), "RUN true", bad, 1))); err == nil {
			t.Errorf("%q is obeyed", bad)
		}
	}
}
