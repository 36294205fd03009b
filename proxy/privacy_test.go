package proxy

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// hostile are clients that put a text of theirs wherever it could end in a label
// or a line.
func hostile(g *gateway, mark string) {
	g.t.Helper()
	name := strings.ToLower(mark) + ".example"
	for _, config := range []*tls.Config{
		{ServerName: name},
		{ServerName: name, NextProtos: []string{mark + "\n\",{}=" + mark}},
		{ServerName: name, MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_RSA_WITH_AES_128_CBC_SHA}},
	} {
		config.InsecureSkipVerify = true // whom it talks to is not the question
		conn, err := g.connect("front", config)
		if err == nil {
			// CONNECT with a client identifier, and then what is no protocol.
			id := mark + "\n"
			fmt.Fprintf(conn, "\x10%c\x00\x04MQTT\x04\x02\x00\x3c\x00%c%s", 12+len(id), len(id), id)
		}
		conn.Close()
	}
	conn, err := g.connect("front", &tls.Config{ServerName: name, InsecureSkipVerify: true})
	if err == nil {
		fmt.Fprintf(conn, "%s\n%s", mark, mark)
		conn.Close()
	}
	raw := g.dial("front")
	fmt.Fprintf(raw, "GET /%s HTTP/1.1\r\nHost: %s\r\n\r\n", mark, name)
	raw.Close()
}

// labels are all series there are, without their values.
func (g *gateway) labels() (all []string) {
	g.t.Helper()
	families, err := g.Metrics.Registry().Gather()
	if err != nil {
		g.t.Fatal(err)
	}
	for _, family := range families {
		for _, metric := range family.Metric {
			labels := []string{family.GetName()}
			for _, label := range metric.Label {
				labels = append(labels, label.GetName()+"="+label.GetValue())
			}
			all = append(all, strings.Join(labels, " "))
		}
	}
	return all
}

// What clients send becomes no label: twenty who are all different leave the
// series that one has left.
func TestClientsMakeNoLabels(t *testing.T) {
	config := one("auto", "activemq", broker(t, echo), ", shadow: [rabbitmq], canary: {policy: rabbitmq, share: 50%}")
	config = strings.Replace(config, "upstream: broker", "upstreams: {amqp: broker, mqtt: broker, stomp: broker}", 1)
	// A storage of its own, which remembers the canary.
	g := startWith(t, parseWhole(t, "storage: "+t.TempDir()+"\ncertificates: [{name: default, self_signed: {names: [localhost]}}]\n"+config))
	const each = 5 // connections of hostile
	hostile(g, "Mark0")
	g.line(each)
	hostile(g, "Mark1") // by then the canary has had both sides
	g.line(2 * each)
	before := g.labels()
	for n := range 20 {
		hostile(g, fmt.Sprintf("Mark%d", 2+n))
	}
	g.line(22 * each)
	after := g.labels()
	for _, series := range after {
		if strings.Contains(strings.ToLower(series), "mark") || strings.Contains(series, "127.0.0.1:5") {
			t.Errorf("a client made the series %s", series)
		}
	}
	if len(after) > len(before)+10 { // versions and reasons that came by chance
		t.Errorf("%d series, and %d before (-before +after):\n%s", len(after), len(before), cmp.Diff(before, after))
	}
	for line := range strings.Lines(string(g.log.raw())) {
		if !strings.HasPrefix(line, `{"time":`) {
			t.Errorf("a client made a line of its own: %s", line)
		}
	}
}

