package main

import (
	"fmt"
	"path"
	"strings"

	"github.com/suitegate/suitegate/bench/load"
	"github.com/suitegate/suitegate/policy"
)

// A kind is what a scenario measures.
type kind int

const (
	handshakes kind = iota
	relay
	roundTrips
	idle
	flood
)

// A metric is one figure of a measurement. Less is better, but for rates.
type metric struct {
	Name string `json:"name"`
	Unit string `json:"unit"`

	// Tolerance is by what share the ratio of suitegate may grow from one kept
	// result to the next; a metric without one is not judged.
	Tolerance float64 `json:"tolerance,omitempty"`
}

// Tolerances. Processor time and memory hold still on a machine that others use;
// how long somebody waits does not.
const (
	costTolerance = 0.10
	waitTolerance = 0.50
)

// metrics are the figures of each kind, what it is about first.
var metrics = map[kind][]metric{
	handshakes: {{"CPU", "ms/handshake", costTolerance}, {"rate", "handshakes/s", 0}, {"p50", "ms", 0}, {"p99", "ms", 0}},
	relay:      {{"CPU", "s/GB", costTolerance}, {"rate", "MB/s", 0}},
	roundTrips: {{"CPU", "µs/round trip", costTolerance}, {"p50", "µs", waitTolerance}, {"p99", "µs", 0}},
	idle:       {{"PSS", "KiB/connection", costTolerance}, {"RSS", "KiB/connection", 0}},
	flood:      {{"p99 in the flood", "ms", waitTolerance}, {"p99 without", "ms", 0}, {"flood", "handshakes/s", 0}},
}

// A scenario is something that all gateways do.
type scenario struct {
	name string // stable: kept results are compared by it
	text string // what is done, for the tables
	kind kind

	key     string // of the certificate
	version policy.Version
	suite   policy.Suite
	group   policy.Group // 0 where the suite has none to choose

	resumed     bool
	direction   load.Direction
	connections int
	burst       bool

	// most is how many rounds it has at most, or 0: memory is nearly the same each
	// time, and takes long to measure.
	most int

	// variants makes it a scenario of suitegate alone, in several configurations;
	// the first is what the others are compared with.
	variants []variant
}

// A variant is a configuration of suitegate. Its zero value has one listener with
// one policy.
type variant struct {
	name      string
	listeners int // 0 is 1
	policies  int // likewise; the listeners have them in turn
	shadows   int // of each listener
	idle      int // connections that are there all the time
}

func (v variant) normal() variant {
	v.listeners, v.policies = max(v.listeners, 1), max(v.policies, 1)
	return v
}

func (s scenario) metrics() []metric { return metrics[s.kind] }

// baseline is whom the others are compared with.
func (s scenario) baseline() string {
	if len(s.variants) > 0 {
		return s.variants[0].name
	}
	return baselinePeer
}

const baselinePeer = "HAProxy"

// files is how many the gateway has open, and this process as well: two for each
// connection.
func (s scenario) files() int {
	most := s.connections
	for _, v := range s.variants {
		most = max(most, v.idle)
	}
	return 2*most + 500
}

// family is the first part of a scenario's name.
func family(name string) string {
	first, _, _ := strings.Cut(name, "/")
	return first
}

