package clientauth

import (
	"crypto/x509/pkix"
	"encoding/asn1"
	"testing"
)

// name encodes a Name, the least specific part first, as certificates do.
func name(t testing.TB, parts ...pkix.RelativeDistinguishedNameSET) []byte {
	t.Helper()
	der, err := asn1.Marshal(pkix.RDNSequence(parts))
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func part(pairs ...any) (set pkix.RelativeDistinguishedNameSET) {
	for i := 0; i < len(pairs); i += 2 {
		set = append(set, pkix.AttributeTypeAndValue{Type: pairs[i].(asn1.ObjectIdentifier), Value: pairs[i+1]})
	}
	return set
}

var (
	oidCN    = asn1.ObjectIdentifier{2, 5, 4, 3}
	oidOU    = asn1.ObjectIdentifier{2, 5, 4, 11}
	oidC     = asn1.ObjectIdentifier{2, 5, 4, 6}
	oidDC    = asn1.ObjectIdentifier{0, 9, 2342, 19200300, 100, 1, 25}
	oidOther = asn1.ObjectIdentifier{1, 2, 3}
)

// A subject is written as RFC 4514 does, and a rule that says so has it.
func TestDN(t *testing.T) {
	for _, tt := range []struct {
		der  []byte
		text string
	}{
		{name(t), ""},
		{name(t, part(oidC, "DE"), part(oidOU, "Sensors"), part(oidCN, "a")), "CN=a,OU=Sensors,C=DE"},
		{name(t, part(oidDC, "example"), part(oidDC, "sensors")), "DC=sensors,DC=example"},
		{name(t, part(oidOU, "b", oidCN, "a")), "CN=a+OU=b"},
		{name(t, part(oidCN, `a,b+c"d\e<f>g;h=i`)), `CN=a\,b\+c\"d\\e\<f\>g\;h=i`},
		{name(t, part(oidCN, " a b ")), `CN=\ a b\ `},
		{name(t, part(oidCN, " ")), `CN=\ `},
		{name(t, part(oidCN, "#a#")), `CN=\#a#`},
		{name(t, part(oidCN, "a\x00b\nc\x7f")), `CN=a\00b\0ac\7f`},
		{name(t, part(oidCN, "Zürich\u0085")), `CN=Zürich\c2\85`},
		{name(t, part(oidCN, asn1.RawValue{Tag: asn1.TagT61String, Bytes: []byte("Z\xfcrich")})), "CN=Zürich"},
		{name(t, part(oidCN, asn1.RawValue{Tag: asn1.TagOctetString, Bytes: []byte("a")})), `CN=#040161`},
		{name(t, part(oidOther, "a")), `1.2.3=#130161`},
	} {
		if got := formatDN(tt.der); got != tt.text {
			t.Errorf("got %s, want %s", got, tt.text)
		}
		if tt.text == "" {
			continue
		}
		if back, err := parseDN(tt.text); err != nil || back != tt.text {
			t.Errorf("%s is read as %s, %v", tt.text, back, err)
		}
	}
}

func TestParseDN(t *testing.T) {
	for text, want := range map[string]string{
		"cn=a, ou=b ,C = DE":      "CN=a,OU=b,C=DE",
		"OU=b + CN=a":             "CN=a+OU=b",
		"2.5.4.3=a":               "CN=a",
		"2.5.4.3=#130161":         "CN=a",
		"1.2.3=#130161":           "1.2.3=#130161",
		"EMAILADDRESS=a@b":        "emailAddress=a@b",
		`CN=a\2cb`:                `CN=a\,b`,
		`CN=Z\c3\bcrich`:          "CN=Zürich",
		`CN=\#130161`:             `CN=\#130161`,
		"CN=a=b":                  "CN=a=b",
		"":                        "",
		"a":                       "",
		"CN=":                     "",
		"CN=a,":                   "",
		"CN=a,,C=DE":              "",
		"CN=a;C=DE":               "",
		`CN="a"`:                  "",
		`CN=a\`:                   "",
		`CN=a\zz`:                 "",
		"CN=#":                    "",
		"CN=#13":                  "",
		"CN=#1301":                "",
		"CN=#13016":               "",
		"CN=#13016100":            "",
		"1.2.3=a":                 "",
		"5.2.3=#130161":           "",
		"XX=a":                    "",
		"/C=DE/O=Example/CN=a":    "",
		"CN=*\x00":                "",
		"subject=CN = a, C = DE ": "",
	} {
		got, err := parseDN(text)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q is read as %q, %v; want %q", text, got, err, want)
		}
	}
}

// Whatever is read is written in a form that is read as the same.
func FuzzDN(f *testing.F) {
	for _, text := range []string{"CN=a+OU=b, C=DE", `CN=\ a\2c\ffb\ `, "1.2.3=#130161", "2.5.4.3=#0c03c3bc61"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		once, err := parseDN(text)
		if err != nil {
			return
		}
		if twice, err := parseDN(once); err != nil || twice != once {
			t.Errorf("%q is read as %q, and that as %q, %v", text, once, twice, err)
		}
	})
}
