package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"github.com/suitegate/suitegate/bench/load"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// options are the command line.
type options struct {
	List      bool          `help:"Print the names of the scenarios, and end."`
	Scenarios string        `placeholder:"PATTERN,…" help:"Measure these, as relay/* or roundtrip/50. By default all."`
	Peers     string        `placeholder:"NAME,…" help:"Measure these beside suitegate: haproxy, nginx, hitch, stunnel, ghostunnel. By default those that are installed, and ghostunnel, which is built."`
	Rounds    int           `default:"5" help:"How often each of them does each scenario (default ${default})."`
	Duration  time.Duration `default:"3s" help:"Of one measurement (default ${default})."`
	Warmup    time.Duration `default:"500ms" help:"Before it (default ${default})."`
	Output    string        `placeholder:"DIR" help:"Write results.json, README.md and plots there."`
	Keep      bool          `help:"Write them to a new folder of bench/results, and the newest table to bench/README.md. Takes no --scenarios."`
	Compare   bool          `default:"true" negatable:"" help:"Compare with the last kept results; exit 1 where suitegate's ratios have grown."`
	Profile   string        `placeholder:"DIR" help:"Write a profile of suitegate's processor time in the first round of each scenario there. It costs some."`
	Short     bool          `help:"Seconds of some scenarios, to see that it runs; exit 1 where suitegate takes more than three times what HAProxy does in every round."`
}

const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

// run executes a command line and returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	var o options
	helped := false
	parser, err := kong.New(&o, kong.Name("peers"), kong.Description("Measure suitegate beside HAProxy, nginx, hitch, stunnel and ghostunnel."),
		kong.Writers(stdout, stderr), kong.Exit(func(int) { helped = true }))
	if err != nil {
		fmt.Fprintln(stderr, err)
		return exitFailed
	}
	_, err = parser.Parse(args)
	switch {
	case helped:
		return exitOK
	case err != nil:
		fmt.Fprintln(stderr, "peers:", err)
		return exitUsage
	}
	if o.List {
		for _, s := range scenarios() {
			fmt.Fprintf(stdout, "%-40s %s\n", s.name, s.text)
		}
		return exitOK
	}
	b := &bench{options: o, stdout: stdout, stderr: stderr}
	if err := b.run(ctx); err != nil {
		fmt.Fprintln(stderr, err)
		return exitFailed
	}
	return exitOK
}

// A bench is one execution of the command.
type bench struct {
	options
	stdout, stderr io.Writer

	root      string // of the module
	scenarios []scenario
}

func (b *bench) run(ctx context.Context) (err error) {
	if err := b.prepare(ctx); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "peers-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	contestants, results, err := b.contestants(ctx, dir)
	if err != nil {
		return err
	}
	r, stop, err := b.runner(ctx, dir)
	if err != nil {
		return err
	}
	defer stop()
	results.Date, results.Rounds, results.Seconds = time.Now().UTC().Format(time.DateOnly), b.Rounds, b.Duration.Seconds()
	results.Machine = r.machine
	for _, s := range b.scenarios {
		result, err := r.run(ctx, s, contestants)
		if err != nil {
			return err
		}
		results.Scenarios = append(results.Scenarios, result)
	}
	fmt.Fprintf(b.stdout, "%s\n%s", results.head(), results.summary())
	for _, s := range results.Scenarios {
		for _, note := range s.Notes {
			fmt.Fprintf(b.stdout, "\n%s: %s", s.Name, note)
		}
	}
	fmt.Fprintln(b.stdout)
	var failed []error
	for _, s := range results.Scenarios {
		failed = append(failed, s.failed)
	}
	return errors.Join(append(failed, b.judge(results))...)
}

// prepare checks the options.
func (b *bench) prepare(ctx context.Context) error {
	module, err := commandOutput(ctx, "", "go", "env", "GOMOD")
	if err != nil {
		return err
	}
	if module == "" || module == os.DevNull {
		return errors.New("peers: it builds suitegate, so run it in suitegate's source tree")
	}
	b.root = filepath.Dir(module)
	if b.Short {
		if b.Scenarios == "" {
			b.Scenarios = strings.Join(shortScenarios(), ",")
		}
		b.Rounds, b.Duration, b.Warmup, b.Compare = 2, 300*time.Millisecond, 100*time.Millisecond, false
	}
	switch {
	case b.Keep && (b.Scenarios != "" || b.Peers != "" || b.Profile != ""):
		return errors.New("peers: what is kept is compared with later, so --keep takes no --scenarios, --peers, --profile and --short")
	case b.Rounds < 1 || b.Duration <= 0:
		return errors.New("peers: --rounds and --duration have to be more than nothing")
	}
	if b.Profile != "" {
		if b.Profile, err = filepath.Abs(b.Profile); err != nil {
			return err
		}
		if err := os.MkdirAll(b.Profile, 0o755); err != nil {
			return err
		}
	}
	b.scenarios, err = selectScenarios(scenarios(), b.Scenarios)
	return err
}

