package e2e

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	amqp091 "github.com/rabbitmq/amqp091-go"
)

// publishers send messages to one queue of RabbitMQ, through the gateway, each
// over one connection, and keep in mind which of them the broker has confirmed.
type publishers struct {
	broker, queue string
	enough        atomic.Bool
	confirmed     atomic.Int64
	running       sync.WaitGroup

	mu     sync.Mutex
	ids    map[string]bool // of messages that are confirmed
	failed []error         // one for each connection that has ended otherwise
}

// startPublishers starts a few. broker is RabbitMQ's own address.
func startPublishers(t *testing.T, server endpoint, broker string) *publishers {
	t.Helper()
	p := &publishers{broker: broker, queue: destination(t), ids: make(map[string]bool)}
	p.direct(t, func(channel *amqp091.Channel) error {
		_, err := channel.QueueDeclare(p.queue, false, false, false, false, nil)
		return err
	})
	for i := range 3 {
		conn, err := amqp091.DialConfig("amqps://guest:guest@"+server.address+"/", amqp091.Config{TLSClientConfig: server.tls})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		p.running.Go(func() {
			if err := p.publish(conn, i); err != nil {
				p.mu.Lock()
				p.failed = append(p.failed, err)
				p.mu.Unlock()
			}
			conn.Close()
		})
	}
	return p
}

