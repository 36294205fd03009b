package clienthello

import "encoding/binary"

// builder makes hellos. What is nil is left as a client of TLS 1.2 has it.
type builder struct {
	version     uint16 // 0: TLS 1.2
	sessionID   []byte
	suites      []byte
	compression []byte
	extensions  []byte
	none        bool   // no block of extensions at all
	behind      []byte // after the extensions
}

func (b *builder) extension(extension uint16, data []byte) *builder {
	b.extensions = binary.BigEndian.AppendUint16(b.extensions, extension)
	b.extensions = append(b.extensions, vector16(data)...)
	return b
}

func (b *builder) message() []byte {
	version := b.version
	if version == 0 {
		version = versionTLS12
	}
	suites := b.suites
	if suites == nil {
		suites = []byte{0xc0, 0x2f}
	}
	compression := b.compression
	if compression == nil {
		compression = []byte{compressionNull}
	}
	body := binary.BigEndian.AppendUint16(nil, version)
	body = append(body, make([]byte, 32)...)
	body = append(body, vector8(b.sessionID)...)
	body = append(body, vector16(suites)...)
	body = append(body, vector8(compression)...)
	if !b.none {
		body = append(body, vector16(b.extensions)...)
	}
	body = append(body, b.behind...)
	header := []byte{typeClientHello, byte(len(body) >> 16), byte(len(body) >> 8), byte(len(body))}
	return append(header, body...)
}

// vector8 and vector16 are variable-length vectors (RFC 8446 §3.4).
func vector8(data []byte) []byte {
	return append([]byte{byte(len(data))}, data...)
}

func vector16(data []byte) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(data))), data...)
}

// uint16list is a vector of values behind a two-byte length.
func uint16list(values ...uint16) []byte {
	var b []byte
	for _, v := range values {
		b = binary.BigEndian.AppendUint16(b, v)
	}
	return vector16(b)
}

// tls13 is a hello that offers TLS 1.3 as it should.
func tls13(more ...func(*builder)) *builder {
	b := new(builder)
	b.extension(extSupportedVersions, []byte{2, 3, 4})
	for _, m := range more {
		m(b)
	}
	return b
}

func withGroups(values ...uint16) func(*builder) {
	return func(b *builder) { b.extension(extSupportedGroups, uint16list(values...)) }
}

func withShares(groups ...uint16) func(*builder) {
	return func(b *builder) {
		var shares []byte
		for _, g := range groups {
			shares = binary.BigEndian.AppendUint16(shares, g)
			shares = append(shares, vector16([]byte("key"))...)
		}
		b.extension(extKeyShare, vector16(shares))
	}
}

func withSchemes(b *builder) { b.extension(extSignatureAlgorithms, uint16list(0x0804)) }

func withPSKModes(b *builder) { b.extension(extPSKModes, []byte{1, 1}) }

func withPSK(b *builder) {
	b.extension(extPreSharedKey, preSharedKey([]string{"ticket"}, []int{32}))
}

func preSharedKey(identities []string, binders []int) []byte {
	var ids, bs []byte
	for _, id := range identities {
		ids = append(ids, vector16([]byte(id))...)
		ids = append(ids, 0, 0, 0, 1)
	}
	for _, n := range binders {
		bs = append(bs, vector8(make([]byte, n))...)
	}
	return append(vector16(ids), vector16(bs)...)
}
