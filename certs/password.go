package certs

import (
	"errors"
	"fmt"
)

// password opens an encrypted key. It lives for as long as the files are read.
type password struct {
	text  []byte
	field string // where the configuration says where it comes from; "" if there is none
}

// readPassword reads the password of files from where it is kept. The error is
// a *SourceError.
func readPassword(source string, from Secret) (password, error) {
	field := "files.password_file"
	switch {
	case from == Secret{}:
		return password{}, nil
	case from.File == "":
		field = "files.password_env"
	}
	text, err := from.Read()
	if err != nil {
		return password{}, &SourceError{Source: source, Field: field, Err: err}
	}
	return password{text, field}, nil
}

// given says whether the configuration names a password.
func (p password) given() bool { return p.field != "" }

// forget overwrites the password.
func (p password) forget() { clear(p.text) }

// blame turns the error of reading what field names, if there is one, into a
// *SourceError. A password that does not fit is the fault of where it comes
// from.
func (p password) blame(source, field, path string, err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, errWrongPassword) && p.given() {
		return &SourceError{Source: source, Field: p.field, Err: fmt.Errorf("the password does not open %s, or that file is damaged", path)}
	}
	return &SourceError{Source: source, Field: field, Err: err}
}
