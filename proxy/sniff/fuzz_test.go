package sniff

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// FuzzRead holds Read and Guard to what they promise of any first bytes, on any
// listener:
//
//   - how the bytes are cut changes nothing of the outcome;
//   - what was read is returned, and nothing is read that could be left;
//   - where one detector says yes, all others say no;
//   - nothing is undecided beyond the cap;
//   - a mismatch gives away and passes on nothing.
func FuzzRead(f *testing.F) {
	for _, s := range samples() {
		for want := range wanted {
			f.Add([]byte(s.sent), byte(want))
		}
	}
	for _, sent := range recordings(f) {
		for want := range wanted {
			f.Add(sent, byte(want))
		}
	}
	f.Fuzz(func(t *testing.T, sent []byte, listener byte) {
		want := wanted[int(listener)%len(wanted)]
		whole, wholeErr := Read(bytes.NewReader(sent), want)
		checkPrefix(t, sent, whole)

		rest := bytes.NewReader(sent)
		single, singleErr := Read(iotest.OneByteReader(rest), want)
		checkPrefix(t, sent, single)
		if rest.Len() != len(sent)-len(single.Prefix) {
			t.Errorf("%d bytes are left of %d, behind a prefix of %d", rest.Len(), len(sent), len(single.Prefix))
		}
		if whole.Protocol != single.Protocol || whole.Variant != single.Variant || !alike(wholeErr, singleErr) {
			t.Errorf("whole: %s %q, %v\nbyte by byte: %s %q, %v",
				whole.Protocol, whole.Variant, wholeErr, single.Protocol, single.Variant, singleErr)
		}
		checkDetectors(t, single.Prefix)
		checkOutcome(t, sent, want, whole, wholeErr)
		checkGuard(t, sent, want, wholeErr)
	})
}

var wanted = [...]Protocol{AMQP, MQTT, STOMP, OpenWire, WebSocket, Any}

func checkPrefix(t *testing.T, sent []byte, result Result) {
	t.Helper()
	if len(result.Prefix) > maxHeader || !bytes.HasPrefix(sent, result.Prefix) {
		t.Errorf("prefix of %d bytes is not what was sent", len(result.Prefix))
	}
}

// checkDetectors looks at the bytes of a decision, and at those before it.
func checkDetectors(t *testing.T, decided []byte) {
	t.Helper()
	said := func(b []byte) (yeses, mores int) {
		for _, detector := range detectors {
			switch _, v := detector(b); v {
			case yes:
				yeses++
			case more:
				mores++
			}
		}
		return yeses, mores
	}
	if yeses, mores := said(decided); yeses > 1 || yeses == 1 && mores > 0 {
		t.Errorf("%d detectors say yes, and %d more", yeses, mores)
	}
	if len(decided) == 0 {
		return
	}
	if yeses, mores := said(decided[:len(decided)-1]); yeses > 0 || mores == 0 {
		t.Errorf("%d bytes were read, and fewer had been enough", len(decided))
	}
}

// alike says whether two errors are one to the client and to the metrics.
func alike(a, b error) bool {
	var x, y *MismatchError
	if errors.As(a, &x) && errors.As(b, &y) {
		return x.Found == y.Found && bytes.Equal(x.Answer(), y.Answer()) && (x.Found == Unknown || x.Detail == y.Detail)
	}
	return errors.Is(a, io.EOF) == errors.Is(b, io.EOF) && (a == nil) == (b == nil)
}

func checkOutcome(t *testing.T, sent []byte, want Protocol, result Result, err error) {
	t.Helper()
	var mismatch *MismatchError
	switch {
	case err == nil:
		if !result.Protocol.served() || want != Any && want != result.Protocol {
			t.Errorf("%s let in for %s", result.Protocol, want)
		}
	case errors.As(err, &mismatch):
		if mismatch.Want != want || mismatch.Found != result.Protocol || mismatch.Found == "" {
			t.Errorf("%v for %s on %s", err, result.Protocol, want)
		}
		const longest = len(`sniff: unknown protocol on the WebSocket listener: begins with ""`) + 4*maxQuoted
		if message := err.Error(); len(message) > longest || strings.ContainsFunc(message, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			t.Errorf("error %q", message)
		}
	case errors.Is(err, io.EOF):
		if len(result.Prefix) != len(sent) || len(sent) >= maxHeader || result.Protocol != "" {
			t.Errorf("undecided as %q after %d bytes of %d", result.Protocol, len(result.Prefix), len(sent))
		}
	default:
		t.Errorf("error %v", err)
	}
}

// checkGuard compares Guard with the outcome of Read.
func checkGuard(t *testing.T, sent []byte, want Protocol, readErr error) {
	t.Helper()
	passed, err := io.ReadAll(Guard(&stream{input: bytes.NewReader(sent)}, want))
	switch {
	case readErr == nil:
		if err != nil || !bytes.Equal(passed, sent) {
			t.Errorf("guard passed %d bytes of %d on, %v", len(passed), len(sent), err)
		}
	case len(sent) == 0:
		if err != nil {
			t.Errorf("guard: %v", err)
		}
	case len(passed) > 0 || !alike(err, readErr):
		t.Errorf("guard passed %d bytes on, %v; Read: %v", len(passed), err, readErr)
	}
}
