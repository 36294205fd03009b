// Command suitegate is a TLS front door for message brokers: it lets in
// exactly the cipher suites that were named, and carries what comes through to
// brokers that speak plaintext.
package main

import (
	"io"
	"os"

	"github.com/alecthomas/kong"
)

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// commandLine is everything that can be typed after "suitegate".
type commandLine struct {
	Serve     serveCommand     `cmd:"" help:"Run the gateway. SIGHUP reloads the configuration, SIGTERM and SIGINT drain."`
	Check     checkCommand     `cmd:"" help:"Validate a configuration and print what each listener accepts."`
	Demo      demoCommand      `cmd:"" help:"Run a gateway with embedded brokers and print commands to try on it."`
	Policy    policyCommand    `cmd:"" help:"Show cipher policies."`
	Scan      scanCommand      `cmd:"" help:"Find out what a TLS server accepts, and compare it with a policy."`
	Prove     proveCommand     `cmd:"" help:"Ask the listeners of a running gateway with every version, suite and group, and compare the answers with their policies."`
	Testbench testbenchCommand `cmd:"" help:"Run a gateway with a port for each suite, and print what openssl line succeeds there and which must fail."`
	Bench     benchCommand     `cmd:"" help:"Put load on a TLS server, and measure what it does."`
	Certs     certsCommand     `cmd:"" help:"Show certificates."`
	Storage   storageCommand   `cmd:"" help:"Seal what is secret in the storage, move it to another key, or verify it."`
	KMS       kmsCommand       `cmd:"" help:"Print policies for a key of AWS KMS, and estimate its costs."`
	Health    healthCommand    `cmd:"" help:"Ask a running gateway whether it is ready; exit 1 if it is not."`
	Reload    reloadCommand    `cmd:"" help:"Have a running gateway reload its configuration, and print what changed."`
	Drain     drainCommand     `cmd:"" help:"Have a running gateway drain and end, as SIGTERM does."`
	Version   versionCommand   `cmd:"" help:"Print the version of suitegate and of the Go it was built with."`
}

// run executes one command line and returns the exit code: exitOK, exitFailed
// or exitUsage.
func run(args []string, stdout, stderr io.Writer) int {
	out := &console{stdout: stdout, stderr: stderr}
	var line commandLine
	helped := false
	parser, err := kong.New(&line,
		kong.Name("suitegate"),
		kong.Description("The TLS front door of a message broker: lets in exactly the cipher suites you named."),
		kong.Writers(stdout, stderr),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 80}),
		// --help comes here, and goes on parsing when this returns.
		kong.Exit(func(int) { helped = true }),
		kong.Bind(out),
	)
	if err != nil {
		return out.fail(err)
	}
	parsed, err := parser.Parse(args)
	switch {
	case helped:
		return exitOK
	case err != nil:
		return out.fail(usageError(err))
	}
	if err := parsed.Run(); err != nil {
		return out.fail(err)
	}
	return exitOK
}
