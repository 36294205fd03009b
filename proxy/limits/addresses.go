package limits

import (
	"fmt"
	"net/netip"
	"slices"
)

// Addresses are the clients that may connect, by address. The zero value lets
// everyone in.
type Addresses struct {
	Allow []netip.Prefix // empty is everyone
	Deny  []netip.Prefix // has the last word
}

// Check returns why addr may not connect, nil if it may. An IPv4 address that is
// mapped into IPv6 (RFC 4291 §2.5.5.2) is the IPv4 address. The error is a
// [*Refusal].
func (a Addresses) Check(addr netip.Addr) error {
	addr = addr.Unmap().WithZone("") // a prefix has no zone, and contains no address that has one
	has := func(p netip.Prefix) bool { return p.Contains(addr) }
	if i := slices.IndexFunc(a.Deny, has); i >= 0 {
		return denied("%v is in %v, which deny has", addr, a.Deny[i])
	}
	if len(a.Allow) > 0 && !slices.ContainsFunc(a.Allow, has) {
		return denied("%v is in none of the networks that allow has", addr)
	}
	return nil
}

func denied(format string, args ...any) *Refusal {
	return &Refusal{reason: reasonDenied, alert: alertAccessDenied, text: fmt.Sprintf(format, args...)}
}
