package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/suitegate/suitegate/configs"
	"github.com/suitegate/suitegate/policy"
	"github.com/suitegate/suitegate/proxy"
	"github.com/suitegate/suitegate/proxy/clienthello"
	"github.com/suitegate/suitegate/proxy/engine"
)

type policyExplainCommand struct {
	Name       string `arg:"" optional:"" help:"Name of the policy."`
	Config     string `placeholder:"FILE" help:"Look among the policies of this configuration, too; or, without a policy's name, judge as a listener of it."`
	Listener   string `placeholder:"NAME" help:"With --config, instead of a policy: judge as this listener does, by its policy and its certificates (default: the only one)."`
	Hello      string `xor:"client" required:"" placeholder:"FILE" help:"A recorded ClientHello: a capture (pcap, pcapng, or what tcpdump -x prints), bytes, or a dump in hexadecimal; a file, the hexadecimal itself, or - for standard input."`
	Client     string `placeholder:"IP:PORT" help:"With --hello: whose hello is meant, of those in a capture."`
	Offer      string `xor:"client" required:"" placeholder:"SUITE:SUITE" help:"The suites of a client, by their OpenSSL or IANA names or as numbers."`
	Versions   string `placeholder:"VERSION,…" help:"With --offer: its versions, such as 1.3,1.2 (default: those of the suites)."`
	Groups     string `placeholder:"GROUP,…" help:"With --offer: its groups, or none (default: X25519, P-256, P-384, P-521)."`
	Signatures string `placeholder:"NAME,…" help:"With --offer: its signature algorithms, or none (default: ECDSA, Ed25519, RSA-PSS and RSA PKCS #1 with SHA-256 and better)."`
	SNI        string `name:"sni" placeholder:"NAME" help:"With --offer: the server name that it asks for (default: none)."`
	Key        string `placeholder:"TYPE,…" help:"With a policy: keys of the listener's certificates: rsa, p256, p384, ed25519 (default: all)."`
	JSON       bool   `help:"Print JSON, for programs."`
}

// explanation is what `policy explain` prints, for programs.
type explanation struct {
	Policy   string        `json:"policy"`
	Listener *listenerRow  `json:"listener,omitempty"` // not there for a policy alone
	Keys     []string      `json:"keys"`               // of the certificates that the client can get
	Client   string        `json:"client,omitempty"`   // whose hello it is, in a capture
	Server   string        `json:"server,omitempty"`   // and whom to
	Offer    *offerRow     `json:"offer,omitempty"`    // not there for a malformed hello
	Admitted bool          `json:"admitted"`
	Steps    []stepRow     `json:"steps"`
	Unserved []unservedRow `json:"unserved"`
	Decision *decisionRow  `json:"decision,omitempty"`
	Refusal  *refusalRow   `json:"refusal,omitempty"`
	Change   *changeRow    `json:"change,omitempty"` // not there if nothing helps
	After    *decisionRow  `json:"after,omitempty"`  // the change

	alpn    []string // of the hello
	unasked bool     // it is not the policy that refuses
}

// listenerRow is the listener that judges.
type listenerRow struct {
	Name               string   `json:"name"`
	Address            string   `json:"address"`
	Certificates       []string `json:"certificates"`
	ClientCertificates string   `json:"client_certificates"`
	Canary             string   `json:"canary,omitempty"` // another policy for some clients, which is not judged by
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

	Certificate string `json:"certificate,omitempty"` // of the listener, by its name
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
	if err := c.misused(); err != nil {
		return err
	}
	e := &explanation{Keys: []string{}, Steps: []stepRow{}, Unserved: []unservedRow{}}
	judge, err := c.judge(e, out)
	if err != nil {
		return err
	}
	offer, err := c.describe(e, out)
	if err != nil {
		return err
	}
	if offer != nil { // or the hello is malformed
		if err := judge(*offer, e.alpn); err != nil {
			return err
		}
	}
	if c.JSON {
		if err := out.json(e); err != nil {
			return err
		}
	} else {
		e.print(out)
	}
	if !e.Admitted {
		return fmt.Errorf("the client is refused: %s", e.Refusal.Reason)
	}
	return nil
}

