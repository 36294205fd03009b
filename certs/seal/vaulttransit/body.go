package vaulttransit

import (
	"io"
	"sync"
)

// wipedBody is the body of a request, which is overwritten when it was sent. Who
// sends it may go on reading after the request has failed, up to Close.
type wipedBody struct {
	mu   sync.Mutex
	text []byte
	read int
}

func (b *wipedBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.read == len(b.text) {
		return 0, io.EOF
	}
	n := copy(p, b.text[b.read:])
	b.read += n
	return n, nil
}

func (b *wipedBody) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	clear(b.text)
	b.read = len(b.text)
	return nil
}
