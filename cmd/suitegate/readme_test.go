package main

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/suitegate/suitegate/configs"
	"github.com/suitegate/suitegate/policy"
	"github.com/suitegate/suitegate/proxy/admin"
	"github.com/suitegate/suitegate/proxy/metrics"
	"github.com/suitegate/suitegate/proxy/shadow"
)

// The README's tables are the reference, so each is held against the code.
// TestREADMECommands runs its commands.

// readme is the text of README.md.
type readme string

func readREADME(t *testing.T) readme {
	t.Helper()
	data, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	return readme(data)
}

// blocks returns the code blocks of one language.
func (r readme) blocks(t *testing.T, language string) (blocks []string) {
	t.Helper()
	for _, match := range regexp.MustCompile("(?s)\n```"+language+"\n(.*?)\n```\n").FindAllStringSubmatch(string(r), -1) {
		blocks = append(blocks, match[1])
	}
	if len(blocks) == 0 {
		t.Fatalf("README.md has no block of %s", language)
	}
	return blocks
}

// section is the text below a heading, up to the next one.
func (r readme) section(t *testing.T, heading string) string {
	t.Helper()
	_, rest, ok := strings.Cut(string(r), "\n## "+heading+"\n")
	if !ok {
		t.Fatalf("README.md has no heading %q", heading)
	}
	section, _, _ := strings.Cut(rest, "\n## ")
	return section
}

// table returns the rows of the tables below a heading whose first column has
// this title, cell by cell.
func (r readme) table(t *testing.T, heading, title string) (rows [][]string) {
	t.Helper()
	inside := false
	for line := range strings.Lines(r.section(t, heading)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		switch {
		case !strings.HasPrefix(line, "|"):
			inside = false
		case cells[0] == title:
			inside = true
		case inside && strings.Trim(cells[0], "-") != "":
			rows = append(rows, cells)
		}
	}
	if len(rows) == 0 {
		t.Fatalf("README.md has no table of %q below %q", title, heading)
	}
	return rows
}

// quoted are the words in backquotes.
func quoted(text string) (words []string) {
	for _, match := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(text, -1) {
		words = append(words, match[1])
	}
	return words
}

// column are the words in backquotes of one column, sorted, each once.
func column(rows [][]string, n int) []string {
	words := make(map[string]bool)
	for _, row := range rows {
		for _, word := range quoted(row[n]) {
			words[word] = true
		}
	}
	return slices.Sorted(maps.Keys(words))
}

