//go:build !race

// The race detector makes the standard library allocate where it saves the
// state of a hash.

package tlsconn

import (
	"errors"
	"testing"
)

func TestRecordAllocations(t *testing.T) {
	for _, scheme := range recordSchemes() {
		sealer, opener := scheme.sealer(), scheme.opener()
		payload := payloadOf(1000)
		buffer := make([]byte, 0, sealer.maxSealed(len(payload)))
		var failed error
		allocs := testing.AllocsPerRun(100, func() {
			record := sealer.seal(buffer, typeData, payload)
			if _, err := opener.open(typeData, 0x0303, record[recordHeaderLen:]); err != nil {
				failed = errors.Join(failed, err)
			}
		})
		if failed != nil || allocs != 0 {
			t.Errorf("%v: %v allocations to seal and open a record, error %v", scheme, allocs, failed)
		}
	}
}

func TestRecordAllocations13(t *testing.T) {
	for _, s := range traffics13() {
		sealer, opener := s.sealer(), s.opener()
		payload := payloadOf(1000)
		buffer := make([]byte, 0, sealer.maxSealed(len(payload)))
		var failed error
		allocs := testing.AllocsPerRun(100, func() {
			record := sealer.seal(buffer, typeData, payload)
			if _, err := opener.open(typeData, recordVersion, record[recordHeaderLen:]); err != nil {
				failed = errors.Join(failed, err)
			}
		})
		if failed != nil || allocs != 0 {
			t.Errorf("%v: %v allocations to seal and open a record, error %v", s, allocs, failed)
		}
	}
}
