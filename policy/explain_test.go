package policy

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestExplainOfGeneratedOffers holds a trace to the decision that it explains,
// and its change to what was promised of it: it lets the client in, and nothing
// that is less does.
func TestExplainOfGeneratedOffers(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	bySize, hopeless := make(map[int]int), 0
	builtins := Builtins()
	for i := range 3000 {
		p, keys := anyUnboundPolicy(r)
		if i%3 == 0 {
			p = builtins[r.IntN(len(builtins))]
		}
		have, o := Have{Keys: keys}, anyOffer(r)
		trace := p.Explain(have, o)

		bound, unserved := p.Bind(have)
		d, err := bound.Select(o)
		if diff := cmp.Diff(unserved, trace.Unserved); diff != "" {
			t.Fatalf("unserved differs from Bind's:\n%s", diff)
		}
		if err == nil {
			if trace.Refusal != nil || trace.Change != nil || trace.Decision != d {
				t.Fatalf("Select decides %+v, Explain %+v", d, trace)
			}
			checkSteps(t, trace)
			continue
		}
		if diff := cmp.Diff(err, error(trace.Refusal)); diff != "" || trace.Decision != (Decision{}) {
			t.Fatalf("Select refuses otherwise:\n%s\n%+v", diff, trace.Decision)
		}
		if i := slices.IndexFunc(trace.Steps, func(s Step) bool { return s.Topic == KeyTopic && s.Taken }); i >= 0 {
			t.Fatalf("refused, but a key was taken: %+v", trace.Steps)
		}
		if trace.Change == nil {
			hopeless++
			checkHopeless(t, p, have, o)
			continue
		}
		bySize[trace.Change.size()]++
		checkChange(t, p, have, o, trace)
	}
	t.Logf("changes by size %v, none %d", bySize, hopeless)
	if bySize[1] < 100 || bySize[2] < 50 || bySize[3] < 5 || hopeless < 100 {
		t.Errorf("changes by size %v, none %d: the generator tests too little", bySize, hopeless)
	}
}

// checkSteps holds that what is taken is what was decided, and once.
func checkSteps(t *testing.T, trace *Trace) {
	t.Helper()
	taken := make(map[Topic][]string)
	for _, step := range trace.Steps {
		if step.Name == "" || step.Why == "" {
			t.Fatalf("unexplained: %+v", step)
		}
		if step.Taken && step.Topic != FallbackTopic {
			taken[step.Topic] = append(taken[step.Topic], step.Name)
		}
	}
	d := trace.Decision
	want := map[Topic][]string{VersionTopic: {d.Version.String()}, SuiteTopic: {d.Suite.Name}, KeyTopic: {d.Key.String()}}
	if d.Group != 0 {
		want[GroupTopic] = []string{d.Group.String()}
	}
	if diff := cmp.Diff(want, taken); diff != "" {
		t.Fatalf("decided %+v, but taken (-want +got):\n%s\n%+v", d, diff, trace.Steps)
	}
}

// admits tries a change.
func admits(p *Policy, have Have, c Change, o Offer) (Decision, bool) {
	bound, _ := p.With(c).Bind(have.with(c))
	d, err := bound.Select(o)
	return d, err == nil
}

func checkChange(t *testing.T, p *Policy, have Have, o Offer, trace *Trace) {
	t.Helper()
	c := *trace.Change
	if d, ok := admits(p, have, c, o); !ok || d != trace.After {
		t.Fatalf("%+v gives %+v, %t, want %+v; policy %+v, keys %v, offer %+v", c, d, ok, trace.After, p, have.Keys, o)
	}
	for _, less := range []Change{{Group: c.Group, Key: c.Key}, {Suite: c.Suite, Key: c.Key}, {Suite: c.Suite, Group: c.Group},
		{Suite: c.Suite}, {Group: c.Group}, {Key: c.Key}} {
		if less == c {
			continue
		}
		if _, ok := admits(p, have, less, o); ok {
			t.Fatalf("%+v would do in place of %+v; policy %+v, keys %v, offer %+v", less, c, p, have.Keys, o)
		}
	}
	if c.size() == 1 {
		return
	}
	// Nor is there a smaller one that has nothing to do with it.
	var single []Change
	for _, s := range registry {
		single = append(single, Change{Suite: s})
	}
	for _, g := range groups {
		single = append(single, Change{Group: g.group})
	}
	for _, k := range keyPreference {
		single = append(single, Change{Key: k})
	}
	for _, less := range single {
		if _, ok := admits(p, have, less, o); ok {
			t.Fatalf("%+v would do in place of %+v; policy %+v, keys %v, offer %+v", less, c, p, have.Keys, o)
		}
	}
}

