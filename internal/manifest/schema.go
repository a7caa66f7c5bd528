package manifest

import (
	"embed"
	"fmt"
)

// schemas holds what schema_test.go makes from the parser's own types: a file for
// each kind. Making them at start-up would cost every command more than all the
// rest of this package does.
//
//go:embed schema/*.json
var schemas embed.FS

// Schema is the JSON Schema (draft 2020-12) of the frontmatter of one kind of
// manifest, indented. It is made from the same types as the parser and accepts
// the same shapes: the same keys, types and enumerated words. What the parser
// checks beyond the shape (hosts, paths, extends) a schema cannot say.
func Schema(kind string) ([]byte, error) {
	switch kind {
	case KindBottle, KindAgent:
		return schemas.ReadFile("schema/" + kind + ".json")
	}
	return nil, fmt.Errorf("find schema: %q is no kind of manifest: bottle or agent", kind)
}
