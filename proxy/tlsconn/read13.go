package tlsconn

// recordDropped is the type of a record that was none of ours.
const recordDropped uint8 = 0

// openRecord opens the record whose fragment was read, into dst if that can be, and
// returns its type.
func (in *inbound) openRecord(dst, fragment []byte) (recordType uint8, data []byte, err error) {
	recordType = in.reader.recordType()
	if (in.lenient || in.half.typed) && (recordType != recordApplicationData || !in.half.protected) {
		return in.unprotected(recordType, fragment)
	}
	seq := in.half.seq
	data, err = in.half.openInto(dst, recordType, in.reader.version(), fragment)
	switch {
	case err == alertBadRecordMAC && in.dropEarly > 0:
		in.half.seq = seq
		return recordDropped, nil, in.drop(fragment)
	case err != nil:
		return 0, nil, refuse(err.(alert), "record of type %d and %d bytes", recordType, len(fragment))
	case in.half.typed:
		in.dropEarly = 0 // from here on the client has our keys
		recordType = in.half.header.contentType()
		if recordType == recordChangeCipherSpec {
			return 0, nil, refuse(alertUnexpectedMessage, "ChangeCipherSpec that is protected") // RFC 8446 §5
		}
	}
	return recordType, data, nil
}

// unprotected takes a record of TLS 1.3 that is not protected, once there was a
// first ClientHello.
func (in *inbound) unprotected(recordType uint8, fragment []byte) (uint8, []byte, error) {
	switch {
	case recordType == recordChangeCipherSpec && in.lenient: // RFC 8446 §5
		if len(fragment) != 1 || fragment[0] != 1 {
			return 0, nil, refuse(alertUnexpectedMessage, "ChangeCipherSpec of %d bytes", len(fragment))
		}
		return recordDropped, nil, in.countUseless()
	// Between HelloRetryRequest and its answer.
	case recordType == recordApplicationData && in.dropEarly > 0:
		return recordDropped, nil, in.drop(fragment)
	// A client that does not like our first flight may be without keys yet.
	// OpenSSL has none of its own before its Finished, and so says in the clear
	// that it does not trust the certificate.
	case recordType == recordAlert && in.lenient, !in.half.protected:
		return recordType, fragment, nil
	}
	return 0, nil, refuse(alertUnexpectedMessage, "record of type %d that is not protected", recordType)
}

// drop drops a record of early data.
func (in *inbound) drop(fragment []byte) error {
	if in.dropEarly -= recordHeaderLen + len(fragment); in.dropEarly <= 0 {
		return refuse(alertUnexpectedMessage, "more than %d bytes of early data", maxEarlyData)
	}
	return nil
}

// updateKeys takes what comes of a KeyUpdate (RFC 8446 §4.6.3), which is the only
// handshake message that a client may send later. The keys change behind it, and
// so must the record (§5.1).
func (c *Conn) updateKeys(data []byte) error {
	in := &c.in
	const length = messageHeaderLen + 1
	message := append(in.messages, data...)
	switch {
	case message[0] != typeKeyUpdate:
		return refuse(alertUnexpectedMessage, "message of type %d after the handshake", message[0])
	case len(message) >= messageHeaderLen && (message[1] != 0 || message[2] != 0 || message[3] != 1):
		return errDecode("KeyUpdate")
	case len(message) > length:
		return refuse(alertUnexpectedMessage, "%d handshake bytes behind KeyUpdate", len(message)-length)
	case len(message) < length:
		in.messages = message
		return in.countUseless()
	}
	in.messages = nil
	requested := message[messageHeaderLen]
	if requested > updateRequested {
		return refuse(alertIllegalParameter, "KeyUpdate with request_update %d", requested)
	}
	in.half.setTraffic13(in.half.opener.(*aead13).next(), false)
	if requested == updateRequested {
		// Until there is data nobody needs the answer, and a client that asks and
		// does not read cannot have many of them held.
		c.out.updateDue.Store(true)
	}
	return in.countUseless()
}

// updateKeys sends a KeyUpdate, and changes the keys behind it, where the peer is
// owed one or the keys have protected all that they should (RFC 8446 §5.5).
func (out *outbound) updateKeys() {
	half := &out.writer.half
	if !half.typed || !out.updateDue.Swap(false) && half.seq < maxRecords13 {
		return
	}
	out.writer.add(recordHandshake, keyUpdate(updateNotRequested))
	half.setTraffic13(half.sealer.(*aead13).next(), true)
}
