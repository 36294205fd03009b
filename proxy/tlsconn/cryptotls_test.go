package tlsconn

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"time"
)

// tlsOutcome is what both sides see of a session.
type tlsOutcome struct {
	Server, Client         view
	ServerFailed, Received string // how it failed, if it did
}

// view is what the connection's state has to say the same of, whichever server.
type view struct {
	Suite      uint16
	Group      tls.CurveID
	Resumed    bool
	Protocol   string
	ServerName string
	Peers      int
	Chains     int
	Unique     bool
}

func viewOf(s tls.ConnectionState) view {
	return view{s.CipherSuite, s.CurveID, s.DidResume, s.NegotiatedProtocol, s.ServerName, len(s.PeerCertificates), len(s.VerifiedChains), len(s.TLSUnique) > 0}
}

// standardServer and ownServer return the two servers that are compared, with
// the same settings.
func standardServer(config *Config) func(net.Conn) serverConn {
	standard := &tls.Config{
		Certificates: config.Certificates, CipherSuites: config.CipherSuites, CurvePreferences: config.CurvePreferences, NextProtos: config.NextProtos,
		ClientAuth: config.ClientAuth, ClientCAs: config.ClientCAs, MaxVersion: max(config.Version, tls.VersionTLS12),
		VerifyConnection: config.VerifyConnection, VerifyPeerCertificate: config.VerifyPeerCertificate,
	}
	standard.SetSessionTicketKeys([][32]byte{{1}})
	return func(conn net.Conn) serverConn { return tls.Server(conn, standard) }
}

func ownServer(config *Config) func(net.Conn) serverConn {
	own := *config
	own.Tickets = testTickets(1)
	return func(conn net.Conn) serverConn { return Server(conn, &own) }
}

type serverConn interface {
	net.Conn
	Handshake() error
	CloseWrite() error
	ConnectionState() tls.ConnectionState
}

// crypto/tls's client finds no difference between crypto/tls's server and this
// one, with the suites that both serve.
func TestLikeCryptoTLS(t *testing.T) {
	p := testPKI()
	for _, suite := range []uint16{
		tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA,
		tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA,
		0xC027, tls.TLS_RSA_WITH_AES_256_GCM_SHA384, 0x003C, tls.TLS_AES_128_GCM_SHA256,
	} {
		for _, tt := range []struct {
			name   string
			change func(server *Config, client *tls.Config)
		}{
			{"plain", func(*Config, *tls.Config) {}},
			{"P-256", func(_ *Config, c *tls.Config) { c.CurvePreferences = []tls.CurveID{tls.CurveP256} }},
			{"P-384", func(_ *Config, c *tls.Config) { c.CurvePreferences = []tls.CurveID{tls.CurveP384} }},
			{"P-521", func(_ *Config, c *tls.Config) { c.CurvePreferences = []tls.CurveID{tls.CurveP521} }},
			{"without tickets", func(_ *Config, c *tls.Config) { c.SessionTicketsDisabled, c.ClientSessionCache = true, nil }},
			{"protocol", func(s *Config, c *tls.Config) {
				s.NextProtos = []string{"mqtt", "amqp"}
				c.NextProtos = []string{"amqp", "mqtt"}
			}},
			{"no protocol in common", func(s *Config, c *tls.Config) { s.NextProtos = []string{"mqtt"}; c.NextProtos = []string{"amqp"} }},
			{"no protocol here", func(_ *Config, c *tls.Config) { c.NextProtos = []string{"amqp"} }},
			{"no suite in common", func(s *Config, _ *tls.Config) {
				if s.Version == tls.VersionTLS12 { // crypto/tls cannot choose those of TLS 1.3
					s.CipherSuites = []uint16{0x009F} // which crypto/tls has not
				}
			}},
			{"another group than the one that was sent", func(s *Config, _ *tls.Config) { s.CurvePreferences = []tls.CurveID{tls.CurveP384} }},
			{"no group in common", func(s *Config, c *tls.Config) {
				s.CurvePreferences, c.CurvePreferences = []tls.CurveID{tls.CurveP384}, []tls.CurveID{tls.CurveP256}
			}},
			{"X25519MLKEM768", func(s *Config, c *tls.Config) {
				s.CurvePreferences = append([]tls.CurveID{tls.X25519MLKEM768}, s.CurvePreferences...)
				c.CurvePreferences = []tls.CurveID{tls.X25519MLKEM768, tls.CurveP521}
			}},
			{"version", func(_ *Config, c *tls.Config) {
				c.MinVersion, c.MaxVersion = tls.VersionTLS11, tls.VersionTLS11
				c.CipherSuites = append(c.CipherSuites, tls.TLS_RSA_WITH_AES_128_CBC_SHA)
			}},
			{"certificate required, none", func(s *Config, _ *tls.Config) { s.ClientAuth = tls.RequireAnyClientCert }},
			{"certificate requested, none", func(s *Config, _ *tls.Config) { s.ClientAuth = tls.RequestClientCert }},
			{"certificate verified, RSA", func(s *Config, c *tls.Config) {
				s.ClientAuth = tls.RequireAndVerifyClientCert
				c.Certificates = []tls.Certificate{*p.clientRSA}
			}},
			{"certificate verified, ECDSA", func(s *Config, c *tls.Config) {
				s.ClientAuth = tls.RequireAndVerifyClientCert
				c.Certificates = []tls.Certificate{*p.clientECDSA}
			}},
			{"certificate verified, Ed25519", func(s *Config, c *tls.Config) {
				s.ClientAuth = tls.RequireAndVerifyClientCert
				c.Certificates = []tls.Certificate{*p.clientEd25519}
			}},
			{"certificate verified, stranger's", func(s *Config, c *tls.Config) {
				s.ClientAuth, s.ClientCAs = tls.RequireAndVerifyClientCert, x509.NewCertPool()
				certificate := p.clientECDSA
				c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return certificate, nil }
			}},
			{"callback refuses", func(s *Config, _ *tls.Config) {
				s.VerifyConnection = func(tls.ConnectionState) error { return errors.New("no") }
			}},
			{"client refuses", func(_ *Config, c *tls.Config) { c.RootCAs = x509.NewCertPool() }},
		} {
			t.Run(fmt.Sprintf("%04X %s", suite, tt.name), func(t *testing.T) {
				var outcomes [2][]tlsOutcome
				for i, server := range []func(*Config) func(net.Conn) serverConn{standardServer, ownServer} {
					version := uint16(tls.VersionTLS12)
					if suite13ByID(suite) != nil {
						version = tls.VersionTLS13
					}
					config := &Config{Version: version, Certificates: []tls.Certificate{*p.server}, CipherSuites: []uint16{suite}, ClientCAs: p.roots,
						CurvePreferences: []tls.CurveID{tls.X25519, tls.CurveP256, tls.CurveP384, tls.CurveP521}}
					client := &tls.Config{RootCAs: p.roots, ServerName: "gate.test", MaxVersion: version, CipherSuites: []uint16{suite},
						ClientSessionCache: tls.NewLRUClientSessionCache(1)}
					if version == tls.VersionTLS12 {
						forSuite(config, suite)
					}
					tt.change(config, client)
					outcomes[i] = tlsSessions(t, server(config), client)
				}
				for i := range outcomes[0] {
					standard, own := fmt.Sprintf("%+v", outcomes[0][i]), fmt.Sprintf("%+v", outcomes[1][i])
					if standard != own {
						t.Errorf("session %d\ncrypto/tls: %s\nthis one:   %s", i, standard, own)
					}
				}
			})
		}
	}
}

