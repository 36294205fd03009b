package e2e

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"testing"

	amqp10 "github.com/Azure/go-amqp"
	amqp091 "github.com/rabbitmq/amqp091-go"
)

// exchangeAMQP091 publishes with publisher confirms and consumes with
// acknowledgements, on two channels of one AMQP 0-9-1 connection.
func exchangeAMQP091(t *testing.T, server endpoint) {
	conn, err := amqp091.DialConfig("amqps://guest:guest@"+server.address+"/", amqp091.Config{TLSClientConfig: server.tls})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	consumer, err := conn.Channel()
	if err != nil {
		t.Fatal(err)
	}
	publisher, err := conn.Channel()
	if err != nil {
		t.Fatal(err)
	}
	queue := destination(t)
	if _, err := consumer.QueueDeclare(queue, false, true, false, false, nil); err != nil {
		t.Fatal(err)
	}
	if err := consumer.Qos(500, 0, false); err != nil {
		t.Fatal(err)
	}
	deliveries, err := consumer.Consume(queue, "", false, false, false, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	in := newInbox(newStream(t.Name()))
	go func() {
		for d := range deliveries {
			in.take(d.Body)
			d.Ack(false)
		}
	}()

	if err := publisher.Confirm(false); err != nil {
		t.Fatal(err)
	}
	const window = 500
	confirms := publisher.NotifyPublish(make(chan amqp091.Confirmation, window))
	confirmed := 0
	confirm := func() error {
		c, ok := <-confirms
		if !ok || !c.Ack {
			return fmt.Errorf("publish %d is not confirmed", c.DeliveryTag)
		}
		confirmed++
		return nil
	}
	in.exchange(t, func(n int, body []byte) error {
		if n-confirmed == window {
			if err := confirm(); err != nil {
				return err
			}
		}
		err := publisher.Publish("", queue, false, false, amqp091.Publishing{Body: body})
		for err == nil && n == messageCount-1 && confirmed < messageCount {
			err = confirm()
		}
		return err
	})
}

// exchangeAMQP10 sends to an address and receives from it over one AMQP 1.0
// session. The address is one of RabbitMQ's forms, such as "/queue/name".
//
// The plugin of RabbitMQ 3.10 at times loses the channel behind a session that
// has just begun, and ends the connection with an internal error. Where its own
// log says so there is a second try, and only there.
func exchangeAMQP10(t *testing.T, server endpoint, sasl amqp10.SASLType, address string) {
	before := lostChannels(t)
	err := tryAMQP10(t, server, sasl, address)
	if err != nil && lostChannels(t) > before {
		t.Logf("RabbitMQ has lost a channel of its own, once more: %v", err)
		err = tryAMQP10(t, server, sasl, address+"-again")
	}
	if err != nil {
		t.Fatal(err)
	}
}

// lostChannels counts the internal errors of AMQP 1.0 in RabbitMQ's log.
func lostChannels(t *testing.T) int {
	t.Helper()
	out, err := os.ReadFile(run.brokers.rabbit.process.log)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Count(out, []byte("amqp:internal-error"))
}

func tryAMQP10(t *testing.T, server endpoint, sasl amqp10.SASLType, address string) error {
	ctx, cancel := context.WithTimeout(t.Context(), exchangeLimit)
	defer cancel()
	conn, err := amqp10.Dial(ctx, "amqps://"+server.address, &amqp10.ConnOptions{SASLType: sasl, TLSConfig: server.tls})
	if err != nil {
		return err
	}
	defer conn.Close()
	session, err := conn.NewSession(ctx, nil)
	if err != nil {
		return err
	}
	sender, err := session.NewSender(ctx, address, nil)
	if err != nil {
		return err
	}
	// All credit at once: RabbitMQ 3.10 sometimes stops to deliver when a link
	// is given more credit while messages are on their way, gateway or not.
	receiver, err := session.NewReceiver(ctx, address, &amqp10.ReceiverOptions{Credit: -1})
	if err != nil {
		return err
	}
	if err := receiver.IssueCredit(messageCount); err != nil {
		return err
	}
	in := newInbox(newStream(t.Name()))
	go func() {
		for {
			m, err := receiver.Receive(ctx, nil)
			if err != nil {
				in.fail(err)
				return
			}
			in.take(m.GetData())
			if err := receiver.AcceptMessage(ctx, m); err != nil {
				in.fail(err)
				return
			}
		}
	}()

	const window = 200
	receipts := make([]amqp10.SendReceipt, 0, window)
	settle := func() error {
		for _, receipt := range receipts {
			state, err := receipt.Wait(ctx)
			if err != nil {
				return err
			}
			if _, ok := state.(*amqp10.StateAccepted); !ok {
				return fmt.Errorf("not accepted: %T", state)
			}
		}
		receipts = receipts[:0]
		return nil
	}
	return in.try(t, func(n int, body []byte) error {
		receipt, err := sender.SendWithReceipt(ctx, amqp10.NewMessage(body), nil)
		if err != nil {
			return err
		}
		if receipts = append(receipts, receipt); len(receipts) == window || n == messageCount-1 {
			return settle()
		}
		return nil
	})
}