// Links lead somewhere, and so do the targets of make.
func TestREADMELinks(t *testing.T) {
	text := readREADME(t)
	makefile, err := os.ReadFile("../../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	for _, match := range regexp.MustCompile("[`\n]make ([a-z]+)").FindAllStringSubmatch(string(text), -1) {
		if !strings.Contains(string(makefile), "\n"+match[1]+":") {
			t.Errorf("the Makefile has no target %s", match[1])
		}
	}
	headings := make(map[string]bool)
	for _, match := range regexp.MustCompile(`(?m)^##? (.*)$`).FindAllStringSubmatch(string(text), -1) {
		anchor := regexp.MustCompile(`[^a-z0-9 -]`).ReplaceAllString(strings.ToLower(match[1]), "")
		headings["#"+strings.ReplaceAll(anchor, " ", "-")] = true
	}
	security, err := os.ReadFile("../../SECURITY.md")
	if err != nil {
		t.Fatal(err)
	}
	both := string(text) + strings.ReplaceAll(string(security), "(README.md#", "(#")
	for _, match := range regexp.MustCompile(`\]\(([^)]+)\)`).FindAllStringSubmatch(both, -1) {
		switch target := match[1]; {
		case strings.HasPrefix(target, "#"):
			if !headings[target] {
				t.Errorf("no heading for %s", target)
			}
		default:
			if _, err := os.Stat("../../" + target); err != nil {
				t.Error(err)
			}
		}
	}
}

// Every key of the schema has a row, with its default where there is a constant
// for it, and "required" where the schema says so.
func TestREADMEConfiguration(t *testing.T) {
	defaults := map[string]string{
		"storage.redis.prefix":                      configs.DefaultRedisPrefix,
		"storage.seal.key.vault.mount":              configs.DefaultVaultMount,
		"storage.seal.data_key_reuse":               strings.TrimSuffix(configs.DefaultDataKeyReuse.String(), "0s"),
		"log.format":                                configs.DefaultLogFormat,
		"log.level":                                 configs.DefaultLogLevel,
		"hardening.landlock":                        configs.DefaultLandlock,
		"hardening.core_dumps":                      strconv.FormatBool(configs.DefaultCoreDumps),
		"log.refusals_per_minute":                   strconv.Itoa(configs.DefaultRefusalsPerMinute),
		"log.client_addresses":                      configs.DefaultClientAddresses,
		"log.server_names":                          strconv.FormatBool(configs.DefaultLogPeople),
		"log.fingerprints":                          strconv.FormatBool(configs.DefaultLogPeople),
		"log.client_certificates":                   strconv.FormatBool(configs.DefaultLogPeople),
		"drain_timeout":                             configs.DefaultDrainTimeout.String(),
		"restart.reuse_port":                        strconv.FormatBool(configs.DefaultReusePort),
		"reload.watch":                              strconv.FormatBool(configs.DefaultWatch),
		"prove.mode":                                configs.DefaultProve,
		"tickets.rotation":                          strings.TrimSuffix(configs.DefaultTicketRotation.String(), "0m0s"),
		"tickets.shared":                            strconv.FormatBool(configs.DefaultTicketsShared),
		"tickets.lifetime":                          strings.TrimSuffix(configs.DefaultTicketLifetime.String(), "0m0s"),
		"policies.NAME.groups":                      "`" + joinStringers(policy.DefaultGroups(), "`, `") + "`",
		"upstreams.NAME.nodes[].weight":             strconv.Itoa(configs.DefaultWeight),
		"upstreams.NAME.balance":                    configs.DefaultBalance,
		"upstreams.NAME.connect_timeout":            configs.DefaultConnectTimeout.String(),
		"upstreams.NAME.resolve_interval":           configs.DefaultResolveInterval.String(),
		"upstreams.NAME.health_check.interval":      configs.DefaultHealthInterval.String(),
		"upstreams.NAME.health_check.timeout":       configs.DefaultHealthTimeout.String(),
		"upstreams.NAME.health_check.rise":          strconv.Itoa(configs.DefaultHealthRise),
		"upstreams.NAME.health_check.fall":          strconv.Itoa(configs.DefaultHealthFall),
		"upstreams.NAME.required":                   strconv.FormatBool(configs.DefaultRequired),
		"listeners[].server_name":                   configs.DefaultServerName,
		"listeners[].client_certificates.stale_crl": configs.DefaultStaleCRL,
		"listeners[].client_certificates.max_depth": strconv.Itoa(configs.DefaultMaxDepth),
		"listeners[].session_tickets":               strconv.FormatBool(configs.DefaultSessionTickets),
		"listeners[].handshake_timeout":             configs.DefaultHandshakeTimeout.String(),
		"listeners[].first_bytes_timeout":           configs.DefaultFirstBytesTimeout.String(),
		"listeners[].max_connections":               strconv.Itoa(configs.DefaultMaxConnections),
	}
	want := make(map[string]bool) // by key, whether it is required
	schemaKeys(t, parseFile(t, "../../configs/schema.go"), "document", "", want)
	maps.DeleteFunc(want, func(key string, _ bool) bool { return strings.HasPrefix(key, "storage.seal.previous[].") })
	want["storage.seal.previous"] = false // of keys like storage.seal.key
	got := make(map[string]bool)
	for _, row := range readREADME(t).table(t, "Configuration reference", "key") {
		key := strings.Trim(row[0], "`")
		// One of the two is required, which the schema alone does not say.
		got[key] = row[1] == "required" && !strings.HasPrefix(key, "listeners[].upstream")
		if value, ok := defaults[key]; ok && strings.Trim(row[1], "`") != strings.Trim(value, "`") {
			t.Errorf("%s: the default is %s, not %s", key, value, row[1])
		}
		delete(defaults, key)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("keys, and whether they are required (-schema +README):\n%s", diff)
	}
	if len(defaults) > 0 {
		t.Errorf("no row for %v", defaults)
	}
}

// schemaKeys walks through the types of configs/schema.go, whose fields are
// tagged with their keys.
func schemaKeys(t *testing.T, file *ast.File, name, prefix string, keys map[string]bool) {
	object := file.Scope.Lookup(name)
	if object == nil {
		t.Fatalf("the schema has no type %s", name)
	}
	for _, field := range object.Decl.(*ast.TypeSpec).Type.(*ast.StructType).Fields.List {
		text, err := strconv.Unquote(field.Tag.Value)
		if err != nil {
			t.Fatal(err)
		}
		key, options, _ := strings.Cut(reflect.StructTag(text).Get("key"), ",")
		typ, path := field.Type, prefix+key
		for below := typ; below != nil; {
			switch outer := typ.(type) {
			case *ast.ArrayType:
				typ, path = outer.Elt, path+"[]"
			case *ast.IndexExpr:
				switch outer.X.(*ast.Ident).Name {
				case "names":
					path += ".NAME"
				case "either": // a text beside the mapping
					keys[strings.TrimSuffix(path, "[]")] = strings.Contains(options, "required")
				}
				typ = outer.Index
			default:
				below = nil
			}
		}
		switch inner := typ.(*ast.Ident).Name; {
		case inner == "reserved": // for later
		case strings.HasSuffix(inner, "Keys"):
			schemaKeys(t, file, inner, path+".", keys)
		default:
			path = strings.TrimSuffix(strings.TrimSuffix(path, "[]"), ".NAME")
			keys[path] = slices.Contains(strings.Split(options, ","), "required")
		}
	}
}

// Every command has a row, and every option that the rows name is one.
func TestREADMECommandLine(t *testing.T) {
	parser, err := kong.New(&commandLine{}, kong.Name("suitegate"))
	if err != nil {
		t.Fatal(err)
	}
	commands := make(map[string]*kong.Node)
	for _, leaf := range parser.Model.Leaves(true) {
		commands[leaf.FullPath()] = leaf
	}
	for _, row := range readREADME(t).table(t, "Command line", "command") {
		words := strings.Fields(strings.Trim(row[0], "`"))
		at := slices.IndexFunc(words, func(word string) bool { return word != strings.ToLower(word) || strings.HasPrefix(word, "-") })
		if at < 0 {
			at = len(words)
		}
		name := strings.Join(words[:at], " ")
		command := commands[name]
		if command == nil {
			t.Errorf("there is no command %s", name)
			continue
		}
		delete(commands, name)
		for _, option := range regexp.MustCompile(`--([a-z0-9-]+)`).FindAllStringSubmatch(strings.Join(row, " "), -1) {
			known := slices.ContainsFunc(command.AllFlags(true), func(flags []*kong.Flag) bool {
				return slices.ContainsFunc(flags, func(flag *kong.Flag) bool { return flag.Name == option[1] })
			})
			if !known {
				t.Errorf("%s has no option %s", name, option[0])
			}
		}
	}
	if len(commands) > 0 {
		t.Errorf("no row for %v", slices.Collect(maps.Keys(commands)))
	}
}

func TestREADMEMetrics(t *testing.T) {
	descriptions := make(chan *prometheus.Desc)
	go func() {
		metrics.New().Registry().Describe(descriptions)
		close(descriptions)
	}()
	pattern := regexp.MustCompile(`fqName: "(suitegate_[a-z0-9_]+)".* variableLabels: {([a-z_,]*)}`)
	want := make(map[string][]string) // labels by name
	for description := range descriptions {
		if match := pattern.FindStringSubmatch(description.String()); match != nil {
			labels := strings.FieldsFunc(match[2], func(r rune) bool { return r == ',' })
			slices.Sort(labels)
			want[match[1]] = append([]string{}, labels...)
		}
	}
	if len(want) < 20 {
		t.Fatalf("%d metrics: this test no longer reads their descriptions", len(want))
	}
	got := make(map[string][]string)
	for _, row := range readREADME(t).table(t, "Metrics and health", "metric") {
		labels := quoted(row[1])
		slices.Sort(labels)
		got[strings.Trim(row[0], "`")] = append([]string{}, labels...)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("metrics and their labels (-code +README):\n%s", diff)
	}
}

func TestREADMEAdmin(t *testing.T) {
	handler := admin.Handler(admin.Source{
		Metrics: metrics.New(),
		Status:  func() admin.Status { return admin.Status{} },
		Impact:  func() shadow.Impact { return shadow.Impact{} },
		Ready:   func() error { return nil },
		Pprof:   true,
	})
	var source []byte
	for _, file := range []string{"admin.go", "page.go"} {
		text, err := os.ReadFile("../../proxy/admin/" + file)
		if err != nil {
			t.Fatal(err)
		}
		source = append(source, text...)
	}
	served := make(map[string]bool)
	for _, pattern := range regexp.MustCompile(`mux\.Handle(?:Func)?\("(?:GET )?(/[a-z]+/?(?:pprof/)?|/{\$}")`).FindAllSubmatch(source, -1) {
		if path := strings.TrimSuffix(string(pattern[1]), `{$}"`); path != "/page/" { // the parts of the page at /
			served[path] = true
		}
	}
	for _, row := range readREADME(t).table(t, "Metrics and health", "path") {
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, strings.Trim(row[0], "`"), nil))
		if answer.Code != http.StatusOK {
			t.Errorf("%s answers %d", row[0], answer.Code)
		}
		delete(served, strings.Trim(row[0], "`"))
	}
	if len(served) > 0 {
		t.Errorf("no row for %v", served)
	}
}

