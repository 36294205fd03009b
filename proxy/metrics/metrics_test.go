package metrics

import (
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

// Dashboards and alerts are built on these names and labels: changing one is a
// breaking change, and this is where it shows.
func TestNamesArePinned(t *testing.T) {
	m := New()
	m.Accepted("amqps")
	m.Accepted("amqps")
	m.HandshakeDone(Handshake{
		Listener: "amqps", Version: "TLSv1.3", Suite: "TLS_AES_256_GCM_SHA384", Group: "X25519", Engine: "tls13",
	}, 3*time.Millisecond)
	m.HandshakeDone(Handshake{
		Listener: "amqps", Version: "TLSv1.2", Suite: "TLS_RSA_WITH_AES_128_CBC_SHA", Engine: "tls12", Ticket: true, Resumed: true,
	}, 3*time.Millisecond)
	m.HandshakeDone(Handshake{
		Listener: "amqps", Version: "TLSv1.2", Suite: "TLS_RSA_WITH_AES_128_CBC_SHA", Engine: "tls12", Ticket: true,
	}, 3*time.Millisecond)
	fromClient, fromBackend := m.Carried("amqps")
	fromClient.Add(7)
	fromBackend.Add(9)
	m.Ended("amqps", "client_closed", false)
	m.Accepted("amqps")
	m.Ended("amqps", "client_alert", true)
	m.ClientAlerted("amqps", "unknown_ca")
	m.Built("v1.2.3")
	m.ServeReady(func() bool { return true })
	m.Dialed("rabbit", "127.0.0.1:5672", "ok")
	m.Dialed("rabbit", "10.0.0.7:5672", "upstream_refused")
	m.NodeLeft("rabbit", "10.0.0.7:5672")
	m.Checked("rabbit", "127.0.0.1:5672", "check_no_answer")
	m.Ejected("rabbit", "127.0.0.1:5672")
	m.Resolved("rabbit", "rabbit.example:5672", true)
	m.Resolved("rabbit", "rabbit.example:5672", false)
	m.ServeNodes(func() []Node {
		return []Node{{Upstream: "rabbit", Node: "127.0.0.1:5672", Up: true, Draining: true, Connections: 3}}
	})
	m.AcceptFailed("amqps")
	m.Panicked()
	m.Reloaded(true, time.Unix(1700000000, 0))
	m.Reloaded(false, time.Unix(1700000001, 0))
	m.CertificateReloaded("default", true)
	m.CertificateReloaded("default", false)
	m.CertificateOrdered("public", "RSA", false, true)
	m.CertificateOrdered("public", "RSA", true, false)
	m.ServeCertificates(func() []Certificate {
		return []Certificate{ // two of one kind: the first to expire counts
			{"default", "RSA", time.Unix(1800000000, 0)}, {"default", "RSA", time.Unix(1700000000, 0)}, {"default", "ECDSA-P256", time.Unix(1900000000, 0)},
		}
	})
	m.ClientAuthReloaded("amqps", true)
	m.ClientAuthReloaded("amqps", false)
	m.ClientCRLs(map[string]time.Time{"gone": time.Unix(1700000000, 0)})
	m.ClientCRLs(map[string]time.Time{"amqps": time.Unix(1700000002, 0)})
	m.StorageFailed("store", "full")
	m.AuditFailed()
	m.Proved("amqps", 1032, 2)
	m.ProofTook(time.Second / 2)
	m.LogLineDropped("full")

	want := `
# HELP suitegate_accept_errors_total Errors of accept, after which the listener went on.
# TYPE suitegate_accept_errors_total counter
suitegate_accept_errors_total{listener="amqps"} 1
# HELP suitegate_audit_errors_total Entries of the audit log that could not be written to its file.
# TYPE suitegate_audit_errors_total counter
suitegate_audit_errors_total 1
# HELP suitegate_build_info Always 1; the labels say which build this is.
# TYPE suitegate_build_info gauge
suitegate_build_info{goversion="` + runtime.Version() + `",version="v1.2.3"} 1
# HELP suitegate_bytes_total Payload bytes carried, after decryption.
# TYPE suitegate_bytes_total counter
suitegate_bytes_total{direction="from_backend",listener="amqps"} 9
suitegate_bytes_total{direction="from_client",listener="amqps"} 7
# HELP suitegate_certificate_not_after_timestamp_seconds When the certificate expires, Unix time; of several with one kind of key, the first to do so.
# TYPE suitegate_certificate_not_after_timestamp_seconds gauge
suitegate_certificate_not_after_timestamp_seconds{certificate="default",key="ECDSA-P256"} 1.9e+09
suitegate_certificate_not_after_timestamp_seconds{certificate="default",key="RSA"} 1.7e+09
# HELP suitegate_certificate_orders_total Tries to obtain a certificate by ACME, or to renew one.
# TYPE suitegate_certificate_orders_total counter
suitegate_certificate_orders_total{certificate="public",key="RSA",renewal="false",result="ok"} 1
suitegate_certificate_orders_total{certificate="public",key="RSA",renewal="true",result="failed"} 1
# HELP suitegate_certificate_reloads_total Certificate files that changed: taken over, or refused while the certificate in force stays.
# TYPE suitegate_certificate_reloads_total counter
suitegate_certificate_reloads_total{certificate="default",result="failed"} 1
suitegate_certificate_reloads_total{certificate="default",result="ok"} 1
# HELP suitegate_client_auth_reloads_total Files about clients, authorities and CRLs, that changed: taken over, or refused while what was in force stays.
# TYPE suitegate_client_auth_reloads_total counter
suitegate_client_auth_reloads_total{listener="amqps",result="failed"} 1
suitegate_client_auth_reloads_total{listener="amqps",result="ok"} 1
# HELP suitegate_client_crl_next_update_timestamp_seconds When the first of the listener's CRLs becomes stale, Unix time.
# TYPE suitegate_client_crl_next_update_timestamp_seconds gauge
suitegate_client_crl_next_update_timestamp_seconds{listener="amqps"} 1.700000002e+09
# HELP suitegate_client_alerts_total TLS alerts by which clients broke off the handshake.
# TYPE suitegate_client_alerts_total counter
suitegate_client_alerts_total{alert="unknown_ca",listener="amqps"} 1
# HELP suitegate_config_last_reload_success_timestamp_seconds When the configuration in force was loaded, Unix time.
# TYPE suitegate_config_last_reload_success_timestamp_seconds gauge
suitegate_config_last_reload_success_timestamp_seconds 1.7e+09
# HELP suitegate_config_last_reload_successful 1 if the newest attempt to load the configuration succeeded, else 0.
# TYPE suitegate_config_last_reload_successful gauge
suitegate_config_last_reload_successful 0
# HELP suitegate_config_reloads_total Attempts to reload the configuration.
# TYPE suitegate_config_reloads_total counter
suitegate_config_reloads_total{result="failed"} 1
suitegate_config_reloads_total{result="ok"} 1
# HELP suitegate_connections_active Connections that are open now.
# TYPE suitegate_connections_active gauge
suitegate_connections_active{listener="amqps"} 1
# HELP suitegate_connections_ended_total Connections that ended, by the reason that the connection log gives.
# TYPE suitegate_connections_ended_total counter
suitegate_connections_ended_total{listener="amqps",reason="client_alert"} 1
suitegate_connections_ended_total{listener="amqps",reason="client_closed"} 1
# HELP suitegate_connections_total Connections accepted.
# TYPE suitegate_connections_total counter
suitegate_connections_total{listener="amqps"} 3
# HELP suitegate_handshakes_total TLS handshakes completed.
# TYPE suitegate_handshakes_total counter
suitegate_handshakes_total{engine="tls13",group="X25519",listener="amqps",resumed="false",suite="TLS_AES_256_GCM_SHA384",version="TLSv1.3"} 1
suitegate_handshakes_total{engine="tls12",group="",listener="amqps",resumed="false",suite="TLS_RSA_WITH_AES_128_CBC_SHA",version="TLSv1.2"} 1
suitegate_handshakes_total{engine="tls12",group="",listener="amqps",resumed="true",suite="TLS_RSA_WITH_AES_128_CBC_SHA",version="TLSv1.2"} 1
# HELP suitegate_log_lines_dropped_total Lines of the log that could not be written.
# TYPE suitegate_log_lines_dropped_total counter
suitegate_log_lines_dropped_total{cause="full"} 1
# HELP suitegate_panics_total Panics that closed one connection each. Always a defect: report it.
# TYPE suitegate_panics_total counter
suitegate_panics_total 1
# HELP suitegate_prove_as_policy 1 if the listener gave every answer that its policy says in the newest proof, else 0.
# TYPE suitegate_prove_as_policy gauge
suitegate_prove_as_policy{listener="amqps"} 0
# HELP suitegate_prove_duration_seconds How long the newest proof of all listeners took.
# TYPE suitegate_prove_duration_seconds gauge
suitegate_prove_duration_seconds 0.5
# HELP suitegate_prove_offers_total Offers that the gateway has made to its own listeners.
# TYPE suitegate_prove_offers_total counter
suitegate_prove_offers_total{listener="amqps",result="as_policy"} 1030
suitegate_prove_offers_total{listener="amqps",result="differs"} 2
# HELP suitegate_ready 1 while the gateway wants new connections, as /readyz says, else 0.
# TYPE suitegate_ready gauge
suitegate_ready 1
# HELP suitegate_refusals_total Connections that got no further than the gateway, by reason; without those that only came to look.
# TYPE suitegate_refusals_total counter
suitegate_refusals_total{listener="amqps",reason="client_alert"} 1
# HELP suitegate_session_tickets_offered_total Completed handshakes whose client offered a session ticket: resumed, or declined and made in full.
# TYPE suitegate_session_tickets_offered_total counter
suitegate_session_tickets_offered_total{listener="amqps",result="declined",version="TLSv1.2"} 1
suitegate_session_tickets_offered_total{listener="amqps",result="resumed",version="TLSv1.2"} 1
# HELP suitegate_storage_errors_total Operations of the storage that failed.
# TYPE suitegate_storage_errors_total counter
suitegate_storage_errors_total{cause="full",operation="store"} 1
# HELP suitegate_upstream_checks_total Health checks of a broker node, and tries to reach one that was ejected.
# TYPE suitegate_upstream_checks_total counter
suitegate_upstream_checks_total{node="127.0.0.1:5672",result="check_no_answer",upstream="rabbit"} 1
# HELP suitegate_upstream_dials_total Attempts to connect to a broker node.
# TYPE suitegate_upstream_dials_total counter
suitegate_upstream_dials_total{node="127.0.0.1:5672",result="ok",upstream="rabbit"} 1
# HELP suitegate_upstream_ejections_total How often a node was taken out because a connection to it failed.
# TYPE suitegate_upstream_ejections_total counter
suitegate_upstream_ejections_total{node="127.0.0.1:5672",upstream="rabbit"} 1
# HELP suitegate_upstream_node_connections Connections to the node that are open now, or being opened.
# TYPE suitegate_upstream_node_connections gauge
suitegate_upstream_node_connections{node="127.0.0.1:5672",upstream="rabbit"} 3
# HELP suitegate_upstream_node_draining 1 if the node gets no new connections because it drains, else 0.
# TYPE suitegate_upstream_node_draining gauge
suitegate_upstream_node_draining{node="127.0.0.1:5672",upstream="rabbit"} 1
# HELP suitegate_upstream_node_up 1 if the node is up, 0 if health checks or a failed connection have taken it out.
# TYPE suitegate_upstream_node_up gauge
suitegate_upstream_node_up{node="127.0.0.1:5672",upstream="rabbit"} 1
# HELP suitegate_upstream_resolutions_total Attempts to resolve a node's name.
# TYPE suitegate_upstream_resolutions_total counter
suitegate_upstream_resolutions_total{node="rabbit.example:5672",result="failed",upstream="rabbit"} 1
suitegate_upstream_resolutions_total{node="rabbit.example:5672",result="ok",upstream="rabbit"} 1
`
	names := []string{}
	for _, line := range strings.Split(want, "\n") {
		if name, ok := strings.CutPrefix(line, "# TYPE "); ok {
			names = append(names, strings.Fields(name)[0])
		}
	}
	if err := testutil.GatherAndCompare(m.Registry(), strings.NewReader(want), names...); err != nil {
		t.Error(err)
	}
	if n, err := testutil.GatherAndCount(m.Registry(), "suitegate_handshake_seconds"); n != 2 || err != nil {
		t.Errorf("suitegate_handshake_seconds: %d series, %v", n, err)
	}
	if problems, err := testutil.GatherAndLint(m.Registry()); len(problems) > 0 || err != nil {
		t.Errorf("lint: %v %v", problems, err)
	}
}

func TestNilCountsNothing(t *testing.T) {
	var m *Metrics
	m.Accepted("l")
	m.Ended("l", "r", true)
	m.ClientAlerted("l", "unknown_ca")
	if fromClient, fromBackend := m.Carried("l"); fromClient != nil || fromBackend != nil {
		t.Error("a nil Metrics counts bytes")
	}
	m.LogLineDropped("full")
	m.Built("v1")
	m.ServeReady(func() bool { return true })
	m.HandshakeDone(Handshake{}, time.Second)
	m.Dialed("u", "n", "ok")
	m.Checked("u", "n", "ok")
	m.Ejected("u", "n")
	m.Resolved("u", "n", true)
	m.NodeLeft("u", "n")
	m.ServeNodes(func() []Node { return nil })
	m.AcceptFailed("l")
	m.Panicked()
	m.Reloaded(true, time.Now())
	m.CertificateReloaded("c", true)
	m.CertificateOrdered("c", "RSA", false, true)
	m.ServeCertificates(func() []Certificate { return nil })
	m.ClientAuthReloaded("l", true)
	m.ClientCRLs(map[string]time.Time{"l": time.Now()})
	if m.Registry() != nil {
		t.Error("a nil Metrics has a registry")
	}
}
