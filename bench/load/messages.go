package load

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// Protocols of [Messages].
const (
	AMQP  = "amqp"  // 0-9-1, by amqp091-go: a queue of its own for each connection
	MQTT  = "mqtt"  // 3.1.1, by paho.mqtt.golang: a topic for each, QoS 0
	STOMP = "stomp" // 1.2, by go-stomp: a topic for each
)

// Defaults of [MessageOptions].
const (
	DefaultMessageSize = 256
	DefaultWindow      = 100
	leastMessageSize   = 8 // when it was sent
)

// MessageOptions say how [Messages] measures.
type MessageOptions struct {
	Target

	// Protocol is AMQP, MQTT or STOMP, and required.
	Protocol string

	// User and Password are for the broker.
	User, Password string

	// Connections is how many there are, each of which receives what it publishes;
	// the default is 1.
	Connections int

	// Size is that of a message's body in bytes; the default is
	// [DefaultMessageSize], the least 8.
	Size int

	// Window is how many messages of a connection may be published and not yet
	// received; the default is [DefaultWindow].
	Window int

	// Duration is how long it measures; the default is [DefaultDuration].
	Duration time.Duration

	// Warmup is for how long messages flow before that; the default is 0.
	// Connecting is before both.
	Warmup time.Duration

	// PID is a process whose processor time is measured too; the default is none.
	PID int

	// Progress is called twice a second.
	Progress func(Progress)
}

// MessageResult is what [Messages] has measured. Latency is from publishing a
// message to receiving it, with a whole window before it where the broker is
// slower than the client.
type MessageResult struct {
	Address     string       `json:"address"`
	Protocol    string       `json:"protocol"`
	Size        int          `json:"message_bytes"`
	Connections int          `json:"connections"`
	Window      int          `json:"window"`
	Messages    int64        `json:"messages"`
	PerSecond   float64      `json:"messages_per_second"`
	Latency     Latency      `json:"latency"`
	Failed      int64        `json:"failed"` // connections
	Errors      []ErrorCount `json:"errors"`
	Usage
}

// A messenger is a client of a broker that has subscribed to what it publishes.
type messenger interface {
	publish(body []byte) error
	close()
}

// A mailbox is what a messenger calls, from any goroutine.
type mailbox struct {
	received func(body []byte)
	lost     chan error // of one, for the connection's end
}

func (m *mailbox) end(err error) {
	select {
	case m.lost <- cmp.Or(err, errors.New("load: the broker has ended the connection")):
	default: // the first one counts
	}
}

// openMessenger speaks a protocol over a connection. The name is that of the queue
// or topic.
type openMessenger func(conn secureConn, options *MessageOptions, name string, mail *mailbox) (messenger, error)

// Messages measures messages that go through a real broker and come back.
// Connections that fail are counted, and no error; a message that does not come
// back fails its connection.
func Messages(ctx context.Context, options MessageOptions) (*MessageResult, error) {
	open := map[string]openMessenger{AMQP: openAMQP, MQTT: openMQTT, STOMP: openSTOMP}[options.Protocol]
	if open == nil {
		return nil, fmt.Errorf("load: there is no protocol %q, but %s, %s and %s", options.Protocol, AMQP, MQTT, STOMP)
	}
	options.Connections = cmp.Or(options.Connections, 1)
	options.Size = cmp.Or(options.Size, DefaultMessageSize)
	options.Window = cmp.Or(options.Window, DefaultWindow)
	options.Duration = cmp.Or(options.Duration, DefaultDuration)
	if options.Size < leastMessageSize || options.Window < 1 {
		return nil, fmt.Errorf("load: messages of %d bytes in a window of %d", options.Size, options.Window)
	}
	c, err := options.Target.connector()
	if err != nil {
		return nil, err
	}
	r := &messageRun{options: options, connector: c}
	r.start = time.Now()
	for i, conn := range c.connectAll(ctx, options.Connections, &r.errors) {
		r.join(conn, open, fmt.Sprintf("suitegate-bench-%s-%d", rand.Text(), i))
	}
	w := newWindow(options.Warmup, options.Duration, options.PID)
	defer w.stop()
	r.window.Store(w)
	stopProgress := report(options.Progress, w.begin, func() (done, failed int64) { return r.done.Load(), r.errors.sum() })
	var publishers sync.WaitGroup
	for _, p := range r.publishers {
		publishers.Go(func() {
			defer p.messenger.close()
			if err := r.publish(ctx, p); err != nil && ctx.Err() == nil {
				r.errors.add(err)
			}
		})
	}
	publishers.Wait()
	stopProgress()
	usage, err := w.usage()
	if err != nil {
		return nil, err
	}
	result := &MessageResult{
		Address: options.Address, Protocol: options.Protocol, Size: options.Size, Connections: options.Connections, Window: options.Window,
		Messages: r.done.Load(), Latency: r.latency.latency(), Failed: r.errors.sum(), Errors: r.errors.counts(), Usage: usage,
	}
	if usage.Seconds > 0 {
		result.PerSecond = float64(result.Messages) / usage.Seconds
	}
	result.perUnit("us/message", float64(result.Messages), 1e6)
	return result, nil
}

