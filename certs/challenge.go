package certs

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// ACMETLS is the application protocol of the challenge tls-alpn-01 (RFC 8737
// section 6.2).
const ACMETLS = "acme-tls/1"

// ErrNoChallenge is the error of [Store.Challenge].
var ErrNoChallenge = errors.New("certs: no tls-alpn-01 challenge is open for this name")

// SolvesTLSALPN says whether any of the sources may be asked to answer a
// tls-alpn-01 challenge.
func (s *Store) SolvesTLSALPN() bool {
	return slices.ContainsFunc(s.acme, func(src *acmeSource) bool { return src.solves(TLSALPN01) })
}

// Challenge returns the certificate that answers the tls-alpn-01 challenge for
// a name (RFC 8737 section 3), which this process has opened or another one
// that shares the storage. conn is the client's. The error is ErrNoChallenge.
func (s *Store) Challenge(conn net.Conn, serverName string) (*tls.Certificate, error) {
	hello := &tls.ClientHelloInfo{ServerName: serverName, SupportedProtos: []string{ACMETLS}, Conn: conn}
	for _, i := range s.challenged(TLSALPN01, serverName) {
		if cert, err := i.solver.GetCertificate(hello); err == nil {
			return cert, nil
		}
	}
	return nil, ErrNoChallenge
}

// ServeHTTP answers http-01 challenges (RFC 8555 section 8.3) as Challenge
// does those of the other kind; to all else the answer is 404.
func (s *Store) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	for _, i := range s.challenged(HTTP01, host) {
		if i.issuer.HandleHTTPChallenge(w, r) {
			return
		}
	}
	http.NotFound(w, r)
}

// challenged are issuances for a name, one of each authority at least, that
// may be waiting for a challenge. Without one nobody makes the gateway look
// into its storage.
func (s *Store) challenged(challenge, name string) []*issuance {
	var found []*issuance
	for _, src := range s.acme {
		if !src.solves(challenge) {
			continue
		}
		// Those with the other kind of key have their challenges in the same place.
		all := src.all()
		if k := slices.IndexFunc(all, func(i *issuance) bool { return i.challengedAs(name) }); k >= 0 {
			found = append(found, all[k])
		}
	}
	return found
}

// challengedAs says whether name is what a challenge calls the issuance's: an
// address is called by its reverse mapping in TLS (RFC 8738 section 6).
func (i *issuance) challengedAs(name string) bool {
	name = strings.ToLower(name)
	if i.name == name {
		return true
	}
	reverse, err := dns.ReverseAddr(i.name)
	return err == nil && strings.TrimSuffix(reverse, ".") == name
}

// A doorstop holds an address. For each challenge certmagic listens on an
// address of its own, and takes it for granted, if that is taken, that who has
// it answers. The gateway answers with its own listeners.
type doorstop struct {
	host   string
	port   int
	socket net.Listener
	closed chan struct{}
}

// place takes an address of the loopback interface. Who connects to it, as
// certmagic does to see that it is taken, is closed again.
func (d *doorstop) place() error {
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("certs: an address for challenges: %w", err)
	}
	address := socket.Addr().(*net.TCPAddr)
	*d = doorstop{host: address.IP.String(), port: address.Port, socket: socket, closed: make(chan struct{})}
	go func(closed chan struct{}) {
		defer close(closed)
		for {
			conn, err := socket.Accept()
			switch {
			case err == nil:
				_ = conn.Close()
			case errors.Is(err, net.ErrClosed):
				return
			}
		}
	}(d.closed)
	return nil
}

// remove gives the address back.
func (d *doorstop) remove() {
	_ = d.socket.Close()
	<-d.closed
}
