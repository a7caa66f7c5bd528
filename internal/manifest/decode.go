package manifest

import (
	"cmp"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"

	"bottle/internal/manifest/rules"
)

// leaf is a value that reads itself from a node. key is its key, for messages.
type leaf interface {
	decode(s *source, n *yaml.Node, key string)
}

// decode fills v, a pointer to one of the shapes, from the mapping n. Every
// problem goes to the source's list; what is wrong stays unset.
func (s *source) decode(n *yaml.Node, v any, alien func(key string) string) {
	s.fields(n, reflect.ValueOf(v).Elem(), alien)
}

// value reads n into v, which is a leaf, a struct, a pointer to one, or a list.
func (s *source) value(n *yaml.Node, v reflect.Value, key string, tag reflect.StructTag) {
	if l, ok := v.Addr().Interface().(leaf); ok {
		l.decode(s, n, key)
		if enum := tag.Get("enum"); enum != "" {
			s.enum(v, key, strings.Split(enum, ","))
		}
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		if n.Kind == yaml.MappingNode {
			var alien func(string) string
			if v.Type() == reflect.TypeFor[*egressFile]() {
				alien = rules.EgressAlien
			}
			v.Set(reflect.New(v.Type().Elem()))
			s.fields(n, v.Elem(), alien)
			return
		}
		if form := written(v.Type()); form != "" && stringNode(n) {
			s.errorf(s.at(n), "write it as "+form, "%s wants a mapping, found %s", key, found(n))
			return
		}
		s.wrong(n, key, "a mapping")
	case reflect.Struct:
		if n.Kind == yaml.MappingNode {
			s.fields(n, v, nil)
			return
		}
		s.wrong(n, key, "a mapping")
	case reflect.Slice:
		s.items(n, v, key, tag)
	default:
		panic("manifest: the shape holds a " + v.Type().String())
	}
}

func (s *source) items(n *yaml.Node, v reflect.Value, key string, tag reflect.StructTag) {
	if n.Kind != yaml.SequenceNode {
		s.wrong(n, key, "a list")
		return
	}
	if least, _ := strconv.Atoi(tag.Get("min")); len(n.Content) < least {
		s.errorf(s.at(n), "give it an item, or remove the key", "%s is an empty list", key)
		return
	}
	list := reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content))
	for i, c := range n.Content {
		s.value(c, list.Index(i), "an item of "+key, "")
	}
	v.Set(list)
}

// fields reads the mapping n into the struct v. alien may give a better hint
// for a key that is not known here.
func (s *source) fields(n *yaml.Node, v reflect.Value, alien func(key string) string) {
	t := v.Type()
	if f := v.FieldByName("at"); f.IsValid() {
		s.mark(v, s.at(n))
	}
	index, known, required := shapeOf(t)
	seen := make([]bool, t.NumField())
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		f, ok := index[key.Value]
		if !ok {
			s.unknown(key, known, alien)
			continue
		}
		seen[f] = true
		s.value(n.Content[i+1], v.Field(f), quoteKey(key.Value), t.Field(f).Tag)
	}
	for _, f := range required {
		if !seen[f] {
			s.errorf(s.at(n), "add it", "the key `%s` is missing", keyOf(t.Field(f)))
		}
	}
}

// mark notes where a struct was written. Its at is not exported, so reflection
// may not set it: the pointer's method does.
func (s *source) mark(v reflect.Value, a at) {
	if m, ok := v.Addr().Interface().(interface{ markAt(at) }); ok {
		m.markAt(a)
	}
}

func (a *at) markAt(b at) { *a = b }

// shapeOf lists the keys of a struct: by name, in order, and the required ones.
func shapeOf(t reflect.Type) (index map[string]int, known []string, required []int) {
	index = make(map[string]int, t.NumField())
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Anonymous {
			continue
		}
		key := keyOf(f)
		index[key] = i
		known = append(known, key)
		if !strings.HasSuffix(f.Tag.Get("json"), ",omitempty") {
			required = append(required, i)
		}
	}
	return index, known, required
}