// What is not to be said of clients stands nowhere in the log, and not where the
// last refusals are shown, whatever becomes of the connections.
func TestPrivacy(t *testing.T) {
	for _, test := range []struct {
		log        string
		want, dont []string
	}{
		{"{}", []string{`"client":"127.0.0.1:`, `"sni":"mark.example"`, `"ja4":"`}, nil},
		{"{client_addresses: prefix}", []string{`"client":"127.0.0.0/24"`, `"sni":"`, `"ja4":"`}, []string{"CLIENT"}},
		{"{client_addresses: off}", []string{`"sni":"`, `"ja4":"`}, []string{`"client":`, "CLIENT"}},
		{"{server_names: false}", []string{`"client":"127.0.0.1:`, `"ja4":"`}, []string{`"sni":`, "mark.example"}},
		{"{fingerprints: false}", []string{`"client":"127.0.0.1:`, `"sni":"`}, []string{`"ja4":`}},
		{"{client_addresses: off, server_names: false, fingerprints: false, client_certificates: false}", []string{`"suite":"`},
			[]string{`"client":`, `"sni":`, `"ja4":`, "CLIENT", "mark.example"}},
	} {
		t.Run(test.log, func(t *testing.T) {
			g := start(t, "log: "+test.log+one("mqtt", "activemq", broker(t, echo), ", server_name: known"))
			hostile(g, "Mark")
			socket := g.dial("front")
			conn := tls.Client(socket, g.client())
			if err := conn.Handshake(); err != nil {
				t.Fatal(err)
			}
			conn.Close()
			g.line(6)
			shown := string(g.log.raw()) + fmt.Sprintf("%+v", g.status())
			for _, want := range test.want {
				if !strings.Contains(shown, want) {
					t.Errorf("no %s in\n%s", want, shown)
				}
			}
			for _, dont := range test.dont {
				if dont == "CLIENT" {
					dont = socket.LocalAddr().String()
				}
				if strings.Contains(strings.ToLower(shown), strings.ToLower(dont)) {
					t.Errorf("%s stands in\n%s", dont, shown)
				}
			}
		})
	}
}

// The same of client certificates, of those who are let in and those who are not.
func TestPrivacyOfCertificates(t *testing.T) {
	root := (&issuer{t: t}).authority("root")
	ca := filepath.Join(t.TempDir(), "ca.pem")
	replace(t, ca, root.pem())
	serial := func(c *x509.Certificate) { c.SerialNumber = big.NewInt(0x5ec0ffee5ec0ffee) }
	allowed, refused := root.client("alice", serial), root.client("bob", serial)
	for _, said := range []bool{true, false} {
		config := one("tcp", "rabbitmq", broker(t, echo), fmt.Sprintf(", client_certificates: {mode: require, ca: %q, allow: {cn: [alice]}}", ca))
		g := start(t, fmt.Sprintf("log: {client_certificates: %t}%s", said, config))
		if _, err := g.visit(g.client(), allowed); err != nil {
			t.Error(err)
		}
		if line, err := g.visit(g.client(), refused); err == nil || line["reason"] != "client_certificate_not_allowed" {
			t.Errorf("let in: %v", line)
		}
		shown := string(g.log.raw()) + fmt.Sprintf("%+v", g.status())
		for _, name := range []string{"CN=alice", "alice.example", "CN=bob", "5ec0ffee5ec0ffee"} {
			if strings.Contains(shown, name) != said {
				t.Errorf("client_certificates: %t, and %s in\n%s", said, name, shown)
			}
		}
	}
}

// However much a client's certificate says, its line has an end.
func TestLinesAreBounded(t *testing.T) {
	root := (&issuer{t: t}).authority("root")
	ca := filepath.Join(t.TempDir(), "ca.pem")
	replace(t, ca, root.pem())
	g := start(t, one("tcp", "rabbitmq", broker(t, echo), fmt.Sprintf(", client_certificates: {mode: require, ca: %q}", ca)))
	line, err := g.visit(g.client(), root.client(strings.Repeat("long", 200), func(c *x509.Certificate) {
		for n := range 500 {
			c.DNSNames = append(c.DNSNames, fmt.Sprintf("%d.example", n))
		}
	}))
	if err != nil {
		t.Fatal(err)
	}
	subject, _ := line["client_subject"].(string)
	names, _ := line["client_sans"].([]any)
	if len(subject) > 300 || len(names) != maxOffered || line["client_sans_more"] != float64(501-maxOffered) {
		t.Errorf("a subject of %d bytes, %d names and %v more", len(subject), len(names), line["client_sans_more"])
	}
	said := newPrivacy(parse(t, one("tcp", "rabbitmq", "127.0.0.1:1", "")).Log)
	if n := len(said.words(nil, errors.New(strings.Repeat("long", 10_000)))); n > maxWords+len("…") {
		t.Errorf("an error of %d bytes", n)
	}
}
