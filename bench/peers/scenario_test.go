package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/suitegate/suitegate/configs"
)

// The names are what kept results are compared by.
func TestScenarioNames(t *testing.T) {
	var names []string
	for _, s := range scenarios() {
		names = append(names, s.name)
		if len(metrics[s.kind]) == 0 || metrics[s.kind][0].Tolerance == 0 || s.text == "" || s.suite.ID == 0 {
			t.Errorf("%s: %+v", s.name, s)
		}
	}
	want := strings.Fields(`
		handshake/tls12-ecdhe-rsa-aes256-gcm handshake/tls12-dhe-rsa-aes256-gcm
		handshake/tls13-rsa handshake/tls13-p256 handshake/tls13-p256-x25519mlkem768
		resumed/tls12-rsa resumed/tls13-p256
		relay/to-broker/tls13-aes128-gcm relay/to-broker/tls12-aes256-gcm relay/to-broker/tls12-aes128-cbc-sha
		relay/to-client/tls13-aes128-gcm relay/to-client/tls12-aes256-gcm relay/to-client/tls12-aes128-cbc-sha
		roundtrip/1 roundtrip/50 roundtrip/1000
		idle/5000/fresh idle/5000/burst idle/20000/fresh idle/20000/burst
		flood/50
		scale/listeners scale/policies scale/shadows scale/connections`)
	if !slices.Equal(names, want) {
		t.Errorf("names\n%q\nwant\n%q", names, want)
	}
}

func TestSelectScenarios(t *testing.T) {
	for _, tt := range []struct {
		patterns string
		want     int
		wrong    string
	}{
		{"", 25, ""},
		{"relay", 6, ""},
		{"relay/to-broker", 3, ""},
		{"relay/*/tls13-*", 2, ""},
		{"roundtrip/50,idle/*/fresh", 3, ""},
		{"handshake/*,handshake", 5, ""},
		{strings.Join(shortScenarios(), ","), len(shortScenarios()), ""},
		{"relais", 0, `no scenario matches "relais"`},
		{"relay/[", 0, `pattern "relay/["`},
	} {
		selected, err := selectScenarios(scenarios(), tt.patterns)
		if len(selected) != tt.want || (err == nil) != (tt.wrong == "") || err != nil && !strings.Contains(err.Error(), tt.wrong) {
			t.Errorf("%q: %d scenarios, %v", tt.patterns, len(selected), err)
		}
	}
}

// Every configuration of suitegate is one that it takes, and has as many
// listeners and different policies as the variant says.
func TestSuitegateConfigurations(t *testing.T) {
	f, err := newFixtures(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	var ports portPool
	for _, s := range scenarios() {
		variants := s.variants
		if variants == nil {
			variants = []variant{{}}
		}
		for _, v := range variants {
			t.Run(s.name+"/"+v.name, func(t *testing.T) {
				set := settings{scenario: s, variant: v, fixture: f.byKey[s.key], params: f.params, backend: "127.0.0.1:2", admin: "127.0.0.1:1", dir: t.TempDir()}
				if set.listen, err = ports.addresses(v.normal().listeners); err != nil {
					t.Fatal(err)
				}
				cmd, err := suitegateCommand("suitegate", set)
				if err != nil {
					t.Fatal(err)
				}
				file := cmd.Args[len(cmd.Args)-1]
				content, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				config, err := configs.Parse(file, content)
				if err != nil {
					t.Fatalf("%v\n%s", err, content)
				}
				policies := make(map[string]bool)
				for _, l := range config.Listeners {
					p := *l.Policy
					p.Name = ""
					policies[fmt.Sprintf("%+v", p)] = true
					if len(l.Shadow) != v.shadows {
						t.Errorf("%d shadow policies", len(l.Shadow))
					}
				}
				if want := v.normal(); len(config.Listeners) != want.listeners || len(policies) != want.policies {
					t.Errorf("%d listeners, %d policies of %+v", len(config.Listeners), len(policies), want)
				}
			})
		}
	}
}

func TestGhostunnelCannot(t *testing.T) {
	var can []string
	for _, s := range scenarios() {
		if len(s.variants) == 0 && ghostunnelCannot(s) == "" {
			can = append(can, s.name)
		}
	}
	if len(can) != 18 || slices.Contains(can, "handshake/tls12-dhe-rsa-aes256-gcm") || slices.Contains(can, "relay/to-broker/tls12-aes128-cbc-sha") {
		t.Error(len(can), can)
	}
}
