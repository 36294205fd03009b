package e2e

import (
	"io"
	"testing"

	"github.com/go-stomp/stomp/v3"
	"github.com/go-stomp/stomp/v3/frame"
	"github.com/gorilla/websocket"
)

// exchangeSTOMP sends with a receipt for the last message, and acknowledges
// each one that it receives by itself. prefetch is the name of the broker's
// own header for it.
func exchangeSTOMP(t *testing.T, transport io.ReadWriteCloser, prefetch string) {
	conn, err := stomp.Connect(transport,
		stomp.ConnOpt.Login("guest", "guest"),
		// RabbitMQ 3.10's web-stomp falls over its own heart-beats when it holds
		// a fast sender back ("unexpected_message,resume"), gateway or not.
		stomp.ConnOpt.HeartBeat(0, 0),
		stomp.ConnOpt.Host("/"))
	if err != nil {
		t.Fatal(err)
	}
	queue := "/queue/" + destination(t)
	// A client with more messages than its channel holds stops to read, and
	// with it to write the acknowledgements that would help.
	sub, err := conn.Subscribe(queue, stomp.AckClientIndividual, stomp.SubscribeOpt.Header(prefetch, "10"))
	if err != nil {
		t.Fatal(err)
	}
	in := newInbox(newStream(t.Name()))
	go func() {
		for m := range sub.C {
			if m.Err != nil {
				in.fail(m.Err)
				return
			}
			in.take(m.Body)
			conn.Ack(m)
		}
	}()
	in.exchange(t, func(n int, body []byte) error {
		var options []func(*frame.Frame) error
		if n == messageCount-1 {
			options = append(options, stomp.SendOpt.Receipt)
		}
		return conn.Send(queue, "application/octet-stream", body, options...)
	})
	if err := sub.Unsubscribe(); err != nil {
		t.Error("unsubscribe:", err)
	}
	if err := conn.Disconnect(); err != nil {
		t.Error("disconnect:", err)
	}
}

const (
	prefetchRabbitMQ = "prefetch-count"
	prefetchActiveMQ = "activemq.prefetchSize"
)

// dialWebSocket connects a client that knows nothing of WebSocket.
func (e endpoint) dialWebSocket(t *testing.T, subprotocol string) io.ReadWriteCloser {
	t.Helper()
	dialer := websocket.Dialer{TLSClientConfig: e.tls, Subprotocols: []string{subprotocol}}
	conn, _, err := dialer.Dial("wss://"+e.address+"/ws", nil)
	if err != nil {
		t.Fatal(err)
	}
	return &webSocketStream{conn: conn}
}

// webSocketStream makes a stream of bytes of a WebSocket's messages.
type webSocketStream struct {
	conn *websocket.Conn
	rest io.Reader // of the message that is being read
}

func (s *webSocketStream) Read(p []byte) (int, error) {
	for {
		if s.rest == nil {
			_, message, err := s.conn.NextReader()
			if err != nil {
				return 0, err
			}
			s.rest = message
		}
		n, err := s.rest.Read(p)
		if err == io.EOF {
			s.rest, err = nil, nil
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

func (s *webSocketStream) Write(p []byte) (int, error) {
	return len(p), s.conn.WriteMessage(websocket.BinaryMessage, p)
}

func (s *webSocketStream) Close() error { return s.conn.Close() }
