package sniff

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"
)

// served are the protocols that a listener can be for.
var served = [...]Protocol{AMQP, MQTT, STOMP, OpenWire, WebSocket}

// TestRead sends each sample whole and byte by byte, to a listener for anything
// and to one for each protocol: all see the same, at the first byte that tells.
func TestRead(t *testing.T) {
	for _, s := range samples() {
		if s.decides == 0 {
			continue
		}
		for _, want := range append(served[:], Any, "") {
			t.Run(s.name+" on "+string(want), func(t *testing.T) {
				right := s.fault == "" && (s.protocol == want || s.protocol.served() && (want == Any || want == ""))

				whole := strings.NewReader(s.sent)
				result, err := Read(whole, want)
				check(t, s, want, right, result, err)

				single := strings.NewReader(s.sent)
				result, err = Read(iotest.OneByteReader(single), want)
				check(t, s, want, right, result, err)
				if len(result.Prefix) != s.decides {
					t.Errorf("decided on %d bytes, want %d", len(result.Prefix), s.decides)
				}
				rest, _ := io.ReadAll(single)
				if sent := string(result.Prefix) + string(rest); sent != s.sent {
					t.Errorf("prefix and rest are %q", sent)
				}

				if cut := s.sent[:s.decides-1]; cut != "" {
					var partial *PartialError
					if result, err = Read(strings.NewReader(cut), want); !errors.As(err, &partial) || result.Protocol != "" {
						t.Errorf("a byte earlier: %v, %v", result, err)
					}
				}
			})
		}
	}
}

func check(t *testing.T, s sample, want Protocol, right bool, result Result, err error) {
	t.Helper()
	if result.Protocol != s.protocol || result.Variant != s.variant {
		t.Errorf("read %s %q, want %s %q", result.Protocol, result.Variant, s.protocol, s.variant)
	}
	if !strings.HasPrefix(s.sent, string(result.Prefix)) {
		t.Errorf("prefix %q is not what was sent", result.Prefix)
	}
	var mismatch *MismatchError
	switch {
	case right && err != nil:
		t.Errorf("refused: %v", err)
	case !right && !errors.As(err, &mismatch):
		t.Errorf("not refused: %v", err)
	case !right && mismatch.Found != s.protocol:
		t.Errorf("refused %s", mismatch.Found)
	}
}

// TestReadLeavesTheRest sends bytes of the application's right behind the first
// ones: what one Read of the connection brings is kept, and no more is fetched.
func TestReadLeavesTheRest(t *testing.T) {
	first, second := "AMQP\x00\x00\x09\x01behind", "later"
	r := io.MultiReader(strings.NewReader(first), strings.NewReader(second))
	result, err := Read(r, AMQP)
	if err != nil || string(result.Prefix) != first {
		t.Fatalf("%q, %v", result.Prefix, err)
	}
	if rest, err := io.ReadAll(r); err != nil || string(rest) != second {
		t.Errorf("%q, %v is left", rest, err)
	}
}

// TestReadGrows reads a header that takes several reads, with the data of the
// next layer behind it.
func TestReadGrows(t *testing.T) {
	sent := upgrade("Cookie: "+strings.Repeat("x", 3000), "Sec-WebSocket-Protocol: mqtt") + strings.Repeat("\x82", 20000)
	r := strings.NewReader(sent)
	result, err := Read(r, WebSocket)
	if err != nil || result.Variant != "mqtt" {
		t.Fatal(result.Variant, err)
	}
	rest, _ := io.ReadAll(r)
	if string(result.Prefix)+string(rest) != sent {
		t.Error("bytes were lost")
	}
	if len(result.Prefix) > maxHeader {
		t.Errorf("prefix of %d bytes", len(result.Prefix))
	}
}

func TestReadTakesTheBytesOfAFailingRead(t *testing.T) {
	r := iotest.DataErrReader(strings.NewReader("STOMP\n"))
	if result, err := Read(r, STOMP); err != nil || result.Protocol != STOMP {
		t.Errorf("%v, %v", result, err)
	}
}

func TestReadFails(t *testing.T) {
	reset := &net.OpError{Op: "read", Err: os.NewSyscallError("read", syscall.ECONNRESET)}
	other := errors.New("other")
	for _, test := range []struct {
		name, reason string
		err          error
	}{
		{"end", "client_closed", io.EOF},
		{"end inside a record", "client_truncated", io.ErrUnexpectedEOF},
		{"reset", "client_reset", reset},
		{"deadline", "first_bytes_timeout", os.ErrDeadlineExceeded},
		{"other", "client_error", other},
	} {
		for _, sent := range []string{"", "AMQ"} {
			t.Run(test.name+" "+sent, func(t *testing.T) {
				r := io.MultiReader(strings.NewReader(sent), iotest.ErrReader(test.err))
				result, err := Read(r, AMQP)
				var partial *PartialError
				if !errors.As(err, &partial) || !errors.Is(err, test.err) {
					t.Fatalf("error %v", err)
				}
				if partial.Reason() != test.reason || partial.Received != len(sent) {
					t.Errorf("reason %q after %d bytes", partial.Reason(), partial.Received)
				}
				if want := fmt.Sprintf("sniff: no protocol after %d bytes: %v", len(sent), test.err); err.Error() != want {
					t.Errorf("error %q, want %q", err, want)
				}
				if string(result.Prefix) != sent || result.Protocol != "" {
					t.Errorf("result %v", result)
				}
			})
		}
	}
}

// TestReadDeadline has a client that says too little, on a connection.
func TestReadDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe()
		defer client.Close()
		defer server.Close()
		go client.Write([]byte("AMQP"))
		if err := server.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		result, err := Read(server, Any)
		if !errors.Is(err, os.ErrDeadlineExceeded) || string(result.Prefix) != "AMQP" {
			t.Errorf("%q, %v", result.Prefix, err)
		}
	})
}

func TestReadWithoutProgress(t *testing.T) {
	r := readerFunc(func([]byte) (int, error) { return 0, nil })
	if _, err := Read(r, Any); !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("error %v", err)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func TestSubprotocol(t *testing.T) {
	for _, test := range []struct {
		result Result
		want   string
	}{
		{Result{Protocol: WebSocket, Variant: "mqtt"}, "mqtt"},
		{Result{Protocol: WebSocket, Variant: "mqttv3.1"}, "mqtt"},
		{Result{Protocol: WebSocket, Variant: "v10.stomp"}, "stomp"},
		{Result{Protocol: WebSocket, Variant: "v11.stomp"}, "stomp"},
		{Result{Protocol: WebSocket, Variant: "v12.stomp"}, "stomp"},
		{Result{Protocol: WebSocket}, ""},
		{Result{Protocol: MQTT, Variant: "mqtt"}, ""},
	} {
		if got := test.result.Subprotocol(); got != test.want {
			t.Errorf("%v: %q, want %q", test.result, got, test.want)
		}
	}
}

// TestDecidesWithinTheCap shows that every client is decided on within what is
// read at most, whatever it goes on to send.
func TestDecidesWithinTheCap(t *testing.T) {
	for _, s := range samples() {
		for _, fill := range []string{"\x00", "\n", "\r\n", "A"} {
			sent := s.sent[:max(0, s.decides-1)]
			sent += strings.Repeat(fill, maxHeader)
			if _, done := detect([]byte(sent[:maxHeader])); !done {
				t.Errorf("%s, filled with %q: undecided", s.name, fill)
			}
		}
	}
	if _, done := detect(bytes.Repeat([]byte("G"), 1)); done {
		t.Error("a first byte of many protocols decided")
	}
}
