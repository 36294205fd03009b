package main

import (
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/suitegate/suitegate/policy"
)

// benchPort is what one port of the test bench lets in.
type benchPort struct {
	listener string
	policy   *policy.Policy
}

// benchPorts are one for the whole policy, and one for each of its suites in
// the order of preference.
func benchPorts(whole *policy.Policy) []benchPort {
	ports := []benchPort{{"whole-policy", whole}}
	for _, suite := range servedOrder(whole) {
		only := &policy.Policy{Name: "only-" + suite.OpenSSLName, Groups: whole.Groups}
		if suite.TLS13() {
			only.TLS13 = []policy.Suite{suite}
		} else {
			only.TLS12 = []policy.Suite{suite}
		}
		ports = append(ports, benchPort{suite.OpenSSLName, only})
	}
	return ports
}

// testbench is what `testbench --json` prints.
type testbench struct {
	Policy        string     `json:"policy"`
	Root          string     `json:"root"`
	Configuration string     `json:"configuration"`
	Ports         []benchRow `json:"ports"`
}

type benchRow struct {
	Address  string     `json:"address"` // to connect to
	Listener string     `json:"listener"`
	Versions []string   `json:"versions"`
	Suites   []string   `json:"suites"` // IANA names, by preference
	Succeeds benchTrial `json:"succeeds"`
	Fails    benchTrial `json:"fails"`
}

// benchTrial is a line of shell, and what openssl prints that runs in it.
type benchTrial struct {
	Command string `json:"command"`
	Prints  string `json:"prints"`
	Alert   string `json:"alert,omitempty"` // its name in RFC 8446 section 6
}

// add describes the port that listens on an address.
func (b *testbench) add(port benchPort, listens net.Addr) error {
	address, err := dialable(listens.String())
	if err != nil {
		return err
	}
	row := benchRow{Address: address, Listener: port.listener}
	suites := servedOrder(port.policy)
	for _, suite := range suites {
		row.Suites = append(row.Suites, suite.Name)
		if version := versionOf(suite).String(); !slices.Contains(row.Versions, version) {
			row.Versions = append(row.Versions, version)
		}
	}
	row.Succeeds = benchTrial{Command: sClient(address, b.Root, offerOf(suites[0])), Prints: "Ciphersuite: " + suites[0].OpenSSLName}
	options, alert, prints := outside(suites)
	row.Fails = benchTrial{sClient(address, b.Root, options), prints, alert}
	b.Ports = append(b.Ports, row)
	return nil
}

// offerOf has openssl offer one suite and nothing else. Its security level
// stays as it is: the usual one has nothing against any suite that is served.
func offerOf(suite policy.Suite) string {
	if suite.TLS13() {
		return "-tls1_3 -ciphersuites " + suite.Name
	}
	return "-tls1_2 -cipher " + suite.OpenSSLName
}

// outside is an offer that is not among suites, and the alert that it gets: of
// the first suite that is missing from a version, or, where none is, of TLS 1.1.
func outside(suites []policy.Suite) (options, alert, prints string) {
	for _, other := range policy.Suites() {
		sameVersion := func(s policy.Suite) bool { return s.TLS13() == other.TLS13() }
		if !slices.Contains(suites, other) && slices.ContainsFunc(suites, sameVersion) {
			return offerOf(other), "handshake_failure", handshakeFailure
		}
	}
	// OpenSSL 3 has nothing for TLS 1.1 at its usual security level.
	return "-tls1_1 -cipher ALL:@SECLEVEL=0", "protocol_version", protocolVersion
}

// print tells the user what listens where, and what to try.
func (b *testbench) print(out *console) {
	out.printf("One port for policy %s, and one for each of its suites; what comes is sent back.\n\n", b.Policy)
	rows := [][]string{{"PORT", "VERSION", "SUITE"}}
	var list []experiment
	for i, port := range b.Ports {
		_, number, _ := net.SplitHostPort(port.Address) // dialable has joined it
		suite := strings.Join(port.Suites, ", ")
		if i == 0 {
			suite = "all of policy " + b.Policy
		}
		rows = append(rows, []string{number, strings.Join(port.Versions, ", "), suite})
		list = append(list,
			experiment{fmt.Sprintf("%s, %s: succeeds", number, port.Listener), port.Succeeds.Command, []string{port.Succeeds.Prints}},
			experiment{fmt.Sprintf("%s, %s: must fail with %s", number, port.Listener, port.Fails.Alert), port.Fails.Command, []string{port.Fails.Prints}})
	}
	out.table("  ", rows)
	out.printf("\n")
	out.table("  ", [][]string{{"root certificate", b.Root}, {"configuration", b.Configuration}})
	out.printf("\nPaste these into another terminal. What is behind #=> is part of the answer.\n")
	printExperiments(out, append(list, experiment{
		shows: "What is sent comes back",
		command: fmt.Sprintf("(echo hello; sleep 1) | openssl s_client -quiet -no_ign_eof -connect %s -CAfile %s",
			shellQuote(b.Ports[0].Address), shellQuote(b.Root)),
		prints: []string{"hello"},
	}))
	out.printf("\nBelow is a log line for every connection. Ctrl-C ends the test bench.\n\n")
}
