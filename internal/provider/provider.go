package provider

import (
	"io/fs"

	"bottle/internal/bottle"
	"bottle/internal/plan"
)

// Request is everything that Prepare needs to know.
type Request struct {
	Spec        bottle.Spec
	Agent       bottle.Agent
	Root        fs.FS            // the host's "/"; must be an fs.ReadLinkFS (os.DirFS("/") is)
	Path        []string         // the folders of the operator's PATH, absolute
	UserHome    string           // the operator's home, absolute; never mounted itself
	ExtraArgs   []string         // appended to the agent's command line as they are
	Seed        []byte           // makes the placeholders of this bottle its own; at least 16 bytes
	Skills      map[string]fs.FS // the folder of each skill that the agent names
	Contained   bool             // the CLI is in an image that Recipe makes, and nothing of the host's is shown
	Interactive bool             // on a terminal, without a one-shot prompt
	Continue    bool             // go on with the last conversation in what Keeps names, which is there
}

// Result is what one agent CLI needs. When Problems is fatal the rest is void.
type Result struct {
	Args         []string          // the agent's argv; Args[0] is a path inside the bottle or a name on its PATH
	Env          []string          // KEY=VALUE; placeholders, never secrets
	Files        []plan.File       // placed before the agent starts
	Mounts       []plan.Mount      // host folders of the CLI, read-only, at their host path
	PathDirs     []string          // folders inside, to be prepended to PATH
	Keeps        []Keep            // folders that hold its conversation; none: it has none
	Recipe       string            // of an image that has the CLI, as a Dockerfile; see Contained
	Hosts        []string          // hosts that the CLI calls in ordinary work; for hints, nothing is opened
	Placeholders map[string]string // token_ref -> what the agent holds instead of it
	Problems     bottle.Problems

	roles map[string]string // token_ref -> its role
}

// Keep is one folder of the agent's that a resume goes on with.
type Keep struct {
	Name string // what it is called where it is kept: one word of a path
	Path string // inside, absolute, below plan.Home
}

// Prepare answers what the agent CLI of a bottle needs.
func Prepare(r Request) Result {
	p := &preparation{Request: r}
	p.roles()
	p.Recipe = recipe("")
	switch r.Spec.Provider.Template {
	case Claude:
		p.claude()
	case Codex:
		p.codex()
	case Command:
		p.command()
	default:
		p.problem("agent_provider names no known template: "+quote(r.Spec.Provider.Template), "use claude, codex or command")
	}
	return p.Result
}
