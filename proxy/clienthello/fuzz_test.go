package clienthello

import (
	"bytes"
	"regexp"
	"testing"
	"testing/iotest"
)

// FuzzRead holds for whatever comes that the result is the same however it is
// cut into segments, that everything is there to replay, that refusals are
// refusals, and that crypto/tls reads the same.
func FuzzRead(f *testing.F) {
	for _, wire := range recordings(f) {
		f.Add(wire)
		f.Add(records(messageOf(f, wire), 50))
	}
	for _, test := range plaintexts() {
		f.Add([]byte(test.first))
	}
	f.Fuzz(func(t *testing.T, wire []byte) {
		h, err := Read(bytes.NewReader(wire), MaxSize)
		again, errAgain := Read(iotest.OneByteReader(bytes.NewReader(wire)), MaxSize)
		if reasonOf(err) != reasonOf(errAgain) {
			t.Errorf("%v in one segment, %v byte by byte", err, errAgain)
		}
		if err != nil {
			checkRefusal(t, err)
		} else {
			equalHellos(t, h, again)
			if ja4 := h.JA4(); !ja4Form.MatchString(ja4) || ja4 != again.JA4() {
				t.Errorf("JA4 %q, %q byte by byte", ja4, again.JA4())
			}
			if !bytes.HasPrefix(wire, h.raw) || !bytes.HasPrefix(h.raw, again.raw) {
				t.Error("other bytes to replay")
			}
		}
		compareWithCryptoTLS(t, wire)
	})
}

// ja4Form is what a JA4 looks like whatever a client sends: it goes into logs.
var ja4Form = regexp.MustCompile(`^t(1[0-3]|s[23]|00)[di]\d{4}[0-9A-Za-z]{2}(_[0-9a-f]{12}){2}$`)

// FuzzParse does the same for messages, which it frames for crypto/tls itself,
// so that fuzzing does not have to guess three lengths at once.
func FuzzParse(f *testing.F) {
	for _, wire := range recordings(f) {
		f.Add(messageOf(f, wire)[handshakeHeaderLen:])
	}
	for _, test := range malformed() {
		if len(test.message) > handshakeHeaderLen {
			f.Add(test.message[handshakeHeaderLen:])
		}
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if len(body) > MaxSize-handshakeHeaderLen {
			return
		}
		header := []byte{typeClientHello, 0, byte(len(body) >> 8), byte(len(body))}
		msg := append(header, body...)
		h, err := Parse(msg)
		if err != nil {
			checkRefusal(t, err)
		} else {
			_ = describe(h)
		}
		compareWithCryptoTLS(t, records(msg, maxPlaintext))
	})
}

// checkRefusal holds what every error promises.
func checkRefusal(t *testing.T, err error) {
	t.Helper()
	refusal, ok := err.(Refusal)
	if !ok {
		t.Fatalf("not a Refusal: %v", err)
	}
	if refusal.Reason() == "" {
		t.Error("no reason")
	}
	for _, c := range []byte(refusal.Error()) {
		if c < ' ' || c > '~' {
			t.Fatalf("not escaped: %q", refusal.Error())
		}
	}
}
