package configs

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"
)

// maxValues bounds the values read from a file, those behind aliases counted
// at every alias: nested aliases make a thousand million out of ten lines.
const maxValues = 100_000

// decoder reads a tree of YAML nodes into the structs of schema.go and gathers
// every mistake on the way.
//
// What a struct takes is said by its fields: tags `key:"name"`, with the
// options "required" (the key must be there) and "nonempty" (and hold
// something), and types: structs, lists, names, the scalars of scalar.go, and
// field around any of them to learn where the value stands.
type decoder struct {
	file     string
	mistakes collector
	warnings collector
	values   int
}

// decodable is a type that reads itself. The key is where the value was found:
// nil for the root, and the list's for an item.
type decodable interface {
	decode(d *decoder, key, n *yaml.Node) bool
}

// field is a value and where it stands.
type field[T any] struct {
	value T
	ok    bool       // the value is there and of the right kind
	key   *yaml.Node // nil where the file says nothing
	node  *yaml.Node
}

func (f *field[T]) decode(d *decoder, key, n *yaml.Node) bool {
	f.key, f.node = key, n
	f.ok = d.read(key, n, &f.value)
	return f.ok
}

// given says that the file has the key, whatever its value.
func (f field[T]) given() bool { return f.node != nil }

// or is the value, or what holds where there is none.
func (f field[T]) or(otherwise T) T {
	if f.ok {
		return f.value
	}
	return otherwise
}

// either is a text, or a mapping that says more.
type either[T any] struct {
	text  field[text]
	value T
}

func (e *either[T]) decode(d *decoder, key, n *yaml.Node) bool {
	switch {
	case n.Kind == yaml.ScalarNode && !isNull(n):
		return e.text.decode(d, key, n)
	case n.Kind != yaml.MappingNode:
		return d.unwanted(key, n, "text or a mapping")
	}
	return d.read(key, n, &e.value)
}

// names is a mapping whose keys are names that the user chose.
type names[T any] []entry[T]

type entry[T any] struct {
	name name
	field[T]
}

func (m *names[T]) decode(d *decoder, key, n *yaml.Node) bool {
	return d.pairs(key, n, func(k, v *yaml.Node) {
		var e entry[T]
		ok := d.scalar(k, k, &e.name)
		e.decode(d, k, v)
		if ok {
			*m = append(*m, e)
		}
	})
}

// value reads a node or what it is an alias of into target, a pointer. It
// reports whether the node was of the right kind, so that nobody complains
// twice.
func (d *decoder) value(key, n *yaml.Node, target any) bool {
	if d.values++; d.values == maxValues+1 {
		d.errorf(n, "more than %d values, those behind aliases counted each time", maxValues)
	}
	return !d.stopped() && d.read(key, dealias(n), target)
}

// stopped says that the rest of the file is not read.
func (d *decoder) stopped() bool { return d.values > maxValues || d.mistakes.full() }

// read is value for a node that is counted already and no alias.
func (d *decoder) read(key, n *yaml.Node, target any) bool {
	switch t := target.(type) {
	case decodable:
		return t.decode(d, key, n)
	case scalar:
		return d.scalar(key, n, t)
	}
	v := reflect.ValueOf(target).Elem()
	if v.Kind() == reflect.Slice {
		return d.list(key, n, v)
	}
	return d.mapping(key, n, v)
}

func (d *decoder) scalar(key, n *yaml.Node, target scalar) bool {
	tag, want := target.kind()
	if n.Kind != yaml.ScalarNode || n.ShortTag() != tag {
		return d.unwanted(key, n, want)
	}
	if strings.Contains(n.Value, pemBegin) {
		d.errorf(n, "%swant %s, not PEM; it belongs in a file of its own", prefix(key), want)
		return false // whoever looks at the value next would show it
	}
	if what := secretFor(target, n.Value); what != "" {
		d.errorf(n, "%swant %s, not %s: it would end in logs", prefix(key), want, what)
		return false
	}
	if err := target.parse(n.Value); err != nil {
		d.errorf(n, "%s%v", prefix(key), err)
		return false
	}
	return true
}

func (d *decoder) list(key, n *yaml.Node, v reflect.Value) bool {
	if isNull(n) {
		return true
	}
	if n.Kind != yaml.SequenceNode {
		return d.unwanted(key, n, "a list")
	}
	first := map[string]*yaml.Node{}
	for _, item := range n.Content {
		target := reflect.New(v.Type().Elem())
		d.value(key, item, target.Interface())
		if d.stopped() {
			return false
		}
		if item = dealias(item); item.Kind == yaml.ScalarNode {
			if other := first[item.Value]; other != nil {
				d.errorf(item, "%s%s is listed twice, first on line %d", prefix(key), quote(item.Value), other.Line)
				continue
			}
			first[item.Value] = item
		}
		v.Set(reflect.Append(v, target.Elem()))
	}
	return true
}

