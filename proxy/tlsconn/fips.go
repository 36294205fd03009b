package tlsconn

import "errors"

// ErrFIPS ends every handshake in FIPS 140-3 mode. The package is built on Go's
// cryptographic module, but no part of it, and has what the module does not
// approve: it must not be reached there, whoever tries.
var ErrFIPS = errors.New("tlsconn: in FIPS 140-3 mode there is crypto/tls alone")