// What changes the gateway is what proxy/operations.go offers.
func TestREADMEAdminAPI(t *testing.T) {
	source, err := os.ReadFile("../../proxy/operations.go")
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, path := range regexp.MustCompile(`actions\["(/[^"]+)"\]`).FindAllSubmatch(source, -1) {
		want = append(want, string(path[1]))
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, column(readREADME(t).table(t, "Admin API", "path"), 0)); diff != "" {
		t.Errorf("paths (-code +README):\n%s", diff)
	}
}

// The fields are those that proxy/logline.go and proxy/offer.go write.
func TestREADMELogFields(t *testing.T) {
	text := readREADME(t)
	written := make(map[string]bool)
	inspect := func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok || len(call.Args) < 2 {
			return true
		}
		selector, isSelector := call.Fun.(*ast.SelectorExpr)
		name, isName := call.Fun.(*ast.Ident)
		if isName && slices.Contains([]string{"add", "list", "bounded"}, name.Name) || isSelector && fmt.Sprint(selector.X) == "slog" {
			if key, ok := stringLiteral(call.Args[0]); ok {
				written[key] = true
			}
		}
		return true
	}
	ast.Inspect(parseFile(t, "../../proxy/logline.go"), inspect)
	ast.Inspect(parseFile(t, "../../proxy/offer.go"), inspect)
	if diff := cmp.Diff(slices.Sorted(maps.Keys(written)), column(text.table(t, "Log", "field"), 0)); diff != "" {
		t.Errorf("fields (-code +README):\n%s", diff)
	}
	var example map[string]any
	if err := json.Unmarshal([]byte(text.blocks(t, "json")[0]), &example); err != nil {
		t.Fatal(err)
	}
	for field := range example {
		if !written[field] && !slices.Contains([]string{"time", "level", "msg"}, field) {
			t.Errorf("the example has the field %s", field)
		}
	}
}

