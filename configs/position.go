package configs

import (
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
)

// Position says where a setting stands, for mistakes that show only when it is
// used: a certificate's file that cannot be read, a policy that the keys of a
// listener's certificates cannot serve, an address that is taken.
//
// The section is a key of the top level, and name that of an entry in it, or
// "" for the section itself. The field is a path in there, with dots, and
// numbers from 0 for items of lists; "" is the entry itself:
//
//	Position("certificates", "default", "files.key")
//	Position("upstreams", "rabbit", "nodes.1")
//	Position("listeners", "amqps", "policy")
//	Position("admin", "", "address")
//
// What the file leaves out has the position of what it would stand in.
func (c *Config) Position(section, name, field string) Pos {
	if c.root == nil {
		return Pos{File: c.File}
	}
	path := []string{section, name}
	if field != "" {
		path = append(path, strings.Split(field, ".")...)
	}
	value, mark := c.root, c.root
	for _, step := range path {
		if step == "" {
			continue
		}
		v, m := child(value, step)
		if v == nil {
			break
		}
		value, mark = v, m
	}
	return Pos{c.File, mark.Line, mark.Column}
}

// child finds what a path's step leads to, and the node to point a person to:
// a value that begins on a line below its key is better pointed at by the key.
func child(n *yaml.Node, step string) (value, mark *yaml.Node) {
	n = dealias(n)
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			if key, v := n.Content[i], n.Content[i+1]; key.Value == step {
				if v.Line > key.Line {
					return v, key
				}
				return v, v
			}
		}
	case yaml.SequenceNode:
		for _, item := range n.Content {
			if v, _ := child(item, "name"); v != nil && v.Value == step {
				return item, item
			}
		}
		if i, err := strconv.Atoi(step); err == nil && 0 <= i && i < len(n.Content) {
			return n.Content[i], n.Content[i]
		}
	}
	return nil, nil
}
