package certs

import (
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
)

// maxFile is how much of a file is read, in bytes: a chain of a hundred
// large certificates fits.
const maxFile = 1 << 20

// readFile returns the content of a file that can be read again and again.
func readFile(path string) ([]byte, error) {
	if info, err := os.Stat(path); err == nil && info.Mode()&fs.ModeNamedPipe != 0 {
		return nil, fmt.Errorf("%s: a pipe, which has its content only once", path) // and may block whoever opens it
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxFile {
		return nil, fmt.Errorf("%s: longer than %d bytes", path, maxFile)
	}
	return data, nil
}

// readPEM returns the PEM blocks of a file, at least one.
func readPEM(path string) ([]*pem.Block, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, err
	}
	var blocks []*pem.Block
	for rest := data; ; {
		var block *pem.Block
		block, rest = pem.Decode(rest)
		if block == nil {
			break
		}
		blocks = append(blocks, block)
	}
	switch {
	case len(blocks) > 0:
		return blocks, nil
	case len(data) == 0:
		return nil, fmt.Errorf("%s: empty", path)
	case data[0] == 0x30: // SEQUENCE, as DER certificates and PKCS #12 begin
		return nil, fmt.Errorf("%s: not PEM but binary (DER or PKCS #12?)", path)
	}
	return nil, fmt.Errorf("%s: not PEM", path)
}

// blockTypes lists what a file holds instead of what was looked for.
func blockTypes(blocks []*pem.Block) string {
	var types []string
	for _, b := range blocks {
		if t := fmt.Sprintf("%q", b.Type); !slices.Contains(types, t) {
			types = append(types, t)
		}
	}
	return strings.Join(types, ", ")
}

func readChain(path string) ([]*x509.Certificate, error) {
	blocks, err := readPEM(path)
	if err != nil {
		return nil, err
	}
	var chain []*x509.Certificate
	for _, b := range blocks {
		if b.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(b.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%s: certificate %d: %w", path, len(chain)+1, err)
		}
		chain = append(chain, c)
	}
	if len(chain) == 0 {
		return nil, fmt.Errorf("%s: no certificate in it, only %s", path, blockTypes(blocks))
	}
	return chain, nil
}

// readKey reads the first private key of a file. Its errors never wrap those
// of the parsers, so that no byte of a key can reach a log. odd is what is
// worth a warning, "" for nothing.
func readKey(path string, p password, fips bool) (key crypto.Signer, odd string, err error) {
	blocks, err := readPEM(path)
	if err != nil {
		return nil, "", err
	}
	i := slices.IndexFunc(blocks, func(b *pem.Block) bool {
		return b.Type == "PRIVATE KEY" || strings.HasSuffix(b.Type, " PRIVATE KEY")
	})
	if i < 0 {
		return nil, "", fmt.Errorf("%s: no private key in it, only %s", path, blockTypes(blocks))
	}
	block := blocks[i]
	switch encrypted := isEncrypted(block); {
	case encrypted && !p.given():
		return nil, "", fmt.Errorf("%s: the key is encrypted, and the configuration has neither password_file nor password_env", path)
	case encrypted:
		if fips {
			err = approvedEncryption(block)
		}
		if err == nil {
			key, err = openKey(block, p)
		}
		if block.Type != "ENCRYPTED PRIVATE KEY" {
			odd = "private key is encrypted in a way that is easily broken: encrypt it with openssl pkcs8 -topk8"
		}
	default:
		key, err = parseKey(block)
		if p.given() {
			odd = "private key is not encrypted, although there is a password for it"
		}
	}
	if err == nil && fips {
		err = approvedKey(key)
	}
	if err != nil {
		return nil, "", fmt.Errorf("%s: %w", path, err)
	}
	return key, odd, nil
}

// isEncrypted: RFC 7468 section 11, and RFC 1421 section 4.6.1.1 for the older
// kind.
func isEncrypted(b *pem.Block) bool {
	return b.Type == "ENCRYPTED PRIVATE KEY" || strings.Contains(b.Headers["Proc-Type"], "ENCRYPTED")
}

// openKey decrypts and parses a key. What comes out of a wrong password may
// look well padded, so malformed is wrong, too.
func openKey(b *pem.Block, p password) (crypto.Signer, error) {
	var der []byte
	var err error
	label := "PRIVATE KEY"
	if b.Type == "ENCRYPTED PRIVATE KEY" {
		der, err = decryptPKCS8(b.Bytes, p.text)
	} else {
		label = b.Type
		//lint:ignore SA1019 whoever has such a key can do no better with another program
		der, err = x509.DecryptPEMBlock(b, p.text)
		if errors.Is(err, x509.IncorrectPasswordError) {
			err = errWrongPassword
		} else if err != nil {
			err = errMalformedEncryption
		}
	}
	if err != nil {
		return nil, err
	}
	defer clear(der)
	key, err := parseKey(&pem.Block{Type: label, Bytes: der})
	if err != nil {
		return nil, errWrongPassword
	}
	return key, nil
}

// parseKey tries the three encodings whatever the label says: files with a
// wrong one are common, and crypto/tls takes them too.
func parseKey(b *pem.Block) (crypto.Signer, error) {
	if key, err := x509.ParsePKCS1PrivateKey(b.Bytes); err == nil {
		return key, nil
	}
	if key, err := x509.ParsePKCS8PrivateKey(b.Bytes); err == nil {
		if signer, ok := key.(crypto.Signer); ok {
			return signer, nil
		}
		return nil, errors.New("the key cannot sign")
	}
	if key, err := x509.ParseECPrivateKey(b.Bytes); err == nil {
		return key, nil
	}
	switch b.Type {
	case "PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY":
		return nil, fmt.Errorf("malformed key, or a type of key that is not supported, in %q", b.Type)
	}
	return nil, fmt.Errorf("%q is not supported (PKCS #8, PKCS #1 and SEC 1 are)", b.Type)
}
