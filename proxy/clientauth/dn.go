package clientauth

import (
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// attributeNames are the attribute types that have a name: those of RFC 4514
// §3, and two more of IANA's LDAP descriptors that certificates have often.
var attributeNames = []struct{ name, oid string }{
	{"CN", "2.5.4.3"},
	{"L", "2.5.4.7"},
	{"ST", "2.5.4.8"},
	{"O", "2.5.4.10"},
	{"OU", "2.5.4.11"},
	{"C", "2.5.4.6"},
	{"STREET", "2.5.4.9"},
	{"DC", "0.9.2342.19200300.100.1.25"},
	{"UID", "0.9.2342.19200300.100.1.1"},
	{"serialNumber", "2.5.4.5"},
	{"emailAddress", "1.2.840.113549.1.9.1"},
}

// rdnSET is a part of a Name, of one attribute mostly. Package asn1 goes by the
// end of the type's name.
type rdnSET []struct {
	Type  asn1.ObjectIdentifier
	Value asn1.RawValue
}

// formatDN writes a Name as RFC 4514 does, the most specific part first. The
// attributes of a part with several are sorted, because a SET has no order.
func formatDN(der []byte) string {
	var name []rdnSET
	if rest, err := asn1.Unmarshal(der, &name); err != nil || len(rest) > 0 {
		return "#" + hex.EncodeToString(der) // not after crypto/x509 has parsed it
	}
	parts := make([]string, len(name))
	for i, rdn := range name {
		attributes := make([]string, len(rdn))
		for j, a := range rdn {
			attributes[j] = formatAttribute(a.Type.String(), a.Value.FullBytes)
		}
		slices.Sort(attributes)
		parts[len(name)-1-i] = strings.Join(attributes, "+")
	}
	return strings.Join(parts, ",")
}

// formatAttribute writes a value as text where it is one and its type has a
// name, and as the hexadecimal form of its encoding otherwise (RFC 4514 §2.4).
func formatAttribute(oid string, der []byte) string {
	name := attributeName(oid)
	var value any
	if _, err := asn1.Unmarshal(der, &value); err == nil && name != oid {
		if text, ok := value.(string); ok {
			return name + "=" + escapeValue(text)
		}
	}
	return name + "=#" + hex.EncodeToString(der)
}

// attributeName is the name of an attribute type, its OID if it has none.
func attributeName(oid string) string {
	for _, known := range attributeNames {
		if known.oid == oid {
			return known.name
		}
	}
	return oid
}

// escapeValue is RFC 4514 §2.4. Controls are escaped too, which it allows.
func escapeValue(value string) string {
	var b strings.Builder
	for i := 0; i < len(value); {
		r, size := utf8.DecodeRuneInString(value[i:])
		first, last := i == 0, i+size == len(value)
		switch {
		case r == utf8.RuneError && size == 1, r < ' ', 0x7f <= r && r < 0xa0:
			for _, octet := range []byte(value[i : i+size]) {
				fmt.Fprintf(&b, `\%02x`, octet)
			}
		case strings.ContainsRune(`"+,;<>\`, r), r == ' ' && (first || last), r == '#' && first:
			b.WriteByte('\\')
			b.WriteRune(r)
		default:
			b.WriteRune(r)
		}
		i += size
	}
	return b.String()
}

// parseDN reads a distinguished name in the form of RFC 4514, with spaces
// around its separators as older forms have them, and writes it as formatDN
// would.
func parseDN(text string) (string, error) {
	var parts []string
	var attributes []string
	for rest := text; ; {
		attribute, separator, after, err := parseAttribute(rest)
		if err != nil {
			return "", err
		}
		attributes = append(attributes, attribute)
		if separator != '+' {
			slices.Sort(attributes)
			parts = append(parts, strings.Join(attributes, "+"))
			attributes = nil
		}
		if separator == 0 {
			return strings.Join(parts, ","), nil
		}
		rest = after
	}
}

// parseAttribute reads one type and value, and the separator behind them; 0 is
// the end.
func parseAttribute(text string) (attribute string, separator byte, rest string, err error) {
	kind, rest, ok := strings.Cut(text, "=")
	if kind = strings.TrimSpace(kind); !ok || kind == "" {
		return "", 0, "", fmt.Errorf("want TYPE=value at %q", text)
	}
	oid := attributeOID(kind)
	if oid == "" {
		return "", 0, "", fmt.Errorf("unknown attribute type %q", kind)
	}
	value, separator, rest, err := parseValue(strings.TrimLeft(rest, " "))
	if err != nil {
		return "", 0, "", err
	}
	if digits, ok := strings.CutPrefix(value.raw, "#"); ok {
		der, err := hex.DecodeString(digits)
		if err != nil {
			return "", 0, "", fmt.Errorf("malformed hexadecimal value %q", value.raw)
		}
		var element asn1.RawValue
		if trailing, err := asn1.Unmarshal(der, &element); err != nil || len(trailing) > 0 {
			return "", 0, "", fmt.Errorf("%q is not the DER of a value", value.raw)
		}
		return formatAttribute(oid, der), separator, rest, nil
	}
	name := attributeName(oid)
	if name == oid {
		return "", 0, "", fmt.Errorf("attribute type %q takes a hexadecimal value (#…)", kind)
	}
	return name + "=" + escapeValue(value.text), separator, rest, nil
}

// attributeOID is the OID of an attribute type in dotted form; "" is none.
func attributeOID(kind string) string {
	for _, known := range attributeNames {
		if strings.EqualFold(known.name, kind) || known.oid == kind {
			return known.oid
		}
	}
	if oid, err := x509.ParseOID(kind); err == nil {
		return oid.String()
	}
	return ""
}

// dnValue is an attribute's value as it is written, and without its escapes.
type dnValue struct{ raw, text string }

// parseValue reads a value up to a separator that is not escaped (RFC 4514
// §3). Spaces around it are not part of it unless they are escaped.
func parseValue(s string) (value dnValue, separator byte, rest string, err error) {
	var text []byte
	keep := 0 // bytes of text that trailing spaces do not belong to
	i := 0
	for ; i < len(s); i++ {
		switch c := s[i]; {
		case c == ',' || c == '+':
			value = dnValue{strings.TrimRight(s[:i], " "), string(text[:keep])}
			return value, c, s[i+1:], checkValue(value)
		case c == '\\':
			octet, length, err := unescape(s[i+1:])
			if err != nil {
				return dnValue{}, 0, "", err
			}
			text = append(text, octet)
			keep = len(text)
			i += length
		case strings.IndexByte(`";<>`, c) >= 0 || c == 0:
			return dnValue{}, 0, "", fmt.Errorf(`%q must be written \%c`, c, c)
		default:
			if text = append(text, c); c != ' ' {
				keep = len(text)
			}
		}
	}
	value = dnValue{strings.TrimRight(s, " "), string(text[:keep])}
	return value, 0, "", checkValue(value)
}

func checkValue(v dnValue) error {
	if v.text == "" {
		return errors.New("empty value")
	}
	return nil
}

// unescape reads what stands behind a backslash: a special character, or the
// hexadecimal form of any octet.
func unescape(s string) (octet byte, length int, err error) {
	if s != "" && strings.IndexByte(` "#+,;<=>\`, s[0]) >= 0 {
		return s[0], 1, nil
	}
	if len(s) >= 2 {
		if b, err := hex.DecodeString(s[:2]); err == nil {
			return b[0], 2, nil
		}
	}
	return 0, 0, fmt.Errorf(`\ before %.2q: want a special character or two hexadecimal digits`, s)
}
