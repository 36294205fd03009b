package policy

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the snapshots of testdata/catalogue that are missing; none is ever changed")

// meaning spells out all of an entry that a client or a reader can tell.
func (e *Entry) meaning() string {
	var text strings.Builder
	list := func(title string, items []string) {
		fmt.Fprintf(&text, "\n%s\n", title)
		for _, item := range items {
			fmt.Fprintf(&text, "  %s\n", item)
		}
	}
	suites := func(suites []Suite) []string {
		var names []string
		for _, s := range suites {
			names = append(names, fmt.Sprintf("0x%04X %s", s.ID, s.Name))
		}
		return names
	}
	fmt.Fprintf(&text, "%s\n%s\n%s\n%s\n%s\n", e.Policy.Name, e.Source.Document, e.Source.Section, e.Source.Date, e.Source.URL)
	list("TLS 1.3, by preference", suites(e.Policy.TLS13))
	list("TLS 1.2, by preference", suites(e.Policy.Preference()))
	list("TLS 1.2, as published", suites(e.Policy.TLS12))
	var groups, leftOut []string
	for _, g := range e.Policy.Groups {
		groups = append(groups, g.String())
	}
	for _, l := range e.LeftOut {
		leftOut = append(leftOut, l.Name)
	}
	list("groups, by preference", groups)
	list("left out", leftOut)
	return text.String()
}

// TestCatalogueNeverChanges is the promise: what was once under a name is under
// that name for good. -update adds what is new, and changes nothing.
func TestCatalogueNeverChanges(t *testing.T) {
	const dir = "testdata/catalogue"
	var files []string
	for _, e := range Catalogue() {
		file := filepath.Join(dir, e.Policy.Name+".txt")
		files = append(files, file)
		want, err := os.ReadFile(file)
		if errors.Is(err, fs.ErrNotExist) && *update {
			want = []byte(e.meaning())
			err = os.WriteFile(file, want, 0o644)
		}
		if err != nil {
			t.Error(err)
			continue
		}
		if diff := cmp.Diff(string(want), e.meaning()); diff != "" {
			t.Errorf("%s means something else now; a change needs a new name (-was +is):\n%s", e.Policy.Name, diff)
		}
	}
	kept, err := filepath.Glob(dir + "/*")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(kept, files); diff != "" {
		t.Errorf("policies that were promised and are gone (-promised +there):\n%s", diff)
	}
}

// Every name has a date or a version, and every policy a source.
func TestCatalogue(t *testing.T) {
	dated := regexp.MustCompile(`^[a-z0-9-]+-(20\d\d-(0[1-9]|1[0-2])|\d+\.\d+)$`)
	date := regexp.MustCompile(`^20\d\d-(0[1-9]|1[0-2])(-\d\d)?$`)
	for _, e := range Catalogue() {
		if !dated.MatchString(e.Policy.Name) {
			t.Errorf("%s: the name has no date", e.Policy.Name)
		}
		if s := e.Source; s.Document == "" || s.Section == "" || !date.MatchString(s.Date) || !strings.HasPrefix(s.URL, "https://") {
			t.Errorf("%s: source %+v", e.Policy.Name, s)
		}
		named := strings.TrimSuffix(e.Policy.Name, "-"+e.Source.Date[:7])
		if named == e.Policy.Name && !strings.HasPrefix(named, "mozilla-") {
			t.Errorf("%s: the source is of %s", e.Policy.Name, e.Source.Date)
		}
	}
}

// What is left out is what the source says and no engine has, and never a slip
// in a name: a suite that is neither served nor known to exist is one.
func TestCatalogueLeavesOutWhatExists(t *testing.T) {
	known := []string{
		"SecP256r1MLKEM768", "SecP384r1MLKEM1024", "ffdhe6144", "ffdhe8192", "secp224r1",
		"brainpoolP256r1", "brainpoolP384r1", "brainpoolP512r1",
		"brainpoolP256r1tls13", "brainpoolP384r1tls13", "brainpoolP512r1tls13",
	}
	known = slices.AppendSeq(known, maps.Values(neverNegotiated))
	for _, e := range Catalogue() {
		for _, l := range e.LeftOut {
			if !strings.HasSuffix(l.Name, "*") && !slices.Contains(known, l.Name) || l.Why == "" {
				t.Errorf("%s leaves out %q: %q", e.Policy.Name, l.Name, l.Why)
			}
		}
	}
	for i := range listings {
		l := &listings[i]
		e := l.entry()
		listed := len(l.tls12) + len(l.tls13) + len(l.groups) + len(l.gone)
		if kept := len(e.Policy.TLS12) + len(e.Policy.TLS13) + len(e.Policy.Groups) + len(e.LeftOut); kept != listed {
			t.Errorf("%s: %d of %d are served or left out", l.name, kept, listed)
		}
		if len(e.Policy.Groups) == 0 || len(l.groups) == 0 {
			t.Errorf("%s has the default groups, which can change", l.name)
		}
	}
}

func TestAliases(t *testing.T) {
	for alias, dated := range map[string]string{"activemq": "activemq-2020-09", "rabbitmq": "rabbitmq-2020-11"} {
		if got, ok := AliasOf(alias); got != dated || !ok {
			t.Errorf("%s stands for %q", alias, got)
		}
		e, ok := Lookup(alias)
		if !ok || e.Policy.Name != dated {
			t.Errorf("Lookup(%s) = %v", alias, e.Policy)
		}
		if p, _ := Builtin(alias); p.Name != alias {
			t.Errorf("the log would call %s %s", alias, p.Name)
		}
		if p, _ := Builtin(dated); p.Name != dated {
			t.Errorf("the log would call %s %s", dated, p.Name)
		}
	}
	if len(aliases) != 2 {
		t.Errorf("aliases %v", aliases)
	}
	if dated, ok := AliasOf("rabbitmq-2020-11"); ok {
		t.Errorf("a dated name is an alias of %s", dated)
	}
	if e, ok := Lookup("rabbit"); ok {
		t.Errorf("Lookup(rabbit) = %v", e.Policy)
	}
}
