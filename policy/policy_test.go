package policy

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func openSSLNames(suites []Suite) []string {
	var names []string
	for _, s := range suites {
		names = append(names, s.OpenSSLName)
	}
	return names
}

func TestBuiltins(t *testing.T) {
	tests := []struct {
		name       string
		tls12      []uint16 // as Amazon publishes them
		preference []string
	}{
		{
			name: "activemq",
			tls12: []uint16{
				0xC030, 0xC028, 0xC014, 0x009F, 0x006B, 0x0039, 0x009D, 0x003D, 0x0035,
				0xC02F, 0xC027, 0xC013, 0x009E, 0x0067, 0x0033, 0x009C, 0x003C, 0x002F,
			},
			preference: []string{
				// Forward secrecy and AEAD.
				"ECDHE-RSA-AES256-GCM-SHA384", "DHE-RSA-AES256-GCM-SHA384",
				"ECDHE-RSA-AES128-GCM-SHA256", "DHE-RSA-AES128-GCM-SHA256",
				// Forward secrecy.
				"ECDHE-RSA-AES256-SHA384", "ECDHE-RSA-AES256-SHA", "DHE-RSA-AES256-SHA256", "DHE-RSA-AES256-SHA",
				"ECDHE-RSA-AES128-SHA256", "ECDHE-RSA-AES128-SHA", "DHE-RSA-AES128-SHA256", "DHE-RSA-AES128-SHA",
				// AEAD.
				"AES256-GCM-SHA384", "AES128-GCM-SHA256",
				// Neither.
				"AES256-SHA256", "AES256-SHA", "AES128-SHA256", "AES128-SHA",
			},
		},
		{
			name:       "rabbitmq",
			tls12:      []uint16{0xC030, 0xC02F},
			preference: []string{"ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-RSA-AES128-GCM-SHA256"},
		},
	}
	var names []string
	for _, p := range Builtins() {
		names = append(names, p.Name)
	}
	if len(names) != len(listings)+len(aliases) || !slices.IsSorted(names) || !slices.Contains(names, "rfc9325-2022-11") {
		t.Errorf("Builtins() = %q", names)
	}
	for _, want := range tests {
		p, ok := Builtin(want.name)
		if !ok {
			t.Errorf("no built-in %q", want.name)
			continue
		}
		var ids []uint16
		for _, s := range p.TLS12 {
			ids = append(ids, s.ID)
		}
		if p.Name != want.name || !slices.Equal(ids, want.tls12) {
			t.Errorf("%s: TLS12 = %04X, want %04X", p.Name, ids, want.tls12)
		}
		if got := openSSLNames(p.Preference()); !slices.Equal(got, want.preference) {
			t.Errorf("%s: preference\n got %q\nwant %q", p.Name, got, want.preference)
		}
		if got := openSSLNames(p.TLS13); !slices.Equal(got, []string{"TLS_AES_256_GCM_SHA384", "TLS_AES_128_GCM_SHA256"}) {
			t.Errorf("%s: TLS13 = %q", p.Name, got)
		}
		if !slices.Equal(p.Groups, []Group{X25519MLKEM768, X25519, P256, P384}) {
			t.Errorf("%s: Groups = %v", p.Name, p.Groups)
		}
	}
	for _, name := range []string{"", "ActiveMQ", "openssl"} {
		if p, ok := Builtin(name); ok {
			t.Errorf("Builtin(%q) = %v, want none", name, p)
		}
	}
}

