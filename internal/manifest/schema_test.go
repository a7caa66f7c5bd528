package manifest

import (
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/jsonschema-go/jsonschema"
)

// TestSchemasAreTheTypes makes the schemas anew from the parser's types. With
// -update it writes them.
func TestSchemasAreTheTypes(t *testing.T) {
	for _, kind := range []string{KindBottle, KindAgent} {
		sch, err := shapeSchema(kind)
		if err != nil {
			t.Fatal(err)
		}
		want, err := json.MarshalIndent(sch, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, '\n')
		if updating() {
			if err := os.WriteFile("schema/"+kind+".json", want, 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		got, err := Schema(kind)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(string(want), string(got)); d != "" {
			t.Errorf("schema/%s.json is not what the types say (go test ./internal/manifest -update writes it): -types +file\n%s", kind, d)
		}
	}
}

func shapeSchema(kind string) (*jsonschema.Schema, error) {
	var t reflect.Type
	switch kind {
	case KindBottle:
		t = reflect.TypeFor[bottleFile]()
	case KindAgent:
		t = reflect.TypeFor[agentFile]()
	default:
		return nil, fmt.Errorf("make schema: %q is no kind of manifest: bottle or agent", kind)
	}
	sch, err := jsonschema.ForType(t, &jsonschema.ForOptions{TypeSchemas: leafSchemas()})
	if err != nil {
		return nil, fmt.Errorf("make schema of %s: %w", kind, err)
	}
	tighten(sch, t)
	sch.Schema = "https://json-schema.org/draft/2020-12/schema"
	sch.Title = "bottle: the frontmatter of a " + kind + "'s manifest"
	return sch, nil
}

// leafSchemas says what each leaf accepts, as its decode method does.
func leafSchemas() map[reflect.Type]*jsonschema.Schema {
	str := func() *jsonschema.Schema { return &jsonschema.Schema{Type: "string"} }
	leaves := map[reflect.Type]*jsonschema.Schema{
		reflect.TypeFor[text]():    str(),
		reflect.TypeFor[flag]():    {Type: "boolean"},
		reflect.TypeFor[integer](): {Type: "integer"},
		reflect.TypeFor[number]():  {Type: "number"},
		reflect.TypeFor[size]():    {Types: []string{"string", "integer"}},
		reflect.TypeFor[words]():   {AnyOf: []*jsonschema.Schema{str(), {Type: "array", Items: str()}}},
		reflect.TypeFor[pairs]():   {Type: "object", AdditionalProperties: str()},
	}
	onward, err := jsonschema.ForType(reflect.TypeFor[onwardMap](), &jsonschema.ForOptions{TypeSchemas: leaves})
	if err != nil {
		panic(err)
	}
	tighten(onward, reflect.TypeFor[onwardMap]())
	leaves[reflect.TypeFor[onwardFile]()] = &jsonschema.Schema{AnyOf: []*jsonschema.Schema{str(), onward}}
	return leaves
}

// tighten adds what the library does not know: our tags, and that nothing here
// may be null.
func tighten(sch *jsonschema.Schema, t reflect.Type) {
	sch.Types = slices.DeleteFunc(sch.Types, func(s string) bool { return s == "null" })
	if len(sch.Types) == 1 {
		sch.Type, sch.Types = sch.Types[0], nil
	}
	switch {
	case t.Kind() == reflect.Pointer:
		tighten(sch, t.Elem())
	case t.Kind() == reflect.Slice:
		tighten(sch.Items, t.Elem())
	case t.Kind() == reflect.Struct && sch.Properties != nil:
		for i := range t.NumField() {
			f := t.Field(i)
			p := sch.Properties[keyOf(f)]
			if p == nil {
				continue
			}
			tighten(p, f.Type)
			if enum := f.Tag.Get("enum"); enum != "" {
				for w := range strings.SplitSeq(enum, ",") {
					p.Enum = append(p.Enum, w)
				}
			}
			if least, err := strconv.Atoi(f.Tag.Get("min")); err == nil {
				p.MinItems = &least
			}
		}
	}
}