// A messageRun is a measurement under way.
type messageRun struct {
	options    MessageOptions
	connector  *connector
	publishers []*publisher
	start      time.Time              // that messages count from
	window     atomic.Pointer[window] // set when all have joined
	done       atomic.Int64
	latency    recorder
	errors     tally
}

// A publisher is one connection.
type publisher struct {
	messenger messenger
	mail      *mailbox
	underway  chan struct{} // a place for each message of the window
}

// join makes a connection a publisher, or counts why not.
func (r *messageRun) join(conn secureConn, open openMessenger, name string) {
	p := &publisher{underway: make(chan struct{}, r.options.Window)}
	p.mail = &mailbox{lost: make(chan error, 1), received: func(body []byte) { r.received(p, body) }}
	// The deadline that connect has set is for what comes here.
	messenger, err := open(conn, &r.options, name, p.mail)
	if err != nil {
		r.errors.add(&brokerError{err})
		conn.Close()
		return
	}
	_ = conn.SetDeadline(time.Time{}) // if it is closed, that is told by its use
	p.messenger = messenger
	r.publishers = append(r.publishers, p)
}

func (r *messageRun) received(p *publisher, body []byte) {
	if len(body) != r.options.Size {
		p.mail.end(fmt.Errorf("%w: a message of %d bytes", errWrongAnswer, len(body)))
		return
	}
	now := time.Now()
	sent := r.start.Add(time.Duration(binary.BigEndian.Uint64(body)))
	if w := r.window.Load(); w != nil && !sent.Before(w.begin) && now.Before(w.end) {
		r.latency.record(now.Sub(sent))
		r.done.Add(1)
	}
	select {
	case <-p.underway:
	default:
		p.mail.end(fmt.Errorf("%w: a message came twice", errWrongAnswer))
	}
}

// publish publishes until the window closes, and then waits for what is under
// way.
func (r *messageRun) publish(ctx context.Context, p *publisher) error {
	patience := time.NewTimer(r.connector.Timeout)
	defer patience.Stop()
	w := r.window.Load()
	end := time.NewTimer(time.Until(w.end))
	defer end.Stop()
	for {
		patience.Reset(r.connector.Timeout)
		select {
		case p.underway <- struct{}{}:
		case <-end.C:
			return r.drain(ctx, p)
		case <-ctx.Done():
			return nil
		case err := <-p.mail.lost:
			return err
		case <-patience.C:
			return fmt.Errorf("%w: %d messages are under way", context.DeadlineExceeded, len(p.underway))
		}
		body := make([]byte, r.options.Size) // a client may keep it
		binary.BigEndian.PutUint64(body, uint64(time.Since(r.start)))
		if err := p.messenger.publish(body); err != nil {
			return err
		}
		if !time.Now().Before(w.end) {
			return r.drain(ctx, p)
		}
	}
}

// drain waits until all messages have come.
func (r *messageRun) drain(ctx context.Context, p *publisher) error {
	patience := time.NewTimer(r.connector.Timeout)
	defer patience.Stop()
	for range cap(p.underway) { // when all places can be had, nothing is under way
		select {
		case p.underway <- struct{}{}:
		case <-ctx.Done():
			return nil
		case err := <-p.mail.lost:
			return err
		case <-patience.C:
			return fmt.Errorf("%w: messages have not come back", errLost)
		}
	}
	return nil
}
