package policy

import "slices"

// Topic is what a [Step] is about.
type Topic string

// The topics of steps, in the order in which they come.
const (
	VersionTopic  Topic = "version"
	FallbackTopic Topic = "fallback" // TLS_FALLBACK_SCSV (RFC 7507)
	SuiteTopic    Topic = "suite"
	GroupTopic    Topic = "group"
	KeyTopic      Topic = "key"
)

// Step is one thing that a decision looked at.
type Step struct {
	Topic Topic
	Name  string // "TLSv1.3", an IANA name of a suite, a group's, a kind of key's
	Taken bool
	Why   string // for people; holds nothing that a client could have worded
}

const (
	notOffered = "not offered"
	outranked  = "offered, but there is a better one"
)

// tracer writes down the steps of [Policy.decide]. A nil one records nothing
// and allocates nothing. Methods that are handed a verdict return it, so that
// what is recorded and what is decided cannot differ.
type tracer struct {
	steps []Step
	from  int    // where the steps of the suite at hand begin
	aside []Step // those of the first suite that was set aside
}

func (tr *tracer) add(topic Topic, name string, taken bool, why string) {
	tr.steps = append(tr.steps, Step{topic, name, taken, why})
}

func (tr *tracer) version(v Version, ours, theirs bool) bool {
	if tr != nil {
		why := "both have it"
		switch {
		case !ours && !theirs:
			why = "not in the policy, and not offered"
		case !ours:
			why = "offered, but not in the policy"
		case !theirs:
			why = notOffered
		}
		tr.add(VersionTopic, v.String(), ours && theirs, why)
	}
	return ours && theirs
}

func (tr *tracer) fallback(v Version, refused bool) {
	if tr == nil {
		return
	}
	why := v.String() + " is the best that the policy has"
	if refused {
		why = "the policy has a better version than " + v.String()
	}
	tr.add(FallbackTopic, SuiteName(fallbackSCSV), !refused, why)
}

// offered begins with the next suite, and passes it over at once if the client
// does not offer it.
func (tr *tracer) offered(s *Suite, offered bool) bool {
	if tr != nil {
		tr.from = len(tr.steps)
		if !offered {
			tr.add(SuiteTopic, s.Name, false, notOffered)
		}
	}
	return offered
}

// suite ends with the suite at hand. What was tried for it stays behind it if
// it is taken, and is summed up in the obstacle if it is not.
func (tr *tracer) suite(s *Suite, obstacle Reason) {
	if tr == nil {
		return
	}
	step := Step{SuiteTopic, s.Name, obstacle == "", "offered, and the first of the policy's that can be done"}
	switch obstacle {
	case NoCommonGroup:
		step.Why = "offered, but no elliptic curve in common"
	case NoCommonDHEGroup:
		step.Why = "offered, but no finite field group in common (RFC 7919 section 4)"
	case NoCommonSignatureAlgorithm:
		step.Why = "offered, but the client can check no signature of the listener's keys"
	}
	if !step.Taken {
		tr.steps = tr.steps[:tr.from]
	}
	tr.steps = slices.Insert(tr.steps, tr.from, step)
}

// setAside keeps a suite, with its key, for the case that there is nothing
// better.
func (tr *tracer) setAside(s *Suite, key KeyType) {
	if tr == nil {
		return
	}
	if tr.aside == nil {
		tr.aside = slices.Clone(tr.steps[tr.from:])
		for i := range tr.aside {
			step := &tr.aside[i]
			step.Taken = step.Taken || step.Topic == KeyTopic && step.Name == key.String()
		}
	}
	tr.steps = append(tr.steps[:tr.from], Step{SuiteTopic, s.Name, false, "offered, but kept back: the key's curve is not among the client's groups"})
}

// takeAside takes the first suite that was set aside.
func (tr *tracer) takeAside(s *Suite) {
	if tr == nil {
		return
	}
	tr.add(SuiteTopic, s.Name, true, "kept back before, and there is nothing better")
	tr.steps = append(tr.steps, tr.aside...)
}

// group passes a group over; 0 is none.
func (tr *tracer) group(g Group, why string) {
	if tr != nil && g != 0 {
		tr.add(GroupTopic, g.String(), false, why)
	}
}

func (tr *tracer) groupOffered(g Group, offered bool) bool {
	if tr != nil {
		why := "offered, and the first of the policy's that is"
		if !offered {
			why = notOffered
		}
		tr.add(GroupTopic, g.String(), offered, why)
	}
	return offered
}

// groupByRank takes the group that [Policy.groupTLS13] ranks highest.
func (tr *tracer) groupByRank(g Group, rank int) {
	if tr == nil || g == 0 {
		return
	}
	why := [...]string{
		"offered, without a key share: the client is asked for one",
		"offered, with a key share",
		"offered, and post-quantum: the client is asked for a key share",
		"offered, post-quantum, and with a key share",
	}[rank]
	tr.add(GroupTopic, g.String(), true, why)
}

// groupUnasked takes a finite field group that the client does not list.
func (tr *tracer) groupUnasked(g Group) {
	if tr == nil {
		return
	}
	tr.steps = tr.steps[:tr.from]
	tr.add(GroupTopic, g.String(), true, "the client lists no finite field group, and so takes any (RFC 7919 section 4)")
}

func (tr *tracer) key(k KeyType, v Version, schemes []SignatureScheme, signs bool) bool {
	if tr == nil {
		return signs
	}
	why := "the client can check none of its signatures"
	if i := slices.IndexFunc(schemes, func(s SignatureScheme) bool { return k.signsWith(v, s) }); i >= 0 {
		why = "the client can check its signatures: " + schemes[i].String()
	}
	tr.add(KeyTopic, k.String(), signs, why)
	return signs
}

// keyUnlisted puts the key that was looked at last behind those whose curve the
// client lists.
func (tr *tracer) keyUnlisted() {
	if tr != nil {
		last := &tr.steps[len(tr.steps)-1]
		last.Taken = false
		last.Why += "; but its curve is not among the client's groups"
	}
}

func (tr *tracer) keyDecrypts() {
	if tr != nil {
		tr.add(KeyTopic, RSA.String(), true, "it decrypts the client's secret")
	}
}
