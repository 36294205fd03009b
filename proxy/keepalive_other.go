//go:build !linux

package proxy

import (
	"net"

	"github.com/suitegate/suitegate/proxy/upstream"
)

// keepAlive has a listener's connections probe clients that are silent.
func keepAlive(config *net.ListenConfig) { config.KeepAliveConfig = upstream.DefaultKeepAlive() }
