package manifest

import (
	"errors"
	"strings"

	"go.yaml.in/yaml/v4"
	"go.yaml.in/yaml/v4/plugin/loaderlimits"

	"bottle/internal/manifest/front"
)

// maxDepth bounds the nesting of a frontmatter; the format itself needs six.
const maxDepth = 30

// split cuts a manifest into its frontmatter (front starts on line 2 of the
// file) and its body. It reports false when there is no frontmatter to read.
func (s *source) split(data []byte) (text, body []byte, ok bool) {
	text, body, fault := front.Split(data)
	if fault != nil {
		s.errorf(at{fault.Line, fault.Col}, fault.Hint, "%s", fault.Message)
		return nil, nil, false
	}
	s.setFront(text)
	return text, body, true
}

// load parses the frontmatter to the mapping that it must be, or to nil.
func (s *source) load(text []byte) *yaml.Node {
	if front.Keyless(text) {
		return &yaml.Node{Kind: yaml.MappingNode, Line: 1, Column: 1}
	}
	var doc yaml.Node
	// The loader's alias limits stay at their defaults; aliases are refused
	// below in any case, and a Node never expands them.
	err := yaml.Load(text, &doc, yaml.WithPlugin(loaderlimits.New(loaderlimits.DepthValue(maxDepth))))
	if err != nil {
		s.syntax(err)
		return nil
	}
	if doc.Kind != yaml.DocumentNode || len(doc.Content) != 1 {
		s.errorf(at{2, 1}, "", "the frontmatter is not one YAML document")
		return nil
	}
	root := doc.Content[0]
	if !s.lint(root) {
		return nil
	}
	if root.Kind != yaml.MappingNode {
		s.errorf(s.at(root), "write `key: value` lines", "the frontmatter wants a mapping, found %s", found(root))
		return nil
	}
	return root
}

// syntax turns the YAML library's error into a problem of ours.
func (s *source) syntax(err error) {
	var le *yaml.LoadError
	if !errors.As(err, &le) {
		s.errorf(at{2, 1}, "", "the frontmatter is not YAML: %v", err)
		return
	}
	where := at{2, 1}
	if le.Mark.Line > 0 {
		where = s.place(le.Mark.Line, le.Mark.Column)
	}
	msg, hint := strings.TrimPrefix(le.Message, "yaml: "), ""
	switch {
	case strings.Contains(msg, "exceeded max depth"):
		s.errorf(where, "no key of a manifest nests that deep", "the frontmatter nests deeper than %d levels", maxDepth)
		return
	case strings.Contains(msg, "unknown anchor"):
		s.errorf(where, "write the value out, or put it in quotes if it starts with `*`", "an alias: anchors and aliases are not allowed")
		return
	case strings.Contains(msg, "mapping values are not allowed"):
		hint = "a value that holds `: ` needs quotes"
	case strings.Contains(msg, "tab character"), strings.Contains(msg, "cannot start any token"):
		hint = "indent with spaces; a value that starts with a special character needs quotes"
	case strings.Contains(msg, "multiple"):
		hint = "remove the line `...`"
	}
	if le.ContextMsg != "" {
		msg = le.ContextMsg + ": " + msg
	}
	s.errorf(where, hint, "the frontmatter is not YAML: %s", msg)
}

// lint refuses what YAML can do and a manifest shall not: anchors, aliases,
// tags, duplicate keys, keys that are not words. All of them in one go.
func (s *source) lint(n *yaml.Node) bool {
	ok := true
	bad := func(hint, format string, args ...any) {
		ok = false
		s.errorf(s.at(n), hint, format, args...)
	}
	switch {
	case n.Kind == yaml.AliasNode:
		bad("write the value out, or put it in quotes if it starts with `*`", "an alias: anchors and aliases are not allowed")
	case n.Anchor != "":
		bad("write the value out where it is used", "an anchor: anchors and aliases are not allowed")
	case n.Style&yaml.TaggedStyle != 0 || n.Tag == "!":
		bad("remove it; put a value that starts with `!` in quotes", "a tag: tags are not allowed")
	}
	if n.Kind == yaml.MappingNode {
		ok = s.lintKeys(n) && ok
	}
	for _, c := range n.Content {
		ok = s.lint(c) && ok
	}
	return ok
}

func (s *source) lintKeys(n *yaml.Node) bool {
	ok := true
	first := make(map[string]int, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		if key.Kind != yaml.ScalarNode {
			if key.Kind != yaml.AliasNode { // an alias is told about as an alias
				s.errorf(s.at(key), "", "a key must be a word, found %s", found(key))
			}
			ok = false
			continue
		}
		if key.Tag == "!!merge" {
			s.errorf(s.at(key), "in a bottle, `extends` does this", "merge keys are not allowed")
			ok = false
			continue
		}
		if line, twice := first[key.Value]; twice {
			s.errorf(s.at(key), "keep one of them", "the key %s is given twice, first on line %d", quoteKey(key.Value), line)
			ok = false
			continue
		}
		first[key.Value] = s.at(key).line
	}
	return ok
}
