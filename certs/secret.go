package certs

import (
	"bytes"
	"fmt"
	"os"
)

// Secret is a text that does not stand in the configuration: a password, or a
// key that is text. At most one of its fields is set; without any there is no
// secret.
type Secret struct {
	File string // holds it, with or without one line break behind it
	Env  string // names the environment variable that holds it
}

// Name says where the secret is.
func (s Secret) Name() string {
	if s.File == "" {
		return "the environment variable " + s.Env
	}
	return s.File
}

// maxSecret is the longest, in bytes.
const maxSecret = 4096

// Read returns the secret, in memory of its own. Its errors have nothing of it.
func (s Secret) Read() ([]byte, error) {
	if s.File == "" {
		if value := os.Getenv(s.Env); value != "" {
			return []byte(value), nil
		}
		return nil, fmt.Errorf("%s is not set, or empty", s.Name())
	}
	data, err := readFile(s.File)
	if err != nil {
		return nil, err
	}
	value := bytes.TrimSuffix(bytes.TrimSuffix(data, []byte("\n")), []byte("\r"))
	switch {
	case len(value) == 0:
		return nil, fmt.Errorf("%s: empty", s.File)
	case len(value) > maxSecret:
		return nil, fmt.Errorf("%s: longer than %d bytes", s.File, maxSecret)
	}
	return value, nil
}