func TestNew(t *testing.T) {
	p, err := New("mine",
		[]string{"aes128-sha", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"},
		[]string{"tls_chacha20_poly1305_sha256"},
		[]string{"prime256v1", "X25519"})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := openSSLNames(p.TLS12), []string{"AES128-SHA", "ECDHE-RSA-AES128-GCM-SHA256"}; !slices.Equal(got, want) {
		t.Errorf("TLS12 = %q, want %q", got, want)
	}
	if !slices.Equal(p.Preference(), p.TLS12) {
		t.Errorf("preference %q, want the order as written", openSSLNames(p.Preference()))
	}
	if got, want := openSSLNames(p.TLS13), []string{"TLS_CHACHA20_POLY1305_SHA256"}; !slices.Equal(got, want) {
		t.Errorf("TLS13 = %q, want %q", got, want)
	}
	if want := []Group{P256, X25519}; !slices.Equal(p.Groups, want) {
		t.Errorf("Groups = %v, want %v", p.Groups, want)
	}

	p, err = New("new", nil, []string{"TLS_AES_128_GCM_SHA256"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(p.Groups, DefaultGroups()) || len(p.TLS12) != 0 {
		t.Errorf("got %+v, want the default groups and no TLS 1.2", p)
	}
}

func TestNewErrors(t *testing.T) {
	tests := []struct {
		name                 string
		tls12, tls13, groups []string
		want                 string
	}{
		{
			name: "nothing",
			want: `policy: "p": it names no cipher suite for TLS 1.2 or TLS 1.3`,
		},
		{
			name:   "groups alone",
			groups: []string{"X25519"},
			want:   `policy: "p": it names no cipher suite for TLS 1.2 or TLS 1.3`,
		},
		{
			name:  "a slip",
			tls12: []string{"ECDHE-RSA-AES256-GCM-SHA348"},
			want:  `policy: tls12[0]: unknown cipher suite "ECDHE-RSA-AES256-GCM-SHA348"; did you mean "ECDHE-RSA-AES256-GCM-SHA384"?`,
		},
		{
			name:  "TLS 1.3 under tls12",
			tls12: []string{"AES128-SHA", "TLS_AES_128_GCM_SHA256"},
			want:  `policy: tls12[1]: "TLS_AES_128_GCM_SHA256" is a TLS 1.3 cipher suite; it belongs in tls13`,
		},
		{
			name:  "TLS 1.2 under tls13",
			tls13: []string{"AES128-SHA"},
			want:  `policy: tls13[0]: "AES128-SHA" is a TLS 1.2 cipher suite; it belongs in tls12`,
		},
		{
			name:  "twice",
			tls12: []string{"AES128-SHA", "AES256-SHA", "AES128-SHA"},
			want:  `policy: tls12[2]: "AES128-SHA" repeats tls12[0] ("AES128-SHA")`,
		},
		{
			name:  "twice under two names",
			tls12: []string{"AES128-SHA", "tls_rsa_with_aes_128_cbc_sha"},
			want:  `policy: tls12[1]: "tls_rsa_with_aes_128_cbc_sha" repeats tls12[0] ("AES128-SHA")`,
		},
		{
			name:   "a group twice",
			tls13:  []string{"TLS_AES_128_GCM_SHA256"},
			groups: []string{"P-256", "X25519", "secp256r1"},
			want:   `policy: groups[2]: "secp256r1" repeats groups[0] ("P-256")`,
		},
		{
			name:   "all at once",
			tls12:  []string{"RC4-SHA", "AES128-SHA"},
			tls13:  []string{"TLS_AES_128_GCM_SHA265"},
			groups: []string{"X52519"},
			want: `policy: tls12[0]: cipher suite "RC4-SHA" is never served: RC4 is broken (RFC 7465)
policy: tls13[0]: unknown cipher suite "TLS_AES_128_GCM_SHA265"; did you mean "TLS_AES_128_GCM_SHA256"?
policy: groups[0]: unknown group "X52519"; did you mean "X25519"?`,
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p, err := New("p", test.tls12, test.tls13, test.groups)
			if err == nil {
				t.Fatalf("got %+v, want an error", p)
			}
			if p != nil {
				t.Errorf("a policy came with the error")
			}
			if err.Error() != test.want {
				t.Errorf("\n got %s\nwant %s", err, test.want)
			}
		})
	}
}

func TestNewErrorsPoint(t *testing.T) {
	_, err := New("p", []string{"AES128-SHA", "nonsense"}, nil, nil)
	var fault *NameError
	if !errors.As(err, &fault) || fault.List != "tls12" || fault.Index != 1 || fault.Name != "nonsense" {
		t.Errorf("got %#v, want a *NameError for tls12[1]", fault)
	}
	var unknown *UnknownNameError
	if !errors.As(err, &unknown) {
		t.Errorf("%v does not wrap an *UnknownNameError", err)
	}
	if _, err := New("p", nil, nil, nil); !errors.Is(err, ErrNoSuites) {
		t.Errorf("%v is not ErrNoSuites", err)
	}
}

func TestBind(t *testing.T) {
	all := []string{"ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256", "DHE-RSA-AES128-SHA", "AES128-SHA"}
	tls13 := []string{"TLS_AES_128_GCM_SHA256"}
	tests := []struct {
		name     string
		groups   []string
		have     Have
		kept     string
		unserved string
	}{
		{
			name: "everything",
			have: Have{Keys: []KeyType{RSA, ECDSAP256}},
			kept: "ECDHE-RSA-AES128-GCM-SHA256 ECDHE-ECDSA-AES128-GCM-SHA256 DHE-RSA-AES128-SHA AES128-SHA TLS_AES_128_GCM_SHA256",
		},
		{
			name:     "RSA alone",
			have:     Have{Keys: []KeyType{RSA}},
			kept:     "ECDHE-RSA-AES128-GCM-SHA256 DHE-RSA-AES128-SHA AES128-SHA TLS_AES_128_GCM_SHA256",
			unserved: "ECDHE-ECDSA-AES128-GCM-SHA256: no ECDSA certificate",
		},
		{
			name:     "ECDSA alone",
			have:     Have{Keys: []KeyType{ECDSAP384}},
			kept:     "ECDHE-ECDSA-AES128-GCM-SHA256 TLS_AES_128_GCM_SHA256",
			unserved: "ECDHE-RSA-AES128-GCM-SHA256: no RSA certificate; DHE-RSA-AES128-SHA: no RSA certificate; AES128-SHA: no RSA certificate",
		},
		{
			name:     "Ed25519 alone",
			have:     Have{Keys: []KeyType{Ed25519}},
			kept:     "ECDHE-ECDSA-AES128-GCM-SHA256 TLS_AES_128_GCM_SHA256",
			unserved: "ECDHE-RSA-AES128-GCM-SHA256: no RSA certificate; DHE-RSA-AES128-SHA: no RSA certificate; AES128-SHA: no RSA certificate",
		},
		{
			name: "no certificate",
			kept: "",
			unserved: "ECDHE-RSA-AES128-GCM-SHA256: no RSA certificate; ECDHE-ECDSA-AES128-GCM-SHA256: no ECDSA certificate; " +
				"DHE-RSA-AES128-SHA: no RSA certificate; AES128-SHA: no RSA certificate; TLS_AES_128_GCM_SHA256: no certificate",
		},
		{
			name:     "no engine for DHE",
			have:     Have{Keys: []KeyType{RSA, ECDSAP256}, Serves: func(id uint16) bool { return id != 0x0033 }},
			kept:     "ECDHE-RSA-AES128-GCM-SHA256 ECDHE-ECDSA-AES128-GCM-SHA256 AES128-SHA TLS_AES_128_GCM_SHA256",
			unserved: "DHE-RSA-AES128-SHA: no engine",
		},
		{
			name:     "hybrid group alone",
			groups:   []string{"X25519MLKEM768"},
			have:     Have{Keys: []KeyType{RSA}},
			kept:     "DHE-RSA-AES128-SHA AES128-SHA TLS_AES_128_GCM_SHA256",
			unserved: "ECDHE-RSA-AES128-GCM-SHA256: no elliptic curve group; ECDHE-ECDSA-AES128-GCM-SHA256: no ECDSA certificate",
		},
		{
			name:   "finite field group alone",
			groups: []string{"ffdhe3072"},
			have:   Have{Keys: []KeyType{RSA, ECDSAP256}},
			kept:   "DHE-RSA-AES128-SHA AES128-SHA",
			unserved: "ECDHE-RSA-AES128-GCM-SHA256: no elliptic curve group; ECDHE-ECDSA-AES128-GCM-SHA256: no elliptic curve group; " +
				"TLS_AES_128_GCM_SHA256: no group for TLS 1.3",
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p, err := New("p", all, tls13, test.groups)
			if err != nil {
				t.Fatal(err)
			}
			bound, unserved := p.Bind(test.have)
			if got := strings.Join(openSSLNames(slices.Concat(bound.TLS12, bound.TLS13)), " "); got != test.kept {
				t.Errorf("kept\n got %s\nwant %s", got, test.kept)
			}
			if !slices.Equal(bound.Preference(), bound.TLS12) {
				t.Errorf("preference %v, want %v", bound.Preference(), bound.TLS12)
			}
			var why []string
			for _, u := range unserved {
				why = append(why, u.Suite.OpenSSLName+": "+u.Why)
			}
			if got := strings.Join(why, "; "); got != test.unserved {
				t.Errorf("unserved\n got %s\nwant %s", got, test.unserved)
			}
			if bound.Name != "p" || !slices.Equal(bound.Groups, p.Groups) {
				t.Errorf("bound as %q with groups %v", bound.Name, bound.Groups)
			}
		})
	}
}

// TestBindActiveMQ pins what crypto/tls leaves of activemq: ten of eighteen,
// in the order of preference.
func TestBindActiveMQ(t *testing.T) {
	p, _ := Builtin("activemq")
	inCryptoTLS := []uint16{0xC030, 0xC02F, 0xC027, 0xC014, 0xC013, 0x009D, 0x009C, 0x003C, 0x0035, 0x002F, 0x1301, 0x1302}
	bound, unserved := p.Bind(Have{
		Keys:   []KeyType{RSA, ECDSAP256},
		Serves: func(id uint16) bool { return slices.Contains(inCryptoTLS, id) },
	})
	want := []string{
		"ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-RSA-AES128-GCM-SHA256",
		"ECDHE-RSA-AES256-SHA", "ECDHE-RSA-AES128-SHA256", "ECDHE-RSA-AES128-SHA",
		"AES256-GCM-SHA384", "AES128-GCM-SHA256",
		"AES256-SHA", "AES128-SHA256", "AES128-SHA",
	}
	if got := openSSLNames(bound.Preference()); !slices.Equal(got, want) {
		t.Errorf("preference\n got %q\nwant %q", got, want)
	}
	var gone []string
	for _, u := range unserved {
		if u.Why != "no engine" {
			t.Errorf("%s: %s", u.Suite, u.Why)
		}
		gone = append(gone, u.Suite.OpenSSLName)
	}
	if want := []string{
		"ECDHE-RSA-AES256-SHA384", "DHE-RSA-AES256-GCM-SHA384", "DHE-RSA-AES256-SHA256", "DHE-RSA-AES256-SHA",
		"AES256-SHA256", "DHE-RSA-AES128-GCM-SHA256", "DHE-RSA-AES128-SHA256", "DHE-RSA-AES128-SHA",
	}; !slices.Equal(gone, want) {
		t.Errorf("unserved\n got %q\nwant %q", gone, want)
	}
	if len(p.TLS12) != 18 || len(p.Preference()) != 18 {
		t.Error("Bind changed the policy that it was called on")
	}
}

func TestBoundIsACopy(t *testing.T) {
	p, _ := Builtin("rabbitmq")
	bound, _ := p.Bind(Have{Keys: []KeyType{RSA}})
	bound.TLS12[0].Name, bound.TLS13[0].Name, bound.Groups[0] = "changed", "changed", 0
	if p.TLS12[0].Name == "changed" || p.TLS13[0].Name == "changed" || p.Groups[0] == 0 {
		t.Error("a change to the bound policy reached the one it was made from")
	}
	p.Preference()[0].Name = "changed"
	if p.Preference()[0].Name == "changed" {
		t.Error("the preference changed through Preference()")
	}
}
