package clienthello

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"reflect"
	"slices"
	"syscall"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// record frames a payload.
func record(recordType byte, payload []byte) []byte {
	b := []byte{recordType, 3, 1}
	b = binary.BigEndian.AppendUint16(b, uint16(len(payload)))
	return append(b, payload...)
}

// records frames a message in records of at most size bytes.
func records(msg []byte, size int) []byte {
	var wire []byte
	for part := range slices.Chunk(msg, size) {
		wire = append(wire, record(recordHandshake, part)...)
	}
	return wire
}

// messageOf takes a hello out of its records.
func messageOf(t testing.TB, wire []byte) []byte {
	t.Helper()
	a := assembler{limit: MaxSize}
	done, err := a.advance(wire)
	if err != nil || !done {
		t.Fatalf("no whole hello: %v", err)
	}
	return slices.Clone(a.message(wire))
}

func mustRead(t testing.TB, r io.Reader) *Hello {
	t.Helper()
	h, err := Read(r, MaxSize)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// equalHellos compares all but the bytes to replay.
func equalHellos(t *testing.T, want, got *Hello) {
	t.Helper()
	a, b := *want, *got
	a.raw, b.raw = nil, nil
	if reflect.DeepEqual(a, b) { // cmp takes long, and these are many
		return
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(Hello{})); diff != "" {
		t.Errorf("hello (-want +got):\n%s", diff)
	}
}

// segments reads one slice for each call.
type segments struct {
	parts [][]byte
	calls int
}

func (s *segments) Read(p []byte) (int, error) {
	s.calls++
	if len(s.parts) == 0 {
		return 0, io.EOF
	}
	n := copy(p, s.parts[0])
	if s.parts[0] = s.parts[0][n:]; len(s.parts[0]) == 0 {
		s.parts = s.parts[1:]
	}
	return n, nil
}

func TestReadSplitSegments(t *testing.T) {
	for name, wire := range recordings(t) {
		t.Run(name, func(t *testing.T) {
			want := mustRead(t, bytes.NewReader(wire))
			for i := 1; i < len(wire); i++ {
				got := mustRead(t, &segments{parts: [][]byte{wire[:i], wire[i:]}})
				equalHellos(t, want, got)
				if !bytes.HasPrefix(wire, got.raw) {
					t.Fatalf("split at %d: other bytes to replay", i)
				}
			}
			got := mustRead(t, iotest.OneByteReader(bytes.NewReader(wire)))
			equalHellos(t, want, got)
		})
	}
}

func TestReadSplitRecords(t *testing.T) {
	for name, wire := range recordings(t) {
		t.Run(name, func(t *testing.T) {
			want := mustRead(t, bytes.NewReader(wire))
			want.RecordVersion = 0x0301
			msg := messageOf(t, wire)
			for size := 1; size <= len(msg); size++ {
				again := records(msg, size)
				got := mustRead(t, bytes.NewReader(again))
				equalHellos(t, want, got)
				if !bytes.Equal(got.raw, again) {
					t.Fatalf("records of %d: other bytes to replay", size)
				}
			}
			for i := 1; i < len(msg); i++ {
				again := append(record(recordHandshake, msg[:i]), record(recordHandshake, msg[i:])...)
				equalHellos(t, want, mustRead(t, bytes.NewReader(again)))
			}
			equalHellos(t, want, mustRead(t, iotest.OneByteReader(bytes.NewReader(records(msg, 1)))))
		})
	}
}

func TestReadTakesOneCall(t *testing.T) {
	for name, wire := range recordings(t) {
		s := &segments{parts: [][]byte{wire}}
		mustRead(t, s)
		if s.calls != 1 {
			t.Errorf("%s: %d calls of Read for one segment", name, s.calls)
		}
	}
}

func TestReadAllocates(t *testing.T) {
	for name, wire := range recordings(t) {
		r := new(bytes.Reader)
		allocated := testing.AllocsPerRun(10, func() {
			r.Reset(wire)
			if _, err := Read(r, MaxSize); err != nil {
				t.Fatal(err)
			}
		})
		if allocated > 20 {
			t.Errorf("%s: %v allocations", name, allocated)
		}
	}
}

func TestReadStopsBehindTheHello(t *testing.T) {
	wire := records(messageOf(t, recording(t, "go-default")), 100)
	s := &segments{parts: [][]byte{wire, []byte("not asked for")}}
	mustRead(t, s)
	if len(s.parts) != 1 {
		t.Error("read on after the hello was complete")
	}
}

func TestReadIgnoresErrorBehindTheHello(t *testing.T) {
	mustRead(t, iotest.DataErrReader(bytes.NewReader(recording(t, "openssl-tls12"))))
}

func TestReadTruncated(t *testing.T) {
	for name, wire := range recordings(t) {
		t.Run(name, func(t *testing.T) {
			msg := messageOf(t, wire)
			for _, whole := range [][]byte{records(msg, len(msg)), records(msg, 7)} {
				for i := range whole {
					_, err := Read(bytes.NewReader(whole[:i]), MaxSize)
					var partial *PartialError
					if !errors.As(err, &partial) || partial.Received != i || !errors.Is(err, io.EOF) {
						t.Fatalf("%d of %d bytes: %v", i, len(whole), err)
					}
				}
			}
		})
	}
}

// TestReadMutations turns every byte of real hellos into a few others. Whatever
// becomes of them has to be the same however it is cut, and crypto/tls must not
// disagree.
func TestReadMutations(t *testing.T) {
	for _, name := range []string{"openssl-sni-alpn", "java-psk", "gnutls-psk", "nss-default"} {
		wire := recording(t, name)
		for i := range wire {
			for _, change := range []byte{0x01, 0x80, 0xff} {
				mutated := slices.Clone(wire)
				mutated[i] ^= change
				compareWithCryptoTLS(t, mutated)
				_, whole := Read(bytes.NewReader(mutated), MaxSize)
				_, cut := Read(iotest.OneByteReader(bytes.NewReader(mutated)), MaxSize)
				if reasonOf(whole) != reasonOf(cut) {
					t.Errorf("%s, byte %d ^ %#x: %v in one segment, %v byte by byte", name, i, change, whole, cut)
				}
			}
		}
	}
}

func reasonOf(err error) string {
	var refusal Refusal
	if errors.As(err, &refusal) {
		return refusal.Reason()
	}
	return ""
}

func TestReadRefusesRecords(t *testing.T) {
	msg := messageOf(t, recording(t, "openssl-tls12"))
	hello := record(recordHandshake, msg)
	half := record(recordHandshake, msg[:50])
	tests := []struct {
		name   string
		wire   []byte
		alert  uint8
		detail string
	}{
		{"alert first", []byte{21, 3}, alertUnexpectedMessage, "alert record before the hello"},
		{"change_cipher_spec first", []byte{20, 3, 3, 0, 1, 1}, alertUnexpectedMessage, "change_cipher_spec record before the hello"},
		{"application data first", []byte{23, 3, 3}, alertUnexpectedMessage, "application_data record before the hello"},
		{"heartbeat first", []byte{24, 3, 3}, alertUnexpectedMessage, "heartbeat record before the hello"},
		{"alert between", slices.Concat(half, []byte{21}), alertUnexpectedMessage, "alert record inside the hello"},
		{"unknown type between", slices.Concat(half, []byte{99}), alertUnexpectedMessage, "unknown (99) record inside the hello"},
		{"version between", slices.Concat(half, []byte{22, 2}), alertProtocolVersion, "major record version 2 inside the hello"},
		{"empty record first", []byte{22, 3, 1, 0, 0}, alertUnexpectedMessage, "empty handshake record"},
		{"empty record between", slices.Concat(half, []byte{22, 3, 1, 0, 0}), alertUnexpectedMessage, "empty handshake record"},
		{"long record first", []byte{22, 3, 1, 0x40, 1}, alertRecordOverflow, "record of 16385 bytes"},
		{"long record between", slices.Concat(half, []byte{22, 3, 1, 0xff, 0xff}), alertRecordOverflow, "record of 65535 bytes"},
		{"server hello", []byte{22, 3, 3, 0, 99, 2}, alertUnexpectedMessage, "handshake message of type 2, not a ClientHello"},
		{"finished", record(recordHandshake, []byte{20, 0, 0, 12}), alertUnexpectedMessage, "handshake message of type 20, not a ClientHello"},
		{"more in the record", record(recordHandshake, append(slices.Clone(msg), 14, 0, 0, 0)), alertUnexpectedMessage, "4 more handshake bytes behind the hello"},
		{"more in the last record", slices.Concat(half, record(recordHandshake, append(slices.Clone(msg[50:]), 0))), alertUnexpectedMessage, "1 more handshake bytes behind the hello"},
		{"more announced", []byte{22, 3, 1, 0x10, 0, 1, 0, 0, 0x80}, alertUnexpectedMessage, "3964 more handshake bytes behind the hello"},
		{"empty hello", record(recordHandshake, []byte{1, 0, 0, 0}), alertDecodeError, "truncated in version or random"},
		{"too large", []byte{22, 3, 1, 0x40, 0, 1, 0, 0xff, 0xfd}, alertIllegalParameter, "message of 65537 bytes"},
		{"as large as can be", []byte{22, 3, 1, 0x40, 0, 1, 0xff, 0xff, 0xff}, alertIllegalParameter, "message of 16777219 bytes"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			// All that came is needed to refuse it, and no more.
			for _, r := range []io.Reader{
				io.MultiReader(bytes.NewReader(test.wire), blocked{t}),
				io.MultiReader(iotest.OneByteReader(bytes.NewReader(test.wire)), blocked{t}),
			} {
				_, err := Read(r, 0)
				var refusal *ParseError
				if !errors.As(err, &refusal) {
					t.Fatal(err)
				}
				if refusal.Alert() != test.alert || refusal.Detail != test.detail {
					t.Errorf("alert %d, %q; want %d, %q", refusal.Alert(), refusal.Detail, test.alert, test.detail)
				}
				if want := []byte{21, 3, 1, 0, 2, 2, test.alert}; !bytes.Equal(refusal.Answer(), want) {
					t.Errorf("answer % x, want % x", refusal.Answer(), want)
				}
			}
		})
	}
	mustRead(t, bytes.NewReader(hello))
}

