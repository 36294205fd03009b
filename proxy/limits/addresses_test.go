package limits

import (
	"errors"
	"net/netip"
	"testing"
)

func prefixes(texts ...string) (list []netip.Prefix) {
	for _, text := range texts {
		list = append(list, netip.MustParsePrefix(text))
	}
	return list
}

func TestAddresses(t *testing.T) {
	inside := Addresses{Allow: prefixes("10.0.0.0/8", "2001:db8::/32"), Deny: prefixes("10.66.0.0/16", "2001:db8:66::/48")}
	tests := []struct {
		name      string
		addresses Addresses
		client    string
		in        bool
	}{
		{"nobody is named", Addresses{}, "192.0.2.1", true},
		{"denied alone", Addresses{Deny: prefixes("192.0.2.1/32")}, "192.0.2.1", false},
		{"not denied", Addresses{Deny: prefixes("192.0.2.1/32")}, "192.0.2.2", true},
		{"everyone of a family is denied", Addresses{Deny: prefixes("0.0.0.0/0")}, "192.0.2.1", false},
		{"but not the other family", Addresses{Deny: prefixes("0.0.0.0/0")}, "2001:db8::1", true},
		{"allowed", inside, "10.1.2.3", true},
		{"not allowed", inside, "11.1.2.3", false},
		{"deny has the last word", inside, "10.66.2.3", false},
		{"allowed, IPv6", inside, "2001:db8::1", true},
		{"not allowed, IPv6", inside, "2001:db9::1", false},
		{"deny has the last word, IPv6", inside, "2001:db8:66::1", false},
		{"mapped IPv4 is IPv4", inside, "::ffff:10.1.2.3", true},
		{"mapped IPv4 is denied", inside, "::ffff:10.66.2.3", false},
		{"mapped IPv4 is not ::/0", Addresses{Deny: prefixes("::/0")}, "::ffff:10.66.2.3", true},
		{"a zone is no part of it", Addresses{Allow: prefixes("fe80::/10")}, "fe80::1%eth0", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := tt.addresses.Check(netip.MustParseAddr(tt.client))
			if tt.in {
				if err != nil {
					t.Errorf("refused: %v", err)
				}
				return
			}
			wantRefusal(t, err, "client_denied", 49)
		})
	}
}

func wantRefusal(t *testing.T, err error, reason string, alert uint8) {
	t.Helper()
	refusal, ok := errors.AsType[*Refusal](err)
	if !ok || refusal.Reason() != reason || refusal.Alert() != alert {
		t.Errorf("error %v, want a refusal %s with alert %d", err, reason, alert)
	}
}
