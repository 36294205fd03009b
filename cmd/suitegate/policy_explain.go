package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/suitegate/suitegate/policy"
	"github.com/suitegate/suitegate/proxy"
	"github.com/suitegate/suitegate/proxy/clienthello"
	"github.com/suitegate/suitegate/proxy/engine"
)

type policyExplainCommand struct {
	Name       string `arg:"" help:"Name of the policy."`
	Config     string `placeholder:"FILE" help:"Look among the policies of this configuration, too."`
	Hello      string `xor:"client" required:"" placeholder:"FILE" help:"A recorded ClientHello, as bytes or as a dump in hexadecimal: a file, the hexadecimal itself, or - for standard input."`
	Offer      string `xor:"client" required:"" placeholder:"SUITE:SUITE" help:"The suites of a client, by their OpenSSL or IANA names or as numbers."`
	Versions   string `placeholder:"VERSION,…" help:"With --offer: its versions, such as 1.3,1.2 (default: those of the suites)."`
	Groups     string `placeholder:"GROUP,…" help:"With --offer: its groups, or none (default: X25519, P-256, P-384, P-521)."`
	Signatures string `placeholder:"NAME,…" help:"With --offer: its signature algorithms, or none (default: ECDSA, Ed25519, RSA-PSS and RSA PKCS #1 with SHA-256 and better)."`
	Key        string `placeholder:"TYPE,…" help:"Keys of the listener's certificates: rsa, p256, p384, ed25519 (default: all)."`
	JSON       bool   `help:"Print JSON, for programs."`
}

// explanation is what `policy explain` prints, for programs.
type explanation struct {
	Policy   string        `json:"policy"`
	Keys     []string      `json:"keys"`
	Offer    *offerRow     `json:"offer,omitempty"` // not there for a malformed hello
	Admitted bool          `json:"admitted"`
	Steps    []stepRow     `json:"steps"`
	Unserved []unservedRow `json:"unserved"`
	Decision *decisionRow  `json:"decision,omitempty"`
	Refusal  *refusalRow   `json:"refusal,omitempty"`
	Change   *changeRow    `json:"change,omitempty"` // not there if nothing helps
	After    *decisionRow  `json:"after,omitempty"`  // the change
}

type offerRow struct {
	Versions   []string `json:"versions"`
	Suites     []string `json:"suites"`
	Groups     []string `json:"groups"`
	KeyShares  []string `json:"key_shares"`
	Signatures []string `json:"signatures"`
	ServerName string   `json:"server_name,omitempty"`
	JA4        string   `json:"ja4,omitempty"`
}

type stepRow struct {
	Topic string `json:"topic"`
	Name  string `json:"name"`
	Taken bool   `json:"taken"`
	Why   string `json:"why"`
}

type unservedRow struct {
	Suite string `json:"suite"`
	Why   string `json:"why"`
}

type decisionRow struct {
	Version string `json:"version"`
	Suite   string `json:"suite"`
	Group   string `json:"group,omitempty"` // there is none with RSA key exchange
	Key     string `json:"key"`
}

type refusalRow struct {
	Reason  string `json:"reason"`
	Alert   string `json:"alert"`
	Version string `json:"version,omitempty"` // that was settled on before
	Error   string `json:"error"`
}

type changeRow struct {
	Version string `json:"version,omitempty"` // that the suite switches on
	Suite   string `json:"suite,omitempty"`
	Group   string `json:"group,omitempty"`
	Key     string `json:"key,omitempty"`
}

func (c *policyExplainCommand) Run(out *console) error {
	if c.Hello != "" && c.Versions+c.Groups+c.Signatures != "" {
		return usageHint(errors.New("--versions, --groups and --signatures describe a client of --offer; a hello has its own"))
	}
	pol, err := policyNamed(c.Name, c.Config)
	if err != nil {
		return err
	}
	keys, err := parseKeys(c.Key)
	if err != nil {
		return err
	}
	e, err := c.explain(pol, keys, os.Stdin)
	if err != nil {
		return err
	}
	if c.JSON {
		text, err := json.MarshalIndent(e, "", "  ")
		if err != nil {
			return err
		}
		out.printf("%s\n", text)
	} else {
		e.print(out)
	}
	if !e.Admitted {
		return fmt.Errorf("the client is refused: %s", e.Refusal.Reason)
	}
	return nil
}

