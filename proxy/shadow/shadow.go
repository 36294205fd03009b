// Package shadow remembers which clients would break if a policy were enforced
// that is not: a shadow policy. It holds what happened, and judges nothing
// itself.
//
// Memory is bounded whatever clients do: so many records in all, of which the
// one that was not seen for longest goes first, and so many of each network,
// whose further ones are put together. No string is longer than [MaxText].
package shadow

import (
	"cmp"
	"container/list"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"
)

// Limits of a [Book].
const (
	MaxRecords           = 10_000 // some 8 MB
	MaxRecordsPerNetwork = 64     // of one listener and candidate
	MaxText              = 256    // bytes of each string of a client
)

// Candidate is a shadow policy of a listener.
type Candidate struct {
	Listener string `json:"listener"`
	Policy   string `json:"policy"`
}

// Client is a kind of client that a candidate would refuse: everything that
// connections of it have in common.
type Client struct {
	Candidate
	Reason     string `json:"reason"`         // of the refusal, as in policy.Reason
	Network    string `json:"network"`        // the /24 of an IPv4 address, the /48 of IPv6's
	ServerName string `json:"sni"`            // "" for none
	Subject    string `json:"client_subject"` // of its certificate, "" for none
	JA4        string `json:"ja4"`            // fingerprint of its hello
	Identity   string `json:"identity"`       // what its first bytes say, "" for nothing
	Others     bool   `json:"others"`         // several kinds put together: the network has too many
}

// Record is what is known of a kind of client.
type Record struct {
	Client
	Detail string    `json:"detail"` // of the last refusal, for people
	Count  uint64    `json:"count"`  // connections
	First  time.Time `json:"first_seen"`
	Last   time.Time `json:"last_seen"`
}

// Tally is how a candidate would have judged all clients.
type Tally struct {
	Candidate
	Since    time.Time `json:"since"`
	Judged   uint64    `json:"judged"`         // hellos
	Broken   uint64    `json:"would_refuse"`   // connections that were made
	Admitted uint64    `json:"would_admit"`    // hellos that the policy in force refused
	Content  string    `json:"content_sha256"` // of the two policies: other ones begin anew
}

// Impact is everything that a Book holds.
type Impact struct {
	Tallies   []Tally  `json:"policies"`
	Clients   []Record `json:"clients"`   // those that came last first
	Forgotten uint64   `json:"forgotten"` // records that had to make room

	// Returned are policies that were in force for some clients, and refused too
	// many, with the digest of what they were then.
	Returned []Return `json:"returned"`
}

// Return is the end of a canary.
type Return struct {
	Candidate
	Content string `json:"content_sha256"`
}

// Book is the memory. Its zero value is ready for use, by many goroutines.
type Book struct {
	mu        sync.Mutex
	tallies   map[Candidate]*Tally
	records   map[Client]*list.Element // of *Record
	recent    list.List                // the one seen last in front
	kinds     map[home]int             // records of each network
	forgotten uint64
	returned  map[Candidate]string // canaries that ended for their refusals, with their content
	changed   bool                 // since the last Save
}

// home is what the bound for a network counts by.
type home struct {
	Candidate
	network string
}

func (c *Client) home() home { return home{c.Candidate, c.Network} }

// Network is the network that a client counts as: who renews a fleet of sensors
// asks for the site and not for the address, which may be another one tomorrow.
func Network(a netip.Addr) string {
	a = a.Unmap()
	bits := 48
	if a.Is4() {
		bits = 24
	}
	if !a.IsValid() {
		return ""
	}
	return netip.PrefixFrom(a.WithZone(""), bits).Masked().String()
}

// Watch sets the candidates that there are, each with the digest of what it
// means. What is known of others, and of those that mean something else now, is
// dropped.
func (b *Book) Watch(contents map[Candidate]string, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	tallies := make(map[Candidate]*Tally, len(contents))
	for candidate, content := range contents {
		if known := b.tallies[candidate]; known != nil && known.Content == content {
			tallies[candidate] = known
		} else {
			tallies[candidate] = &Tally{Candidate: candidate, Since: now.UTC(), Content: content}
		}
	}
	for e := b.recent.Front(); e != nil; {
		next := e.Next()
		candidate := e.Value.(*Record).Candidate
		if tallies[candidate] == nil || tallies[candidate] != b.tallies[candidate] {
			b.drop(e)
		}
		e = next
	}
	b.tallies, b.changed = tallies, true
}

