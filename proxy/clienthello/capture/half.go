package capture

import (
	"slices"

	"github.com/suitegate/suitegate/proxy/clienthello"
	"github.com/suitegate/suitegate/proxy/proxyheader"
)

const (
	// window is how many bytes of a half matter: as many as a hello may have
	// with the headers of its records, and a PROXY header before it.
	window = 2*clienthello.MaxSize + 4<<10

	// maxPieces is how many segments wait for one that comes before them. A
	// client that sends more at once has long got an answer.
	maxPieces = 256
)

// half is what one end of a connection sends, as far as it matters.
type half struct {
	begun bool
	first uint32 // sequence number of the first byte, once begun

	data   []byte  // from the first byte on, without a gap
	pieces []piece // behind a gap, or of a half that has not begun
	waits  int     // bytes of the pieces

	looked    int // length of data when it was looked at last
	headerLen int // of the PROXY header in front; 0 for none
	header    proxyheader.Header
	collector *clienthello.Collector // of what comes behind it
}

// piece is a segment that has to wait.
type piece struct {
	seq  uint32
	data []byte
}

// begin says where the half begins; what has waited may fit now.
func (h *half) begin(first uint32) {
	if h.begun {
		return
	}
	h.begun, h.first = true, first
	h.join()
}

// offset is where in the half a sequence number is (RFC 9293 §3.4: modulo 2^32).
func (h *half) offset(seq uint32) int { return int(int32(seq - h.first)) }

// near says whether a half could begin at a sequence number, by what waits. One
// byte before is what a keep-alive has (RFC 9293 §3.8.4).
func (h *half) near(first uint32) bool {
	return !slices.ContainsFunc(h.pieces, func(p piece) bool { return int32(p.seq-first) < -1 || int32(p.seq-first) > window })
}

// add takes a segment. Bytes that are there already stay as they are.
func (h *half) add(seq uint32, payload []byte) {
	if len(payload) == 0 {
		return
	}
	if h.begun && h.offset(seq) <= len(h.data) {
		h.extend(seq, payload)
		h.join()
		return
	}
	if h.begun && h.offset(seq) > window || len(h.pieces) == maxPieces || h.waits+len(payload) > window {
		return
	}
	if slices.ContainsFunc(h.pieces, func(p piece) bool { return p.seq == seq && len(p.data) >= len(payload) }) {
		return // once more
	}
	h.pieces = append(h.pieces, piece{seq, slices.Clone(payload)})
	h.waits += len(payload)
}

// extend adds what of a segment is new behind the data.
func (h *half) extend(seq uint32, payload []byte) {
	known := len(h.data) - h.offset(seq)
	if known < len(payload) {
		end := min(len(payload), known+window-len(h.data))
		h.data = append(h.data, payload[known:end]...)
	}
}

// join adds the pieces that have no gap before them any more.
func (h *half) join() {
	for joined := true; joined; {
		joined = false
		h.pieces = slices.DeleteFunc(h.pieces, func(p piece) bool {
			fits := h.offset(p.seq) <= len(h.data)
			if fits {
				h.extend(p.seq, p.data)
				h.waits -= len(p.data)
				joined = true
			}
			return fits
		})
	}
}

// size is how many bytes are kept.
func (h *half) size() int { return len(h.data) + h.waits }

func (c *connection) size() int { return c.halves[0].size() + c.halves[1].size() }
