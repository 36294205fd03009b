// Package configs is the configuration that users write: its schema, its
// defaults, and errors that point at the line and column of every mistake.
//
// The folder holds the example files too: reference.yml names every key with
// its default, the others are starting points for common set-ups.
package configs

import (
	"crypto/sha256"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"github.com/suitegate/suitegate/policy"
	"go.yaml.in/yaml/v4"
)

// What holds for a key that the file leaves out.
const (
	DefaultLogFormat         = "json"
	DefaultLogLevel          = "info"
	DefaultReusePort         = false
	DefaultWatch             = false
	DefaultRefusalsPerMinute = 100
	DefaultClientAddresses   = AddressesFull
	DefaultLogPeople         = true
	DefaultDrainTimeout      = 25 * time.Second // below the 30 s after which Kubernetes kills
	DefaultServerName        = ServerNameAny
	DefaultHandshakeTimeout  = 10 * time.Second
	DefaultFirstBytesTimeout = 10 * time.Second
	DefaultMaxConnections    = 0 // no limit
	DefaultMaxHandshakes     = 4096
	DefaultIdleTimeout       = 0 // none: MQTT and STOMP clients may be silent for days
	DefaultMaxAge            = 0 // no limit
	DefaultMaxAgeJitter      = 10

	DefaultMaxConnectionsPerClient = 0 // no limit
	DefaultMaxHandshakesPerClient  = 0 // no limit
	DefaultTicketRotation          = 12 * time.Hour
	DefaultTicketLifetime          = 24 * time.Hour
	DefaultTicketsShared           = false
	DefaultSessionTickets          = true
)

// What a listener does with clients whose server name none of its certificates
// has: values of Listener.ServerName.
const (
	ServerNameAny      = "any"      // serve them
	ServerNameKnown    = "known"    // refuse them, but not those that send no name
	ServerNameRequired = "required" // refuse both
)

// MaxShadow is how many shadow policies a listener can have.
const MaxShadow = 8

// MaxSize is the size in bytes of the largest file that is read.
const MaxSize = 1 << 20

// defaultSelfSignedNames are the names of a certificate for development.
func defaultSelfSignedNames() []string { return []string{"localhost", "127.0.0.1", "::1"} }

// Config is a whole configuration, checked and with every default filled in.
type Config struct {
	// File is where it was read from. Relative paths in the file are relative
	// to its directory; here they are joined with it already.
	File string

	Admin Admin
	Log   Log
	Audit Audit

	// Storage is the directory for what the gateway makes itself: self-signed
	// roots and certificates. Default: /var/lib/suitegate for root and where
	// there is no home directory, otherwise $XDG_DATA_HOME/suitegate or
	// ~/.local/share/suitegate.
	Storage string

	// Redis is used instead of the directory where it is set; Storage is "" then.
	Redis *Redis

	// Seal says how what is secret in the storage is sealed. Default: nil, it is
	// not.
	Seal *Seal

	// DrainTimeout is how long connections may go on after the order to stop.
	// Default: DefaultDrainTimeout (25 s).
	DrainTimeout time.Duration

	// ReusePort lets another gateway of the same user listen on the same addresses
	// (SO_REUSEPORT), which takes the place of this one. Default: DefaultReusePort
	// (false).
	ReusePort bool

	// Watch reloads the configuration when its file changes. Default: DefaultWatch
	// (false).
	Watch bool

	Hardening Hardening

	// FIPS is whether the process has to be in FIPS 140-3 mode: FIPSAuto or
	// FIPSRequired. Default: DefaultFIPS (auto).
	FIPS string

	Tickets Tickets

	Prove Prove

	Certificates []Certificate             // in the file's order, at least one
	Policies     map[string]*policy.Policy // the user's own, none named like a built-in one
	Upstreams    map[string]Upstream       // by name
	Listeners    []Listener                // in the file's order, at least one

	// Warnings are what is allowed but hardly meant, such as an upstream that
	// no listener uses. Sorted by position.
	Warnings Errors

	root  *yaml.Node // for Position
	paths []Path     // that stand in the file
	sum   [sha256.Size]byte
}

// SHA256 is that of the file, in hexadecimal.
func (c *Config) SHA256() string { return fmt.Sprintf("%x", c.sum) }

// Admin is the server for metrics and health, and for changes of the gateway
// while it runs.
type Admin struct {
	Address string // host:port. Default: "", no admin address
	Pprof   bool   // serve net/http/pprof under /debug/pprof/. Default: false

	// Socket is the path of a Unix socket that the same is served on. Whoever can
	// connect to it may change the gateway: the same user, and root. Default: "",
	// none.
	Socket string

	// TokenFile is the path of a file with the token that requests to Address have
	// to show that are to change the gateway, and TokenEnv the name of an
	// environment variable with it. At most one is set. Default: none, the address
	// is read-only.
	TokenFile, TokenEnv string
}

