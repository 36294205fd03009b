package certs

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/idna"
)

func TestParseNames(t *testing.T) {
	label63 := strings.Repeat("a", 63)
	for _, tt := range []struct {
		names   []string
		want    []string // sorted
		primary string
	}{
		{[]string{"localhost", "127.0.0.1", "::1"}, []string{"127.0.0.1", "::1", "localhost"}, "localhost"},
		{[]string{"127.0.0.1", "MQ.Example", "mq.example", "127.0.0.1"}, []string{"127.0.0.1", "mq.example"}, "mq.example"},
		{[]string{"2001:DB8:0::1", "::ffff:192.0.2.1"}, []string{"192.0.2.1", "2001:db8::1"}, "2001:db8::1"},
		{[]string{"*.mq.example"}, []string{"*.mq.example"}, "*.mq.example"},
		{[]string{"bücher.example"}, []string{"xn--bcher-kva.example"}, "xn--bcher-kva.example"},
		{[]string{"my_service", "a--b"}, []string{"a--b", "my_service"}, "my_service"},
		{[]string{label63 + ".example"}, []string{label63 + ".example"}, label63 + ".example"},
	} {
		id, errs := parseNames("x", "self_signed.names", tt.names)
		if len(errs) > 0 {
			t.Errorf("%q: %v", tt.names, errs)
			continue
		}
		if diff := cmp.Diff(tt.want, id.all()); diff != "" {
			t.Errorf("%q: %s", tt.names, diff)
		}
		if got := id.primary(); got != tt.primary {
			t.Errorf("%q: primary %q, want %q", tt.names, got, tt.primary)
		}
	}
}

func TestParseNamesErrors(t *testing.T) {
	for _, tt := range []struct{ name, want string }{
		{"", "an empty label"},
		{"a..b", "an empty label"},
		{"a.", "an empty label"},
		{"a b", "a character that host names do not have"},
		{"host:5671", "a character that host names do not have"},
		{"a.*.example", "a character that host names do not have"},
		{"*", "a character that host names do not have"},
		{"fe80::1%eth0", "a character that host names do not have"},
		{"*.example", "a wildcard needs two labels behind it"},
		{"-a.example", `idna: invalid label "-a"`},
		{"a-.example", `idna: invalid label "a-"`},
		{"1.2.3", "the last label is a number"},
		{strings.Repeat("a", 64) + ".example", "a label of more than 63 bytes"},
		{strings.Repeat("a.", 127), "too long"},
		{strings.Repeat("a.", 10_000), "too long"},
		{"\xbc", "not UTF-8"},
		{"xn--\u00fc.example", "idna: invalid label \"ü\""},
	} {
		_, errs := parseNames("x", "self_signed.names", []string{tt.name})
		got := sourceErrors(t, errors.Join(errs...))
		if len(got) != 1 || got[0].Field != "self_signed.names" || !strings.HasSuffix(got[0].Error(), " is neither a DNS name nor an IP address: "+tt.want) {
			t.Errorf("%q: got %v, want …%s", tt.name, errs, tt.want)
		}
	}
}

// Whatever is accepted must survive the way through certmagic's CSR.
func FuzzParseHost(f *testing.F) {
	for _, s := range []string{"localhost", "*.mq.example", "bücher.example", "1.2.3", "xn--a", "a--b", "ⓐ.example"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		host, err := parseHost(name)
		if err != nil {
			return
		}
		if len(host) > 253 || strings.ToLower(host) != host {
			t.Errorf("%q: %q", name, host)
		}
		if ascii, err := idna.ToASCII(host); err != nil || ascii != host {
			t.Errorf("%q: %q becomes %q in the request, %v", name, host, ascii, err)
		}
		if again, err := parseHost(host); err != nil || again != host {
			t.Errorf("%q: %q is not stable: %q, %v", name, host, again, err)
		}
	})
}
