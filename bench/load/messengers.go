package load

import (
	"errors"
	"net"
	"net/url"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"github.com/go-stomp/stomp/v3"
	amqp "github.com/rabbitmq/amqp091-go"
)

// amqpMessenger publishes to a queue that ends with its connection.
type amqpMessenger struct {
	connection *amqp.Connection
	channel    *amqp.Channel
	queue      string
}

func openAMQP(conn secureConn, options *MessageOptions, name string, mail *mailbox) (messenger, error) {
	connection, err := amqp.Open(conn, amqp.Config{
		SASL:  []amqp.Authentication{&amqp.PlainAuth{Username: options.User, Password: options.Password}},
		Vhost: "/",
	})
	if err != nil {
		return nil, err
	}
	channel, err := connection.Channel()
	if err != nil {
		return nil, errors.Join(err, connection.Close())
	}
	const durable, autoDelete, exclusive, noWait, autoAck, noLocal = false, true, true, false, true, false
	if _, err := channel.QueueDeclare(name, durable, autoDelete, exclusive, noWait, nil); err != nil {
		return nil, errors.Join(err, connection.Close())
	}
	deliveries, err := channel.Consume(name, "", autoAck, exclusive, noLocal, noWait, nil)
	if err != nil {
		return nil, errors.Join(err, connection.Close())
	}
	closed := channel.NotifyClose(make(chan *amqp.Error, 1))
	go func() { // ends with the channel
		for delivery := range deliveries {
			mail.received(delivery.Body)
		}
		if err := <-closed; err != nil {
			mail.end(err)
		}
	}()
	return &amqpMessenger{connection, channel, name}, nil
}

func (m *amqpMessenger) publish(body []byte) error {
	return m.channel.Publish("", m.queue, false, false, amqp.Publishing{Body: body})
}

func (m *amqpMessenger) close() { _ = m.connection.Close() } // what was to be measured is over

// mqttMessenger publishes to a topic.
type mqttMessenger struct {
	client  mqtt.Client
	topic   string
	timeout time.Duration
}

func openMQTT(conn secureConn, options *MessageOptions, name string, mail *mailbox) (messenger, error) {
	timeout := DefaultTimeout
	if options.Timeout > 0 {
		timeout = options.Timeout
	}
	client := mqtt.NewClient(mqtt.NewClientOptions().
		AddBroker("ssl://" + options.Address). // for paho, which connects to nowhere without
		SetCustomOpenConnectionFn(func(*url.URL, mqtt.ClientOptions) (net.Conn, error) { return conn, nil }).
		SetClientID(name).SetUsername(options.User).SetPassword(options.Password).
		SetProtocolVersion(4). // MQTT 3.1.1, and not an older one on the same connection
		SetAutoReconnect(false).SetConnectTimeout(timeout).SetOrderMatters(true).
		SetConnectionLostHandler(func(_ mqtt.Client, err error) { mail.end(err) }))
	m := &mqttMessenger{client, name, timeout}
	if err := m.wait(client.Connect()); err != nil {
		return nil, err
	}
	receive := func(_ mqtt.Client, message mqtt.Message) { mail.received(message.Payload()) }
	if err := m.wait(client.Subscribe(name, 0, receive)); err != nil {
		client.Disconnect(0)
		return nil, err
	}
	return m, nil
}

// wait returns what came of something, in time.
func (m *mqttMessenger) wait(token mqtt.Token) error {
	if !token.WaitTimeout(m.timeout) {
		return &timeoutError{"MQTT"}
	}
	return token.Error()
}

func (m *mqttMessenger) publish(body []byte) error {
	return m.wait(m.client.Publish(m.topic, 0, false, body))
}

func (m *mqttMessenger) close() { m.client.Disconnect(0) }

// timeoutError is a [net.Error] of a protocol that does not say so itself.
type timeoutError struct{ protocol string }

func (e *timeoutError) Error() string { return "load: the " + e.protocol + " broker takes too long" }
func (*timeoutError) Timeout() bool   { return true }
func (*timeoutError) Temporary() bool { return true }

// stompMessenger publishes to a topic.
type stompMessenger struct {
	conn        *stomp.Conn
	destination string
}

// openSTOMP names the host "/", which is RabbitMQ's usual virtual host, and
// nothing to other brokers.
func openSTOMP(conn secureConn, options *MessageOptions, name string, mail *mailbox) (messenger, error) {
	client, err := stomp.Connect(conn, stomp.ConnOpt.Login(options.User, options.Password), stomp.ConnOpt.Host("/"), stomp.ConnOpt.HeartBeat(0, 0),
		stomp.ConnOpt.Logger(SilentSTOMP{}))
	if err != nil {
		return nil, err
	}
	m := &stompMessenger{client, "/topic/" + name}
	subscription, err := client.Subscribe(m.destination, stomp.AckAuto)
	if err != nil {
		return nil, errors.Join(err, client.MustDisconnect())
	}
	go func() { // ends with the connection
		for message := range subscription.C {
			if message.Err != nil {
				mail.end(message.Err)
				return
			}
			mail.received(message.Body)
		}
		mail.end(nil)
	}()
	return m, nil
}

func (m *stompMessenger) publish(body []byte) error {
	return m.conn.Send(m.destination, "application/octet-stream", body)
}

func (m *stompMessenger) close() { _ = m.conn.MustDisconnect() } // without waiting for a receipt

// SilentSTOMP is a logger for go-stomp's clients and server, which otherwise write
// of each connection that ends to standard error. What matters comes as an error.
type SilentSTOMP struct{}

func (SilentSTOMP) Debugf(string, ...any)   {}
func (SilentSTOMP) Infof(string, ...any)    {}
func (SilentSTOMP) Warningf(string, ...any) {}
func (SilentSTOMP) Errorf(string, ...any)   {}
func (SilentSTOMP) Debug(string)            {}
func (SilentSTOMP) Info(string)             {}
func (SilentSTOMP) Warning(string)          {}
func (SilentSTOMP) Error(string)            {}
