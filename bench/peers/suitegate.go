package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/suitegate/suitegate/policy"
)

// buildSuitegate builds this tree as it is released (Makefile, Dockerfile), and
// takes the commit for the version.
func buildSuitegate(ctx context.Context, f finder) (program, version string, err error) {
	program = filepath.Join(f.dir, "suitegate")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", program, "./cmd/suitegate")
	cmd.Dir = f.root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", "", fmt.Errorf("go build: %w: %s", err, out)
	}
	version, err = commandOutput(ctx, f.root, "git", "rev-parse", "--short=12", "HEAD")
	if err != nil {
		return program, unknown, nil // no clone, but an archive
	}
	if changed, err := commandOutput(ctx, f.root, "git", "status", "--porcelain", "--untracked-files=no"); err != nil || changed != "" {
		version += " with changes"
	}
	return program, version, nil
}

// firstShadow is the number of the first policy that judges besides, in the
// variants that have some.
const firstShadow = 100

func suitegateCommand(program string, s settings) (*exec.Cmd, error) {
	v := s.variant.normal()
	var config strings.Builder
	fmt.Fprintf(&config, "storage: %q\n", filepath.Join(s.dir, "storage"))
	if s.admin != "" {
		fmt.Fprintf(&config, "admin: {address: %q, pprof: true}\n", s.admin)
	}
	fmt.Fprintf(&config, "certificates: [{name: own, files: {certificate: %q, key: %q}}]\nupstreams: {backend: {nodes: [%q]}}\npolicies:\n", s.fixture.certificate, s.fixture.key, s.backend)
	for i := range v.policies {
		fmt.Fprintf(&config, "  policy%d: %s\n", i, suitegatePolicy(s.scenario, i))
	}
	var shadows []string
	for i := range v.shadows {
		shadows = append(shadows, fmt.Sprintf("shadow%d", i))
		fmt.Fprintf(&config, "  %s: %s\n", shadows[i], suitegatePolicy(s.scenario, firstShadow+i))
	}
	config.WriteString("listeners:\n")
	for i, address := range s.listen {
		fmt.Fprintf(&config, "  - {name: listener%d, address: %q, protocol: tcp, policy: policy%d, upstream: backend", i, address, i%v.policies)
		if v.shadows > 0 {
			fmt.Fprintf(&config, ", shadow: [%s]", strings.Join(shadows, ", "))
		}
		config.WriteString("}\n")
	}
	file, err := s.file("suitegate.yml", config.String())
	return exec.Command(program, "serve", "--config", file), err
}

// suitegatePolicy is the policy with a number: each is another one, and all do
// the same for a client of the scenario. The first has nothing but its suite.
func suitegatePolicy(s scenario, number int) string {
	if number == 0 {
		return fmt.Sprintf("{%s: [%s]}", pick(s, "tls12", "tls13"), s.suite.Name)
	}
	suites := append([]string{s.suite.Name}, moreSuites[number%len(moreSuites)]...)
	groups := permutation(policy.DefaultGroups(), number/len(moreSuites))
	return fmt.Sprintf("{tls13: [%s], groups: [%s]}", strings.Join(suites, ", "), strings.Join(groups, ", "))
}

// moreSuites are what policies have behind TLS_AES_128_GCM_SHA256.
var moreSuites = [][]string{
	nil,
	{"TLS_AES_256_GCM_SHA384"},
	{"TLS_CHACHA20_POLY1305_SHA256"},
	{"TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"},
	{"TLS_CHACHA20_POLY1305_SHA256", "TLS_AES_256_GCM_SHA384"},
}

// permutation is the one with a number, of as many as there are.
func permutation(groups []policy.Group, number int) (names []string) {
	left := slices.Clone(groups)
	for len(left) > 0 {
		i := number % len(left)
		number /= len(left)
		names = append(names, left[i].String())
		left = slices.Delete(left, i, i+1)
	}
	return names
}
