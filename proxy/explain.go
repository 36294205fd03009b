package proxy

import (
	"fmt"
	"log/slog"
	"slices"

	"github.com/suitegate/suitegate/certs"
	"github.com/suitegate/suitegate/configs"
	"github.com/suitegate/suitegate/policy"
	"github.com/suitegate/suitegate/proxy/engine"
)

// Explanation is what a listener does with a client, and why.
type Explanation struct {
	// Keys are those of the certificates that the client can get, and
	// Certificate the one that it gets, by its name in the configuration; "" if
	// it is refused.
	Keys        []policy.KeyType
	Certificate string

	// Trace is what the policy makes of it; nil if the client is refused before,
	// for its server name. A client that the policy lets in can be refused yet,
	// for what it offers by ALPN.
	Trace   *policy.Trace
	Refused *Refused // nil if it is let in
}

// Refused is why a client is refused, as the log has it; of ALPN, the error has
// the words of neither engine.
type Refused struct {
	Reason string
	Alert  uint8 // RFC 8446 §6
	Err    error
}

// Judge decides on clients as one listener of a configuration does that has all
// its certificates: those that are still to be made or obtained are taken to be
// there, so that neither the storage is needed nor an authority. A canary policy
// is not in force.
type Judge struct {
	route *route
	held  *certs.Preview
}

// NewJudge judges the configuration as [Check] does, with the same error, and
// returns the judge of the listener of that name, which there has to be.
func NewJudge(config *configs.Config, listener string, logger *slog.Logger) (*Judge, error) {
	offers, routes, err := inspect(config, logger)
	if err != nil {
		return nil, err
	}
	at := slices.IndexFunc(routes, func(r *route) bool { return r.Name == listener })
	return &Judge{routes[at], certs.NewPreview(offers)}, nil
}

// Effective is the listener.
func (j *Judge) Effective() Effective { return j.route.effective() }

// Explain decides on a client, in the steps of [connection.decide]. alpn is what
// it offers besides (RFC 7301).
func (j *Judge) Explain(o policy.Offer, alpn []string) (*Explanation, error) {
	from, _, err := j.route.candidatesFor(j.held, &o)
	if err != nil {
		return &Explanation{Refused: &Refused{reasonOf(err), alertOf(err), err}}, nil
	}
	e := &Explanation{Keys: from.keys.Types()}
	e.Trace = j.route.Listener.Policy.Explain(policy.Have{Keys: e.Keys, Serves: j.route.engines.Serves}, o)
	if e.Trace.Refusal != nil {
		err := j.route.narrowed(from, e.Trace.Refusal)
		e.Refused = &Refused{reasonOf(err), alertOf(err), err}
		return e, nil
	}
	if ours := j.route.ALPN; len(ours) > 0 && len(alpn) > 0 && !slices.ContainsFunc(ours, func(p string) bool { return slices.Contains(alpn, p) }) {
		e.Refused = &Refused{engine.ReasonHandshakeFailed, alertNoApplicationProtocol,
			fmt.Errorf("proxy: the client offers the application protocols %q, and the listener has %q", alpn, ours)}
		return e, nil
	}
	e.Certificate, err = j.held.Select(from.sources, o.ServerName, e.Trace.Decision.Key)
	return e, err
}