// misused is what the parser does not see.
func (c *policyExplainCommand) misused() error {
	switch {
	case c.Hello != "" && c.Versions+c.Groups+c.Signatures+c.SNI != "":
		return usageHint(errors.New("--versions, --groups, --signatures and --sni describe a client of --offer; a hello has its own"))
	case c.Offer != "" && c.Client != "":
		return usageHint(errors.New("--client picks a hello of --hello"))
	case c.Name != "" && c.Listener != "":
		return usageHint(fmt.Errorf("a listener has its own policy: leave out %s, or --listener", c.Name))
	case c.Name == "" && c.Config == "":
		return usageHint(errors.New("by what to judge is missing: the name of a policy, or --config FILE and --listener NAME"), "suitegate policy list shows all policies")
	case c.Name == "" && c.Key != "":
		return usageHint(errors.New("--key says what keys a listener has; that of a configuration has its own"))
	}
	return nil
}

// judge returns what decides on a client: a policy, or a listener with its own.
func (c *policyExplainCommand) judge(e *explanation, out *console) (func(policy.Offer, []string) error, error) {
	if c.Name == "" {
		return c.listener(e, out)
	}
	pol, err := policyNamed(c.Name, c.Config)
	if err != nil {
		return nil, err
	}
	keys, err := parseKeys(c.Key)
	if err != nil {
		return nil, err
	}
	e.Policy, e.Keys = pol.Name, names(keys, policy.KeyType.String)
	return func(o policy.Offer, _ []string) error {
		e.take(pol, pol.Explain(policy.Have{Keys: keys}, o))
		return nil
	}, nil
}

// listener has a listener of the configuration decide.
func (c *policyExplainCommand) listener(e *explanation, out *console) (func(policy.Offer, []string) error, error) {
	cfg, err := loadConfig(c.Config)
	if err != nil {
		return nil, err
	}
	var known []string
	for _, l := range cfg.Listeners {
		known = append(known, l.Name)
	}
	name := c.Listener
	if name == "" && len(known) == 1 {
		name = known[0]
	}
	if !slices.Contains(known, name) {
		err := fmt.Errorf("%s has no listener %q", cfg.File, name)
		if name == "" {
			err = fmt.Errorf("%s has %s: --listener says which", cfg.File, count(len(known), "listener"))
		}
		return nil, withHint(err, "there are: "+strings.Join(known, ", "))
	}
	judge, err := proxy.NewJudge(cfg, name, out.warningLogger())
	if err != nil {
		return nil, err
	}
	effective := judge.Effective()
	e.Policy = effective.Policy.Name
	e.Listener = &listenerRow{Name: effective.Listener, Address: effective.Address, Certificates: effective.Certificates, ClientCertificates: effective.Clients}
	if effective.Canary != nil {
		e.Listener.Canary = effective.Canary.String()
	}
	return func(o policy.Offer, alpn []string) error {
		x, err := judge.Explain(o, alpn)
		if err != nil {
			return err
		}
		e.Keys = names(x.Keys, policy.KeyType.String)
		if x.Trace != nil {
			e.take(effective.Policy, x.Trace)
		}
		if x.Refused == nil {
			e.Decision.Certificate = x.Certificate
		} else {
			version := ""
			if e.Refusal != nil {
				version = e.Refusal.Version
			}
			e.unasked = e.Refusal == nil
			e.Admitted, e.Decision = false, nil
			e.Refusal = &refusalRow{Reason: x.Refused.Reason, Alert: engine.AlertName(x.Refused.Alert), Version: version, Error: x.Refused.Err.Error()}
		}
		return nil
	}, nil
}