// blocked is a client that sends no more and waits.
type blocked struct{ t *testing.T }

func (b blocked) Read([]byte) (int, error) {
	b.t.Error("read on, with enough to refuse the hello")
	return 0, io.EOF
}

// sized is a hello of exactly n bytes, header included.
func sized(n int) []byte {
	const empty = 4 + 2 + 32 + 1 + 2 + 2 + 2 + 2 + 4
	b := builder{}
	b.extension(99, make([]byte, n-empty))
	return b.message()
}

func TestReadLimit(t *testing.T) {
	for _, limit := range []int{100, 517, MaxSize} {
		msg := sized(limit)
		if len(msg) != limit {
			t.Fatalf("hello of %d bytes, want %d", len(msg), limit)
		}
		if _, err := Read(bytes.NewReader(records(msg, maxPlaintext)), limit); err != nil {
			t.Errorf("limit %d: %v", limit, err)
		}
		_, err := Read(bytes.NewReader(records(sized(limit+1), maxPlaintext)), limit)
		var refusal *ParseError
		if !errors.As(err, &refusal) || refusal.Reason() != "hello_too_large" || refusal.Alert() != alertIllegalParameter {
			t.Errorf("limit %d and a byte: %v", limit, err)
		}
		if want := fmt.Sprintf("clienthello: hello too large: message of %d bytes", limit+1); err.Error() != want {
			t.Errorf("%q, want %q", err, want)
		}
	}
}

