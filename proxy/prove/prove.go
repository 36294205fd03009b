package prove

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/suitegate/suitegate/policy"
	"github.com/suitegate/suitegate/proxy/scan"
)

// A Target is a listener as the clients of one server name see it.
type Target struct {
	ServerName string // "" for clients that send none

	// Expect is the right answer to an offer. See [Expect].
	Expect func(policy.Offer) scan.Answer

	// Dial makes a connection for one hello.
	Dial func(context.Context) (net.Conn, error)
}

// Options are how a target is asked. The zero value is ready for use.
type Options struct {
	Parallel int           // connections at once; 0 means 4
	Timeout  time.Duration // for the answer to one hello; 0 means 10 s

	// Again is how long to wait before a hello is sent once more that has no
	// answer or alert internal_error, which is what a server says that limits its
	// clients. That is done for the first few alone. Default: it is not.
	Again time.Duration
}

// Expect is what a listener under a policy answers. The policy is bound to what
// the listener has ([policy.Policy.Bind]).
func Expect(bound *policy.Policy) func(policy.Offer) scan.Answer {
	return func(o policy.Offer) scan.Answer {
		d, err := bound.Select(o)
		if refused, ok := err.(*policy.Refusal); ok {
			return scan.Answer{Alert: refused.Alert}
		}
		return scan.Answer{Version: d.Version, Suite: d.Suite.ID, Group: d.Group}
	}
}

// Cell is one offer, and what came of it. The words are those of a person.
type Cell struct {
	Version  string   `json:"version"`
	Suites   []string `json:"suites"`
	Groups   []string `json:"groups"`
	Expected string   `json:"expected"`
	Got      string   `json:"got"`
}

// Differs says that the answer was not the right one.
func (c Cell) Differs() bool { return c.Expected != c.Got }

// String is the offer and both answers.
func (c Cell) String() string {
	return fmt.Sprintf("%s, suites %s, groups %s: expected %s, got %s", c.Version, few(c.Suites), few(c.Groups), c.Expected, c.Got)
}

// few does not spell out a long list.
func few(names []string) string {
	if len(names) > 1 {
		return fmt.Sprintf("%s and %d more", names[0], len(names)-1)
	}
	return strings.Join(names, "")
}

// alertInternalError is what a limit says (RFC 8446 §6.2).
const alertInternalError = 80

// chunk is how many suites a hello offers that must be refused whole.
const chunk = 64

// Offers are all that a target is asked with. Each suite and group that a policy
// may name has a hello of its own, in each version of a policy; the others, which
// no policy can admit, come in chunks.
func Offers(serverName string) []scan.Hello {
	var known []uint16
	for _, s := range policy.Suites() {
		known = append(known, s.ID)
	}
	var named, strange []policy.Group
	for _, g := range scan.Groups() {
		if _, err := policy.ParseGroup(scan.GroupName(g)); err == nil {
			named = append(named, g)
		} else {
			strange = append(strange, g)
		}
	}
	foreign := slices.DeleteFunc(policy.RegisteredSuites(), func(id uint16) bool { return slices.Contains(known, id) })
	var all []scan.Hello
	add := func(v policy.Version, suites []uint16, groups ...policy.Group) {
		all = append(all, scan.Hello{Version: v, Suites: suites, Groups: groups, ServerName: serverName})
	}
	for _, v := range []policy.Version{policy.TLS13, policy.TLS12} {
		for i := range known {
			for _, g := range named {
				add(v, known[i:i+1], g)
			}
			add(v, known[i:i+1], strange...)
		}
		for ids := range slices.Chunk(foreign, chunk) {
			add(v, ids, scan.Groups()...)
		}
	}
	old := []policy.Version{policy.TLS11, policy.TLS10}
	if serverName == "" {
		old = append(old, policy.SSL30) // which has no extension to say a name in
	}
	for _, v := range old {
		for ids := range slices.Chunk(policy.RegisteredSuites(), chunk) {
			add(v, ids, scan.Groups()...)
		}
	}
	return all
}

// maxAgain is how many hellos are sent twice: where more of them fail, they will
// go on to.
const maxAgain = 20

// Run asks a target with all [Offers]. An answer that cannot be had is one that
// differs; the error is ctx's.
func Run(ctx context.Context, t Target, options Options) ([]Cell, error) {
	offers := Offers(t.ServerName)
	cells := make([]Cell, len(offers))
	var again atomic.Int32
	var group errgroup.Group
	group.SetLimit(cmp.Or(options.Parallel, 4))
	for i, h := range offers {
		if ctx.Err() != nil {
			break
		}
		group.Go(func() error {
			cells[i] = newCell(h, t.Expect(h.Offer()))
			got, mayPass := t.ask(ctx, h, options)
			if mayPass && options.Again > 0 && again.Add(1) <= maxAgain {
				select {
				case <-time.After(options.Again):
				case <-ctx.Done():
				}
				got, _ = t.ask(ctx, h, options)
			}
			cells[i].Got = got
			return nil
		})
	}
	_ = group.Wait() // none of them has an error
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return cells, nil
}

func newCell(h scan.Hello, expected scan.Answer) Cell {
	c := Cell{Version: h.Version.String(), Expected: text(expected)}
	for _, id := range h.Suites {
		c.Suites = append(c.Suites, policy.SuiteName(id))
	}
	for _, g := range h.Groups {
		c.Groups = append(c.Groups, scan.GroupName(g))
	}
	return c
}

// ask makes a connection for one hello. It reports whether another try may have
// another answer.
func (t *Target) ask(ctx context.Context, h scan.Hello, options Options) (got string, mayPass bool) {
	timeout := cmp.Or(options.Timeout, 10*time.Second)
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	conn, err := t.Dial(ctx)
	if err != nil {
		return "error: " + err.Error(), true
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	answer, err := h.Ask(conn)
	switch {
	case ctx.Err() != nil:
		return "error: no answer within " + timeout.String(), true
	case err != nil:
		return "error: " + err.Error(), true
	}
	return text(answer), answer.Alert == alertInternalError
}

// text is an answer in words: "TLSv1.2 TLS_… X25519", or "alert 40 (handshake
// failure)".
func text(a scan.Answer) string {
	switch {
	case a.Alert != 0:
		return fmt.Sprintf("alert %d (%s)", a.Alert, strings.TrimPrefix(tls.AlertError(a.Alert).Error(), "tls: "))
	case a.Group == 0:
		return fmt.Sprintf("%s %s", a.Version, policy.SuiteName(a.Suite))
	}
	return fmt.Sprintf("%s %s %s", a.Version, policy.SuiteName(a.Suite), scan.GroupName(a.Group))
}