// Every reason that the code can give has a row, and no other has.
func TestREADMEReasons(t *testing.T) {
	var want []string
	for _, dir := range []string{"policy", "certs", "proxy", "proxy/clientauth", "proxy/clienthello", "proxy/engine", "proxy/limits", "proxy/proxyheader", "proxy/relay", "proxy/sniff", "proxy/upstream"} {
		found := reasonsOf(t, "../../"+dir)
		t.Logf("%s: %v", dir, found)
		if len(found) == 0 {
			t.Errorf("%s: no reason found: this test no longer reads how reasons are given", dir)
		}
		want = append(want, found...)
	}
	slices.Sort(want)
	got := column(readREADME(t).table(t, "What is refused, and how it is told", "reason"), 0)
	if diff := cmp.Diff(slices.Compact(want), got); diff != "" {
		t.Errorf("reasons (-code +README):\n%s", diff)
	}
}

// reasonsOf finds the reasons that the errors of a package give.
func reasonsOf(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(dir + "/*.go")
	if err != nil {
		t.Fatal(err)
	}
	found := reasons{whole: make(map[string]bool)}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		ast.Inspect(parseFile(t, name), found.inspect)
	}
	for _, side := range found.sides {
		for _, end := range found.ends {
			found.whole[side+end] = true
		}
	}
	return slices.Sorted(maps.Keys(found.whole))
}

