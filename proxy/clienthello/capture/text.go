package capture

import (
	"bufio"
	"encoding/hex"
	"io"
	"regexp"
	"strconv"
	"strings"
)

// maxPacket bounds a packet in a text, in bytes: libpcap's largest snapshot.
const maxPacket = 256 << 10

// textRow is a row of what `tcpdump -x` prints: an offset, and bytes in twos.
var textRow = regexp.MustCompile(`^\s+0x([0-9a-f]{4,8}):  ((?:[0-9a-f]{2,4} ?)*)`)

// IsText says whether a text that begins like this is packets as tcpdump prints
// them with -x, -xx, -X or -XX, which [ReadText] reads.
func IsText(head []byte) bool {
	found := false
	_ = scanText(strings.NewReader(string(head)), func(packet []byte) bool { // it has no errors
		_, found = guessLink(packet)
		return !found
	})
	return found
}

// ReadText reads what tcpdump printed. The error is r's own.
func ReadText(r io.Reader, o Options) (*Capture, error) {
	f := newFollower(o)
	err := scanText(r, func(packet []byte) bool {
		f.bare(packet)
		return true
	})
	return f.finish(), err
}

// scanText passes on the packets of a text until yield returns false. Lines that
// are no rows are what tcpdump says about packets.
func scanText(r io.Reader, yield func(packet []byte) bool) error {
	lines := bufio.NewReader(r)
	var packet []byte
	end := func() bool {
		whole := packet
		packet = packet[:0]
		return len(whole) == 0 || yield(whole)
	}
	for {
		line, err := lines.ReadSlice('\n')
		long := err == bufio.ErrBufferFull
		if row := textRow.FindSubmatch(line); row != nil && !long {
			offset, _ := strconv.ParseUint(string(row[1]), 16, 32) // the expression lets nothing else through
			if offset == 0 && !end() {
				return nil
			}
			// A row that does not follow is of a packet whose beginning is lost.
			if int(offset) == len(packet) && len(packet) < maxPacket {
				packet, _ = hex.AppendDecode(packet, []byte(strings.ReplaceAll(string(row[2]), " ", "")))
			}
		}
		switch {
		case err == io.EOF:
			end()
			return nil
		case err != nil && !long:
			return err
		}
	}
}