func keyOf(f reflect.StructField) string {
	key, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	return key
}

func (s *source) unknown(key *yaml.Node, known []string, alien func(string) string) {
	hint := ""
	if alien != nil {
		hint = alien(key.Value)
	}
	if near := rules.Nearest(key.Value, known); hint == "" && near != "" {
		hint = "did you mean `" + near + "`?"
	}
	if hint == "" {
		hint = "known here: " + strings.Join(known, ", ")
	}
	s.errorf(s.at(key), hint, "unknown key %s", quoteKey(key.Value))
}

// enum checks a text against the only words that it may be.
func (s *source) enum(v reflect.Value, key string, allowed []string) {
	t, ok := v.Addr().Interface().(*text)
	if !ok || !t.set() {
		return
	}
	for _, a := range allowed {
		if t.val == a {
			return
		}
	}
	hint := cmp.Or(rules.Words(key), "write "+orList(allowed))
	if near := rules.Nearest(t.val, allowed); near != "" {
		hint = "did you mean `" + near + "`? allowed: " + strings.Join(allowed, ", ")
	}
	s.errorf(t.at, hint, "%s cannot be %s", key, quote(t.val))
	*t = text{}
}

// wrong tells about a value of the wrong type. It never shows the value: a
// misplaced one may be a secret.
func (s *source) wrong(n *yaml.Node, key, want string) {
	hint := rules.Words(key)
	switch {
	case hint != "":
	case n.Kind == yaml.ScalarNode && n.Value == "~":
		hint = "a lone ~ means nothing to YAML: write the whole path"
	case n.Kind == yaml.ScalarNode && n.Tag == "!!null":
		hint = "give it a value, or remove the key"
	case want == "a string" && n.Kind == yaml.ScalarNode:
		hint = "put the value in quotes"
	case strings.HasSuffix(want, "number") && stringNode(n) && n.Value != "" && strings.Trim(n.Value, "0123456789.") == "":
		hint = "remove the quotes"
	case want == "a list" && n.Kind == yaml.ScalarNode, want == "a list" && n.Kind == yaml.MappingNode:
		hint = "write [ ] around it, or one `- ` line for each item"
	}
	s.errorf(s.at(n), hint, "%s wants %s, found %s", key, want, found(n))
}

// written shows how a mapping is written that people write as one string. The
// string itself may hold a secret and is never repeated.
func written(t reflect.Type) string {
	switch t {
	case reflect.TypeFor[*authFile]():
		return "{scheme: Bearer, token_ref: NAME}, where NAME is the variable that holds the secret"
	case reflect.TypeFor[*onwardAuthFile]():
		return "{token_ref: NAME}, where NAME is the variable that holds user:password"
	case reflect.TypeFor[*upstreamFile]():
		return `{address: "host:port"}`
	}
	return ""
}

func found(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	case yaml.AliasNode:
		return "an alias"
	}
	switch n.Tag {
	case "!!null":
		return "nothing"
	case "!!bool":
		return "true or false"
	case "!!float":
		return "a number that is not whole or too big"
	case "!!int":
		return "a number"
	}
	return "a string"
}

// stringNode reports whether YAML 1.2 reads n as a string; `no` and `on` are,
// and so is a date.
func stringNode(n *yaml.Node) bool {
	return n.Kind == yaml.ScalarNode && (n.Tag == "!!str" || n.Tag == "!!timestamp" || n.Tag == "!!merge")
}

func (t *text) decode(s *source, n *yaml.Node, key string) {
	if !stringNode(n) {
		s.wrong(n, key, "a string")
		return
	}
	*t = text{s.at(n), n.Value}
}

func (f *flag) decode(s *source, n *yaml.Node, key string) {
	switch {
	case n.Kind == yaml.ScalarNode && n.Tag == "!!bool" && (n.Value == "true" || n.Value == "false"):
		*f = flag{s.at(n), n.Value == "true"}
	case n.Kind == yaml.ScalarNode && rules.Boolish(n.Value) != "":
		// YAML 1.1 read these as booleans, YAML 1.2 does not.
		s.errorf(s.at(n), fmt.Sprintf("write `%s`", rules.Boolish(n.Value)), "%s wants true or false, found %s", key, quote(n.Value))
	default:
		s.wrong(n, key, "true or false")
	}
}

