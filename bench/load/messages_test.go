package load

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	stompserver "github.com/go-stomp/stomp/v3/server"
	mqttserver "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/hooks/auth"
	"github.com/mochi-mqtt/server/v2/listeners"
)

// listenFor is TLS in front of a broker.
func listenFor(t testing.TB, broker string) (address string) {
	t.Helper()
	config := standardServer(nil)
	return listen(t, func(below net.Conn) {
		conn := tls.Server(below, config)
		defer conn.Close()
		backend, err := net.Dial("tcp", broker)
		if err != nil {
			return // the test's client tells
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			_, _ = io.Copy(backend, conn)
			backend.Close()
		})
		_, _ = io.Copy(conn, backend)
		below.Close()
		wg.Wait()
	})
}

func mqttBroker(t testing.TB) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	broker := mqttserver.New(&mqttserver.Options{Logger: slog.New(slog.DiscardHandler)})
	if err := errors.Join(broker.AddHook(new(auth.AllowHook), nil), broker.AddListener(listeners.NewNet("test", l)), broker.Serve()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { broker.Close() })
	return l.Addr().String()
}

// stompBroker leaves goroutines behind, whose server has no end: it runs for all
// tests.
var stompBroker = sync.OnceValue(func() string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	go (&stompserver.Server{Authenticator: onlyGuest{}, Log: SilentSTOMP{}}).Serve(l)
	return l.Addr().String()
})

type onlyGuest struct{}

func (onlyGuest) Authenticate(user, password string) bool {
	return user == "guest" && password == "secret"
}

func messageOptions(address, protocol string) MessageOptions {
	return MessageOptions{Target: target(address), Protocol: protocol, User: "guest", Password: "secret", Connections: 2, Size: 100, Window: 10,
		Duration: 300 * time.Millisecond, Warmup: 50 * time.Millisecond, PID: os.Getpid()}
}

// Brokers of two protocols; RabbitMQ's is measured by the end-to-end tests.
func TestMessages(t *testing.T) {
	for protocol, broker := range map[string]string{MQTT: mqttBroker(t), STOMP: stompBroker()} {
		t.Run(protocol, func(t *testing.T) {
			result, err := Messages(t.Context(), messageOptions(listenFor(t, broker), protocol))
			if err != nil {
				t.Fatal(err)
			}
			noErrors(t, result.Errors)
			if result.Messages < 10 || result.Latency.Count != result.Messages || result.Latency.P50 <= 0 ||
				result.Connections != 2 || result.Size != 100 || result.Window != 10 || result.Protocol != protocol {
				t.Errorf("%+v", result)
			}
			if p := result.Process; p == nil || p.Unit != "us/message" || math.Abs(p.PerUnit-p.CPU/float64(result.Messages)*1e6) > 1e-6*p.PerUnit {
				t.Errorf("process %+v", p)
			}
		})
	}
}

func TestMessageErrors(t *testing.T) {
	options := messageOptions(listenFor(t, stompBroker()), STOMP)
	options.Password = "wrong"
	result, err := Messages(t.Context(), options)
	if err != nil || len(result.Errors) != 1 || result.Errors[0].Cause != "broker refused" || result.Failed != 2 || result.Messages != 0 {
		t.Errorf("%+v, %v", result, err)
	}
	// A broker that is none: it hears AMQP's header, and sends it back.
	result, err = Messages(t.Context(), messageOptions(listenTLS(t, standardServer(nil)), AMQP))
	if err != nil || len(result.Errors) != 1 || result.Messages != 0 {
		t.Errorf("%+v, %v", result, err)
	}
	for _, tt := range []struct {
		change func(*MessageOptions)
		want   string
	}{
		{func(o *MessageOptions) { o.Protocol = "openwire" }, `no protocol "openwire"`},
		{func(o *MessageOptions) { o.Size = 7 }, "messages of 7 bytes"},
		{func(o *MessageOptions) { o.Window = -1 }, "a window of -1"},
	} {
		options := messageOptions("127.0.0.1:1", MQTT)
		tt.change(&options)
		if _, err := Messages(t.Context(), options); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v, want %q", err, tt.want)
		}
	}
}

// stubMessenger is a broker that does with messages what a test says.
type stubMessenger struct{ publishing func(body []byte) error }

func (m *stubMessenger) publish(body []byte) error { return m.publishing(body) }
func (m *stubMessenger) close()                    {}

// Messages that do not come back, come twice, or come changed.
func TestLostMessages(t *testing.T) {
	for _, tt := range []struct {
		name    string
		publish func(mail *mailbox, n int, body []byte)
		want    string
	}{
		{"one is lost", func(mail *mailbox, n int, body []byte) {
			if n != 3 {
				mail.received(body)
			}
		}, "lost bytes"},
		{"all are lost", func(*mailbox, int, []byte) {}, "timeout"},
		{"one comes twice", func(mail *mailbox, n int, body []byte) {
			mail.received(body)
			if n == 3 {
				mail.received(body)
			}
		}, "wrong answer"},
		{"one is too short", func(mail *mailbox, n int, body []byte) { mail.received(body[:len(body)-1]) }, "wrong answer"},
		{"the end", func(mail *mailbox, _ int, _ []byte) { mail.end(nil) }, "other"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := &messageRun{options: MessageOptions{Size: 8, Window: 4}, connector: &connector{Target: Target{Timeout: 50 * time.Millisecond}}, start: time.Now()}
			r.window.Store(newWindow(0, 100*time.Millisecond, 0))
			p := &publisher{underway: make(chan struct{}, 4)}
			p.mail = &mailbox{lost: make(chan error, 1), received: func(body []byte) { r.received(p, body) }}
			n := 0
			p.messenger = &stubMessenger{func(body []byte) error { n++; tt.publish(p.mail, n, body); return nil }}
			err := r.publish(context.Background(), p)
			if err == nil || Cause(err) != tt.want {
				t.Errorf("%v after %d messages", err, n)
			}
			// The last one may have come when the window had closed.
			if done := r.done.Load(); tt.name == "one is lost" && (done < int64(n-2) || done > int64(n-1)) {
				t.Errorf("%d of %d counted", done, n)
			}
		})
	}
	if Cause(fmt.Errorf("publish: %w", &timeoutError{"MQTT"})) != "timeout" {
		t.Error("a timeout of a client is none")
	}
}
