package configs

import (
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// scalar is a single value.
type scalar interface {
	// kind is the YAML tag that the value must have, and what to call it in
	// an error.
	kind() (tag, want string)
	// parse reads the value's text. Errors are without the text's position.
	parse(text string) error
}

// text is any text that is not empty: a path, or the name of something that is
// looked up.
type text string

func (*text) kind() (tag, want string) { return "!!str", "text" }

func (t *text) parse(s string) error {
	const longest = 4096 // PATH_MAX of Linux
	if s == "" || len(s) > longest {
		return fmt.Errorf("%s must have 1 to %d bytes", quote(s), longest)
	}
	*t = text(s)
	return nil
}

// name is what a person calls a thing: it becomes a log field and a metric
// label.
type name string

func (*name) kind() (tag, want string) { return "!!str", "a name" }

func (n *name) parse(s string) error {
	const longest = 64
	if s == "" || len(s) > longest || !madeOf(s[:1], "") || !madeOf(s, "-._") {
		return fmt.Errorf("bad name %s; want a letter or digit, then letters, digits, '-', '.' and '_', at most %d", quote(s), longest)
	}
	*n = name(s)
	return nil
}

// variable is the name of an environment variable.
type variable string

func (*variable) kind() (tag, want string) { return "!!str", "the name of an environment variable" }

func (v *variable) parse(s string) error {
	const longest = 255
	if s == "" || len(s) > longest || !madeOf(s, "_") || '0' <= s[0] && s[0] <= '9' {
		return fmt.Errorf("bad name %s; want letters, digits and '_', at most %d and no digit first", quote(s), longest)
	}
	*v = variable(s)
	return nil
}

// duration is a length of time above zero.
type duration time.Duration

func (*duration) kind() (tag, want string) {
	return "!!str", "a duration with its unit, such as 10s"
}

func (d *duration) parse(s string) error {
	v, err := time.ParseDuration(s)
	switch {
	case err != nil:
		return fmt.Errorf("bad duration %s; want a number with its unit, such as 500ms, 10s or 1m30s", quote(s))
	case v <= 0:
		return fmt.Errorf("duration %s is not above zero", quote(s))
	}
	*d = duration(v)
	return nil
}

// count is a whole number from 0.
type count int

func (*count) kind() (tag, want string) { return "!!int", "a whole number, such as 1000" }

func (c *count) parse(s string) error {
	v, err := strconv.ParseInt(s, 10, 64)
	if err != nil || v < 0 || v > math.MaxInt32 {
		return fmt.Errorf("want a whole number from 0 to %d, not %s", math.MaxInt32, strings.Trim(quote(s), `"`))
	}
	*c = count(v)
	return nil
}

// percentage is a part of something, in whole percents below 100.
type percentage int

func (*percentage) kind() (tag, want string) { return "!!str", "a percentage, such as 10%" }

func (p *percentage) parse(s string) error {
	number, found := strings.CutSuffix(s, "%")
	v, err := strconv.ParseUint(number, 10, 7)
	if err != nil || !found || v >= 100 {
		return fmt.Errorf("want a percentage from 0%% to 99%%, not %s", quote(s))
	}
	*p = percentage(v)
	return nil
}

// toggle is on or off.
type toggle bool

func (*toggle) kind() (tag, want string) { return "!!bool", "true or false" }

func (t *toggle) parse(s string) error {
	v, err := strconv.ParseBool(strings.ToLower(s))
	if err != nil {
		return fmt.Errorf("want true or false, not %s", strings.Trim(quote(s), `"`))
	}
	*t = toggle(v)
	return nil
}

// choose is the parse method of types with few values.
func choose[T ~string](t *T, kind, s string, values ...string) error {
	if !slices.Contains(values, s) {
		return errors.New(unknown(kind, s, values))
	}
	*t = T(s)
	return nil
}

type logFormat string

func (*logFormat) kind() (tag, want string) { return "!!str", "json or text" }
func (f *logFormat) parse(s string) error   { return choose(f, "log format", s, "json", "text") }

type logLevel string

func (*logLevel) kind() (tag, want string) { return "!!str", "debug, info, warn or error" }
func (l *logLevel) parse(s string) error {
	return choose(l, "log level", s, "debug", "info", "warn", "error")
}

type addressDetail string

func (*addressDetail) kind() (tag, want string) { return "!!str", "full, prefix or off" }
func (d *addressDetail) parse(s string) error {
	return choose(d, "value", s, AddressesFull, AddressesPrefix, AddressesOff)
}

type protocol string

func (*protocol) kind() (tag, want string) { return "!!str", "the name of a protocol" }
func (p *protocol) parse(s string) error {
	return choose(p, "protocol", s, "amqp", "mqtt", "stomp", "openwire", "websocket", "auto", "tcp")
}

type serverName string

func (*serverName) kind() (tag, want string) { return "!!str", "any, known or required" }
func (n *serverName) parse(s string) error {
	return choose(n, "value", s, ServerNameAny, ServerNameKnown, ServerNameRequired)
}

// alpn is the name of an application protocol (RFC 7301 §3.1).
type alpn string

func (*alpn) kind() (tag, want string) { return "!!str", "the name of an application protocol" }

func (a *alpn) parse(s string) error {
	if s == "" || len(s) > 255 {
		return fmt.Errorf("bad name %s; want 1 to 255 bytes", quote(s))
	}
	*a = alpn(s)
	return nil
}

// host is what a certificate is for: a DNS name, perhaps with a wildcard for
// its first label, or an IP address.
type host string

func (*host) kind() (tag, want string) { return "!!str", "a DNS name or IP address" }

func (h *host) parse(s string) error {
	if err := checkHost(strings.TrimPrefix(s, "*.")); err != nil {
		return err
	}
	*h = host(s)
	return nil
}

// listenAddress is an address to listen on. Without a host, or with 0.0.0.0 or ::, it
// means every address of the machine; port 0 lets the system choose.
type listenAddress struct{ hostPort }

func (*listenAddress) kind() (tag, want string) {
	return "!!str", `an address, such as "127.0.0.1:5671"`
}
func (a *listenAddress) parse(s string) error { return a.hostPort.parse(s, true) }

// nodeAddress is the address of a broker.
type nodeAddress struct{ hostPort }

func (*nodeAddress) kind() (tag, want string) { return "!!str", `an address, such as "127.0.0.1:5672"` }
func (a *nodeAddress) parse(s string) error   { return a.hostPort.parse(s, false) }

// hostPort is an address in the form host:port.
type hostPort struct {
	host string     // as written
	ip   netip.Addr // zero where host is empty or a DNS name
	port uint16
}

func (a hostPort) String() string { return net.JoinHostPort(a.host, strconv.Itoa(int(a.port))) }

// parse reads an address. One to listen on may leave out the host, and the
// port may be 0.
func (a *hostPort) parse(s string, listen bool) error {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		if ip, err := netip.ParseAddr(s); err == nil && ip.Is6() {
			return fmt.Errorf("bad address %s; an IPv6 address stands in brackets before its port: %q", quote(s), "["+s+"]:5671")
		}
		why := "not of the form host:port"
		if e := (*net.AddrError)(nil); errors.As(err, &e) {
			why = strings.TrimSuffix(e.Err, " in address")
		}
		return fmt.Errorf("bad address %s: %s; want host:port", quote(s), why)
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil || number == 0 && !listen {
		return fmt.Errorf("bad address %s: port %s is not a number from 1 to 65535", quote(s), quote(port))
	}
	if host != "" || !listen {
		if err := checkHost(host); err != nil {
			return fmt.Errorf("bad address %s: %w", quote(s), err)
		}
	}
	ip, _ := netip.ParseAddr(host)
	if host == "localhost" {
		ip = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	*a = hostPort{host: host, ip: ip.Unmap(), port: uint16(number)}
	return nil
}

// wildcard says that the address stands for all of the machine. Package net
// listens on both IPv4 and IPv6 for each of the ways to write it.
func (a hostPort) wildcard() bool { return a.host == "" || a.ip.IsUnspecified() }

// sameHost says that two addresses name one host without looking it up.
func (a hostPort) sameHost(b hostPort) bool {
	if a.ip.IsValid() || b.ip.IsValid() {
		return a.ip == b.ip
	}
	return strings.EqualFold(strings.TrimSuffix(a.host, "."), strings.TrimSuffix(b.host, "."))
}

// overlaps says that only one of two addresses can be listened on.
func (a hostPort) overlaps(b hostPort) bool {
	return a.port == b.port && a.port != 0 && (a.wildcard() || b.wildcard() || a.sameHost(b))
}

// reaches says that who dials a comes to a listener on b. Whether a machine's
// own address or name is meant cannot be told here, so a wildcard listener is
// taken to be reached by loopback addresses alone.
func (a hostPort) reaches(b hostPort) bool {
	return a.port == b.port && (a.sameHost(b) || b.wildcard() && (a.ip.IsLoopback() || a.wildcard()))
}

// checkHost accepts IP addresses and host names (RFC 1123 §2.1, with the
// underscore that container networks allow).
func checkHost(s string) error {
	if _, err := netip.ParseAddr(s); err == nil {
		return nil
	}
	labels := strings.Split(strings.TrimSuffix(s, "."), ".")
	ok := len(s) <= 253
	for _, label := range labels {
		ok = ok && label != "" && len(label) <= 63 && madeOf(label, "-_") && strings.Trim(label, "-") == label
	}
	// A name whose last label is a number is a mistyped IPv4 address.
	if _, err := strconv.Atoi(labels[len(labels)-1]); err == nil {
		ok = false
	}
	if !ok {
		return fmt.Errorf("%s is neither an IP address nor a host name", quote(s))
	}
	return nil
}

// madeOf says that a text has ASCII letters, digits and the other characters
// alone.
func madeOf(s, others string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool {
		letter := 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z'
		return !letter && !('0' <= r && r <= '9') && !strings.ContainsRune(others, r)
	})
}