// Audit says where to write what operators did.
type Audit struct {
	File string // path. Default: "", in the log
}

// Log says how to write the log.
type Log struct {
	Format string // json or text. Default: DefaultLogFormat
	Level  string // debug, info, warn or error. Default: DefaultLogLevel

	// RefusalsPerMinute is how many connections that got no further than the
	// gateway have a line, for each listener and reason; the others are summed
	// up. Default: DefaultRefusalsPerMinute (100). 0 is no limit.
	RefusalsPerMinute int

	// ClientAddresses is AddressesFull, AddressesPrefix (the /24 of an IPv4 address,
	// the /48 of IPv6's) or AddressesOff. Default: DefaultClientAddresses (full).
	ClientAddresses string

	// What else lines say of who connects: the name that a client asks for, JA4, and
	// what its certificate says. Default: DefaultLogPeople (true).
	ServerNames, Fingerprints, ClientCertificates bool
}

// What the log says of the address of a client.
const (
	AddressesFull   = "full"
	AddressesPrefix = "prefix"
	AddressesOff    = "off"
)

// Tickets says how the keys of session tickets are kept, for all listeners.
type Tickets struct {
	// Rotation is how long one key encrypts, from 10 s to 7 days. Default:
	// DefaultTicketRotation (12 h).
	Rotation time.Duration

	// Lifetime is how long a session can be resumed, and its ticket's key is
	// kept after it has ceased to encrypt: at most 7 days (RFC 8446 §4.6.1) and
	// 50 rotations. Default: DefaultTicketLifetime (24 h).
	Lifetime time.Duration

	// Shared keeps the keys in the storage, for all gateways that have the same
	// storage and rotation. Default: DefaultTicketsShared (false).
	Shared bool
}

// Certificate is a certificate with its key, from exactly one source.
type Certificate struct {
	Name       string
	Files      *Files
	SelfSigned *SelfSigned
	ACME       *ACME

	// NoStapling does without OCSP responses, which are otherwise fetched and
	// stapled (RFC 6066 section 8) if the certificate names a responder: the
	// reverse of the key ocsp_stapling. Default: false.
	NoStapling bool

	Pos Pos
}

// Files are where a certificate chain and its key are: Certificate and Key, both
// PEM, or PKCS12, a bundle.
type Files struct {
	Certificate, Key, PKCS12 string // paths

	// PasswordFile is the path of a file with the password of the key or the
	// bundle, and PasswordEnv the name of an environment variable with it. At
	// most one is set. Default: there is no password.
	PasswordFile, PasswordEnv string
}

// SelfSigned is a certificate that the gateway issues from a root of its own.
type SelfSigned struct {
	Names []string // DNS names and IP addresses. Default: localhost, 127.0.0.1 and ::1
}

