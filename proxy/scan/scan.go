package scan

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/suitegate/suitegate/policy"
)

// Options are how a server is asked. The zero value is ready for use.
type Options struct {
	ServerName string           // to ask for by SNI; "" sends none
	Parallel   int              // connections at once; 0 means 4
	Timeout    time.Duration    // for the answer to one hello; 0 means 5 s
	Pause      time.Duration    // before a hello is sent again to a server that may limit its clients; 0 means 1 s
	Progress   func(hellos int) // called after each hello with how many there were, by one goroutine at a time; may be nil
}

func (o *Options) timeout() time.Duration { return cmp.Or(o.Timeout, 5*time.Second) }
func (o *Options) pause() time.Duration   { return cmp.Or(o.Pause, time.Second) }

// chunk is how many suites a hello offers at most, to begin with: with more,
// hellos grow beyond what some old servers can take.
const chunk = 64

// versions are those that are asked for, the newest first.
var versions = [...]policy.Version{policy.TLS13, policy.TLS12, policy.TLS11, policy.TLS10, policy.SSL30}

// Scan asks the server at an address, "host:port", what it accepts. ctx bounds
// the time that all of it takes; some 50 hellos are enough for most servers, and
// each has a connection of its own. A server that accepts nothing is no error.
func Scan(ctx context.Context, address string, options Options) (*Report, error) {
	p := &prober{address: address, options: options, slots: make(chan struct{}, cmp.Or(options.Parallel, 4)), shares: sync.OnceValues(newShares)}
	found := make([]*Version, len(versions))
	group, ctx := errgroup.WithContext(ctx)
	for i, v := range versions {
		group.Go(func() (err error) {
			found[i], err = p.version(ctx, v)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	if p.asked == p.seen.silent {
		return nil, fmt.Errorf("scan: %s gives no answer within %s", address, options.timeout())
	}
	r := &Report{Address: address, ServerName: options.ServerName, Versions: []Version{}, Hellos: p.asked}
	for _, v := range found {
		if v != nil {
			r.Versions = append(r.Versions, *v)
		}
	}
	r.note(&p.seen)
	return r, nil
}

// version finds out everything about one version. It returns nil if the server
// does not accept it.
func (p *prober) version(ctx context.Context, v policy.Version) (*Version, error) {
	all := slices.Collect(slices.Chunk(policy.RegisteredSuites(), chunk))
	// The chunk with the suites that most servers have comes first, and the
	// others only if the version is not refused with it.
	common := slices.IndexFunc(all, func(ids []uint16) bool { return slices.Contains(ids, usual(v)) })
	all[0], all[common] = all[common], all[0]
	e := &elimination{prober: p, hello: hello{version: v, groups: allGroups(), serverName: p.options.ServerName}}
	accepted, err := e.suites(ctx, all[0])
	if err != nil || len(accepted) == 0 && e.noVersion {
		return nil, err
	}
	group, partCtx := errgroup.WithContext(ctx)
	found := make([][]uint16, len(all)-1)
	for i, ids := range all[1:] {
		part := &elimination{prober: p, hello: e.hello, retries: e.retries}
		group.Go(func() (err error) {
			found[i], err = part.suites(partCtx, ids)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	accepted = slices.Concat(append(found, accepted)...)
	if len(accepted) == 0 {
		return nil, nil
	}
	slices.Sort(accepted)
	return e.report(ctx, accepted)
}

// usual is a suite that most servers of a version have.
func usual(v policy.Version) uint16 {
	if v == policy.TLS13 {
		return 0x1301
	}
	return 0xC02F
}

// elimination asks for the same again and again, each time without what the
// server has chosen.
type elimination struct {
	prober    *prober
	hello     hello
	noVersion bool // the last hello was refused for its version, not for its suites
	retries   bool // the server answers hellos without a share by HelloRetryRequests
}

// ask returns no answer, and no error, where the server refuses.
func (e *elimination) ask(ctx context.Context, change func(*hello)) (*answer, error) {
	h := e.hello
	change(&h)
	a, err := e.prober.ask(ctx, &h)
	if h.version == policy.TLS13 && h.shares == nil && !e.retries && wantsShare(err) {
		if h.shares, err = e.prober.shares(); err == nil {
			a, err = e.prober.ask(ctx, &h)
		}
		if err == nil {
			e.hello.shares = h.shares // it will not change its mind
		}
	}
	e.retries = e.retries || err == nil && a.retry
	switch {
	case errors.Is(err, errRefused):
		e.noVersion = errors.Is(err, alertError(alertProtocolVersion)) || errors.Is(err, errSilent)
		return nil, nil
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case err != nil:
		return nil, fmt.Errorf("scan: %s: %w", h.version, err)
	case a.version != h.version: // an older one, as readAnswer sees to
		e.noVersion = true
		return nil, nil
	}
	return a, nil
}

// wantsShare reports whether a refusal may be one of a hello without any key
// share, which RFC 8446 §4.2.8 allows and some servers do not.
func wantsShare(err error) bool {
	alert, ok := errors.AsType[alertError](err)
	return ok && (alert == alertIllegalParameter || alert == alertDecodeError || alert == alertMissingExtension)
}

// suites returns those that the server accepts, in the order in which it chose
// them.
func (e *elimination) suites(ctx context.Context, offer []uint16) (accepted []uint16, err error) {
	for len(offer) > 0 {
		a, err := e.ask(ctx, func(h *hello) { h.suites = calm(offer) })
		if a == nil || err != nil {
			return accepted, err
		}
		accepted = append(accepted, a.suite)
		offer = slices.DeleteFunc(slices.Clone(offer), func(id uint16) bool { return id == a.suite })
	}
	return accepted, nil
}

// calm puts another suite before ChaCha20. A server with an order of its own may
// make an exception for a client that has ChaCha20 first, as one does that has no
// hardware for AES.
func calm(offer []uint16) []uint16 {
	offer = slices.Clone(offer)
	if at := slices.IndexFunc(offer, func(id uint16) bool { return !isChaCha20(id) }); at > 0 {
		offer[0], offer[at] = offer[at], offer[0]
	}
	return offer
}

func isChaCha20(id uint16) bool { return strings.Contains(policy.SuiteName(id), "CHACHA20") }

// decoy is a suite with AES that servers know and this one does not accept.
func decoy(v policy.Version, accepted []uint16) (id uint16, ok bool) {
	known := []uint16{0xC02F, 0xC030, 0xC02B, 0xC02C, 0x009C, 0x009D, 0x002F, 0x0035}
	if v == policy.TLS13 {
		known = []uint16{0x1301, 0x1302, 0x1304, 0x1305}
	}
	at := slices.IndexFunc(known, func(id uint16) bool { return !slices.Contains(accepted, id) })
	if at < 0 {
		return 0, false
	}
	return known[at], true
}

// report finds out the rest about a version, of which the server accepts some
// suites.
func (e *elimination) report(ctx context.Context, accepted []uint16) (*Version, error) {
	v := &Version{Version: e.hello.version, Name: e.hello.version.String(), Groups: []Group{}, ALPN: []string{}}
	order, err := e.suites(ctx, accepted)
	if err != nil {
		return nil, err
	}
	if len(order) != len(accepted) {
		return nil, fmt.Errorf("scan: %s: the server accepts %d suites by themselves, and %d of them together", v.Version, len(accepted), len(order))
	}
	if v.Preference, err = e.preference(ctx, order); err != nil {
		return nil, err
	}
	if v.Preference == ByClient {
		order = accepted
	}
	for _, id := range order {
		v.Suites = append(v.Suites, newSuite(id))
	}
	if v.Version == policy.SSL30 {
		return v, nil
	}
	if err := e.findGroups(ctx, v, order); err != nil {
		return nil, err
	}
	if v.Version == policy.TLS13 {
		return v, e.encrypted(ctx, v, order)
	}
	return v, e.extensions(ctx, v, order)
}

// preference finds out who decides, from the order in which the server chose.
func (e *elimination) preference(ctx context.Context, order []uint16) (Preference, error) {
	if len(order) < 2 {
		return "", nil
	}
	offer := slices.Clone(order)
	slices.Reverse(offer)
	reversed := calm(offer)
	if unwanted, ok := decoy(e.hello.version, order); ok && reversed[0] == order[0] { // the only one that is not ChaCha20
		reversed = slices.Concat([]uint16{unwanted}, offer)
	}
	a, err := e.ask(ctx, func(h *hello) { h.suites = reversed })
	switch {
	case err != nil:
		return "", err
	case a == nil:
		return "", fmt.Errorf("scan: %s: the server refuses what it has accepted, in another order", e.hello.version)
	case a.suite == order[0]:
		return ByServer, nil
	case a.suite == offer[0] || a.suite == reversed[0]:
		return ByClient, nil
	}
	return Mixed, nil
}

// extensions finds out what the server answers to extensions, and the size of
// its Diffie-Hellman group.
func (e *elimination) extensions(ctx context.Context, v *Version, order []uint16) error {
	v.Extensions = new(Extensions)
	for _, part := range [][]uint16{order, suitesWith(order, "_CBC_"), suitesWith(order, "TLS_DHE_", "TLS_DH_anon_", "TLS_PSK_DHE_")} {
		if len(part) == 0 {
			continue
		}
		a, err := e.ask(ctx, func(h *hello) { h.suites = part })
		if err != nil {
			return err
		}
		if a == nil {
			continue
		}
		answered := func(extension uint16) bool { return slices.Contains(a.extensions, extension) }
		x := v.Extensions
		x.EncryptThenMAC = x.EncryptThenMAC || answered(extEncryptThenMAC)
		x.ExtendedMasterSecret = x.ExtendedMasterSecret || answered(extExtendedMasterSecret)
		x.SecureRenegotiation = x.SecureRenegotiation || answered(extRenegotiationInfo)
		x.SessionTickets = x.SessionTickets || answered(extSessionTicket)
		v.DHEBits = max(v.DHEBits, a.dheBits)
	}
	return e.alpn(ctx, v, order)
}

// protocols are those of ALPN that are asked for: what brokers and web servers
// speak (IANA "TLS ALPN Protocol IDs").
var protocols = [...]string{"mqtt", "amqp", "stomp", "h2", "http/1.1", "http/1.0"}

// alpn finds out what protocols the server chooses.
func (e *elimination) alpn(ctx context.Context, v *Version, order []uint16) error {
	offer := slices.Clone(protocols[:])
	for len(offer) > 0 {
		a, err := e.ask(ctx, func(h *hello) { h.suites, h.alpn = order, offer })
		if err != nil {
			return err
		}
		if a == nil || a.alpn == "" {
			return nil
		}
		at := slices.Index(offer, a.alpn)
		if at < 0 {
			return fmt.Errorf("scan: %s: the server chooses ALPN protocol %q, which was not offered", v.Version, a.alpn)
		}
		v.ALPN = append(v.ALPN, a.alpn)
		offer = slices.Delete(slices.Clone(offer), at, at+1)
	}
	return nil
}

// suitesWith keeps the suites whose names have one of the parts.
func suitesWith(ids []uint16, parts ...string) (kept []uint16) {
	for _, id := range ids {
		name := policy.SuiteName(id)
		if slices.ContainsFunc(parts, func(part string) bool { return strings.Contains(name, part) }) {
			kept = append(kept, id)
		}
	}
	return kept
}