// TestReadLimitOnWire holds that what the headers of short records add is
// bounded too, at the same byte however the segments are cut.
func TestReadLimitOnWire(t *testing.T) {
	msg := sized(3000)
	for _, size := range []int{1, 5, 6, 500} {
		wire := records(msg, size)
		limit := max(len(msg), (len(wire)+1)/2)
		for _, r := range []func() io.Reader{
			func() io.Reader { return bytes.NewReader(wire) },
			func() io.Reader { return iotest.OneByteReader(bytes.NewReader(wire)) },
		} {
			if _, err := Read(r(), limit); err != nil {
				t.Errorf("records of %d, limit %d: %v", size, limit, err)
			}
			if _, err := Read(r(), limit-1); reasonOf(err) != "hello_too_large" {
				t.Errorf("records of %d, limit %d: %v", size, limit-1, err)
			}
		}
	}
}

// endless serves the same record over and over, and counts the bytes that Read
// was ready to take.
type endless struct {
	record  []byte
	offset  int
	largest int
}

func (e *endless) Read(p []byte) (int, error) {
	e.largest = max(e.largest, len(p))
	n := copy(p, e.record[e.offset:])
	e.offset = (e.offset + n) % len(e.record)
	return n, nil
}

// TestReadMemory holds that memory follows the bytes that came, and ends.
func TestReadMemory(t *testing.T) {
	head := record(recordHandshake, []byte{1, 0, 0xff, 0xfc}) // announces all that is allowed
	s := &segments{parts: [][]byte{head}}
	if _, err := Read(s, MaxSize); reasonOf(err) != "client_closed" {
		t.Error(err)
	}
	e := &endless{record: record(recordHandshake, []byte{0})}
	if _, err := Read(io.MultiReader(bytes.NewReader(head), e), MaxSize); reasonOf(err) != "hello_too_large" {
		t.Error(err)
	}
	if e.largest > MaxSize {
		t.Errorf("%d bytes of memory free to read into", e.largest)
	}
	allocated := testing.AllocsPerRun(10, func() {
		_, _ = Read(bytes.NewReader(head), MaxSize)
	})
	if allocated > 5 {
		t.Errorf("%v allocations for 9 bytes", allocated)
	}
}

