package manifest

import (
	"slices"

	"github.com/google/jsonschema-go/jsonschema"
	"pgregory.net/rapid"
)

// drawObject draws a mapping for an object schema: mostly right, sometimes with
// a key missing, a wrong key or a value of another type.
func drawObject(t *rapid.T, sch *jsonschema.Schema, depth int) map[string]any {
	out := make(map[string]any)
	if sch.Properties == nil {
		for _, k := range rapid.SliceOfN(rapid.SampledFrom([]string{"A", "B"}), 0, 2).Draw(t, "keys") {
			out[k] = drawValue(t, sch.AdditionalProperties, depth+1)
		}
		return out
	}
	keys := make([]string, 0, len(sch.Properties))
	for k := range sch.Properties {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for _, k := range keys {
		odds := 4
		if slices.Contains(sch.Required, k) {
			odds = 60
		}
		if rapid.IntRange(0, 64).Draw(t, "give "+k) < odds || depth > 0 && rapid.Bool().Draw(t, k) {
			out[k] = drawValue(t, sch.Properties[k], depth+1)
		}
	}
	if rapid.IntRange(0, 30).Draw(t, "alien") == 30 {
		out["alien"] = "x"
	}
	return out
}

func drawValue(t *rapid.T, sch *jsonschema.Schema, depth int) any {
	if sch == nil || rapid.IntRange(0, 40).Draw(t, "wrong") == 40 {
		return rapid.SampledFrom([]any{nil, "text", "native", true, 7, 1.5, []any{}, []any{"a"}, map[string]any{}}).Draw(t, "any")
	}
	kind := sch.Type
	if len(sch.Types) > 0 {
		kind = rapid.SampledFrom(sch.Types).Draw(t, "type")
	}
	if len(sch.AnyOf) > 0 {
		return drawValue(t, rapid.SampledFrom(sch.AnyOf).Draw(t, "of"), depth)
	}
	switch kind {
	case "object":
		return drawObject(t, sch, depth)
	case "array":
		items := []any{}
		for range rapid.IntRange(0, 2).Draw(t, "items") {
			items = append(items, drawValue(t, sch.Items, depth))
		}
		return items
	case "boolean":
		return rapid.Bool().Draw(t, "bool")
	case "integer":
		return rapid.IntRange(-5, 5000).Draw(t, "int")
	case "number":
		return rapid.SampledFrom([]any{1, 2.5, -1}).Draw(t, "number")
	}
	if len(sch.Enum) > 0 {
		return rapid.SampledFrom(append(slices.Clone(sch.Enum), "other")).Draw(t, "enum")
	}
	return rapid.SampledFrom([]string{"", "x", "no", "1", "true"}).Draw(t, "string")
}
