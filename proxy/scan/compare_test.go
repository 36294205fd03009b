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
	hiding := tls12
	hiding.Groups, hiding.GroupsHiddenBehind = []Group{{Name: "P-384", ID: 24}}, "P-384"
	for name, test := range map[string]struct {
		versions []Version
		want     func(*Comparison)
	}{
		"a group that is hidden, and one that would come first": {
			[]Version{tls13, hiding},
			func(c *Comparison) {
				c.Extra = []Item{{Version: "TLSv1.2", Kind: "group", Name: "P-384"}}
				c.Missing = []Item{{Version: "TLSv1.2", Kind: "group", Name: "X25519"}}
				c.NotCompared = []string{dhe, everywhere}
			},
		},
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
					{Version: "TLSv1.3", Kind: "suite", Name: "TLS_CHACHA20_POLY1305_SHA256"},
					{Version: "TLSv1.3", Kind: "group", Name: "P-256"},
					{Version: "TLSv1.0", Kind: "suite", Name: "TLS_RSA_WITH_3DES_EDE_CBC_SHA"},
				}
				c.NotCompared = []string{dhe, everywhere}
			},
		},
		"less": {
			[]Version{version(policy.TLS12, "", nil, 0x009E)},
			func(c *Comparison) {
				c.Missing = []Item{
					{Version: "TLSv1.3", Kind: "suite", Name: "TLS_AES_256_GCM_SHA384"},
					{Version: "TLSv1.2", Kind: "suite", Name: "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"},
					{Version: "TLSv1.2", Kind: "suite", Name: "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"},
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

// A group that the server likes less than its certificate's curve is not known,
// and a suite for a key that it does not have is no riddle.
func TestCompareKeys(t *testing.T) {
	p, err := policy.New("p", []string{"ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-GCM-SHA256"}, nil, []string{"X25519", "P-256", "P-384"})
	if err != nil {
		t.Fatal(err)
	}
	r := &Report{
		Versions: []Version{{
			Version: policy.TLS12, Name: "TLSv1.2", Suites: []Suite{newSuite(0xC02B)},
			Groups: []Group{{Name: "X25519", ID: 29}, {Name: "P-256", ID: 23}}, GroupsHiddenBehind: "P-256",
		}},
		Certificates: []Certificate{{Key: "ECDSA-P-256", Versions: []string{"TLSv1.3", "TLSv1.2"}}},
	}
	rsa := Item{Version: "TLSv1.2", Kind: "suite", Name: "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"}
	const hidden = "TLSv1.2: group P-384, hidden behind P-256, which the server's only certificate needs"
	why := rsa
	why.Why = "the server shows no RSA certificate"
	c := r.Compare(p)
	if diff := cmp.Diff([]Item{why}, c.Missing); diff != "" || len(c.Extra) > 0 || len(c.NotCompared) != 2 || c.NotCompared[0] != hidden {
		t.Errorf("-want +got: %s, extra %v, not compared %q", diff, c.Extra, c.NotCompared)
	}
	r.Certificates[0].Versions = []string{"TLSv1.2"} // another key may not have been asked for
	if diff := cmp.Diff([]Item{rsa}, r.Compare(p).Missing); diff != "" {
		t.Errorf("-want +got: %s", diff)
	}
}
