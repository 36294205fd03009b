package configs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
	"go.yaml.in/yaml/v4/plugin/loaderlimits"
)

// maxDepth bounds the nesting of lists and mappings; the schema needs seven.
const maxDepth = 32

// parseYAML returns the root value of the one document in data.
func parseYAML(file string, data []byte) (*yaml.Node, *Error) {
	fail := func(line, column int, format string, args ...any) (*yaml.Node, *Error) {
		pos := Pos{file, max(line, 1), max(column, 1)}
		return nil, &Error{pos, fmt.Sprintf(format, args...)}
	}
	if len(data) > MaxSize {
		return fail(1, 1, "the file is larger than %d KiB", MaxSize>>10)
	}
	if line, column, what := firstBadCharacter(data); what != "" {
		return fail(line, column, "%s", what)
	}
	loader, err := yaml.NewLoader(bytes.NewReader(data),
		yaml.WithPlugin(loaderlimits.New(loaderlimits.DepthValue(maxDepth))))
	if err != nil {
		return fail(1, 1, "not YAML: %v", err)
	}

	var doc, next yaml.Node
	if err = loader.Load(&doc); err == io.EOF {
		return fail(1, 1, "the file is empty")
	}
	if err == nil {
		err = loader.Load(&next)
	}
	switch {
	case err == nil:
		return fail(next.Line, next.Column, "a second YAML document; a configuration is a single one")
	case err != io.EOF:
		line, column, reason := explain(err, data)
		return fail(line, column, "not YAML: %s", reason)
	}
	root := doc.Content[0]
	if root.Kind == yaml.ScalarNode && root.ShortTag() == "!!null" {
		return fail(root.Line, root.Column, "the file is empty")
	}
	return root, nil
}

// firstBadCharacter finds what YAML does not allow in a file (YAML 1.2.2
// §5.1). The parser finds it too, but cannot say where.
func firstBadCharacter(data []byte) (line, column int, what string) {
	line, column = 1, 1
	for i := 0; i < len(data); {
		r, size := utf8.DecodeRune(data[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			return line, column, fmt.Sprintf("not UTF-8 text: byte 0x%02X", data[i])
		case r == '\n':
			line, column = line+1, 0
		case r < ' ' && r != '\t' && r != '\r', r == 0xFFFE, r == 0xFFFF:
			return line, column, fmt.Sprintf("control character U+%04X", r)
		}
		column++
		i += size
	}
	return line, column, ""
}

// bareIPv6 is an IPv6 address in brackets that YAML takes for a list.
var bareIPv6 = regexp.MustCompile(`[:,[-]\s*(\[[0-9A-Fa-f:.%]*:[0-9A-Za-z:.%]*\]:[0-9]+)`)

// explain turns the parser's error into a position and a reason.
func explain(err error, data []byte) (line, column int, reason string) {
	var e *yaml.LoadError
	if !errors.As(err, &e) {
		return 1, 1, err.Error()
	}
	reason = e.Message
	if e.ContextMsg != "" {
		reason += " " + e.ContextMsg
		if begin := e.ContextMark; begin.Line > 0 && begin != e.Mark {
			reason += fmt.Sprintf(" that begins at %d:%d", begin.Line, begin.Column)
		}
	}
	lines := strings.Split(string(data), "\n")
	if at := e.Mark.Line - 1; at >= 0 && at < len(lines) {
		if m := bareIPv6.FindStringSubmatch(lines[at]); m != nil {
			reason += fmt.Sprintf(" (an IPv6 address must stand in quotes: %q)", m[1])
		}
	}
	return e.Mark.Line, e.Mark.Column, reason
}