// Listener is an address that TLS clients connect to.
type Listener struct {
	Name     string
	Address  string // host:port; port 0 lets the system choose
	Protocol string // amqp, mqtt, stomp, openwire, websocket, auto or tcp
	Policy   *policy.Policy

	// Shadow are names of policies that every client is judged by besides, and
	// that are not enforced, at most MaxShadow. Default: none.
	Shadow []string

	// Canary is a policy that is in force for some clients. Default: nil, none.
	Canary *Canary

	ProxyProtocol ProxyProtocol

	// Certificates are names of Config.Certificates. Default: all of them.
	Certificates []string

	// ServerName is which clients are let in by the server name that they send
	// (RFC 6066 section 3): ServerNameAny, ServerNameKnown or
	// ServerNameRequired. Default: DefaultServerName (any).
	ServerName string

	// DefaultCertificate is what clients get that send no server name, or one
	// that no certificate has: one of Certificates. Default: "", the first of
	// them that has the type of key that was decided on.
	DefaultCertificate string

	ClientCertificates ClientCertificates

	// Exactly one of Upstream and Upstreams is set. Upstreams is by protocol
	// (amqp, mqtt, stomp, openwire, websocket) where Protocol is auto, and by
	// subprotocol (mqtt, stomp) where it is websocket.
	Upstream  string
	Upstreams map[string]string

	// ALPN is what is negotiated (RFC 7301). Default: nothing, what clients
	// offer is ignored.
	ALPN []string

	// SessionTickets lets clients resume their sessions. Default:
	// DefaultSessionTickets (true).
	SessionTickets bool

	// HelloTimeout bounds the ClientHello, and the header of the PROXY protocol
	// where there is one. Default: HandshakeTimeout.
	HelloTimeout time.Duration

	// HandshakeTimeout bounds the ClientHello and the handshake together.
	// Default: DefaultHandshakeTimeout (10 s).
	HandshakeTimeout time.Duration

	// FirstBytesTimeout bounds the wait for what tells the protocol.
	// Default: DefaultFirstBytesTimeout (10 s).
	FirstBytesTimeout time.Duration

	// MaxConnections is how many may be open at once. Default:
	// DefaultMaxConnections (0, no limit).
	MaxConnections int

	// Allow and Deny are the networks of the clients that may connect, and of
	// those that may not whatever Allow has. Defaults: everyone, and none.
	Allow, Deny []netip.Prefix

	// MaxConnectionsPerClient is how many connections each client may have open
	// at once: each IPv4 address, and each /64 of IPv6. Default:
	// DefaultMaxConnectionsPerClient (0, no limit).
	MaxConnectionsPerClient int

	// MaxHandshakes is how many connections may be in their handshakes at once,
	// from accept on. For one more the oldest has to go. Default:
	// DefaultMaxHandshakes (4096, some four seconds' worth of RSA handshakes for
	// one processor); 0 is no limit.
	MaxHandshakes int

	// MaxHandshakesPerClient is how many each client may have, beyond which new
	// ones are refused. Default: DefaultMaxHandshakesPerClient (0, no limit).
	MaxHandshakesPerClient int

	// HandshakeRate is how often clients may connect, and HandshakeRatePerClient
	// each of them. Default: no limit.
	HandshakeRate, HandshakeRatePerClient Rate

	// IdleTimeout is how long a connection may carry nothing, in neither
	// direction, once its client has reached a broker. Default:
	// DefaultIdleTimeout (0, no limit).
	IdleTimeout time.Duration

	// MaxAge is how long a connection may be open, and MaxAgeJitter by how many
	// percent less at most, drawn anew for each one, so that those which began
	// together do not end together. Defaults: DefaultMaxAge (0, no limit) and
	// DefaultMaxAgeJitter (10).
	MaxAge       time.Duration
	MaxAgeJitter int

	Pos Pos
}

// Load reads a file and checks it like [Parse]. A file that cannot be read is
// an error that wraps the one of package os.
func Load(file string) (*Config, error) {
	data, err := Read(file)
	if err != nil {
		return nil, err
	}
	return Parse(file, data)
}

// Read reads a file for [Parse]: no more of it than is needed to see that it is
// too large.
func Read(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("configs: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, MaxSize+1))
	if err != nil {
		return nil, fmt.Errorf("configs: %w", err)
	}
	return data, nil
}

// Parse checks data, a YAML document, and fills in the defaults. It finds all
// mistakes at once: its error is [Errors], sorted by position. The file's name
// appears in them and is what relative paths start from; it is not opened.
func Parse(file string, data []byte) (*Config, error) {
	root, err := parseYAML(file, data)
	if err != nil {
		return nil, Errors{*err}
	}
	d := &decoder{file: file}
	var doc document
	ok := d.value(nil, root, &doc)
	cfg := &Config{File: file, root: root, sum: sha256.Sum256(data)}
	if ok && !d.stopped() {
		resolve(d, &doc, cfg)
	}
	if len(d.mistakes.errs) > 0 {
		d.mistakes.errs.Sort()
		return nil, d.mistakes.errs
	}
	cfg.Warnings = d.warnings.errs
	cfg.Warnings.Sort()
	return cfg, nil
}

// Policy is the policy of a name, built in or the user's own, or nil.
func (c *Config) Policy(name string) *policy.Policy {
	if builtin, ok := policy.Builtin(name); ok {
		return c.served(builtin)
	}
	return c.Policies[name]
}

// served is a policy as it can be in force.
func (c *Config) served(p *policy.Policy) *policy.Policy {
	if c.FIPSMode() {
		return p.FIPS()
	}
	return p
}

// resolvePath joins a path of the file with the file's directory.
func resolvePath(file, path string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(filepath.Dir(file), path)
}

// defaultStorage is the default of Config.Storage.
func defaultStorage(root bool, getenv func(string) string) string {
	// The XDG base directory specification ignores relative paths.
	data, home := getenv("XDG_DATA_HOME"), getenv("HOME")
	switch {
	case root:
	case filepath.IsAbs(data):
		return filepath.Join(data, "suitegate")
	case filepath.IsAbs(home):
		return filepath.Join(home, ".local", "share", "suitegate")
	}
	return "/var/lib/suitegate"
}
