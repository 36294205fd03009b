//go:build !linux

package load

import (
	"errors"
	"time"
)

func processClock(int) (time.Duration, error) { return 0, errors.ErrUnsupported }
