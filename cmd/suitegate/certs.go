package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/suitegate/suitegate/certs"
	"github.com/suitegate/suitegate/configs"
	"github.com/suitegate/suitegate/proxy"
)

type certsCommand struct {
	List       certsListCommand       `cmd:"" help:"List the certificates that listeners serve."`
	ExportRoot certsExportRootCommand `cmd:"" help:"Print the self-signed root, for clients to trust."`
}

type certsListCommand struct {
	Config string `required:"" placeholder:"FILE" help:"Configuration file."`
	JSON   bool   `help:"Print JSON, for programs."`
}

func (c *certsListCommand) Run(out *console) error {
	cfg, err := loadConfig(c.Config)
	if err != nil {
		return err
	}
	stored, err := proxy.Certificates(context.Background(), cfg)
	if err != nil {
		return err
	}
	var list []certificateRow
	var missing []error
	for _, s := range stored {
		if s.Leaf == nil {
			missing = append(missing, fmt.Errorf("certificate %s: the one with the key %v is still to be issued; there is none in %s", s.Source, s.Key, cfg.StorageName()))
			continue
		}
		list = append(list, newCertificateRow(s, cfg.Listeners, time.Now()))
	}
	if c.JSON {
		if err := out.json(slices.Concat([]certificateRow{}, list)); err != nil { // [] rather than null
			return err
		}
	} else if len(list) > 0 {
		printCertificates(out, list)
	}
	if len(missing) > 0 {
		return withHint(errors.Join(missing...), "suitegate serve has it issued when it starts")
	}
	return nil
}

// certificateRow is one certificate as `certs list` prints it.
type certificateRow struct {
	Certificate string    `json:"certificate"` // the configuration's entry
	Source      string    `json:"source"`      // files, self_signed, acme
	Key         string    `json:"key"`
	Names       []string  `json:"names"`
	Issuer      string    `json:"issuer"`
	Serial      string    `json:"serial"` // in hexadecimal
	NotBefore   time.Time `json:"not_before"`
	NotAfter    time.Time `json:"not_after"`
	DaysLeft    int       `json:"days_left"` // whole ones; below zero once it has expired
	SHA256      string    `json:"sha256"`    // of the certificate
	Listeners   []string  `json:"listeners"`
}

func newCertificateRow(s certs.Stored, listeners []configs.Listener, now time.Time) certificateRow {
	row := certificateRow{
		Certificate: s.Source,
		Source:      s.Kind,
		Key:         s.Key.String(),
		Names:       s.Names,
		Issuer:      s.Leaf.Issuer.String(),
		Serial:      fmt.Sprintf("%x", s.Leaf.SerialNumber),
		NotBefore:   s.Leaf.NotBefore.UTC(),
		NotAfter:    s.Leaf.NotAfter.UTC(),
		DaysLeft:    int(math.Floor(s.Leaf.NotAfter.Sub(now).Hours() / 24)),
		SHA256:      fmt.Sprintf("%x", sha256.Sum256(s.Leaf.Raw)),
		Listeners:   []string{},
	}
	for _, l := range listeners {
		if slices.Contains(l.Certificates, s.Source) {
			row.Listeners = append(row.Listeners, l.Name)
		}
	}
	return row
}

// printCertificates prints a table whose long columns come last.
func printCertificates(out *console, list []certificateRow) {
	rows := [][]string{{"CERTIFICATE", "SOURCE", "KEY", "NOT BEFORE", "NOT AFTER", "DAYS LEFT", "LISTENERS", "NAMES", "ISSUER", "SERIAL", "SHA-256"}}
	for _, c := range list {
		rows = append(rows, []string{
			c.Certificate,
			c.Source,
			c.Key,
			c.NotBefore.Format(time.DateOnly),
			c.NotAfter.Format(time.DateOnly),
			strconv.Itoa(c.DaysLeft),
			strings.Join(c.Listeners, ", "),
			printable(strings.Join(c.Names, ", ")),
			printable(c.Issuer),
			c.Serial,
			c.SHA256,
		})
	}
	out.table("", rows)
}

// printable quotes what would do more to a terminal, or to a table, than
// stand there: certificates can hold anything.
func printable(text string) string {
	if quoted := strconv.Quote(text); quoted != `"`+text+`"` {
		return quoted
	}
	return text
}

type certsExportRootCommand struct {
	Config string `required:"" placeholder:"FILE" help:"Configuration file, to take the storage from."`
	Output string `placeholder:"FILE" help:"Write there instead of printing."`
}

func (c *certsExportRootCommand) Run(out *console) error {
	cfg, err := loadConfig(c.Config)
	if err != nil {
		return err
	}
	root, err := proxy.ExportRoot(context.Background(), cfg)
	if errors.Is(err, certs.ErrNoRoot) {
		hint := "suitegate serve makes it when it first starts"
		if !slices.ContainsFunc(cfg.Certificates, func(c configs.Certificate) bool { return c.SelfSigned != nil }) {
			hint = "no certificate of " + cfg.File + " is self_signed"
		}
		return withHint(err, hint)
	}
	if err != nil {
		return err
	}
	if c.Output == "" {
		out.printf("%s", root)
		return nil
	}
	return os.WriteFile(c.Output, root, 0o644) // everybody may read a root
}
