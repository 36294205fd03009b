package scan

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/suitegate/suitegate/policy"
)

func TestCompare(t *testing.T) {
	p, err := policy.New("p", []string{"ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-RSA-AES128-GCM-SHA256", "DHE-RSA-AES128-GCM-SHA256"},
		[]string{"TLS_AES_256_GCM_SHA384"}, []string{"X25519MLKEM768", "X25519", "ffdhe3072"})
	if err != nil {
		t.Fatal(err)
	}
	nothing := Comparison{Policy: "p", Extra: []Item{}, Missing: []Item{}, Order: []string{}}
	version := func(v policy.Version, preference Preference, groups []Group, suites ...uint16) Version {
		made := Version{Version: v, Name: v.String(), Preference: preference, Groups: groups}
		for _, id := range suites {
			made.Suites = append(made.Suites, newSuite(id))
		}
		return made
	}
	x25519, hybrid := Group{Name: "X25519", ID: 29}, Group{Name: "X25519MLKEM768", ID: 4588}
	tls13 := version(policy.TLS13, "", []Group{hybrid, x25519}, 0x1302)
	tls12 := version(policy.TLS12, ByServer, []Group{x25519}, 0xC030, 0xC02F, 0x009E)
	tls12.DHEBits = 3072
	const everywhere = "certificates, extensions and ALPN: a policy says nothing of them"
	const dhe = "TLSv1.2: the group of DHE, of which only the size is known: 3072 bits"
	for name, test := range map[string]struct {
		versions []Version
		want     func(*Comparison)
	}{
		"the same": {[]Version{tls13, tls12}, func(c *Comparison) { c.NotCompared = []string{dhe, everywhere} }},
		"the client's order": {
			[]Version{tls13, version(policy.TLS12, ByClient, []Group{x25519}, 0xC030, 0xC02F, 0x009E)},
			func(c *Comparison) { c.Order, c.NotCompared = []string{"TLSv1.2"}, []string{everywhere} },
		},
		"another order": {
			[]Version{tls13, version(policy.TLS12, ByServer, []Group{x25519}, 0xC02F, 0xC030, 0x009E)},
			func(c *Comparison) { c.Order, c.NotCompared = []string{"TLSv1.2"}, []string{everywhere} },
		},
		"more, in a newer and an old version": {
			[]Version{version(policy.TLS13, ByServer, []Group{hybrid, x25519, {Name: "P-256", ID: 23}}, 0x1303, 0x1302), tls12, version(policy.TLS10, "", nil, 0x000A)},
			func(c *Comparison) {
				c.Extra = []Item{
					{"TLSv1.3", "suite", "TLS_CHACHA20_POLY1305_SHA256"},
					{"TLSv1.3", "group", "P-256"},
					{"TLSv1.0", "suite", "TLS_RSA_WITH_3DES_EDE_CBC_SHA"},
				}
				c.NotCompared = []string{dhe, everywhere}
			},
		},
		"less": {
			[]Version{version(policy.TLS12, "", nil, 0x009E)},
			func(c *Comparison) {
				c.Missing = []Item{
					{"TLSv1.3", "suite", "TLS_AES_256_GCM_SHA384"},
					{"TLSv1.2", "suite", "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"},
					{"TLSv1.2", "suite", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"},
				}
				c.NotCompared = []string{"TLSv1.2: the groups, because no suite that is accepted uses them", everywhere}
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			want := nothing
			test.want(&want)
			got := (&Report{Versions: test.versions}).Compare(p)
			if diff := cmp.Diff(&want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if differs := name != "the same"; got.Differs() != differs {
				t.Errorf("it differs: %t", got.Differs())
			}
		})
	}
}
