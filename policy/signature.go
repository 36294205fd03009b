package policy

import "fmt"

// SignatureScheme is a signature algorithm as on the wire (RFC 8446 §4.2.3).
type SignatureScheme uint16

// The schemes that a listener's keys can sign with. SHA-1 is not among them:
// crypto/tls does not sign with it since Go 1.25, and RFC 9155 forbids it.
const (
	rsaPKCS1SHA256 SignatureScheme = 0x0401
	rsaPKCS1SHA384 SignatureScheme = 0x0501
	rsaPKCS1SHA512 SignatureScheme = 0x0601
	ecdsaP256      SignatureScheme = 0x0403
	ecdsaP384      SignatureScheme = 0x0503
	ecdsaP521      SignatureScheme = 0x0603
	rsaPSSSHA256   SignatureScheme = 0x0804
	rsaPSSSHA384   SignatureScheme = 0x0805
	rsaPSSSHA512   SignatureScheme = 0x0806
	eddsaEd25519   SignatureScheme = 0x0807
)

// String is the scheme's name in RFC 8446, or its number in hexadecimal if it
// is of no use here.
func (s SignatureScheme) String() string {
	switch s {
	case 0x0201:
		return "rsa_pkcs1_sha1"
	case 0x0203:
		return "ecdsa_sha1"
	case rsaPKCS1SHA256:
		return "rsa_pkcs1_sha256"
	case rsaPKCS1SHA384:
		return "rsa_pkcs1_sha384"
	case rsaPKCS1SHA512:
		return "rsa_pkcs1_sha512"
	case ecdsaP256:
		return "ecdsa_secp256r1_sha256"
	case ecdsaP384:
		return "ecdsa_secp384r1_sha384"
	case ecdsaP521:
		return "ecdsa_secp521r1_sha512"
	case rsaPSSSHA256:
		return "rsa_pss_rsae_sha256"
	case rsaPSSSHA384:
		return "rsa_pss_rsae_sha384"
	case rsaPSSSHA512:
		return "rsa_pss_rsae_sha512"
	case eddsaEd25519:
		return "ed25519"
	}
	return fmt.Sprintf("0x%04x", uint16(s))
}

// auth is the kind of TLS 1.2 suites that a key can authenticate.
func (k KeyType) auth() Auth {
	if k == RSA {
		return AuthRSA
	}
	return AuthECDSA
}

// curve is the group that an ECDSA key lies in, 0 for other keys.
func (k KeyType) curve() Group {
	switch k {
	case ECDSAP256:
		return P256
	case ECDSAP384:
		return P384
	}
	return 0
}

// signs reports whether a client that accepts schemes can check this key's
// signatures. A TLS 1.2 client that says nothing can check SHA-1 only
// (RFC 5246 §7.4.1.4.1), which is nothing here.
func (k KeyType) signs(v Version, schemes []SignatureScheme) bool {
	for _, s := range schemes {
		if k.signsWith(v, s) {
			return true
		}
	}
	return false
}

func (k KeyType) signsWith(v Version, s SignatureScheme) bool {
	switch s {
	case rsaPSSSHA256, rsaPSSSHA384, rsaPSSSHA512:
		return k == RSA
	case rsaPKCS1SHA256, rsaPKCS1SHA384, rsaPKCS1SHA512:
		return k == RSA && v == TLS12
	case eddsaEd25519:
		return k == Ed25519
	case ecdsaP256, ecdsaP384, ecdsaP521:
		// TLS 1.2 reads these as a hash only; TLS 1.3 ties each to a curve.
		switch k {
		case ECDSAP256:
			return v == TLS12 || s == ecdsaP256
		case ECDSAP384:
			return v == TLS12 || s == ecdsaP384
		}
	}
	return false
}