func (d *decoder) mapping(key, n *yaml.Node, v reflect.Value) bool {
	schema := schemaOf(v.Type())
	given := map[string]bool{}
	ok := d.pairs(key, n, func(k, val *yaml.Node) {
		i := slices.IndexFunc(schema, func(s schemaKey) bool { return s.key == k.Value })
		if i < 0 {
			d.errorf(k, "%s", unknown("key", k.Value, schema.keys()))
			return
		}
		given[k.Value] = true
		d.value(k, val, v.Field(i).Addr().Interface())
		if schema[i].nonempty && isEmpty(dealias(val)) {
			d.errorf(k, "%s: needs at least one entry", label(k))
		}
	})
	if !ok || d.stopped() {
		return false
	}
	for _, s := range schema {
		if s.required && !given[s.key] {
			d.errorf(n, "%smissing key %q", prefix(key), s.key)
		}
	}
	return true
}

// pairs calls each for the keys of a mapping and their values; for a key that
// stands there twice, the first.
func (d *decoder) pairs(key, n *yaml.Node, each func(k, v *yaml.Node)) bool {
	if isNull(n) {
		return true
	}
	if n.Kind != yaml.MappingNode {
		return d.unwanted(key, n, "a mapping")
	}
	first := map[string]*yaml.Node{}
	for i := 0; i+1 < len(n.Content) && !d.stopped(); i += 2 {
		k := dealias(n.Content[i])
		switch other := first[k.Value]; {
		case k.Kind != yaml.ScalarNode:
			d.errorf(k, "%sa key must be plain text, not %s", prefix(key), describe(k))
		case k.ShortTag() == "!!merge":
			d.errorf(k, "merge keys (<<) are not supported; write the keys out")
		case other != nil:
			d.errorf(k, "%s: stands here twice, first on line %d", label(k), other.Line)
		default:
			first[k.Value] = k
			each(k, n.Content[i+1])
		}
	}
	return true
}

// unwanted reports a value of the wrong kind.
func (d *decoder) unwanted(key, n *yaml.Node, want string) bool {
	d.errorf(n, "%swant %s, not %s", prefix(key), want, describe(n))
	return false
}

func (d *decoder) errorf(n *yaml.Node, format string, args ...any) {
	d.mistakes.add(d.pos(n), format, args...)
}

func (d *decoder) warnf(n *yaml.Node, format string, args ...any) {
	d.warnings.add(d.pos(n), format, args...)
}

func (d *decoder) pos(n *yaml.Node) Pos { return Pos{d.file, n.Line, n.Column} }

// schema is what a struct takes: one key for each of its fields, in order.
type schema []schemaKey

type schemaKey struct {
	key                string
	required, nonempty bool
}

func schemaOf(t reflect.Type) schema {
	s := make(schema, t.NumField())
	for i := range s {
		key, options, _ := strings.Cut(t.Field(i).Tag.Get("key"), ",")
		s[i] = schemaKey{key, strings.Contains(options, "required"), strings.Contains(options, "nonempty")}
	}
	return s
}

func (s schema) keys() []string {
	keys := make([]string, len(s))
	for i := range s {
		keys[i] = s[i].key
	}
	return keys
}

// dealias returns what an alias stands for.
func dealias(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

func isNull(n *yaml.Node) bool {
	return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null"
}

func isEmpty(n *yaml.Node) bool {
	return isNull(n) || n.Kind != yaml.ScalarNode && len(n.Content) == 0
}

// prefix is how a reason begins that is about the value of a key.
func prefix(key *yaml.Node) string {
	if key == nil {
		return ""
	}
	return label(key) + ": "
}

// label is a key as it stands in an error: bare if it is harmless.
func label(key *yaml.Node) string {
	var n name
	if n.parse(key.Value) == nil && secretName(key.Value) == "" {
		return key.Value
	}
	return quote(key.Value)
}

// describe says what a person wrote.
func describe(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.MappingNode:
		return "a mapping"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case isNull(n):
		return "an empty value"
	}
	switch tag := n.ShortTag(); tag {
	case "!!str":
		return "the text " + quote(n.Value)
	case "!!int", "!!float":
		return "the number " + strings.Trim(quote(n.Value), `"`)
	case "!!bool":
		return "the boolean " + strings.Trim(quote(n.Value), `"`)
	default:
		return fmt.Sprintf("a value of type %s", strings.Trim(quote(tag), `"`))
	}
}
