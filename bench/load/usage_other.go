//go:build !unix

package load

import "time"

func ownProcessorTime() (time.Duration, bool) { return 0, false }
