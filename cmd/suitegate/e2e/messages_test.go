package e2e

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"
)

const (
	// messageCount is how many messages each client sends, and receives again
	// over the same connection while it is still sending.
	messageCount = 10_000

	// exchangeLimit is the time in which all of them are there and back, on a
	// machine that runs other tests too.
	exchangeLimit = 60 * time.Second
)

// endpoint is where a client connects.
type endpoint struct {
	address string
	tls     *tls.Config
}

// dial connects clients that leave TLS to their caller.
func (e endpoint) dial(t *testing.T) net.Conn {
	t.Helper()
	dialer := tls.Dialer{NetDialer: &net.Dialer{Timeout: patience}, Config: e.tls}
	conn, err := dialer.Dial("tcp", e.address)
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// stream is a sequence of messages whose bytes can be told by sender and
// receiver alike.
type stream struct {
	name string
	seed uint64
}

func newStream(name string) *stream {
	h := fnv.New64a()
	h.Write([]byte(name))
	return &stream{name: name, seed: h.Sum64()}
}

// message returns the n-th one: its name, then bytes of every value. Most are
// small, some lie around the size of a TLS record, a few need many records.
func (s *stream) message(n int) []byte {
	random := rand.New(rand.NewPCG(s.seed, uint64(n)))
	size := random.IntN(512)
	switch {
	case n%1000 == 999:
		size = 100_000
	case n%100 == 50:
		size = 16<<10 - 64 + random.IntN(128)
	}
	body := fmt.Appendf(make([]byte, 0, size+64), "%s %d ", s.name, n)
	for range size {
		body = append(body, byte(random.Uint32()))
	}
	return body
}

// inbox takes what a receiver gets.
type inbox struct {
	*stream

	mu   sync.Mutex
	next int
	err  error
	done chan struct{} // closed when all are there, or one is wrong
}

func newInbox(s *stream) *inbox { return &inbox{stream: s, done: make(chan struct{})} }

// take accepts the next message of the stream, and no other.
func (in *inbox) take(body []byte) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.err != nil {
		return
	}
	if in.next == messageCount {
		in.err = fmt.Errorf("a message after the last: %.80q", body)
		return
	}
	want := in.message(in.next)
	if !bytes.Equal(body, want) {
		in.err = fmt.Errorf("message %d: got %d bytes, %.80q; want %d bytes, %.80q", in.next, len(body), body, len(want), want)
		close(in.done)
		return
	}
	if in.next++; in.next == messageCount {
		close(in.done)
	}
}

// fail reports that the receiver cannot go on. It is too late for that when
// all messages are there.
func (in *inbox) fail(err error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.err == nil && in.next < messageCount {
		in.err = fmt.Errorf("receive: %w", err)
		close(in.done)
	}
}

// result returns when all messages are there. sent delivers the sender's end.
func (in *inbox) result(sent <-chan error) error {
	limit := time.After(exchangeLimit)
	arrived := in.done
	for sent != nil || arrived != nil {
		select {
		case err := <-sent:
			if err != nil {
				return fmt.Errorf("send: %w", err)
			}
			sent = nil
		case <-arrived:
			arrived = nil
			if err := in.failure(); err != nil {
				return err
			}
		case <-limit:
			in.mu.Lock()
			defer in.mu.Unlock()
			return fmt.Errorf("after %v only %d of %d messages came; all sent: %t", exchangeLimit, in.next, messageCount, sent == nil)
		}
	}
	return in.failure()
}

func (in *inbox) failure() error {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.err
}

// exchange sends all messages of a stream by one function while inbox.take is
// fed by a receiver, and fails the test if any is lost, changed or out of
// order.
func (in *inbox) exchange(t *testing.T, send func(n int, body []byte) error) {
	t.Helper()
	if err := in.try(t, send); err != nil {
		t.Fatal(err)
	}
}

// try is exchange for whoever has something to say about an error.
func (in *inbox) try(t *testing.T, send func(n int, body []byte) error) error {
	t.Helper()
	begin := time.Now()
	sent := make(chan error, 1)
	go func() {
		for n := range messageCount {
			if err := send(n, in.message(n)); err != nil {
				sent <- fmt.Errorf("message %d: %w", n, err)
				return
			}
		}
		sent <- nil
	}()
	if err := in.result(sent); err != nil {
		return err
	}
	t.Logf("%d messages there and back in %v", messageCount, time.Since(begin).Round(time.Millisecond))
	return nil
}

// destination is a name for a queue or topic that no other test uses.
func destination(t *testing.T) string {
	h := fnv.New64a()
	h.Write([]byte(t.Name()))
	return fmt.Sprintf("suitegate-%016x", h.Sum64())
}
