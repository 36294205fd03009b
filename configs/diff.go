package configs

import (
	"fmt"
	"maps"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/suitegate/suitegate/policy"
)

// Change is one difference between two configurations.
type Change struct {
	// Path leads to what has changed: the keys, with names where the file has
	// lists and names: "listeners.amqps.policy".
	Path string

	// What became of it: it was added or removed as a whole; or it is a list that
	// some items were added to and others removed from, or that has another order;
	// or a value that was Old and is New.
	Kind           ChangeKind
	Old, New       string
	Added, Removed []string
}

// ChangeKind is what became of a setting.
type ChangeKind string

// The values of Change.Kind.
const (
	ChangeAdded     ChangeKind = "added"
	ChangeRemoved   ChangeKind = "removed"
	ChangeItems     ChangeKind = "items"
	ChangeReordered ChangeKind = "reordered"
	ChangeValue     ChangeKind = "value"
)

// String is the change in one line: "listeners.amqps.policy: rabbitmq →
// activemq".
func (c Change) String() string {
	switch c.Kind {
	case ChangeItems:
		var items []string
		for _, item := range c.Added {
			items = append(items, "+"+item)
		}
		for _, item := range c.Removed {
			items = append(items, "-"+item)
		}
		return c.Path + ": " + strings.Join(items, ", ")
	case ChangeValue:
		return c.Path + ": " + c.Old + " → " + c.New
	}
	return c.Path + ": " + string(c.Kind)
}

// Changes are all differences between two configurations, in the order of the
// keys.
type Changes []Change

// Strings are the changes in a line each. It is never nil, so that JSON has a
// list.
func (c Changes) Strings() []string {
	lines := make([]string, len(c))
	for i, change := range c {
		lines[i] = change.String()
	}
	return lines
}

// Diff lists what is different in after, defaults included: a key that is left
// out has the value that it means. There is nothing secret in it, because there
// is nothing secret in a configuration, but for the query of a URL, which is
// left out.
func Diff(before, after *Config) Changes {
	var c Changes
	c.value("", reflect.ValueOf(*before), reflect.ValueOf(*after))
	return c
}

// value compares two values of one type.
func (c *Changes) value(path string, before, after reflect.Value) {
	if before.Type().Implements(reflect.TypeFor[fmt.Stringer]()) && before.Kind() != reflect.Pointer {
		c.text(path, before, after)
		return
	}
	switch before.Kind() {
	case reflect.Struct:
		c.fields(path, before, after)
	case reflect.Map:
		c.entries(path, entriesOf(before), entriesOf(after))
	case reflect.Pointer:
		switch {
		case before.IsNil() && after.IsNil():
		case before.IsNil():
			*c = append(*c, Change{Path: path, Kind: ChangeAdded})
		case after.IsNil():
			*c = append(*c, Change{Path: path, Kind: ChangeRemoved})
		default:
			c.value(path, before.Elem(), after.Elem())
		}
	case reflect.Slice:
		if hasName(before.Type().Elem()) {
			c.entries(path, entriesOf(before), entriesOf(after))
		} else {
			c.items(path, before, after)
		}
	default:
		c.text(path, before, after)
	}
}

func (c *Changes) text(path string, before, after reflect.Value) {
	if before.Interface() != after.Interface() {
		*c = append(*c, Change{Path: path, Kind: ChangeValue, Old: textOf(before), New: textOf(after)})
	}
}

// fields compares structs. Names are in the path already, positions are not
// settings, and a listener's policy is known by its name: what is in it is
// compared once, where it is defined.
func (c *Changes) fields(path string, before, after reflect.Value) {
	for i := range before.NumField() {
		field := before.Type().Field(i)
		below := join(path, keyOf(field.Name))
		switch {
		case field.Name == "NoStapling": // the key says the reverse
			c.value(join(path, "ocsp_stapling"), reflect.ValueOf(!before.Field(i).Bool()), reflect.ValueOf(!after.Field(i).Bool()))
		case !field.IsExported(), field.Name == "Name", field.Type == reflect.TypeFor[Pos](), field.Type == reflect.TypeFor[Errors](), below == "file":
		case field.Type == reflect.TypeFor[*policy.Policy]():
			c.value(below, reflect.ValueOf(policyName(before.Field(i))), reflect.ValueOf(policyName(after.Field(i))))
		default:
			c.value(below, before.Field(i), after.Field(i))
		}
	}
}