// tlsSessions connects twice: to resume, if that can be.
func tlsSessions(t *testing.T, server func(net.Conn) serverConn, client *tls.Config) (outcomes []tlsOutcome) {
	for range 2 {
		near, far := pipe(t)
		deadline := time.Now().Add(20 * time.Second)
		must(near.SetDeadline(deadline))
		must(far.SetDeadline(deadline))
		own, peer := server(near), tls.Client(far, client)
		done := make(chan error)
		go func() {
			err := echoOnce(own)
			if err != nil {
				endInOrder(near)
			}
			done <- err
		}()
		clientErr := exchangeOnce(peer)
		far.Close()
		serverErr := <-done

		var o tlsOutcome
		o.Server, o.Client = viewOf(own.ConnectionState()), viewOf(peer.ConnectionState())
		if clientErr == nil && serverErr == nil {
			checkSameKeys(t, own, peer)
		} else {
			// A failed handshake leaves what it leaves; the alert is the point.
			o.Server, o.Client = view{}, view{}
		}
		o.ServerFailed, o.Received = kindOf(serverErr), received(clientErr)
		outcomes = append(outcomes, o)
	}
	return outcomes
}

// endInOrder closes a connection so that what was sent arrives, and whatever the
// client has sent meanwhile does not reset it.
func endInOrder(conn net.Conn) {
	_ = conn.(interface{ CloseWrite() error }).CloseWrite()
	_, _ = io.Copy(io.Discard, conn)
	conn.Close()
}

// checkSameKeys compares what both sides export.
func checkSameKeys(t *testing.T, server serverConn, client *tls.Conn) {
	t.Helper()
	own, ok := server.(*Conn)
	if !ok {
		return
	}
	state := client.ConnectionState()
	want, err := state.ExportKeyingMaterial("EXPERIMENTAL test", []byte("context"), 40)
	must(err)
	if got, err := own.ExportKeyingMaterial("EXPERIMENTAL test", []byte("context"), 40); err != nil || !bytes.Equal(got, want) {
		t.Errorf("exported %x, %v; the client %x", got, err, want)
	}
}

// echoOnce sends what it reads back, and closes in order.
func echoOnce(conn serverConn) error {
	if err := conn.Handshake(); err != nil {
		return err
	}
	got := make([]byte, 100<<10)
	if _, err := io.ReadFull(conn, got); err != nil {
		return err
	}
	if _, err := conn.Write(got); err != nil {
		return err
	}
	if err := conn.CloseWrite(); err != nil {
		return err
	}
	if n, err := conn.Read(got); n != 0 || err != io.EOF {
		return fmt.Errorf("read %d, %w at the end", n, err)
	}
	return nil
}

func exchangeOnce(conn net.Conn) error {
	want := bytes.Repeat([]byte("0123456789abcdef"), 100<<6)
	if _, err := conn.Write(want); err != nil {
		return err
	}
	got, err := io.ReadAll(conn)
	if err != nil {
		return err
	}
	if !bytes.Equal(got, want) {
		return fmt.Errorf("%d bytes came back, or changed", len(got))
	}
	return conn.Close()
}

// kindOf is an error without what may differ.
func kindOf(err error) string {
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "remote error" {
		return "the client's alert"
	} else if err != nil {
		return "failed"
	}
	return ""
}

// received is the alert that crypto/tls's client got.
func received(err error) string {
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "remote error" {
		return op.Err.Error()
	}
	return kindOf(err)
}
