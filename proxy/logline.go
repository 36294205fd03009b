package proxy

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"time"

	"github.com/suitegate/suitegate/proxy/engine"
	"github.com/suitegate/suitegate/proxy/relay"
	"github.com/suitegate/suitegate/proxy/sniff"
)

// end is the last thing that happens to a connection: it is counted, and its
// one line is logged, unless too many others have been refused like it.
// stats.Reason says how it ended when err doesn't.
func (c *connection) end(stats relay.Stats, err error) {
	reason, level := stats.Reason, slog.LevelInfo
	if err != nil {
		reason = reasonOf(err)
	}
	var mismatch *sniff.MismatchError
	if errors.As(err, &mismatch) {
		c.first.Protocol = mismatch.Found // on an openwire listener the relay finds out
	}
	stopped := !c.relayed || mismatch != nil // it got no further than the gateway
	refused := stopped && !unremarkable[reason]
	if refused {
		level = slog.LevelWarn
	}
	if reason == "panic" || reason == "internal_error" || reason == "not_as_decided" {
		level = slog.LevelError
	}
	fromClient := c.greeted + stats.FromClient
	if c.admitted {
		c.listener.active.Add(-1)
	}
	if c.node != nil {
		c.node.Release()
	}
	c.handshakeOver()
	c.lease.End()
	server := c.listener.server
	server.Metrics.Ended(c.route.Name, reason, refused)
	say := server.privacy.Load()
	if refused {
		why, _, _ := strings.Cut(say.words(c, err), "\n") // without a panic's stack
		server.refused.note(refusalKind{c.route.Name, reason}, lastRefusal{time.Now(), say.address(c.source), why})
	}
	clientAlert := ""
	if alert, ok := engine.ClientAlert(err); ok {
		clientAlert = engine.AlertName(alert)
		server.Metrics.ClientAlerted(c.route.Name, clientAlert)
	}
	if stopped && !server.sampling.takes(sample{c.route.Name, reason}, server.log()) {
		return
	}

	attrs := append(c.attrs(say),
		slog.Int64("bytes_from_client", fromClient),
		slog.Int64("bytes_from_backend", stats.FromBackend),
		slog.Duration("duration", time.Since(c.start).Round(time.Microsecond)),
		slog.String("reason", reason),
	)
	if err != nil {
		if c.alert != 0 {
			attrs = append(attrs, slog.String("alert", engine.AlertName(c.alert)))
		}
		if clientAlert != "" {
			attrs = append(attrs, slog.String("client_alert", clientAlert))
		}
		attrs = append(attrs, slog.String("error", say.words(c, err)))
		attrs = append(attrs, offered(c.hello, err)...)
	}
	server.logConnection(level, attrs)
}

// logConnection logs without asking where in the program it stands, which a Logger
// does for every line although nobody wants to know.
func (s *Server) logConnection(level slog.Level, attrs []slog.Attr) {
	handler := s.log().Handler()
	if ctx := context.Background(); handler.Enabled(ctx, level) {
		record := slog.NewRecord(time.Now(), level, "connection", 0)
		record.AddAttrs(attrs...)
		_ = handler.Handle(ctx, record) // a Logger would ignore it, too
	}
}

// unremarkable are the reasons to end before a broker was reached that say
// nothing of importance: port checks connect and close, and so do authorities.
var unremarkable = map[string]bool{"client_closed": true, "shutdown": true, reasonChallenge: true}

// attrs says as much as the connection got to know, and may be said.
func (c *connection) attrs(say *privacy) []slog.Attr {
	attrs := make([]slog.Attr, 0, 31)
	add := func(key, value string) {
		if value != "" {
			attrs = append(attrs, slog.String(key, value))
		}
	}
	add("listener", c.route.Name)
	add("client", say.address(c.source))
	if c.proxiedBy.IsValid() {
		add("proxied_by", c.proxiedBy.String())
	}
	if say.serverNames {
		add("sni", c.serverName)
	}
	add("alpn_offered", c.alpnOffered)
	if say.fingerprints {
		add("ja4", c.ja4)
	}
	if c.canary != nil {
		add("canary", c.canary.Policy)
	}
	if c.decision.Version != 0 {
		add("version", c.decision.Version.String())
		add("suite", c.decision.Suite.Name)
		add("group", c.groupName())
	}
	if c.certificate.Certificate != nil {
		add("certificate", c.certificate.Source)
		add("key", c.certificate.Key.String())
	}
	if c.engine != nil {
		add("engine", c.engine.Name())
	}
	if c.client != nil || c.relayed {
		add("alpn", c.alpn)
		attrs = append(attrs, slog.Bool("resumed", c.resumed))
	}
	if c.identity != nil && say.certificates {
		add("client_subject", shortened(c.identity.Subject))
		if names := c.identity.SANs(); len(names) > 0 {
			attrs = append(attrs, bounded("client_sans", names)...)
		}
		add("client_cert_serial", c.identity.Serial)
	}
	add("protocol", string(c.first.Protocol))
	add("variant", c.first.Variant)
	if c.pool != nil {
		add("upstream", c.pool.Name)
	}
	if c.node != nil {
		add("node", c.node.Address)
	}
	return attrs
}

// groupName is the group of the key exchange, "" for RSA's, which has none.
func (c *connection) groupName() string {
	if c.decision.Group == 0 {
		return ""
	}
	return c.decision.Group.String()
}

// protocolName is how a person calls what the client speaks.
func (c *connection) protocolName() string {
	if sub := c.first.Subprotocol(); sub != "" {
		return sub + " over websocket"
	}
	return string(c.first.Protocol)
}