func policyName(v reflect.Value) string {
	if p := v.Interface().(*policy.Policy); p != nil {
		return p.Name
	}
	return ""
}

// named is an entry of a map, or of a list whose items have names.
type named struct {
	name  string
	value reflect.Value
}

// hasName says that what has this type is a thing of the file with a name, such
// as a listener. A suite is a name.
func hasName(t reflect.Type) bool {
	if t.Kind() != reflect.Struct || t == reflect.TypeFor[policy.Suite]() {
		return false
	}
	_, ok := t.FieldByName("Name")
	return ok
}

func entriesOf(v reflect.Value) (list []named) {
	if v.Kind() == reflect.Map {
		byName := make(map[string]reflect.Value)
		for _, key := range v.MapKeys() {
			byName[key.String()] = v.MapIndex(key)
		}
		for _, name := range slices.Sorted(maps.Keys(byName)) {
			list = append(list, named{name, byName[name]})
		}
		return list
	}
	for i := range v.Len() {
		list = append(list, named{v.Index(i).FieldByName("Name").String(), v.Index(i)})
	}
	return list
}

func (c *Changes) entries(path string, before, after []named) {
	find := func(list []named, name string) int {
		return slices.IndexFunc(list, func(n named) bool { return n.name == name })
	}
	for _, was := range before {
		if at := find(after, was.name); at < 0 {
			*c = append(*c, Change{Path: join(path, was.name), Kind: ChangeRemoved})
		} else {
			c.value(join(path, was.name), was.value, after[at].value)
		}
	}
	for _, is := range after {
		if find(before, is.name) < 0 {
			*c = append(*c, Change{Path: join(path, is.name), Kind: ChangeAdded})
		}
	}
}

// items compares lists of values without names.
func (c *Changes) items(path string, before, after reflect.Value) {
	was, is := textsOf(before), textsOf(after)
	change := Change{Path: path, Kind: ChangeItems}
	for _, item := range is {
		if !slices.Contains(was, item) {
			change.Added = append(change.Added, item)
		}
	}
	for _, item := range was {
		if !slices.Contains(is, item) {
			change.Removed = append(change.Removed, item)
		}
	}
	switch {
	case len(change.Added)+len(change.Removed) > 0:
		*c = append(*c, change)
	case !slices.Equal(was, is):
		*c = append(*c, Change{Path: path, Kind: ChangeReordered})
	}
}

func textsOf(v reflect.Value) (texts []string) {
	for i := range v.Len() {
		texts = append(texts, textOf(v.Index(i)))
	}
	return texts
}

// textOf is a value as a person would write it. Of a URL, the query may have a
// key to what is behind it.
func textOf(v reflect.Value) string {
	text := fmt.Sprint(v.Interface())
	switch value := v.Interface().(type) {
	case policy.Suite:
		text = value.Name
	case SealingKey:
		text = value.text()
	case time.Time:
		if text = value.Format(time.RFC3339); value.IsZero() {
			text = ""
		}
	}
	switch u, err := url.Parse(text); {
	case text == "":
		return "none"
	case err == nil && u.Scheme != "" && u.Host != "":
		if u.RawQuery != "" {
			u.RawQuery = "…"
		}
		return u.Redacted()
	}
	return text
}

// keyOf is the key of a field, by the rule that they are named by: StaleCRL is
// stale_crl, TLS12 is tls12.
func keyOf(field string) string {
	var key strings.Builder
	switch field {
	case "MaxAge", "MaxAgeJitter":
		return "max_connection_" + keyOf(strings.TrimPrefix(field, "Max"))
	case "Redis", "Seal":
		return "storage." + strings.ToLower(field)
	case "Reuse":
		return "data_key_reuse"
	case "ReusePort":
		return "restart.reuse_port"
	case "Watch":
		return "reload.watch"
	}
	letters := []rune(field)
	for i, r := range letters {
		starts := i > 0 && unicode.IsUpper(r) &&
			(unicode.IsLower(letters[i-1]) || i+1 < len(letters) && unicode.IsLower(letters[i+1]))
		if starts {
			key.WriteByte('_')
		}
		key.WriteRune(unicode.ToLower(r))
	}
	return key.String()
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}
