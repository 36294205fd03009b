package main

import (
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/suitegate/suitegate"

// allowedImports is the architecture: each package of this module, and what of
// this module it may import outside of its tests. "-" is nothing, "*" is
// everything, "*-x" everything but x and what is below it.
const allowedImports = `
cmd/suitegate      *
cmd/suitegate/e2e  -
policy             -
certs              policy certs/seal
certs/seal         -
certs/seal/localkey      certs/seal
certs/seal/awskms        certs/seal
certs/seal/vaulttransit  certs/seal
certs/seal/sealtest      certs/seal
certs/seal/kmstest       certs/seal/sealtest
certs/seal/vaulttest     certs/seal/sealtest
configs            policy
proxy              *-cmd *-bench
proxy/clienthello  -
proxy/clienthello/capture  proxy/clienthello proxy/proxyheader
proxy/clientauth   -
proxy/engine       proxy/tlsconn
proxy/tlsconn        proxy/tlsconn/ffdhe
proxy/tlsconn/ffdhe  -
proxy/sniff        -
proxy/limits       -
proxy/upstream     proxy/metrics proxy/proxyheader
proxy/proxyheader  -
proxy/relay        -
proxy/metrics      -
proxy/logsink      -
proxy/admin        policy proxy/upstream proxy/metrics proxy/audit proxy/shadow
proxy/audit        -
proxy/shadow       -
proxy/scan         proxy/clienthello policy
proxy/prove        proxy/scan policy
bench              *-cmd
bench/load         policy proxy/engine proxy/tlsconn
bench/peers        policy bench/load proxy/tlsconn/ffdhe
`

// TestImports holds the table above. What a package may import, it may import
// directly: what comes along with that has a row of its own.
func TestImports(t *testing.T) {
	rules := parseImportRules(t, allowedImports)
	imports := ownImports(t)
	for _, pkg := range slices.Sorted(maps.Keys(imports)) {
		rule, ok := rules[pkg]
		if !ok {
			t.Errorf("%s has no row in the table: decide what it may import", pkg)
			continue
		}
		for _, imported := range imports[pkg] {
			if !rule.allows(imported) {
				t.Errorf("%s imports %s; of this module it may import: %s", pkg, imported, rule)
			}
		}
	}
}

func TestImportRule(t *testing.T) {
	for _, test := range []struct {
		rule, pkg string
		want      bool
	}{
		{"-", "policy", false},
		{"*", "cmd/suitegate", true},
		{"policy proxy/metrics", "proxy/metrics", true},
		{"policy proxy/metrics", "proxy", false},
		{"*-cmd *-bench", "policy", true},
		{"*-cmd *-bench", "bench", false},
		{"*-cmd *-bench", "cmd/suitegate", false},
		{"*-cmd *-bench", "benchmarks", true},
	} {
		if got := importRule(strings.Fields(test.rule)).allows(test.pkg); got != test.want {
			t.Errorf("rule %q allows %s: %t, want %t", test.rule, test.pkg, got, test.want)
		}
	}
}

// importRule is the right side of a row.
type importRule []string

func (r importRule) String() string { return strings.Join(r, " ") }

func (r importRule) allows(pkg string) bool {
	everything := false
	for _, word := range r {
		except, negative := strings.CutPrefix(word, "*-")
		switch {
		case negative:
			everything = true
			if pkg == except || strings.HasPrefix(pkg, except+"/") {
				return false
			}
		case word == "*":
			everything = true
		case word == pkg:
			return true
		}
	}
	return everything
}

func parseImportRules(t *testing.T, table string) map[string]importRule {
	t.Helper()
	rules := make(map[string]importRule)
	for line := range strings.Lines(table) {
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		if len(fields) < 2 {
			t.Fatalf("row %q: want a package and what it may import", strings.TrimSpace(line))
		}
		rules[fields[0]] = fields[1:]
	}
	return rules
}

// ownImports lists this module's packages, each with the packages of this
// module that it imports outside of its tests.
func ownImports(t *testing.T) map[string][]string {
	t.Helper()
	imports := make(map[string][]string)
	for pkg, all := range allImports(t) {
		imports[pkg] = nil
		for _, path := range all {
			if imported, ok := own(path); ok {
				imports[pkg] = append(imports[pkg], imported)
			}
		}
	}
	return imports
}

// own is a package's name within this module, if it is one of it.
func own(path string) (string, bool) {
	if path == module {
		return ".", true
	}
	return strings.CutPrefix(path, module+"/")
}

// allImports lists this module's packages, each with all that it imports outside
// of its tests. A folder of tests alone has nothing to hold to a table.
func allImports(t *testing.T) map[string][]string {
	t.Helper()
	command := exec.Command("go", "list", "-json=ImportPath,GoFiles,Imports", module+"/...")
	output, err := command.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			t.Fatalf("go list: %v\n%s", err, exit.Stderr)
		}
		t.Fatalf("go list: %v", err)
	}
	imports := make(map[string][]string)
	for decoder := json.NewDecoder(strings.NewReader(string(output))); ; {
		var pkg struct {
			ImportPath string
			GoFiles    []string
			Imports    []string
		}
		if err := decoder.Decode(&pkg); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("go list: %v", err)
		}
		name, ok := own(pkg.ImportPath)
		if !ok || len(pkg.GoFiles) == 0 {
			continue
		}
		imports[name] = pkg.Imports
	}
	if len(imports) == 0 {
		t.Fatal("go list found no package")
	}
	return imports
}