// checkHopeless holds that not even everything that the client could use lets
// it in, with TLS 1.3 or without a change there.
func checkHopeless(t *testing.T, p *Policy, have Have, o Offer) {
	t.Helper()
	have.Keys = keyPreference[:]
	for _, g := range groups {
		if slices.Contains(o.Groups, g.group) {
			p = p.With(Change{Group: g.group})
		}
	}
	for _, tls13 := range []bool{false, true} {
		for _, s := range registry {
			if s.TLS13() == tls13 {
				p = p.With(Change{Suite: s})
			}
		}
		if d, ok := admits(p, have, Change{}, o); ok {
			t.Fatalf("not hopeless: %+v; policy %+v, offer %+v", d, p, o)
		}
	}
}

func TestExplainChange(t *testing.T) {
	rabbitmq := mustBuiltin(t, "rabbitmq")
	both := []KeyType{RSA, ECDSAP256}
	only13 := mustNew(t, nil, []string{"TLS_AES_128_GCM_SHA256"}, nil)
	tests := []struct {
		name   string
		policy *Policy
		keys   []KeyType
		offer  Offer
		want   *Change
	}{
		{"let in", rabbitmq, both, modern(), nil},
		{"the one suite", rabbitmq, both, tls12Only(plainSHA128), &Change{Suite: mustSuite(t, plainSHA128)}},
		{"the best suite", rabbitmq, both, tls12Only(plainSHA128, plainGCM256, rsaChaCha, 5), &Change{Suite: mustSuite(t, rsaChaCha)}},
		{"a suite of TLS 1.3", rabbitmq, both, with(modern(), func(o *Offer) { o.Suites = []uint16{tls13ChaCha, rsaGCM256} }), &Change{Suite: mustSuite(t, tls13ChaCha)}},
		{"another version", only13, both, tls12Only(plainSHA128, rsaGCM256), &Change{Suite: mustSuite(t, rsaGCM256)}},
		{"a group", rabbitmq, both, with(modern(), func(o *Offer) { o.Groups = []Group{30, P521} }), &Change{Group: P521}},
		{"a group rather than a suite without forward secrecy", rabbitmq, both,
			with(tls12Only(rsaGCM256, plainSHA128), func(o *Offer) { o.Groups = []Group{P521} }), &Change{Group: P521}},
		{"a key", rabbitmq, []KeyType{ECDSAP256}, tls12Only(rsaGCM256), &Change{Key: RSA}},
		{"a suite and its key", rabbitmq, []KeyType{RSA}, tls12Only(ecdsaGCM256), &Change{Suite: mustSuite(t, ecdsaGCM256), Key: ECDSAP256}},
		{"a suite, a group and a key", rabbitmq, []KeyType{RSA}, with(tls12Only(ecdsaGCM256), func(o *Offer) { o.Groups = []Group{P521} }),
			&Change{mustSuite(t, ecdsaGCM256), P521, ECDSAP256}},
		{"nothing helps a fallback", rabbitmq, both, tls12Only(rsaGCM256, fallbackSCSV), nil},
		{"nothing helps TLS 1.1", rabbitmq, both, with(tls12Only(rsaGCM256), func(o *Offer) { o.Versions = []Version{TLS11} }), nil},
		{"nothing helps RC4", rabbitmq, both, tls12Only(5), nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			before := *test.policy
			trace := test.policy.Explain(Have{Keys: test.keys}, test.offer)
			if diff := cmp.Diff(test.want, trace.Change); diff != "" {
				t.Errorf("change (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(before, *test.policy, cmp.AllowUnexported(Policy{})); diff != "" {
				t.Errorf("the policy has changed:\n%s", diff)
			}
		})
	}
}

// TestChangeComesLast holds that a change is preferred to nothing.
func TestChangeComesLast(t *testing.T) {
	activemq := mustBuiltin(t, "activemq")
	changed := activemq.With(Change{Suite: mustSuite(t, rsaChaCha), Group: P521})
	if got := changed.Preference(); got[len(got)-1].ID != rsaChaCha || len(got) != 19 || len(activemq.Preference()) != 18 {
		t.Errorf("suites %v", got)
	}
	if want := append(DefaultGroups(), P521); !slices.Equal(changed.Groups, want) {
		t.Errorf("groups %v", changed.Groups)
	}
	if again := changed.With(Change{Suite: mustSuite(t, rsaChaCha), Group: P521}); !slices.Equal(again.TLS12, changed.TLS12) || !slices.Equal(again.Groups, changed.Groups) {
		t.Errorf("added twice: %v, %v", again.TLS12, again.Groups)
	}
}

