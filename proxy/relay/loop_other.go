//go:build !linux

package relay

import (
	"errors"
	"time"
)

// loop is nothing here: see [Poller].
type loop struct{}

func newLoop(time.Duration) (*loop, error) { return nil, errors.ErrUnsupported }

func (*loop) run()               {}
func (*loop) close()             {}
func (*loop) take(*session) bool { return false }
func (*loop) release(*session)   {}

// A socket waits by itself always.
type descriptor struct{}

func (s *Socket) tryRead([]byte) (int, error)        { return 0, errWouldBlock }
func (s *Socket) tryWrite([]byte) (int, error)       { return 0, nil }
func (s *Socket) closeWrite() error                  { return s.waiting.CloseWrite() }
func (s *Socket) Close() error                       { return s.waiting.Close() }
func (s *Socket) SetDeadline(t time.Time) error      { return s.waiting.SetDeadline(t) }
func (s *Socket) SetReadDeadline(t time.Time) error  { return s.waiting.SetReadDeadline(t) }
func (s *Socket) SetWriteDeadline(t time.Time) error { return s.waiting.SetWriteDeadline(t) }