// Judged counts a hello. admits says that the candidate would let it in where the
// policy in force does not.
func (b *Book) Judged(candidate Candidate, admits bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if t := b.tallies[candidate]; t != nil {
		t.Judged++
		if admits {
			t.Admitted++
		}
		b.changed = true
	}
}

// Broken takes note of a connection that the candidate would have refused. It
// returns how many records there are.
func (b *Book) Broken(c Client, detail string, now time.Time) int {
	for _, text := range []*string{&c.ServerName, &c.Subject, &c.JA4, &c.Identity, &detail} {
		*text = bounded(*text)
	}
	now = now.UTC()
	b.mu.Lock()
	defer b.mu.Unlock()
	t := b.tallies[c.Candidate]
	if t == nil { // of a configuration that is gone
		return b.recent.Len()
	}
	t.Broken++
	b.changed = true
	if b.records[c] == nil && b.kinds[c.home()] >= MaxRecordsPerNetwork {
		c = Client{Candidate: c.Candidate, Reason: c.Reason, Network: c.Network, Others: true}
	}
	if e := b.records[c]; e != nil {
		r := e.Value.(*Record)
		r.Count, r.Last, r.Detail = r.Count+1, now, detail
		b.recent.MoveToFront(e)
		return b.recent.Len()
	}
	b.add(&Record{Client: c, Detail: detail, Count: 1, First: now, Last: now})
	if b.recent.Len() > MaxRecords {
		b.drop(b.recent.Back())
		b.forgotten++
	}
	return b.recent.Len()
}

func (b *Book) add(r *Record) {
	if b.records == nil {
		b.records, b.kinds = make(map[Client]*list.Element), make(map[home]int)
	}
	b.records[r.Client] = b.recent.PushFront(r)
	b.kinds[r.home()]++
}

func (b *Book) drop(e *list.Element) {
	r := b.recent.Remove(e).(*Record)
	delete(b.records, r.Client)
	if b.kinds[r.home()]--; b.kinds[r.home()] == 0 {
		delete(b.kinds, r.home())
	}
}

// Return remembers that a canary has ended, for as long as it means the same.
func (b *Book) Return(c Candidate, content string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.returned == nil {
		b.returned = make(map[Candidate]string)
	}
	b.returned[c], b.changed = content, true
}

// Returned says whether a canary has ended.
func (b *Book) Returned(c Candidate, content string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.returned[c] == content && content != ""
}

// bounded cuts a text, and what was not UTF-8 of it.
func bounded(s string) string {
	return strings.ToValidUTF8(s[:min(len(s), MaxText)], "\uFFFD")
}

// Tallies are those of all candidates, by listener.
func (b *Book) Tallies() []Tally {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.sorted()
}

func (b *Book) sorted() []Tally {
	all := make([]Tally, 0, len(b.tallies))
	for _, t := range b.tallies {
		all = append(all, *t)
	}
	slices.SortFunc(all, func(a, b Tally) int {
		return cmp.Or(cmp.Compare(a.Listener, b.Listener), cmp.Compare(a.Policy, b.Policy))
	})
	return all
}

// Impact is a copy of all that is known.
func (b *Book) Impact() Impact {
	b.mu.Lock()
	defer b.mu.Unlock()
	impact := Impact{Tallies: b.sorted(), Clients: make([]Record, 0, b.recent.Len()), Forgotten: b.forgotten}
	for candidate, content := range b.returned {
		impact.Returned = append(impact.Returned, Return{candidate, content})
	}
	slices.SortFunc(impact.Returned, func(a, b Return) int {
		return cmp.Or(cmp.Compare(a.Listener, b.Listener), cmp.Compare(a.Policy, b.Policy))
	})
	for e := b.recent.Front(); e != nil; e = e.Next() {
		impact.Clients = append(impact.Clients, *e.Value.(*Record))
	}
	return impact
}
