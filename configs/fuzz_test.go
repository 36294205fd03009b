package configs

import (
	"bytes"
	"errors"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// Whatever a file holds, Parse gives either a configuration that can be used
// without further questions, or mistakes that all have a place in the file.
func FuzzParse(f *testing.F) {
	for _, pattern := range []string{"*.yml", "testdata/bad/*.yml"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			f.Fatalf("%s: %d files, %v", pattern, len(files), err)
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
		}
	}
	f.Add([]byte(minimal))
	f.Fuzz(func(t *testing.T, data []byte) {
		start := time.Now()
		cfg, err := Parse("f.yml", data)
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("took %v", took)
		}
		if err != nil {
			checkErrors(t, data, err)
			return
		}
		checkConfig(t, cfg)
	})
}

func checkErrors(t *testing.T, data []byte, err error) {
	var errs Errors
	if !errors.As(err, &errs) || len(errs) == 0 || len(errs) > maxErrors+1 {
		t.Fatalf("error %v (%T), want Errors", err, err)
	}
	// U+0085, U+2028, U+2029 and a bare carriage return end lines too.
	lines := 1 + bytes.Count(data, []byte("\n")) + bytes.Count(data, []byte("\r")) +
		bytes.Count(data, []byte("\u0085")) + bytes.Count(data, []byte("\u2028")) + bytes.Count(data, []byte("\u2029"))
	last := Pos{}
	for _, e := range errs {
		if e.Pos.File != "f.yml" || e.Pos.Line < 1 || e.Pos.Line > lines+1 || e.Pos.Column < 1 {
			t.Errorf("%v: no such place in %d lines", e, lines)
		}
		if e.Pos.Line < last.Line || e.Pos.Line == last.Line && e.Pos.Column < last.Column {
			t.Errorf("%v after %v", e, last)
		}
		if e.Reason == "" || strings.ContainsFunc(e.Reason, func(r rune) bool { return r < ' ' || r == 0x7F }) {
			t.Errorf("reason %q", e.Reason)
		}
		last = e.Pos
	}
}

func checkConfig(t *testing.T, cfg *Config) {
	if len(cfg.Certificates) == 0 || len(cfg.Listeners) == 0 || cfg.DrainTimeout <= 0 || cfg.StorageName() == "" {
		t.Errorf("incomplete: %+v", cfg)
	}
	names := func(list []Certificate) (names []string) {
		for _, c := range list {
			names = append(names, c.Name)
			if sources := []bool{c.Files != nil, c.SelfSigned != nil, c.ACME != nil}; len(slices.DeleteFunc(sources, func(is bool) bool { return !is })) != 1 {
				t.Errorf("certificate %+v", c)
			}
		}
		return names
	}(cfg.Certificates)
	for _, l := range cfg.Listeners {
		if l.Name == "" || l.Policy == nil || len(l.Policy.TLS12)+len(l.Policy.TLS13) == 0 {
			t.Errorf("listener %+v", l)
		}
		if _, _, err := net.SplitHostPort(l.Address); err != nil {
			t.Error(err)
		}
		if l.HandshakeTimeout <= 0 || l.FirstBytesTimeout <= 0 || l.MaxConnections < 0 {
			t.Errorf("listener %+v", l)
		}
		if (l.Upstream == "") == (len(l.Upstreams) == 0) {
			t.Errorf("listener %+v: one of upstream and upstreams", l)
		}
		for _, u := range append(slices.Collect(maps.Values(l.Upstreams)), l.Upstream) {
			if u != "" && len(cfg.Upstreams[u].Nodes) == 0 {
				t.Errorf("listener %+v: upstream %q has no nodes", l, u)
			}
		}
		if len(l.Certificates) == 0 {
			t.Errorf("listener %+v: no certificates", l)
		}
		for _, c := range l.Certificates {
			if !slices.Contains(names, c) {
				t.Errorf("listener %+v: no certificate %q", l, c)
			}
		}
		if pos := cfg.Position("listeners", l.Name, "policy"); pos.Line < 1 || pos.Column < 1 {
			t.Errorf("position %v", pos)
		}
	}
}