func (i *integer) decode(s *source, n *yaml.Node, key string) {
	if n.Kind != yaml.ScalarNode || n.Tag != "!!int" {
		s.wrong(n, key, "a whole number")
		return
	}
	v, ok := s.decimal(n, key)
	if ok {
		*i = integer{s.at(n), v}
	}
}

// decimal reads a plain decimal number. 0x1f, 1_000 and above all 010 (eight or
// ten, according to the version of YAML) are refused.
func (s *source) decimal(n *yaml.Node, key string) (int64, bool) {
	digits := strings.TrimPrefix(n.Value, "-")
	v, err := strconv.ParseInt(n.Value, 10, 64)
	if err != nil && strings.Trim(digits, "0123456789") == "" {
		s.errorf(s.at(n), "", "%s is out of range", key)
		return 0, false
	}
	if err != nil || len(digits) > 1 && digits[0] == '0' || strings.HasPrefix(n.Value, "+") {
		s.errorf(s.at(n), "write it in plain decimal digits", "%s wants a decimal number, found %s", key, quote(n.Value))
		return 0, false
	}
	return v, true
}

func (f *number) decode(s *source, n *yaml.Node, key string) {
	if n.Kind != yaml.ScalarNode || n.Tag != "!!int" && n.Tag != "!!float" {
		s.wrong(n, key, "a number")
		return
	}
	if strings.Trim(n.Value, "0123456789.-") != "" {
		s.errorf(s.at(n), "write it in plain decimal digits", "%s wants a decimal number, found %s", key, quote(n.Value))
		return
	}
	v, err := strconv.ParseFloat(n.Value, 64)
	if err != nil {
		s.errorf(s.at(n), "write it in plain decimal digits", "%s wants a decimal number, found %s", key, quote(n.Value))
		return
	}
	*f = number{s.at(n), v}
}

func (z *size) decode(s *source, n *yaml.Node, key string) {
	switch {
	case n.Kind == yaml.ScalarNode && n.Tag == "!!int":
		if _, ok := s.decimal(n, key); ok {
			*z = size{s.at(n), n.Value}
		}
	case stringNode(n):
		*z = size{s.at(n), n.Value}
	default:
		s.wrong(n, key, "a size such as 512MiB")
	}
}

func (o *onwardFile) decode(s *source, n *yaml.Node, key string) {
	switch {
	case stringNode(n):
		*o = onwardFile{s.at(n), onwardMap{URL: text{s.at(n), n.Value}}}
	case n.Kind == yaml.MappingNode:
		o.at = s.at(n)
		s.fields(n, reflect.ValueOf(&o.given).Elem(), nil)
	default:
		s.wrong(n, key, "a URL or a mapping")
	}
}

func (w *words) decode(s *source, n *yaml.Node, key string) {
	switch {
	case stringNode(n):
		*w = words{s.at(n), []text{{s.at(n), n.Value}}}
	case n.Kind == yaml.SequenceNode:
		w.at = s.at(n)
		for _, c := range n.Content {
			var t text
			t.decode(s, c, "an item of "+key)
			if t.set() {
				w.list = append(w.list, t)
			}
		}
	default:
		s.wrong(n, key, "a string or a list of strings")
	}
}

func (p *pairs) decode(s *source, n *yaml.Node, key string) {
	if n.Kind != yaml.MappingNode {
		s.wrong(n, key, "a mapping")
		return
	}
	p.at = s.at(n)
	for i := 0; i+1 < len(n.Content); i += 2 {
		name := n.Content[i]
		var v text
		v.decode(s, n.Content[i+1], quoteKey(name.Value))
		if v.set() {
			p.list = append(p.list, pair{text{s.at(name), name.Value}, v})
		}
	}
}
