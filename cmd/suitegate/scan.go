package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"

	"github.com/suitegate/suitegate/policy"
	"github.com/suitegate/suitegate/proxy/scan"
)

type scanCommand struct {
	Address  string        `arg:"" placeholder:"HOST:PORT" help:"Address of the server."`
	Policy   string        `placeholder:"NAME" help:"Compare with this policy; exit 1 if the server differs."`
	Config   string        `placeholder:"FILE" help:"Look for it among the policies of this configuration, too."`
	SNI      string        `name:"sni" placeholder:"NAME" help:"Server name to ask for (default: HOST, if it is a name)."`
	StartTLS string        `name:"starttls" placeholder:"NAME" default:"none" help:"Protocol that TLS begins in: none, which is TLS from the first byte, and all that there is."`
	JSON     bool          `name:"json" help:"Print JSON."`
	Timeout  time.Duration `default:"1m" help:"How long all of it may take (default: ${default})."`
}

// scanResult is what scan --json prints.
type scanResult struct {
	*scan.Report
	Comparison *scan.Comparison `json:"comparison,omitempty"` // with --policy
}

func (s *scanCommand) Run(out *console) error {
	host, _, err := net.SplitHostPort(s.Address)
	if err != nil {
		return usageHint(err, "suitegate scan localhost:5671")
	}
	if s.StartTLS != "none" {
		return usageHint(fmt.Errorf("--starttls %s: scan speaks TLS from the first byte, and no protocol in which TLS begins later", printable(s.StartTLS)), "--starttls none is the only value, and the default")
	}
	var wanted *policy.Policy
	if s.Policy != "" {
		if wanted, err = policyNamed(s.Policy, s.Config); err != nil {
			return err
		}
	}
	options := scan.Options{ServerName: s.SNI}
	if s.SNI == "" && net.ParseIP(host) == nil {
		options.ServerName = host
	}
	if isTerminal(out.stderr) {
		options.Progress = func(hellos int) { fmt.Fprintf(out.stderr, "\r%s", count(hellos, "hello")) }
	}
	ctx, cancel := context.WithTimeoutCause(context.Background(), s.Timeout,
		withHint(fmt.Errorf("scanning %s takes longer than %s", s.Address, s.Timeout), "--timeout gives it more time"))
	defer cancel()
	report, err := scan.Scan(ctx, s.Address, options)
	if options.Progress != nil {
		fmt.Fprint(out.stderr, "\r\033[K") // nothing is left of it
	}
	if err != nil {
		return err
	}
	result := scanResult{Report: report}
	if wanted != nil {
		result.Comparison = report.Compare(wanted)
	}
	if s.JSON {
		text, err := json.MarshalIndent(result, "", "  ")
		if err != nil {
			return err
		}
		out.printf("%s\n", text)
	} else {
		printScan(out, result)
	}
	if c := result.Comparison; c != nil && c.Differs() {
		return fmt.Errorf("%s is not what policy %s says", s.Address, s.Policy)
	}
	return nil
}

// isTerminal reports whether somebody may be watching.
func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

func printScan(out *console, result scanResult) {
	if len(result.Versions) == 0 {
		out.printf("%s accepts no version of TLS\n", result.Address)
	}
	for _, v := range result.Versions {
		out.printf("%s, %s, %s\n", v.Name, count(len(v.Suites), "suite"), preferenceText(v.Preference))
		var rows [][]string
		for _, s := range v.Suites {
			openssl := ""
			if known, ok := policy.SuiteByID(s.ID); ok {
				openssl = known.OpenSSLName
			}
			rows = append(rows, []string{s.Hex, s.Name, openssl})
		}
		out.table("  ", rows)
		for _, line := range versionFacts(v) {
			out.printf("  %s\n", line)
		}
		out.printf("\n")
	}
	for _, c := range result.Certificates {
		where := "" // everywhere
		if len(c.Versions) < len(result.Versions) {
			where = ", in " + strings.Join(c.Versions, ", ")
		}
		out.printf("certificate %s, %s, issued by %s, until %s, a chain of %d%s\n", c.Key,
			printable(strings.Join(c.Names, ", ")), printable(c.Issuer), c.NotAfter.Format(time.DateOnly), c.Chain, where)
	}
	if result.OCSPStapled {
		out.printf("OCSP responses are stapled\n")
	}
	if result.AsksClient {
		out.printf("client certificates are asked for%s\n", whereAsked(result.Versions))
	}
	for _, note := range result.Notes {
		out.warnf("%s", note)
	}
	if result.Comparison != nil {
		printComparison(out, result.Comparison)
	}
}

// whereAsked names the versions in which client certificates are asked for, if it
// is not all of them.
func whereAsked(versions []scan.Version) string {
	var names []string
	for _, v := range versions {
		if v.AsksClient {
			names = append(names, v.Name)
		}
	}
	if len(names) == len(versions) {
		return ""
	}
	return " in " + strings.Join(names, ", ")
}

func preferenceText(p scan.Preference) string {
	switch p {
	case scan.ByServer:
		return "in the server's order"
	case scan.ByClient:
		return "in the client's order"
	case scan.Mixed:
		return "in the server's order, with exceptions"
	}
	return "no order"
}

// versionFacts are the lines below the suites of a version.
func versionFacts(v scan.Version) (lines []string) {
	if len(v.Groups) > 0 {
		var names []string
		for _, g := range v.Groups {
			names = append(names, g.Name)
		}
		line := "groups " + strings.Join(names, ", ")
		if v.GroupsHiddenBehind != "" {
			line += "; others may be hidden behind " + v.GroupsHiddenBehind
		}
		lines = append(lines, line)
	}
	if v.DHEBits > 0 {
		lines = append(lines, fmt.Sprintf("DHE with %d bits", v.DHEBits))
	}
	if len(v.ALPN) > 0 {
		lines = append(lines, "ALPN "+strings.Join(v.ALPN, ", "))
	}
	if x := v.Extensions; x != nil {
		for _, extension := range []struct {
			name string
			has  bool
		}{
			{"encrypt-then-MAC", x.EncryptThenMAC},
			{"extended master secret", x.ExtendedMasterSecret},
			{"secure renegotiation", x.SecureRenegotiation},
			{"session tickets", x.SessionTickets},
		} {
			lines = append(lines, extension.name+": "+yesNo(extension.has))
		}
	}
	return lines
}

func printComparison(out *console, c *scan.Comparison) {
	if !c.Differs() {
		out.printf("as policy %s says\n", c.Policy)
	}
	var rows [][]string
	for _, item := range c.Extra {
		rows = append(rows, []string{"+", item.Version, item.Kind, item.Name, "accepted, and not in policy " + c.Policy})
	}
	for _, item := range c.Missing {
		why := ""
		if item.Why != "" {
			why = ": " + item.Why
		}
		rows = append(rows, []string{"-", item.Version, item.Kind, item.Name, "in policy " + c.Policy + ", and not accepted" + why})
	}
	for _, version := range c.Order {
		rows = append(rows, []string{"~", version, "order", "", "not that of policy " + c.Policy})
	}
	out.table("", rows)
	for _, what := range c.NotCompared {
		out.printf("not compared: %s\n", what)
	}
}
