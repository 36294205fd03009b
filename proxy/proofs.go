package proxy

import (
	"bytes"
	"compress/flate"
	"crypto/sha256"
	"encoding/json"

	"github.com/suitegate/suitegate/proxy/prove"
)

// maxProofs is how many proofs are kept, of some ten kilobytes each.
const maxProofs = 256

// proofs are what came of asking listeners, by provedContent. They spare the next
// listener that is the same in everything that answers come from, and the same one
// at the next reload, the asking: it would compete for the processor with clients,
// a hundred times where there are a hundred listeners. Proofs that found a
// difference are not kept.
//
// Each is kept as compressed text. The many small values of a thousand answers,
// left where they came up amid what the asking needed and drops, would keep the heap
// of a hundred listeners at 27 MB instead of 18.
type proofs map[[sha256.Size]byte][]byte

func (p *proofs) keep(content [sha256.Size]byte, l prove.Listener) {
	if len(l.Differences()) > 0 {
		return
	}
	var text bytes.Buffer
	compressor, err := flate.NewWriter(&text, flate.BestSpeed)
	if err == nil {
		err = json.NewEncoder(compressor).Encode(l)
	}
	if err == nil {
		err = compressor.Close()
	}
	if err != nil {
		return // then it is asked again
	}
	if *p == nil || len(*p) == maxProofs {
		*p = make(proofs)
	}
	(*p)[content] = bytes.Clone(text.Bytes())
}

func (p proofs) find(content [sha256.Size]byte) (l prove.Listener, ok bool) {
	text, ok := p[content]
	if !ok || json.NewDecoder(flate.NewReader(bytes.NewReader(text))).Decode(&l) != nil {
		return prove.Listener{}, false
	}
	return l, true
}
