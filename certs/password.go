package certs

import (
	"bytes"
	"errors"
	"fmt"
	"os"
)

// password opens an encrypted key. It lives for as long as the files are read.
type password struct {
	text  []byte
	field string // where the configuration says where it comes from; "" if there is none
}

// readPassword reads the password of files from where it is kept. The error
// has the field at fault, and no part of the password.
func readPassword(source string, files Files) (password, error) {
	p := password{}
	var err error
	switch {
	case files.PasswordFile != "":
		p.field = "files.password_file"
		p.text, err = readFile(files.PasswordFile)
		// The one that editors and echo end a file with.
		p.text = bytes.TrimSuffix(bytes.TrimSuffix(p.text, []byte("\n")), []byte("\r"))
		if err == nil && len(p.text) == 0 {
			err = fmt.Errorf("%s: empty", files.PasswordFile)
		}
	case files.PasswordEnv != "":
		p.field = "files.password_env"
		value, ok := os.LookupEnv(files.PasswordEnv)
		p.text = []byte(value)
		switch {
		case !ok:
			err = fmt.Errorf("the environment variable %s is not set", files.PasswordEnv)
		case value == "":
			err = fmt.Errorf("the environment variable %s is empty", files.PasswordEnv)
		}
	}
	if err != nil {
		return password{}, &SourceError{Source: source, Field: p.field, Err: err}
	}
	return p, nil
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