func TestExplainSteps(t *testing.T) {
	activemq := mustBuiltin(t, "activemq")
	mixed := mustNew(t, []string{"ECDHE-ECDSA-AES256-GCM-SHA384", "AES128-SHA"}, nil, nil)
	first := "offered, and the first of the policy's that can be done"
	tests := []struct {
		name   string
		policy *Policy
		keys   []KeyType
		offer  Offer
		want   []Step
	}{
		{"TLS 1.3", mustBuiltin(t, "rabbitmq"), []KeyType{RSA, ECDSAP256},
			with(modern(), func(o *Offer) {
				o.Suites, o.Groups, o.KeyShares = []uint16{tls13AES128}, []Group{P384, X25519}, []Group{P384}
				o.Signatures = []SignatureScheme{rsaPSSSHA256}
			}),
			[]Step{
				{VersionTopic, "TLSv1.3", true, "both have it"},
				{SuiteTopic, "TLS_AES_256_GCM_SHA384", false, "not offered"},
				{SuiteTopic, "TLS_AES_128_GCM_SHA256", true, first},
				{GroupTopic, "X25519MLKEM768", false, "not offered"},
				{GroupTopic, "P-256", false, "not offered"},
				{GroupTopic, "X25519", false, "offered, but there is a better one"},
				{GroupTopic, "P-384", true, "offered, with a key share"},
				{KeyTopic, "ECDSA-P256", false, "the client can check none of its signatures"},
				{KeyTopic, "RSA", true, "the client can check its signatures: rsa_pss_rsae_sha256"},
			}},
		{"DHE after ECDHE without a group", mustNew(t, []string{"ECDHE-RSA-AES256-GCM-SHA384", "DHE-RSA-AES256-GCM-SHA384"}, nil, nil), []KeyType{RSA},
			with(tls12Only(rsaGCM256, dheGCM256), func(o *Offer) { o.Groups = []Group{P521} }),
			[]Step{
				{VersionTopic, "TLSv1.3", false, "not in the policy, and not offered"},
				{VersionTopic, "TLSv1.2", true, "both have it"},
				{SuiteTopic, "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", false, "offered, but no elliptic curve in common"},
				{SuiteTopic, "TLS_DHE_RSA_WITH_AES_256_GCM_SHA384", true, first},
				{GroupTopic, "ffdhe2048", true, "the client lists no finite field group, and so takes any (RFC 7919 section 4)"},
				{KeyTopic, "RSA", true, "the client can check its signatures: rsa_pss_rsae_sha256"},
			}},
		{"a key in an unlisted curve, in the end", mixed, []KeyType{RSA, ECDSAP256, ECDSAP384},
			with(tls12Only(ecdsaGCM256), func(o *Offer) { o.Groups = []Group{X25519} }),
			[]Step{
				{VersionTopic, "TLSv1.3", false, "not in the policy, and not offered"},
				{VersionTopic, "TLSv1.2", true, "both have it"},
				{SuiteTopic, "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", false, "offered, but kept back: the key's curve is not among the client's groups"},
				{SuiteTopic, "TLS_RSA_WITH_AES_128_CBC_SHA", false, "not offered"},
				{SuiteTopic, "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", true, "kept back before, and there is nothing better"},
				{GroupTopic, "X25519", true, "offered, and the first of the policy's that is"},
				{KeyTopic, "ECDSA-P256", true, "the client can check its signatures: ecdsa_secp256r1_sha256; but its curve is not among the client's groups"},
				{KeyTopic, "ECDSA-P384", false, "the client can check its signatures: ecdsa_secp256r1_sha256; but its curve is not among the client's groups"},
			}},
		{"foreign finite field groups", mustNew(t, []string{"DHE-RSA-AES256-GCM-SHA384", "AES128-SHA"}, nil, nil), []KeyType{RSA},
			with(tls12Only(dheGCM256, plainSHA128), func(o *Offer) { o.Groups = []Group{260} }),
			[]Step{
				{VersionTopic, "TLSv1.3", false, "not in the policy, and not offered"},
				{VersionTopic, "TLSv1.2", true, "both have it"},
				{SuiteTopic, "TLS_DHE_RSA_WITH_AES_256_GCM_SHA384", false, "offered, but no finite field group in common (RFC 7919 section 4)"},
				{SuiteTopic, "TLS_RSA_WITH_AES_128_CBC_SHA", true, first},
				{KeyTopic, "RSA", true, "it decrypts the client's secret"},
			}},
		{"refused fallback", activemq, []KeyType{RSA}, tls12Only(rsaGCM256, fallbackSCSV),
			[]Step{
				{VersionTopic, "TLSv1.3", false, "not offered"},
				{VersionTopic, "TLSv1.2", true, "both have it"},
				{FallbackTopic, "TLS_FALLBACK_SCSV", false, "the policy has a better version than TLSv1.2"},
			}},
		{"no signature", mixed, []KeyType{ECDSAP256}, with(tls12Only(ecdsaGCM256, fallbackSCSV), func(o *Offer) { o.Signatures = nil }),
			[]Step{
				{VersionTopic, "TLSv1.3", false, "not in the policy, and not offered"},
				{VersionTopic, "TLSv1.2", true, "both have it"},
				{FallbackTopic, "TLS_FALLBACK_SCSV", true, "TLSv1.2 is the best that the policy has"},
				{SuiteTopic, "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", false, "offered, but the client can check no signature of the listener's keys"},
			}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, test.policy.Explain(Have{Keys: test.keys}, test.offer).Steps); diff != "" {
				t.Errorf("steps (-want +got):\n%s", diff)
			}
		})
	}
}

func mustSuite(t *testing.T, id uint16) Suite {
	t.Helper()
	s, ok := SuiteByID(id)
	if !ok {
		t.Fatalf("no suite 0x%04X", id)
	}
	return s
}
