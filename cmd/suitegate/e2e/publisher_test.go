package e2e

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	amqp091 "github.com/rabbitmq/amqp091-go"
)

// publisher publishes numbers to a durable queue, each until it is confirmed,
// over as many connections as that takes.
type publisher struct {
	queue   string
	connect func() (*amqp091.Connection, error)

	mu         sync.Mutex
	confirmed  map[int]bool
	reconnects int
}

func (p *publisher) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.confirmed)
}

// await waits until so many messages are confirmed.
func (p *publisher) await(t *testing.T, n int) {
	t.Helper()
	for deadline := time.Now().Add(patience); p.count() < n; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d messages are confirmed, want %d", p.count(), n)
		}
	}
}

// publish goes on until ctx is done.
func (p *publisher) publish(ctx context.Context) error {
	next := 0
	for deadline := time.Now().Add(2 * patience); ctx.Err() == nil; p.reconnects++ {
		if err := p.connection(ctx, &next); ctx.Err() == nil && time.Now().After(deadline) {
			return fmt.Errorf("publishing: %w", err)
		}
	}
	p.reconnects-- // the last one was none
	return nil
}

// connection publishes over one connection for as long as it lives. What is not
// confirmed then is published again.
func (p *publisher) connection(ctx context.Context, next *int) error {
	conn, err := p.connect()
	if err != nil {
		return err
	}
	defer conn.Close()
	ch, err := conn.Channel()
	if err != nil {
		return err
	}
	if _, err := ch.QueueDeclare(p.queue, true, false, false, false, nil); err != nil {
		return err
	}
	if err := ch.Confirm(false); err != nil {
		return err
	}
	const window = 50
	for ctx.Err() == nil {
		var waiting []*amqp091.DeferredConfirmation
		for n := range window {
			message := amqp091.Publishing{DeliveryMode: amqp091.Persistent, Body: []byte(strconv.Itoa(*next + n))}
			confirmation, err := ch.PublishWithDeferredConfirm("", p.queue, false, false, message)
			if err != nil {
				return err
			}
			waiting = append(waiting, confirmation)
		}
		for n, confirmation := range waiting {
			acknowledged, err := confirmation.WaitContext(ctx)
			if err != nil || !acknowledged {
				return err
			}
			p.mu.Lock()
			p.confirmed[*next+n] = true
			p.mu.Unlock()
		}
		*next += window
	}
	return nil
}

// consume takes all that the queue has.
func (p *publisher) consume(t *testing.T) map[int]bool {
	t.Helper()
	conn, err := p.connect()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ch, err := conn.Channel()
	if err != nil {
		t.Fatal(err)
	}
	queue, err := ch.QueueDeclarePassive(p.queue, true, false, false, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	deliveries, err := ch.Consume(p.queue, "", true, false, false, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	found := make(map[int]bool)
	for range queue.Messages {
		select {
		case d := <-deliveries:
			n, err := strconv.Atoi(string(d.Body))
			if err != nil {
				t.Fatal(err)
			}
			found[n] = true
		case <-time.After(patience):
			t.Fatalf("the queue has %d messages and does not deliver them all", queue.Messages)
		}
	}
	return found
}
