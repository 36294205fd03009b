package main

import (
	"errors"
	"io"
	"os/exec"
	"strings"
	"testing"
)

// A peer that cannot start or has no part in a scenario is a note; suitegate's
// failure is an error besides. The others go on.
func TestRunLeavesOut(t *testing.T) {
	broken := func(program string, s settings) (*exec.Cmd, error) { return nil, errors.New("no such setting") }
	r := &runner{dir: t.TempDir(), rounds: 2, openFiles: 1000, progress: io.Discard, gatewayCPU: -1, fixtures: &fixtures{}}
	s := scenarios()[0]
	result, err := r.run(t.Context(), s, []contestant{
		{name: suitegateName, peer: peer{name: suitegateName, command: broken}},
		{name: "other", peer: peer{name: "other", cannot: func(scenario) string { return "it has no such suite" }}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if notes := strings.Join(result.Notes, "\n"); notes != "suitegate is left out: no such setting\nother is left out: it has no such suite" {
		t.Error(notes)
	}
	if result.failed == nil || !strings.Contains(result.failed.Error(), s.name) {
		t.Error(result.failed)
	}
	s.connections = 1000
	result, err = r.run(t.Context(), s, nil)
	if err != nil || len(result.Notes) != 1 || !strings.Contains(result.Notes[0], "2500 open files") {
		t.Errorf("%q, %v", result.Notes, err)
	}
}
