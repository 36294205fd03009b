package sniff

import (
	"context"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/Azure/go-amqp"
	"github.com/eclipse/paho.golang/paho"
	mqtt "github.com/eclipse/paho.mqtt.golang"
	"github.com/go-stomp/stomp/v3"
	"github.com/gorilla/websocket"
	"github.com/rabbitmq/amqp091-go"
	"go.uber.org/goleak"
)

var update = flag.Bool("update", false, "record the clients of this module anew in testdata")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A client connects to address, and returns what it makes of the answer.
type client func(ctx context.Context, address string) error

// clients are those that people use with these brokers.
var clients = []struct {
	name     string
	connect  client
	protocol Protocol
	variant  string
}{
	{"amqp091", dialAMQP091, AMQP, "0-9-1"},
	{"amqp10", dialAMQP10(nil), AMQP, "1.0"},
	{"amqp10-sasl", dialAMQP10(amqp.SASLTypePlain("user", "secret")), AMQP, "1.0 SASL"},
	{"stomp", dialSTOMP(stomp.ConnOpt.Login("user", "secret")), STOMP, ""},
	{"stomp-command", dialSTOMP(stomp.ConnOpt.UseStomp), STOMP, ""},
	{"paho-3.1", dialMQTT(3), MQTT, "3.1"},
	{"paho-3.1.1", dialMQTT(4), MQTT, "3.1.1"},
	{"paho-5.0", dialMQTT5, MQTT, "5.0"},
	{"websocket-mqtt", dialWebSocket("mqtt"), WebSocket, "mqtt"},
	{"websocket-stomp", dialWebSocket("v12.stomp", "v11.stomp"), WebSocket, "v12.stomp"},
	{"http", getHTTP, HTTP, ""},
	{"tls", dialTLS, TLS, ""},
}

func dialAMQP091(_ context.Context, address string) error {
	_, err := amqp091.Dial("amqp://user:secret@" + address)
	return err
}

func dialAMQP10(sasl amqp.SASLType) client {
	return func(ctx context.Context, address string) error {
		_, err := amqp.Dial(ctx, "amqp://"+address, &amqp.ConnOptions{SASLType: sasl})
		return err
	}
}

func dialSTOMP(option func(*stomp.Conn) error) client {
	return func(_ context.Context, address string) error {
		_, err := stomp.Dial("tcp", address, option)
		return err
	}
}

func dialMQTT(version uint) client {
	return func(_ context.Context, address string) error {
		options := mqtt.NewClientOptions().AddBroker("tcp://" + address).SetProtocolVersion(version).
			SetClientID("recorder").SetAutoReconnect(false)
		token := mqtt.NewClient(options).Connect()
		token.Wait()
		return token.Error()
	}
}

func dialMQTT5(ctx context.Context, address string) error {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	connack, err := paho.NewClient(paho.ClientConfig{Conn: conn}).
		Connect(ctx, &paho.Connect{ClientID: "recorder", KeepAlive: 30, CleanStart: true})
	if connack != nil {
		return fmt.Errorf("reason code %#x: %w", connack.ReasonCode, err)
	}
	return err
}

func dialWebSocket(subprotocols ...string) client {
	return func(ctx context.Context, address string) error {
		dialer := websocket.Dialer{Subprotocols: subprotocols}
		_, response, err := dialer.DialContext(ctx, "ws://"+address+"/ws", nil)
		if response != nil {
			return fmt.Errorf("%s: %w", response.Status, err)
		}
		return err
	}
}

func getHTTP(ctx context.Context, address string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address, nil)
	if err != nil {
		return err
	}
	response, err := new(http.Transport).RoundTrip(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	return fmt.Errorf("%s, upgrade to %s: %s", response.Status, response.Header["Upgrade"], body)
}

func dialTLS(ctx context.Context, address string) error {
	_, err := new(tls.Dialer).DialContext(ctx, "tcp", address)
	return err
}

// TestClients has each of them connect, and be closed upon.
func TestClients(t *testing.T) {
	for _, c := range clients {
		t.Run(c.name, func(t *testing.T) {
			failed := serve(t, c.connect, func(conn net.Conn) {
				result, err := Read(conn, Any)
				if result.Protocol != c.protocol || result.Variant != c.variant || (err == nil) != c.protocol.served() {
					t.Errorf("read %s %q, %v", result.Protocol, result.Variant, err)
				}
				if *update {
					record(t, "go-"+c.name, result.Prefix)
				}
			})
			if failed == nil {
				t.Error("the client found a broker")
			}
		})
	}
}

// TestClientsUnderstand has clients read the answers, and looks for the reason
// in their errors.
func TestClientsUnderstand(t *testing.T) {
	for _, test := range []struct {
		name     string
		connect  client
		listener Protocol // which takes the client, but has no broker, or refuses it
		want     string
	}{
		{"mqtt 3.1", dialMQTT(3), MQTT, "server Unavailable"},
		{"mqtt 3.1.1", dialMQTT(4), MQTT, "server Unavailable"},
		{"mqtt 5.0", dialMQTT5, MQTT, "reason code 0x88"},
		{"stomp", dialSTOMP(stomp.ConnOpt.UseStomp), STOMP, "The broker is unavailable"},
		{"websocket", dialWebSocket("mqtt"), WebSocket, "503 Service Unavailable"},
		{"http on websocket", getHTTP, WebSocket, "426 Upgrade Required, upgrade to [websocket]: " + faultUpgrade},
		{"tls on websocket", dialTLS, WebSocket, "does not look like a TLS handshake"},
		{"amqp on stomp", dialAMQP10(nil), STOMP, "unexpected"},
	} {
		t.Run(test.name, func(t *testing.T) {
			told := serve(t, test.connect, func(conn net.Conn) {
				result, err := Read(conn, test.listener)
				answer := Unavailable(result)
				var mismatch *MismatchError
				if errors.As(err, &mismatch) {
					answer = mismatch.Answer()
				}
				if _, err := conn.Write(answer); err != nil {
					t.Error(err)
				}
			})
			if told == nil || !strings.Contains(told.Error(), test.want) {
				t.Errorf("the client says %v, want %q", told, test.want)
			}
		})
	}
}

// serve has a client connect to play, which must read what it sends, and returns
// the client's error.
func serve(t *testing.T, connect client, play func(net.Conn)) error {
	t.Helper()
	const patience = 10 * time.Second
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	failed := make(chan error, 1)
	go func() { failed <- connect(ctx, listener.Addr().String()) }()

	conn, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	play(conn)
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Error(err)
	}
	return <-failed
}

func record(t *testing.T, name string, sent []byte) {
	t.Helper()
	var text strings.Builder
	for ; len(sent) > 0; sent = sent[min(len(sent), 32):] {
		text.WriteString(hex.EncodeToString(sent[:min(len(sent), 32)]) + "\n")
	}
	if err := os.WriteFile(filepath.Join("testdata", name+".hex"), []byte(text.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}