// describe says what the client offers; nil is that its hello breaks the rules,
// and so is refused whoever judges.
func (c *policyExplainCommand) describe(e *explanation, out *console) (*policy.Offer, error) {
	if c.Hello == "" {
		offer, err := c.typedOffer()
		if err != nil {
			return nil, err
		}
		e.Offer = newOfferRow(offer, offer.Versions, "")
		return &offer, nil
	}
	pick, err := parsePick(c.Client)
	if err != nil {
		return nil, err
	}
	found, seen, err := findHello(c.Hello, pick, os.Stdin)
	if err != nil {
		return nil, err
	}
	if warning := incomplete(seen); warning != "" {
		out.warnf("%s", warning)
	}
	if found.Client.IsValid() {
		e.Client, e.Server = found.Client.String(), found.Server.String()
	}
	if malformed := found.Err; malformed != nil {
		e.Refusal = &refusalRow{Reason: malformed.Reason(), Alert: engine.AlertName(malformed.Alert()), Error: malformed.Error()}
		return nil, nil
	}
	offer := proxy.OfferOf(found.Hello)
	e.alpn = found.Hello.ALPN
	e.Offer = newOfferRow(offer, found.Hello.Versions(), found.Hello.JA4())
	return &offer, nil
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
	if e.Listener != nil {
		e.Listener.print(out, e)
	} else {
		out.printf("policy %s, listener with keys %s\n", e.Policy, strings.Join(e.Keys, ", "))
	}
	if e.Client != "" {
		out.printf("client %s to %s\n", e.Client, e.Server)
	}
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
	unserved := "not served by this listener: "
	if e.Listener != nil {
		unserved = "not served with the certificates for this client: "
	}
	for _, u := range e.Unserved {
		rows = append(rows, []string{string(policy.SuiteTopic), u.Suite, "no", unserved + u.Why})
	}
	if len(rows) > 0 {
		out.printf("\n")
		out.table("", append([][]string{{"STEP", "NAME", "TAKEN", "WHY"}}, rows...))
	}
	out.printf("\n")
	if e.Admitted {
		out.printf("admitted: %s\n", e.Decision)
		if e.Listener != nil && e.Listener.ClientCertificates == configs.ClientCertificatesRequire {
			out.printf("then it has to show a certificate of its own that the listener takes\n")
		}
		return
	}
	out.printf("refused: %s, alert %s\n  %s\n", e.Refusal.Reason, e.Refusal.Alert, e.Refusal.Error)
	if e.unasked {
		return
	}
	if e.Change == nil {
		out.printf("nothing that could be added would admit this client\n")
		return
	}
	out.printf("smallest change that would admit it: add %s\n", e.Change)
	if e.Listener != nil && e.Change.Key != "" && e.Offer.ServerName != "" {
		out.printf("that certificate needs the client's server name\n")
	}
	out.printf("it would then get: %s\n", e.After)
	if suite, err := policy.ParseSuite(e.Change.Suite); err == nil && !suite.ForwardSecret() {
		out.printf("mind that %s has no forward secrecy (RFC 9325 section 4.1)\n", suite.OpenSSLName)
	}
}

func (l *listenerRow) print(out *console, e *explanation) {
	out.printf("listener %s on %s, policy %s\n", l.Name, l.Address, e.Policy)
	for _, certificate := range l.Certificates {
		out.printf("  certificate %s\n", certificate)
	}
	if l.ClientCertificates != configs.ClientCertificatesOff {
		out.printf("  client certificates %s\n", l.ClientCertificates)
	}
	if l.Canary != "" {
		out.printf("  canary policy %s; not judged by here\n", l.Canary)
	}
	if len(e.Keys) > 0 {
		out.printf("  certificates for this client with keys %s\n", strings.Join(e.Keys, ", "))
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
	if o.JA4 != "" || o.ServerName != "" {
		rows = append(rows, []string{"server name", fmt.Sprintf("%q", o.ServerName)})
	}
	if o.JA4 != "" {
		rows = append(rows, []string{"JA4", o.JA4})
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
	text += ", " + d.Key + " certificate"
	if d.Certificate != "" {
		text += " " + d.Certificate
	}
	return text
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