// scenarios are all there are, in the order of the tables.
func scenarios() []scenario {
	const (
		aes128 = "TLS_AES_128_GCM_SHA256"
		gcm12  = "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"
	)
	p256 := func(s scenario) scenario {
		s.key, s.version, s.suite = p256Key, policy.TLS13, suite(aes128)
		if s.group == 0 {
			s.group = policy.X25519
		}
		return s
	}
	list := []scenario{
		{name: "handshake/tls12-ecdhe-rsa-aes256-gcm", text: "full handshake, TLS 1.2 ECDHE-RSA-AES256-GCM, RSA-2048", key: rsaKey, version: policy.TLS12, suite: suite(gcm12), group: policy.X25519},
		{name: "handshake/tls12-dhe-rsa-aes256-gcm", text: "full handshake, TLS 1.2 DHE-RSA-AES256-GCM, RSA-2048, ffdhe2048", key: rsaKey, version: policy.TLS12, suite: suite("TLS_DHE_RSA_WITH_AES_256_GCM_SHA384")},
		{name: "handshake/tls13-rsa", text: "full handshake, TLS 1.3, RSA-2048", key: rsaKey, version: policy.TLS13, suite: suite(aes128), group: policy.X25519},
		p256(scenario{name: "handshake/tls13-p256", text: "full handshake, TLS 1.3, P-256"}),
		p256(scenario{name: "handshake/tls13-p256-x25519mlkem768", text: "full handshake, TLS 1.3, P-256, X25519MLKEM768", group: policy.X25519MLKEM768}),
		{name: "resumed/tls12-rsa", text: "resumed, TLS 1.2", key: rsaKey, version: policy.TLS12, suite: suite(gcm12), group: policy.X25519, resumed: true},
		p256(scenario{name: "resumed/tls13-p256", text: "resumed, TLS 1.3", resumed: true}),
	}
	for _, direction := range []load.Direction{load.ToBroker, load.ToClient} {
		for _, of := range []struct{ name, suite string }{
			{"tls13-aes128-gcm", aes128}, {"tls12-aes256-gcm", gcm12}, {"tls12-aes128-cbc-sha", "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA"},
		} {
			s := scenario{name: "relay/" + string(direction) + "/" + of.name, kind: relay, key: rsaKey, version: policy.TLS12, suite: suite(of.suite), group: policy.X25519, direction: direction}
			if s.suite.TLS13() {
				s.version = policy.TLS13
			}
			s.text = fmt.Sprintf("relay %s, %s %s", strings.ReplaceAll(string(direction), "-", " the "), s.version, s.suite.Cipher)
			list = append(list, s)
		}
	}
	for _, n := range []int{1, 50, 1000} {
		list = append(list, p256(scenario{name: fmt.Sprintf("roundtrip/%d", n), text: fmt.Sprintf("256-byte round trip, connections: %d", n), kind: roundTrips, connections: n}))
	}
	for _, n := range []int{5000, 20_000} {
		list = append(list,
			p256(scenario{name: fmt.Sprintf("idle/%d/fresh", n), text: fmt.Sprintf("idle connection, of %d", n), kind: idle, connections: n, most: 2}),
			p256(scenario{name: fmt.Sprintf("idle/%d/burst", n), text: fmt.Sprintf("idle connection, of %d, after 64 KiB each", n), kind: idle, connections: n, burst: true, most: 2}))
	}
	// RSA, because it is the gateway that is to have too much to do, not the client.
	list = append(list, scenario{name: "flood/50", text: "256-byte round trip of 50 connections in a flood of full handshakes, TLS 1.3, RSA-2048", kind: flood, key: rsaKey, version: policy.TLS13, suite: suite(aes128), group: policy.X25519, connections: 50})
	return append(list, scaleScenarios(p256)...)
}

// scaleScenarios ask what a connection costs where there is ten times as much.
// They are full handshakes, because those meet listener and policy.
func scaleScenarios(base func(scenario) scenario) []scenario {
	return []scenario{
		base(scenario{name: "scale/listeners", text: "full handshake, TLS 1.3, P-256, by listeners", variants: []variant{
			{name: "1 listener"}, {name: "10 listeners", listeners: 10}, {name: "100 listeners", listeners: 100}}}),
		base(scenario{name: "scale/policies", text: "the same, by policies, each on a listener of its own", variants: []variant{
			{name: "1 policy"}, {name: "10 policies", listeners: 10, policies: 10}, {name: "100 policies", listeners: 100, policies: 100}}}),
		base(scenario{name: "scale/shadows", text: "the same, by shadow policies", variants: []variant{
			{name: "no shadow policy"}, {name: "3 shadow policies", shadows: 3}}}),
		base(scenario{name: "scale/connections", text: "the same, by idle connections beside", variants: []variant{
			{name: "no connections"}, {name: "800 connections", idle: 800}, {name: "8000 connections", idle: 8000}}}),
	}
}

// shortScenarios are what the short form measures: one of each kind that a second
// suffices for.
func shortScenarios() []string {
	return []string{"handshake/tls12-ecdhe-rsa-aes256-gcm", "resumed/tls13-p256", "relay/to-client/tls12-aes256-gcm", "roundtrip/50"}
}

// suite is one of the registry: the names stand above.
func suite(name string) policy.Suite {
	s, err := policy.ParseSuite(name)
	if err != nil {
		panic(err)
	}
	return s
}

// selectScenarios returns those whose names match one of the patterns, which are
// separated by commas: as of path.Match, but that one matches what is below it.
func selectScenarios(all []scenario, patterns string) ([]scenario, error) {
	if patterns == "" {
		return all, nil
	}
	var selected []scenario
	used := make(map[string]bool)
	list := strings.Split(patterns, ",")
	for _, s := range all {
		matches := false
		for _, pattern := range list {
			for name := s.name; name != "."; name = path.Dir(name) {
				ok, err := path.Match(pattern, name)
				if err != nil {
					return nil, fmt.Errorf("peers: pattern %q: %w", pattern, err)
				}
				if ok {
					matches, used[pattern] = true, true
				}
			}
		}
		if matches {
			selected = append(selected, s)
		}
	}
	for _, pattern := range list {
		if !used[pattern] {
			return nil, fmt.Errorf("peers: no scenario matches %q (--list shows them)", pattern)
		}
	}
	return selected, nil
}
