package policy

import (
	"fmt"
	"slices"
)

// emptyRenegotiationSCSV is a signal among the suites (RFC 5746 §3.3).
const emptyRenegotiationSCSV = 0x00FF

// SuiteName is the IANA name of a suite, or its number in hexadecimal ("0xC0FF")
// if it has none. More are known than a policy can name: it is for people who
// read what a client offers or a server accepts.
func SuiteName(id uint16) string {
	if s, ok := SuiteByID(id); ok {
		return s.Name
	}
	if name, ok := neverNegotiated[id]; ok {
		return name
	}
	return fmt.Sprintf("0x%04X", id)
}

// RegisteredSuites are the numbers of all suites that IANA has registered, in
// ascending order, without the signals and without TLS_NULL_WITH_NULL_NULL,
// which must not be negotiated (RFC 5246 §A.5).
func RegisteredSuites() []uint16 {
	ids := make([]uint16, 0, len(registry)+len(neverNegotiated))
	for i := range registry {
		ids = append(ids, registry[i].ID)
	}
	for id := range neverNegotiated {
		if id != 0 && id != emptyRenegotiationSCSV && id != fallbackSCSV {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}