// reasons are string literals in snake case, as package relay makes them: a side
// and what became of it, such as "client" and "_reset"; or whole, as all the
// others have them.
type reasons struct {
	whole       map[string]bool
	sides, ends []string
}

// inspect looks where a reason may be given. It is for ast.Inspect.
func (r *reasons) inspect(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.ValueSpec: // const reasonRefused = "…", const NoCommonSuite Reason = "…"
		typ := ""
		if n.Type != nil {
			typ = fmt.Sprint(n.Type)
		}
		for i, value := range n.Values {
			if word, ok := stringLiteral(value); ok && typ == "Side" {
				r.sides = append(r.sides, word)
			} else if typ == "Reason" || isReason(n.Names[i].Name) {
				r.add(value, "")
			}
		}
	case *ast.KeyValueExpr: // &refusal{reason: "…"}
		if isReason(fmt.Sprint(n.Key)) {
			r.add(n.Value, "")
		}
	case *ast.AssignStmt: // stats.Reason = string(side) + "_closed"
		if field, ok := n.Lhs[0].(*ast.SelectorExpr); ok && isReason(field.Sel.Name) {
			r.add(n.Rhs[0], "")
		}
	case *ast.FuncDecl: // func (e *Error) Reason() string { return "…" }
		half := ""
		if n.Name.Name == "failure" { // the other half of relay's reasons
			half = "_"
		} else if !isReason(n.Name.Name) {
			break
		}
		ast.Inspect(n, func(n ast.Node) bool {
			if statement, ok := n.(*ast.ReturnStmt); ok {
				for _, result := range statement.Results {
					r.add(result, half)
				}
			}
			return true
		})
	}
	return true
}

// add takes the literals of an expression, with prefix in front.
func (r *reasons) add(e ast.Expr, prefix string) {
	ast.Inspect(e, func(n ast.Node) bool {
		value, ok := n.(ast.Expr)
		if !ok {
			return true
		}
		word, ok := stringLiteral(value)
		switch word = prefix + word; {
		case !ok || !regexp.MustCompile(`^_?[a-z]+(_[a-z]+)*$`).MatchString(word):
		case word[0] == '_':
			r.ends = append(r.ends, word)
		default:
			r.whole[word] = true
		}
		return true
	})
}

// isReason recognises Reason, reasonOf, ReasonClientAlert, …
func isReason(name string) bool { return regexp.MustCompile(`^[rR]eason([A-Z]|$)`).MatchString(name) }

func stringLiteral(e ast.Expr) (string, bool) {
	literal, ok := e.(*ast.BasicLit)
	if !ok || literal.Kind != token.STRING {
		return "", false
	}
	text, err := strconv.Unquote(literal.Value)
	return text, err == nil
}

func parseFile(t *testing.T, name string) *ast.File {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	return file
}