func (c *policyExplainCommand) explain(pol *policy.Policy, keys []policy.KeyType, stdin io.Reader) (*explanation, error) {
	e := &explanation{Policy: pol.Name, Keys: names(keys, policy.KeyType.String), Steps: []stepRow{}, Unserved: []unservedRow{}}
	var offer policy.Offer
	var ja4 string
	if c.Hello != "" {
		hello, err := readHello(c.Hello, stdin)
		var malformed *clienthello.ParseError
		if errors.As(err, &malformed) {
			e.Refusal = &refusalRow{Reason: malformed.Reason(), Alert: engine.AlertName(malformed.Alert()), Error: malformed.Error()}
			return e, nil
		}
		if err != nil {
			return nil, err
		}
		offer, ja4 = proxy.OfferOf(hello), hello.JA4()
		if len(offer.Versions) == 0 {
			e.Offer = newOfferRow(offer, hello.Versions(), ja4)
		}
	} else {
		var err error
		if offer, err = c.typedOffer(); err != nil {
			return nil, err
		}
	}
	if e.Offer == nil {
		e.Offer = newOfferRow(offer, offer.Versions, ja4)
	}
	e.take(pol, pol.Explain(policy.Have{Keys: keys}, offer))
	return e, nil
}

// newOfferRow spells an offer out. The versions are those that the client
// speaks, whichever field it said so in.
func newOfferRow[V ~uint16](o policy.Offer, versions []V, ja4 string) *offerRow {
	return &offerRow{
		Versions:   names(versions, func(v V) string { return policy.Version(v).String() }),
		Suites:     names(o.Suites, policy.SuiteName),
		Groups:     names(o.Groups, policy.Group.String),
		KeyShares:  names(o.KeyShares, policy.Group.String),
		Signatures: names(o.Signatures, policy.SignatureScheme.String),
		ServerName: o.ServerName,
		JA4:        ja4,
	}
}

// names leaves out GREASE (RFC 8701), which means nothing.
func names[T ~uint8 | ~uint16](values []T, name func(T) string) []string {
	list := []string{} // [] rather than null
	for _, v := range values {
		if !clienthello.IsGREASE(uint16(v)) {
			list = append(list, name(v))
		}
	}
	return list
}

func (e *explanation) take(pol *policy.Policy, t *policy.Trace) {
	for _, step := range t.Steps {
		e.Steps = append(e.Steps, stepRow{string(step.Topic), step.Name, step.Taken, step.Why})
	}
	for _, u := range t.Unserved {
		e.Unserved = append(e.Unserved, unservedRow{u.Suite.Name, u.Why})
	}
	if t.Refusal == nil {
		e.Admitted, e.Decision = true, newDecisionRow(t.Decision)
		return
	}
	e.Refusal = &refusalRow{Reason: t.Refusal.Reason(), Alert: engine.AlertName(t.Refusal.Alert), Error: t.Refusal.Error()}
	if t.Refusal.Version != 0 {
		e.Refusal.Version = t.Refusal.Version.String()
	}
	if t.Change != nil {
		e.Change, e.After = newChangeRow(pol, *t.Change), newDecisionRow(t.After)
	}
}

func newDecisionRow(d policy.Decision) *decisionRow {
	row := &decisionRow{Version: d.Version.String(), Suite: d.Suite.Name, Key: d.Key.String()}
	if d.Group != 0 {
		row.Group = d.Group.String()
	}
	return row
}

