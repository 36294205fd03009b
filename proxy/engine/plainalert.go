package engine

import "net"

// plainAlert is an alert that a TLS 1.3 client sent in the clear. OpenSSL does,
// about a certificate that it does not trust: it encrypts no sooner than its
// own Finished. crypto/tls takes the record for one that cannot be decrypted,
// and the most usual of all mistakes would be logged as bad_record_mac.
type plainAlert uint8

func (a plainAlert) Error() string { return "engine: " + AlertName(uint8(a)) + ", in the clear" }

// alertWatch looks for an alert in the clear among the records of a TLS 1.3
// handshake, where every one that is encrypted has the outer type
// application_data (RFC 8446 §5.2).
type alertWatch struct {
	record []byte // header of the current one, and the body of an alert
	skip   int    // bytes that are left of one that is none
	alert  plainAlert
	seen   bool
}

// see is shown what is read, in pieces of any size.
func (w *alertWatch) see(b []byte) {
	const headerLen, typeAlert, alertLen = 5, 21, 2
	for len(b) > 0 && !w.seen {
		if w.skip > 0 {
			n := min(w.skip, len(b))
			w.skip, b = w.skip-n, b[n:]
			continue
		}
		w.record, b = append(w.record, b[0]), b[1:]
		if len(w.record) < headerLen {
			continue
		}
		length := int(w.record[3])<<8 | int(w.record[4])
		switch {
		case w.record[0] != typeAlert || length != alertLen:
			w.record, w.skip = w.record[:0], length
		case len(w.record) == headerLen+alertLen:
			w.alert, w.seen = plainAlert(w.record[headerLen+1]), true
		}
	}
}

// explain says what an error of the handshake was about, if the client has told.
func (w *alertWatch) explain(err error) error {
	if err == nil || !w.seen {
		return err
	}
	return &net.OpError{Op: "remote error", Err: w.alert}
}