// direct talks to the broker without the gateway.
func (p *publishers) direct(t *testing.T, do func(*amqp091.Channel) error) {
	t.Helper()
	conn, err := amqp091.Dial("amqp://guest:guest@" + p.broker + "/")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	channel, err := conn.Channel()
	if err == nil {
		err = do(channel)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func (p *publishers) publish(conn *amqp091.Connection, publisher int) error {
	channel, err := conn.Channel()
	if err != nil {
		return err
	}
	if err := channel.Confirm(false); err != nil {
		return err
	}
	closed := conn.NotifyClose(make(chan *amqp091.Error, 1))
	for n := 0; !p.enough.Load(); n++ {
		id := fmt.Sprint(publisher, " ", n)
		confirmation, err := channel.PublishWithDeferredConfirm("", p.queue, false, false, amqp091.Publishing{MessageId: id, Body: bytes.Repeat([]byte(id), 50)})
		if err != nil {
			return err
		}
		select {
		case <-confirmation.Done():
		case err := <-closed:
			return fmt.Errorf("message %s: %w", id, err)
		}
		if !confirmation.Acked() {
			return fmt.Errorf("message %s is not confirmed", id)
		}
		p.confirmed.Add(1)
		p.mu.Lock()
		p.ids[id] = true
		p.mu.Unlock()
	}
	return nil
}

// stop ends the publishers, and compares what was confirmed with what is in the
// queue. It returns what ended connections before.
func (p *publishers) stop(t *testing.T) []error {
	t.Helper()
	p.enough.Store(true)
	p.running.Wait()
	lost := len(p.ids)
	p.direct(t, func(channel *amqp091.Channel) error {
		defer channel.QueueDelete(p.queue, false, false, false)
		queue, err := channel.QueueDeclarePassive(p.queue, false, false, false, false, nil)
		if err != nil {
			return err
		}
		messages, err := channel.Consume(p.queue, "", true, false, false, false, nil)
		if err != nil {
			return err
		}
		for range queue.Messages { // what is not confirmed may be there, too
			select {
			case message := <-messages:
				if p.ids[message.MessageId] {
					lost--
				}
			case <-time.After(patience):
				return fmt.Errorf("the queue of %d messages gives no more", queue.Messages)
			}
		}
		return nil
	})
	t.Logf("%d messages confirmed, lost: %d", len(p.ids), lost)
	if lost > 0 || len(p.ids) == 0 {
		t.Errorf("of %d messages that were confirmed %d are not in the queue", len(p.ids), lost)
	}
	return p.failed
}

// loadedConfig has RabbitMQ behind one listener and an echo behind another.
func loadedConfig(t *testing.T, broker string) config {
	t.Helper()
	c := echoConfig(t)
	c.Admin = map[string]string{"address": "127.0.0.1:0", "socket": filepath.Join(t.TempDir(), "admin.sock")}
	c.Prove = map[string]string{"mode": "enforce"}
	c.Upstreams["rabbit"] = upstreamConfig{Nodes: []string{broker}}
	c.Listeners = append(c.Listeners, listenerConfig{Name: "amqps", Address: loopback(freePorts.next()), Protocol: "amqp", Policy: "rabbitmq", Upstream: "rabbit"})
	return c
}

// TestReloadsUnderLoad reloads a hundred times while clients publish, others
// come and go, and others stay. Half of the configurations are broken.
func TestReloadsUnderLoad(t *testing.T) {
	broker := rabbitMQ(t)["amqp"]
	c := loadedConfig(t, broker)
	g := startGateway(t, c)
	stay := []*conversation{converse(t, g, "first"), converse(t, g, "first")}
	publish := startPublishers(t, endpoint{c.Listeners[1].Address, pki(t).client(0)}, broker)
	callers := startCallers(t, c.Listeners[0].Address)
	taken := stubBroker(t, hold)

	good := []func(*config){
		func(c *config) { c.Listeners[0].Policy = "rabbitmq" },
		func(c *config) {
			c.Listeners = append(c.Listeners, listenerConfig{Name: "third", Address: "127.0.0.1:0", Protocol: "tcp", Policy: "activemq", Upstream: "echo"})
		},
		func(c *config) {
			c.Policies = map[string]policyConfig{"own": {TLS13: []string{"TLS_AES_128_GCM_SHA256"}}}
			c.Listeners[1].Policy = "own"
		},
		func(c *config) { c.Upstreams["rabbit"] = upstreamConfig{Nodes: []string{broker}, ConnectTimeout: "3s"} },
		func(c *config) { c.Listeners[0].MaxConnections = 1000; c.DrainTimeout = "6s" },
	}
	bad := []func(*config){
		func(c *config) { c.Listeners[0].Policy = "rabitmq" },
		func(c *config) { c.Upstreams = nil },
		func(c *config) { c.Listeners[1].Address = taken },
		func(c *config) { c.Certificates = []certificateConfig{pki(t).files("rsa", "ecdsa")} },
		nil, // half of a file
	}
	const reloads = 100
	for i := range reloads {
		next := c
		next.Listeners = slices.Clone(c.Listeners)
		next.Upstreams = map[string]upstreamConfig{"echo": c.Upstreams["echo"], "rabbit": c.Upstreams["rabbit"]}
		change, want := good[i/2%len(good)], http.StatusOK
		if i%2 == 1 {
			change, want = bad[i/2%len(bad)], http.StatusUnprocessableEntity
		}
		if change != nil {
			change(&next)
		}
		next.write(t, g.file)
		if change == nil {
			cut(t, g.file)
		}
		if status, answer := g.order(t, c.Admin["socket"], "/reload"); status != want {
			t.Errorf("reload %d: %d %s, want %d", i, status, answer, want)
		}
	}
	for _, conversation := range stay {
		conversation.check(t)
		conversation.Close()
	}
	if ended := publish.stop(t); len(ended) > 0 {
		t.Errorf("connections that ended: %v", ended)
	}
	t.Logf("%d reloads, half of them refused; %d connections came and went, disturbed: 0", reloads, callers.stop(t))
	metrics := g.metrics(t)
	if ok, failed := metrics[`suitegate_config_reloads_total{result="ok"}`], metrics[`suitegate_config_reloads_total{result="failed"}`]; ok != reloads/2+1 || failed != reloads/2 {
		t.Errorf("%v reloads worked and %v failed", ok, failed)
	}
	for series := range metrics {
		if strings.HasPrefix(series, "suitegate_connections_ended_total") && !strings.Contains(series, `reason="client_closed"`) {
			t.Errorf("connections ended otherwise: %s", series)
		}
	}
}

// cut leaves the first half of a file.
func cut(t *testing.T, path string) {
	t.Helper()
	info, err := os.Stat(path)
	if err == nil {
		err = os.Truncate(path, info.Size()/2)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// order has the gateway change something, through its admin socket.
func (g *gateway) order(t *testing.T, socket, path string) (status int, answer string) {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}}
	response, err := client.Post("http://localhost"+path, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(text)
}

// TestStopUnderLoad stops a gateway while clients publish. They go on for as
// long as it drains, and are then told that it is over; what was confirmed is
// with the broker.
func TestStopUnderLoad(t *testing.T) {
	broker := rabbitMQ(t)["amqp"]
	c := loadedConfig(t, broker)
	c.DrainTimeout = "500ms"
	g := startGateway(t, c)
	publish := startPublishers(t, endpoint{c.Listeners[1].Address, pki(t).client(0)}, broker)
	for deadline := time.Now().Add(patience); publish.confirmed.Load() < 100; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d messages confirmed", publish.confirmed.Load())
		}
	}
	before := publish.confirmed.Load()
	g.stopped = true
	if err := g.process.signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	g.exited(t, 0)
	ended := publish.stop(t)
	if len(ended) != 3 {
		t.Errorf("of 3 connections %d were cut off: %v", len(ended), ended)
	}
	if after := publish.confirmed.Load(); after <= before {
		t.Errorf("%d messages confirmed before the signal, and %d in all: draining stops clients", before, after)
	}
	lines := g.log.connections()
	for _, line := range lines {
		line.want(t, record{"listener": "amqps", "reason": "shutdown"})
	}
	if len(lines) != 3 {
		t.Errorf("%d lines, want 3", len(lines))
	}
}
