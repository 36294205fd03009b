package e2e

import (
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// run is what all tests of one run share. TestMain makes it.
var run struct {
	dir     string  // temporary, removed at the end
	program string  // the built suitegate
	reaper  *reaper // ends what was started
	brokers brokers
}

func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == reaperArgument {
		os.Exit(reap(os.Stdin))
	}
	if len(os.Args) > 4 && os.Args[1] == floodArgument {
		os.Exit(attackAll(os.Args[2:]))
	}
	os.Exit(testAll(m))
}

func testAll(m *testing.M) int {
	var err error
	if run.dir, err = os.MkdirTemp("", "suitegate-e2e-"); err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		return 1
	}
	os.Setenv("TMPDIR", run.dir) // for t.TempDir, so that nothing stays anywhere
	if run.reaper, err = startReaper(run.dir); err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		return 1
	}
	// The reaper, not a deferred call, cleans up: it does so even when the
	// tests panic, run into their timeout or are killed.
	defer run.reaper.close()
	flag.Parse()
	if everything := flag.Lookup("test.run").Value.String() == "" && flag.Lookup("test.list").Value.String() == ""; everything {
		run.brokers.start() // while there is nothing else to do but to compile
	}
	if run.program, err = build(run.dir); err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		return 1
	}
	return m.Run()
}

// build compiles the gateway into dir. The race detector needs cgo, which Go
// switches off by itself where it finds no C compiler.
func build(dir string) (string, error) {
	cgo, err := exec.Command("go", "env", "CGO_ENABLED").Output()
	if err != nil {
		return "", fmt.Errorf("go env: %w", err)
	}
	program := filepath.Join(dir, "suitegate")
	if strings.TrimSpace(string(cgo)) == "1" {
		return program, compile(program, "-race")
	}
	return program, compile(program)
}

// compile makes the program from the source.
func compile(program string, flags ...string) error {
	args := append([]string{"build", "-o", program}, flags...)
	args = append(args, "github.com/suitegate/suitegate/cmd/suitegate")
	if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return nil
}

// lookAtSource opens all of the gateway's source. go test takes the result of a
// test from its cache unless something has changed that the test itself opened,
// and what the compiler opens in TestMain it does not see.
var lookAtSource = sync.OnceValue(func() error {
	return filepath.WalkDir("../../..", func(_ string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Name() == ".git" {
			return fs.SkipDir
		}
		return err
	})
})

// inCI says whether a missing tool is a failure.
func inCI() bool { return os.Getenv("CI") == "true" }

// requireProgram returns the path of an installed program. Without it the test
// fails in CI and skips elsewhere.
func requireProgram(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		missing(t, name)
	}
	return path
}

// missing ends a test for want of something that .ci/install installs.
func missing(t *testing.T, what string) {
	t.Helper()
	if inCI() {
		t.Fatalf("%s is missing: run .ci/install", what)
	}
	fmt.Fprintf(os.Stderr, "*** %s SKIPPED: %s is missing, .ci/install tells how to get it ***\n", t.Name(), what)
	t.Skipf("%s is missing", what)
}
