package clientauth

import (
	"crypto/x509"
	"strings"
	"testing"
	"time"
)

func TestConcerns(t *testing.T) {
	root, other := newAuthority(t, nil, "root"), newAuthority(t, nil, "other")
	expired := newAuthority(t, nil, "expired", func(c *x509.Certificate) { c.NotAfter = today.Add(-time.Minute) })
	older := func(l *x509.RevocationList) {
		l.ThisUpdate, l.NextUpdate = today.AddDate(0, 0, -9), today.AddDate(0, 0, -2)
	}
	good := crlFile(t, root.crl(t, nil), root.crl(t, older)) // the older one does not count any more
	for _, tt := range []struct {
		name     string
		settings Settings
		want     []string
		next     time.Time
	}{
		{"none", Settings{CA: bundleFile(t, root)}, nil, time.Time{}},
		{"all is well", Settings{CA: bundleFile(t, root), CRLs: []string{good}}, nil, today.AddDate(0, 0, 6)},
		{"expired", Settings{CA: bundleFile(t, root, expired)}, []string{`ca: the authority "CN=expired,O=Example" has expired`}, time.Time{}},
		{"no CRL", Settings{CA: bundleFile(t, root, other), CRLs: []string{good}}, []string{`crl: there is no CRL of the authority "CN=other,O=Example"`}, today.AddDate(0, 0, 6)},
		{"no CRL, and no matter", Settings{CA: bundleFile(t, root, other), CRLs: []string{good}, AllowStaleCRL: true}, nil, today.AddDate(0, 0, 6)},
		{"stale", Settings{CA: bundleFile(t, root), CRLs: []string{crlFile(t, root.crl(t, older))}}, []string{"crl: ", "is for 2030-05-23T12:00:00Z to 2030-05-30T12:00:00Z alone"}, today.AddDate(0, 0, -2)},
	} {
		v := open(t, tt.settings)
		var text strings.Builder
		concerns := v.Concerns()
		for _, concern := range concerns {
			text.WriteString(concern.Error())
		}
		for _, want := range tt.want {
			if !strings.Contains(text.String(), want) {
				t.Errorf("%s: %q lacks %q", tt.name, text.String(), want)
			}
		}
		if (len(tt.want) == 0) != (len(concerns) == 0) {
			t.Errorf("%s: %q", tt.name, text.String())
		}
		if next := v.NextUpdate(); !next.Equal(tt.next) {
			t.Errorf("%s: next update %s, want %s", tt.name, next, tt.next)
		}
	}
}
