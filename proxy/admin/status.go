package admin

import (
	"time"

	"github.com/suitegate/suitegate/proxy/shadow"
	"github.com/suitegate/suitegate/proxy/upstream"
)

// Status is what /status answers, as JSON, and what the page at / shows. The
// lists are in an order that does not change by itself.
type Status struct {
	Host          string            `json:"host"` // the machine's name
	Version       string            `json:"version"`
	GoVersion     string            `json:"go_version"`
	FIPS          FIPS              `json:"fips"`
	State         string            `json:"state"`    // "ready", or what /readyz says
	Degraded      []string          `json:"degraded"` // causes for which the storage's keys cannot be used
	StartedAt     time.Time         `json:"started_at"`
	UptimeSeconds int64             `json:"uptime_seconds"`
	ConfigFile    string            `json:"config_file"`
	LoadedAt      time.Time         `json:"loaded_at"`
	ReloadFailure *ReloadFailure    `json:"reload_failure"` // null if the newest attempt was none
	Proof         *Proof            `json:"proof"`          // that listeners do as their policies say; null if that is off
	Listeners     []Listener        `json:"listeners"`
	Policies      []Policy          `json:"policies"` // that listeners use
	Handshakes    []Handshakes      `json:"handshakes"`
	Refusals      []Refusals        `json:"refusals"`             // those that came last first
	Shadow        []shadow.Tally    `json:"shadow"`               // of the shadow policies; /impact names the clients
	Upstreams     []upstream.Status `json:"upstreams"`            // sorted by name
	Certificates  []Certificate     `json:"certificates"`         // that are served now
	Awaited       []string          `json:"certificates_awaited"` // entries that are still to obtain some
}

// FIPS is the cryptographic module, and the FIPS 140-3 mode that the process is in.
type FIPS struct {
	Module  string `json:"module"`
	Version string `json:"version"` // "latest" if it is that of the Go release, which is not validated
	Mode    string `json:"mode"`    // off, on, or only: nothing that is not approved works
}

// ReloadFailure is why the configuration in force is not the newest one.
type ReloadFailure struct {
	At    time.Time `json:"at"`
	Error string    `json:"error"` // one line for each mistake
}

// Proof is what came of asking all listeners with all offers.
type Proof struct {
	At          time.Time `json:"at"`
	Offers      int       `json:"offers"`
	Differences int       `json:"differences"`
	SHA256      string    `json:"sha256"` // of the evidence
}

// Listener is one listener in a Status.
type Listener struct {
	Name              string            `json:"name"`
	State             string            `json:"state"` // "open", or "draining" if it leaves
	Address           string            `json:"address"`
	Protocol          string            `json:"protocol"`
	Policy            string            `json:"policy"`
	Canary            *Canary           `json:"canary"` // null if it has none
	TLS13             []string          `json:"tls13"`  // IANA names, in order of preference
	TLS12             []string          `json:"tls12"`
	Groups            []string          `json:"groups"`
	Unserved          []Unserved        `json:"unserved"` // suites of the policy
	Certificates      []string          `json:"certificates"`
	Clients           string            `json:"client_certificates"` // off, request or require
	Upstreams         map[string]string `json:"upstreams"`           // by protocol; "" for all
	Limits            map[string]string `json:"limits"`              // that are set, by their key in the configuration
	ConnectionsActive int               `json:"connections_active"`
	ConnectionsTotal  uint64            `json:"connections_total"`
	BytesFromClient   uint64            `json:"bytes_from_client"`
	BytesFromBackend  uint64            `json:"bytes_from_backend"`
}

// Canary is a policy that is in force for some clients of a listener.
type Canary struct {
	Policy  string `json:"policy"`
	State   string `json:"state"` // "waits", "on", "over", or "returned" when it has refused too many
	For     string `json:"for"`   // who and when, for people
	Judged  int64  `json:"judged"`
	Refused int64  `json:"refused"` // that the listener's policy would have let in
}

// Unserved is a suite that the policy names and the listener does not serve.
type Unserved struct {
	Suite string `json:"suite"`
	Why   string `json:"why"`
}

// Policy is one policy in a Status, as it is written.
type Policy struct {
	Name      string   `json:"name"`
	TLS13     []string `json:"tls13"`
	TLS12     []string `json:"tls12"`
	Groups    []string `json:"groups"`
	Listeners []string `json:"listeners"` // that use it
}

// Handshakes are completed handshakes that are alike. The names are those of
// the metric suitegate_handshakes_total.
type Handshakes struct {
	Listener string `json:"listener"`
	Version  string `json:"version"`
	Suite    string `json:"suite"`
	Group    string `json:"group"`
	Engine   string `json:"engine"`
	Resumed  bool   `json:"resumed"`
	Count    uint64 `json:"count"`
}

// Refusals are connections that got no further than the gateway for one reason,
// and the last of them.
type Refusals struct {
	Listener string    `json:"listener"`
	Reason   string    `json:"reason"`
	Count    uint64    `json:"count"`
	LastAt   time.Time `json:"last_at"`
	Client   string    `json:"last_client"`
	Error    string    `json:"last_error"` // as in the log
}

// Certificate is one certificate in a Status.
type Certificate struct {
	Name      string    `json:"name"`  // the configuration's entry
	State     string    `json:"state"` // valid, expires_soon, expired or not_yet_valid
	Key       string    `json:"key"`
	Names     []string  `json:"names"`
	Issuer    string    `json:"issuer"`
	Serial    string    `json:"serial"` // in hexadecimal
	NotBefore time.Time `json:"not_before"`
	NotAfter  time.Time `json:"not_after"`
	SHA256    string    `json:"sha256"` // of the certificate
}
