package manifest

import "bottle/internal/bottle"

func notYet() bottle.Problems { return bottle.Problems{{Message: "manifests cannot be read yet"}} }

// Load resolves one agent and the bottle it names.
func (t Tree) Load(agent bottle.Name) (bottle.Agent, bottle.Spec, bottle.Problems) {
	return bottle.Agent{}, bottle.Spec{}, notYet()
}

// Bottle resolves one bottle with everything it extends.
func (t Tree) Bottle(name bottle.Name) (bottle.Spec, bottle.Problems) {
	return bottle.Spec{}, notYet()
}

// Agents lists every agent manifest.
func (t Tree) Agents() ([]Entry, bottle.Problems) { return nil, notYet() }

// Bottles lists every bottle manifest.
func (t Tree) Bottles() ([]Entry, bottle.Problems) { return nil, notYet() }

// Validate reads one manifest by name, with everything it refers to.
func (t Tree) Validate(kind string, name bottle.Name) bottle.Problems { return notYet() }

// ValidateBytes checks data as if it were the content of file; kind may be empty
// and is then guessed with KindOf.
func (t Tree) ValidateBytes(file string, data []byte, kind string) bottle.Problems { return notYet() }

// KindOf guesses from the folder's name what a file is: bottles/ or agents/.
func KindOf(file string) (string, error) { return "", nil }

// Schema is the JSON Schema (draft 2020-12) of a kind's frontmatter.
func Schema(kind string) ([]byte, error) { return nil, notYet() }
