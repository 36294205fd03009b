package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"
	mqtt "github.com/eclipse/paho.mqtt.golang"
)

// exchangeMQTT311 publishes and subscribes with QoS 1 over one MQTT 3.1.1
// connection. scheme is "ssl" or "wss".
func exchangeMQTT311(t *testing.T, server endpoint, scheme string) {
	url := scheme + "://" + server.address
	if scheme == "wss" {
		url += "/ws"
	}
	client := mqtt.NewClient(mqtt.NewClientOptions().
		AddBroker(url).
		SetTLSConfig(server.tls).
		SetClientID(destination(t)).
		SetUsername("guest").
		SetPassword("guest").
		SetProtocolVersion(4).
		SetOrderMatters(true).
		SetAutoReconnect(false))
	if err := finish(client.Connect()); err != nil {
		t.Fatal(err)
	}
	defer client.Disconnect(250)
	in := newInbox(newStream(t.Name()))
	topic := destination(t)
	if err := finish(client.Subscribe(topic, 1, func(_ mqtt.Client, m mqtt.Message) { in.take(m.Payload()) })); err != nil {
		t.Fatal(err)
	}
	const window = 200
	tokens := make([]mqtt.Token, 0, window)
	in.exchange(t, func(n int, body []byte) error {
		tokens = append(tokens, client.Publish(topic, 1, false, body))
		if len(tokens) < window && n < messageCount-1 {
			return nil
		}
		for _, token := range tokens {
			if err := finish(token); err != nil {
				return err
			}
		}
		tokens = tokens[:0]
		return nil
	})
}

func finish(token mqtt.Token) error {
	if !token.WaitTimeout(exchangeLimit) {
		return errors.New("no answer from the broker")
	}
	return token.Error()
}

// exchangeMQTT5 does the same with MQTT 5.
func exchangeMQTT5(t *testing.T, server endpoint) {
	ctx, cancel := context.WithTimeout(t.Context(), exchangeLimit)
	defer cancel()
	in := newInbox(newStream(t.Name()))
	client := paho.NewClient(paho.ClientConfig{
		ClientID:      destination(t),
		Conn:          packets.NewThreadSafeConn(server.dial(t)),
		PacketTimeout: exchangeLimit,
		OnPublishReceived: []func(paho.PublishReceived) (bool, error){
			func(m paho.PublishReceived) (bool, error) {
				in.take(m.Packet.Payload)
				return true, nil
			},
		},
		OnClientError: in.fail,
	})
	if _, err := client.Connect(ctx, &paho.Connect{ClientID: destination(t), CleanStart: true, KeepAlive: 30}); err != nil {
		t.Fatal(err)
	}
	defer client.Disconnect(&paho.Disconnect{})
	topic := destination(t)
	if _, err := client.Subscribe(ctx, &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{{Topic: topic, QoS: 1}}}); err != nil {
		t.Fatal(err)
	}
	in.exchange(t, func(n int, body []byte) error {
		_, err := client.Publish(ctx, &paho.Publish{Topic: topic, QoS: 1, Payload: body})
		return err
	})
}

// exchangeMosquitto publishes lines with mosquitto_pub, and reads them with
// mosquitto_sub in a session that has begun before.
func exchangeMosquitto(t *testing.T, server endpoint) {
	pub, sub := requireProgram(t, "mosquitto_pub"), requireProgram(t, "mosquitto_sub")
	host, port, err := net.SplitHostPort(server.address)
	if err != nil {
		t.Fatal(err)
	}
	topic := destination(t)
	common := []string{"-h", host, "-p", port, "--cafile", pki(t).root, "-q", "1", "-t", topic}
	session := append(common, "-i", topic, "-c")

	// Their own --tls-version names the lowest version, not the only one.
	only := openSSLVersion(t, server.tls.MinVersion)
	client := func(name string, args ...string) *exec.Cmd {
		cmd := exec.Command(name, args...)
		cmd.Env = append(os.Environ(), only)
		return cmd
	}

	if out, err := runClient(t, client(sub, append(session, "-E")...)); err != nil {
		t.Fatalf("subscribe: %v\n%s", err, out)
	}
	var lines bytes.Buffer
	for n := range messageCount {
		fmt.Fprintf(&lines, "%s line %d\n", topic, n)
	}
	publish := client(pub, append(common, "-l")...)
	publish.Stdin = bytes.NewReader(lines.Bytes())
	if out, err := runClient(t, publish); err != nil {
		t.Fatalf("publish: %v\n%s", err, out)
	}
	out, err := runClient(t, client(sub, append(session, "-C", strconv.Itoa(messageCount))...))
	if err != nil {
		t.Fatalf("receive: %v", err)
	}
	if out != lines.String() {
		t.Errorf("%d bytes came of %d, or not in order", len(out), lines.Len())
	}
}

// openSSLVersion makes a program on OpenSSL speak one version of TLS, by a
// variable of its environment.
func openSSLVersion(t *testing.T, version uint16) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "openssl.cnf")
	name := versionName(version)
	if err := writeFiles(map[string]string{file: `openssl_conf = settings
[settings]
ssl_conf = ssl
[ssl]
system_default = versions
[versions]
MinProtocol = ` + name + `
MaxProtocol = ` + name + `
`}); err != nil {
		t.Fatal(err)
	}
	return "OPENSSL_CONF=" + file
}
