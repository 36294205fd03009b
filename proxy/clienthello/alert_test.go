package clienthello

import (
	"bytes"
	"testing"
)

func TestAlertRecord(t *testing.T) {
	for _, tt := range []struct {
		version uint16
		alert   uint8
		want    []byte
	}{
		{0x0303, 40, []byte{21, 3, 3, 0, 2, 2, 40}},
		{0x0301, 70, []byte{21, 3, 1, 0, 2, 2, 70}},
		{0x0300, 70, []byte{21, 3, 0, 0, 2, 2, 70}},
		{0x0304, 40, []byte{21, 3, 3, 0, 2, 2, 40}},
		{0xFFFF, 40, []byte{21, 3, 3, 0, 2, 2, 40}},
		{0x0002, 50, []byte{21, 3, 0, 0, 2, 2, 50}},
	} {
		if got := AlertRecord(tt.version, tt.alert); !bytes.Equal(got, tt.want) {
			t.Errorf("AlertRecord(%#04x, %d) = %x, want %x", tt.version, tt.alert, got, tt.want)
		}
	}
}