// contestants finds and builds suitegate and the peers that are wanted. It says
// which are not there.
func (b *bench) contestants(ctx context.Context, dir string) (list []contestant, results *Results, err error) {
	results = new(Results)
	var wanted []string
	if b.Peers != "" {
		wanted = strings.Split(strings.ToLower(b.Peers), ",")
	}
	for _, name := range wanted {
		if !slices.ContainsFunc(peers(), func(p peer) bool { return strings.ToLower(p.name) == name }) {
			return nil, nil, fmt.Errorf("peers: there is no peer %q", name)
		}
	}
	f := finder{root: b.root, dir: dir, build: !b.Short}
	for _, p := range peers() {
		name := strings.ToLower(p.name)
		if p.name != suitegateName && wanted != nil && !slices.Contains(wanted, name) {
			continue
		}
		program, version, err := p.find(ctx, f)
		if err != nil {
			if p.name == suitegateName || slices.Contains(wanted, name) {
				return nil, nil, fmt.Errorf("peers: %s: %w", p.name, err)
			}
			fmt.Fprintf(b.stderr, "%s is not measured: %v\n", p.name, err)
			continue
		}
		list = append(list, contestant{name: p.name, peer: p, program: program})
		results.Versions = append(results.Versions, Version{p.name, version})
	}
	results.Versions = append(results.Versions, libraryVersions(ctx)...)
	return list, results, nil
}

// runner binds this process to its processors and starts the backend. That comes
// after everything that has been built.
func (b *bench) runner(ctx context.Context, dir string) (r *runner, stop func(), err error) {
	cpus, err := allowedCPUs()
	if err != nil {
		return nil, nil, err
	}
	r = &runner{dir: dir, rounds: b.Rounds, duration: b.Duration, warmup: b.Warmup, profiles: b.Profile, progress: b.stderr, gatewayCPU: -1}
	if len(cpus) > 1 {
		r.gatewayCPU = cpus[0]
		if err := pinSelf(cpus[1:]); err != nil {
			return nil, nil, err
		}
	} else {
		fmt.Fprintln(b.stderr, "There is one processor, which gateway and load share.")
	}
	r.machine = thisMachine(len(cpus), r.gatewayCPU >= 0)
	if r.openFiles, err = raiseOpenFiles(); err != nil {
		return nil, nil, err
	}
	if r.fixtures, err = newFixtures(dir); err != nil {
		return nil, nil, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	r.backend = listener.Addr().String()
	serving, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- new(load.Backend).Serve(serving, listener) }()
	return r, func() { cancel(); <-ended }, nil
}

// judge compares and keeps.
func (b *bench) judge(results *Results) error {
	if b.Short {
		return collapsed(results)
	}
	kept := filepath.Join(b.root, "bench", "results")
	before, name, err := newestResults(kept, results.Machine)
	if err != nil {
		return err
	}
	if b.Keep {
		b.Output = filepath.Join(kept, results.Date+"-"+results.Machine.slug())
	}
	if b.Output != "" {
		if err := results.write(b.Output); err != nil {
			return err
		}
		fmt.Fprintln(b.stdout, "Written to", b.Output)
	}
	if b.Keep {
		if err := b.updatePage(results); err != nil {
			return err
		}
	}
	if !b.Compare {
		return nil
	}
	if before == nil {
		fmt.Fprintln(b.stdout, "No results are kept to compare with.")
		return nil
	}
	changes, compared := worse(before, results)
	fmt.Fprintf(b.stdout, "Compared with %s (%s, %d processors): %d ratios.\n", name, before.Machine.CPU, before.Machine.CPUs, compared)
	if len(changes) == 0 {
		return nil
	}
	lines := []string{"peers: suitegate has got worse:"}
	for _, c := range changes {
		lines = append(lines, c.String())
	}
	return errors.New(strings.Join(lines, "\n"))
}

// collapse is the ratio to HAProxy from which on something has gone wrong that no
// noise explains.
const collapse = 3

// collapsed says where suitegate's costs are out of all proportion in every round:
// the tests of other packages, or other guests of the machine, spoil one easily.
// Without HAProxy there is no proportion, which in CI is a failure.
func collapsed(results *Results) error {
	var bad []string
	compared := 0
	for _, s := range results.Scenarios {
		for _, m := range s.Metrics {
			row, ok := m.row(suitegateName)
			if !ok || m.Tolerance != costTolerance || row.Ratio == nil {
				continue
			}
			compared++
			if row.Ratio.Min > collapse {
				bad = append(bad, fmt.Sprintf("%s: %s is %s of HAProxy's", s.Name, m.Name, factor(row.Ratio.Min)))
			}
		}
	}
	switch {
	case len(bad) > 0:
		return fmt.Errorf("peers: suitegate has collapsed: %s", strings.Join(bad, "; "))
	case compared == 0 && os.Getenv("CI") == "true":
		return errors.New("peers: there is no HAProxy to compare with")
	}
	return nil
}

// write writes the results in all their forms to a folder.
func (r *Results) write(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	content, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	files := map[string]string{resultsFile: string(content) + "\n", "README.md": r.markdown()}
	for _, f := range r.families() {
		plot, err := r.plot(f)
		if err != nil {
			return err
		}
		if plot != "" {
			files[f+".svg"] = plot
		}
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// updatePage puts the newest table into bench/README.md.
func (b *bench) updatePage(results *Results) error {
	file := filepath.Join(b.root, "bench", "README.md")
	page, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	folder := "results/" + filepath.Base(b.Output)
	text := results.head() + "\n" + results.summary() + "\nAll figures, with their spread: [" + folder + "](" + folder + "/README.md)."
	changed, err := replaceGenerated(string(page), text)
	if err != nil {
		return err
	}
	return os.WriteFile(file, []byte(changed), 0o644)
}
