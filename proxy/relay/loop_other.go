//go:build !linux

package relay

import "errors"

// loop is nothing here: see [Poller].
type loop struct{}

func newLoop() (*loop, error) { return nil, errors.ErrUnsupported }

func (*loop) run()               {}
func (*loop) close()             {}
func (*loop) take(*session) bool { return false }
func (*loop) release(*session)   {}

type direct struct{}

func (s *Socket) tryRead([]byte) (int, error) { return 0, errWouldBlock }
