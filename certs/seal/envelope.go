package seal

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"path"

	"golang.org/x/crypto/cryptobyte"
)

const (
	// MaxValue is the largest value that is sealed, in bytes.
	MaxValue = 1 << 20

	maxEnvelope = 2 * MaxValue

	// maxWrapped is what AWS KMS has as the limit of a ciphertext.
	maxWrapped = 6144

	envelopeVersion = 1
)

// envelope is what stands in the storage for a value. It is JSON, so that an
// auditor can see by eye which key a value depends on.
type envelope struct {
	Version int     `json:"suitegate_sealed"`
	Key     string  `json:"key"`               // ID of the key encryption key
	Context Context `json:"context,omitempty"` // what the configuration adds to the encryption context
	DataKey []byte  `json:"data_key"`          // wrapped
	Value   []byte  `json:"value"`             // nonce, ciphertext and tag of AES-256-GCM
}

// sealedPrefix is what every envelope begins with: no PEM, and no JSON of
// certmagic's.
const sealedPrefix = `{"suitegate_sealed":`

// IsSealed says whether a value of a storage is an envelope, whole or not.
func IsSealed(value []byte) bool { return bytes.HasPrefix(value, []byte(sealedPrefix)) }

// parseEnvelope checks lengths before anything is decoded.
func parseEnvelope(data []byte) (*envelope, error) {
	if len(data) > maxEnvelope {
		return nil, fmt.Errorf("longer than %d bytes", maxEnvelope)
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	var e envelope
	if err := decoder.Decode(&e); err != nil {
		return nil, fmt.Errorf("not an envelope: %w", err)
	}
	switch {
	case decoder.More():
		return nil, errors.New("more than an envelope")
	case e.Version != envelopeVersion:
		return nil, fmt.Errorf("version %d of sealing is not known to this program", e.Version)
	case e.Key == "", len(e.DataKey) == 0, len(e.Value) == 0:
		return nil, errors.New("an envelope without its key, data key or value")
	case len(e.DataKey) > maxWrapped:
		return nil, fmt.Errorf("a wrapped data key of more than %d bytes", maxWrapped)
	}
	return &e, nil
}

// additional is the additional data that a value is bound to: where it stands,
// and under which key. Lengths keep the parts apart.
func additional(storage, name, key string) []byte {
	var b cryptobyte.Builder
	for _, part := range []string{"suitegate sealed value 1", storage, name, key} {
		b.AddUint32LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes([]byte(part)) })
	}
	return b.BytesOrPanic() // no part is 4 GB long
}

// Names in the encryption context that are set here. Configurations add none
// that begin so.
const (
	ContextPrefix    = "suitegate:"
	contextStorage   = ContextPrefix + "storage"   // the ID of the storage
	contextPrincipal = ContextPrefix + "principal" // see [Principal]
)

// Principal is whose data keys a value is sealed with: the directory that it is
// in, which is that of the certificates of one site, of one ACME account, of the
// self-signed root, of the ticket secrets. Values at the top are the storage's.
func Principal(name string) string {
	if dir := path.Dir(name); dir != "." {
		return dir
	}
	return "storage"
}

// contextFor is the encryption context of the data keys of a principal.
func contextFor(storage, principal string, more Context) Context {
	ec := Context{contextStorage: storage, contextPrincipal: principal}
	for name, value := range more {
		if _, ours := ec[name]; !ours {
			ec[name] = value
		}
	}
	return ec
}
