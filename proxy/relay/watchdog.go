package relay

import (
	"math"
	"time"
)

// watch starts the watchdog of a session that has limits. It is one timer, set
// for the first moment at which a limit can have been reached: no buffer that is
// carried touches it.
func (s *session) watch() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if left := s.leftLocked(); left < forever && !s.finished {
		s.watchdog = time.AfterFunc(left, s.lookAtLimits)
	}
}

// lookAtLimits ends a session that is over a limit, or comes again when it can
// be.
func (s *session) lookAtLimits() {
	s.mu.Lock()
	over := s.overLocked()
	if over == nil && s.final == nil && !s.finished {
		if left := s.leftLocked(); left < forever {
			s.watchdog.Reset(left)
		}
	}
	s.mu.Unlock()
	if over != nil {
		s.stop(over)
	}
}

const forever = time.Duration(math.MaxInt64)

// overLocked is the limit that was reached, nil if none was.
func (s *session) overLocked() *Error {
	switch {
	case s.ageLeft() <= 0:
		return errMaxAge
	case s.idleLeftLocked() <= 0:
		return errIdle
	}
	return nil
}

// leftLocked is how long no limit can be reached.
func (s *session) leftLocked() time.Duration { return min(s.ageLeft(), s.idleLeftLocked()) }

func (s *session) ageLeft() time.Duration {
	if s.limits.Until.IsZero() {
		return forever
	}
	return time.Until(s.limits.Until)
}

// idleLeftLocked is forever once a direction has ended: the time that a side
// may stand still from then on is Linger's.
func (s *session) idleLeftLocked() time.Duration {
	if s.limits.Idle <= 0 || s.first != nil {
		return forever
	}
	return time.Duration(s.carriedAt.Load()) + s.limits.Idle - time.Since(s.born)
}