func TestReadWithoutProgress(t *testing.T) {
	_, err := Read(readerFunc(func([]byte) (int, error) { return 0, nil }), MaxSize)
	if !errors.Is(err, io.ErrNoProgress) {
		t.Error(err)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func TestPartialError(t *testing.T) {
	tests := []struct {
		err    error
		reason string
		alert  uint8
		answer []byte
	}{
		{io.EOF, "client_closed", 0, nil},
		{&net.OpError{Op: "read", Err: syscall.ECONNRESET}, "client_closed", 0, nil},
		{&net.OpError{Op: "read", Err: os.ErrDeadlineExceeded}, "handshake_timeout", alertUserCanceled,
			[]byte{21, 3, 1, 0, 2, 1, 90, 21, 3, 1, 0, 2, 1, 0}},
		{&net.OpError{Op: "read", Err: net.ErrClosed}, "handshake_canceled", 0, nil},
		{io.ErrClosedPipe, "handshake_canceled", 0, nil},
	}
	for _, test := range tests {
		_, err := Read(io.MultiReader(bytes.NewReader([]byte{22, 3}), iotest.ErrReader(test.err)), MaxSize)
		var partial *PartialError
		if !errors.As(err, &partial) || partial.Received != 2 || !errors.Is(err, test.err) {
			t.Fatalf("%v: %v", test.err, err)
		}
		if want := "clienthello: after 2 bytes of a hello: " + test.err.Error(); partial.Error() != want {
			t.Errorf("%q, want %q", partial.Error(), want)
		}
		if partial.Reason() != test.reason || partial.Alert() != test.alert || !bytes.Equal(partial.Answer(), test.answer) {
			t.Errorf("%v: %s, alert %d, answer % x", test.err, partial.Reason(), partial.Alert(), partial.Answer())
		}
	}
}

// TestReadSlowSender is a client that sends a byte a second.
func TestReadSlowSender(t *testing.T) {
	wire := recording(t, "openssl-tls12")
	for _, test := range []struct {
		timeout  time.Duration
		received int
	}{
		{10*time.Second + time.Millisecond, 11},
		{time.Hour, len(wire)},
	} {
		synctest.Test(t, func(t *testing.T) {
			client, server := net.Pipe()
			if err := server.SetReadDeadline(time.Now().Add(test.timeout)); err != nil {
				t.Fatal(err)
			}
			sent := make(chan struct{})
			go func() {
				defer close(sent)
				defer client.Close()
				for _, b := range wire {
					if _, err := client.Write([]byte{b}); err != nil {
						return
					}
					time.Sleep(time.Second)
				}
			}()
			start := time.Now()
			_, err := Read(server, MaxSize)
			took := time.Since(start)
			server.Close()
			<-sent
			if test.received == len(wire) {
				if err != nil {
					t.Error(err)
				}
				return
			}
			var partial *PartialError
			if !errors.As(err, &partial) || partial.Reason() != "handshake_timeout" || partial.Received != test.received {
				t.Errorf("after %v: %v", took, err)
			}
			if took != test.timeout {
				t.Errorf("took %v, not %v", took, test.timeout)
			}
		})
	}
}

// TestReadHalfOpen is a client that begins and says no more.
func TestReadHalfOpen(t *testing.T) {
	for _, begin := range [][]byte{nil, {22}, {22, 3, 1}, recording(t, "go-default")[:1000]} {
		synctest.Test(t, func(t *testing.T) {
			client, server := net.Pipe()
			if err := server.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
				t.Fatal(err)
			}
			done := make(chan struct{})
			go func() {
				defer close(done)
				_, _ = client.Write(begin)
			}()
			_, err := Read(server, MaxSize)
			if reasonOf(err) != "handshake_timeout" {
				t.Errorf("%d bytes: %v", len(begin), err)
			}
			server.Close()
			<-done
		})
	}
}