func newChangeRow(pol *policy.Policy, c policy.Change) *changeRow {
	row := &changeRow{Suite: c.Suite.Name}
	if c.Suite.ID != 0 {
		version := versionOf(c.Suite)
		if version == policy.TLS13 && len(pol.TLS13) == 0 || version == policy.TLS12 && len(pol.TLS12) == 0 {
			row.Version = version.String()
		}
	}
	if c.Group != 0 {
		row.Group = c.Group.String()
	}
	if c.Key != policy.NoKey {
		row.Key = c.Key.String()
	}
	return row
}

func (e *explanation) print(out *console) {
	out.printf("policy %s, listener with keys %s\n", e.Policy, strings.Join(e.Keys, ", "))
	if e.Offer != nil {
		e.Offer.print(out)
	}
	var rows [][]string
	for _, step := range e.Steps {
		verdict := "no"
		if step.Taken {
			verdict = "yes"
		}
		rows = append(rows, []string{step.Topic, step.Name, verdict, step.Why})
	}
	for _, u := range e.Unserved {
		rows = append(rows, []string{string(policy.SuiteTopic), u.Suite, "no", "not served by this listener: " + u.Why})
	}
	if len(rows) > 0 {
		out.printf("\n")
		out.table("", append([][]string{{"STEP", "NAME", "TAKEN", "WHY"}}, rows...))
	}
	out.printf("\n")
	if e.Admitted {
		out.printf("admitted: %s\n", e.Decision)
		return
	}
	out.printf("refused: %s, alert %s\n  %s\n", e.Refusal.Reason, e.Refusal.Alert, e.Refusal.Error)
	if e.Change == nil {
		out.printf("nothing that could be added would admit this client\n")
		return
	}
	out.printf("smallest change that would admit it: add %s\n", e.Change)
	out.printf("it would then get: %s\n", e.After)
	if suite, err := policy.ParseSuite(e.Change.Suite); err == nil && !suite.ForwardSecret() {
		out.printf("mind that %s has no forward secrecy (RFC 9325 section 4.1)\n", suite.OpenSSLName)
	}
}

func (o *offerRow) print(out *console) {
	out.printf("client offers\n")
	var rows [][]string
	for _, field := range []struct {
		name string
		list []string
	}{
		{"versions", o.Versions}, {"suites", o.Suites}, {"groups", o.Groups}, {"key shares", o.KeyShares}, {"signatures", o.Signatures},
	} {
		for i, line := range wrapped(field.list) {
			name := field.name
			if i > 0 {
				name = ""
			}
			rows = append(rows, []string{name, line})
		}
	}
	if o.JA4 != "" {
		rows = append(rows, []string{"server name", fmt.Sprintf("%q", o.ServerName)}, []string{"JA4", o.JA4})
	}
	out.table("  ", rows)
}

// wrapped is a list in lines that a terminal has room for.
func wrapped(list []string) []string {
	const width = 90
	if len(list) == 0 {
		return []string{"none"}
	}
	lines := []string{list[0]}
	for _, word := range list[1:] {
		last := &lines[len(lines)-1]
		*last += ","
		if len(*last)+len(word) > width {
			lines = append(lines, word)
		} else {
			*last += " " + word
		}
	}
	return lines
}

// String is the decision in one line.
func (d *decisionRow) String() string {
	text := d.Version + " with " + d.Suite
	if d.Group != "" {
		text += ", group " + d.Group
	}
	return text + ", " + d.Key + " certificate"
}

// String is the change in one line.
func (c *changeRow) String() string {
	var parts []string
	if c.Suite != "" {
		suite := "cipher suite " + c.Suite
		if c.Version != "" {
			suite += " (and with it " + c.Version + ")"
		}
		parts = append(parts, suite)
	}
	if c.Group != "" {
		parts = append(parts, "group "+c.Group)
	}
	if c.Key != "" {
		parts = append(parts, "a certificate with an "+c.Key+" key")
	}
	return strings.Join(parts, ", and ")
}
