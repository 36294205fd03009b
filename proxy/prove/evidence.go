package prove

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// Format is the version of [Evidence].
const Format = 1

// The values of Evidence.Way.
const (
	InProcess = "in_process" // by the gateway itself, before the configuration is in force
	OverTCP   = "tcp"        // from outside, at the listeners' addresses
)

// Evidence is what an auditor can keep. Its hash shows that nobody has changed
// it since, to whoever has the hash from elsewhere: it is in the log, too.
type Evidence struct {
	Format       int        `json:"format"`
	Suitegate    string     `json:"suitegate"` // version
	Go           string     `json:"go"`
	Time         time.Time  `json:"time"`
	Way          string     `json:"way"`
	Config       string     `json:"config"` // file
	ConfigSHA256 string     `json:"config_sha256"`
	Listeners    []Listener `json:"listeners"`
	Offers       int        `json:"offers"`
	Differences  int        `json:"differences"`
	SHA256       string     `json:"sha256,omitempty"` // see Seal
}

// Listener is what one of them was asked.
type Listener struct {
	Name      string    `json:"name"`
	Address   string    `json:"address"`
	Policy    Policy    `json:"policy"`    // as it is written
	ProvedAt  time.Time `json:"proved_at"` // may be before the evidence's time: see the README
	Clients   []Clients `json:"clients"`
	NotProved []string  `json:"not_proved,omitempty"` // and why
}

// Policy is a cipher policy by its names.
type Policy struct {
	Name   string   `json:"name"`
	TLS13  []string `json:"tls13"`
	TLS12  []string `json:"tls12"`
	Groups []string `json:"groups"`
}

// Clients are those that ask for one server name.
type Clients struct {
	ServerName string   `json:"server_name"` // "" for none
	Keys       []string `json:"keys"`        // of the certificates that they can get
	Cells      []Cell   `json:"cells"`
}

// Differences are the cells with a wrong answer.
func (l *Listener) Differences() (list []Cell) {
	for _, c := range l.Clients {
		for _, cell := range c.Cells {
			if cell.Differs() {
				list = append(list, cell)
			}
		}
	}
	return list
}

// Offers counts the cells.
func (l *Listener) Offers() (n int) {
	for _, c := range l.Clients {
		n += len(c.Cells)
	}
	return n
}

// Seal counts, and adds the hash: SHA-256 over the JSON of all else without any
// space, as encoding/json and jq -c write it.
func (e *Evidence) Seal() error {
	e.Format, e.Offers, e.Differences = Format, 0, 0
	for i := range e.Listeners {
		e.Offers += e.Listeners[i].Offers()
		e.Differences += len(e.Listeners[i].Differences())
	}
	sum, err := e.hash()
	e.SHA256 = sum
	return err
}

func (e *Evidence) hash() (string, error) {
	bare := *e
	bare.SHA256 = ""
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(&bare); err != nil {
		return "", fmt.Errorf("prove: %w", err)
	}
	return fmt.Sprintf("%x", sha256.Sum256(bytes.TrimSuffix(text.Bytes(), []byte("\n")))), nil
}

// ErrChanged is the error of [Verify] for evidence that is not what was sealed.
var ErrChanged = errors.New("prove: the evidence does not have its hash: it was changed")

// Verify reads evidence, and checks its hash and its counts.
func Verify(text []byte) (*Evidence, error) {
	e := new(Evidence)
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(e); err != nil {
		return nil, fmt.Errorf("prove: %w", err)
	}
	if e.Format != Format {
		return nil, fmt.Errorf("prove: format %d, want %d", e.Format, Format)
	}
	again := *e
	if err := again.Seal(); err != nil {
		return nil, err
	}
	if again.SHA256 != e.SHA256 || again.Offers != e.Offers || again.Differences != e.Differences {
		return nil, ErrChanged
	}
	return e, nil
}

// Write puts the evidence into a file, in one step, for everyone to read.
func (e *Evidence) Write(path string) error {
	text, err := json.MarshalIndent(e, "", " ")
	if err != nil {
		return fmt.Errorf("prove: %w", err)
	}
	file, err := os.CreateTemp(filepath.Dir(path), ".prove-")
	if err != nil {
		return fmt.Errorf("prove: %w", err)
	}
	_, err = file.Write(append(text, '\n'))
	err = errors.Join(err, file.Chmod(0o644), file.Sync(), file.Close())
	if err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		_ = os.Remove(file.Name()) // err is why
		return fmt.Errorf("prove: %w", err)
	}
	return nil
}
