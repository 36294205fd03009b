package upstream

import (
	"context"
	"errors"
	"net"
	"strings"
	"syscall"
)

// Reasons of a [DialError].
const (
	reasonRefused     = "upstream_refused"
	reasonTimeout     = "upstream_timeout"
	reasonUnreachable = "upstream_unreachable"
	reasonDNS         = "upstream_dns"
	reasonResources   = "upstream_resources"
	reasonCanceled    = "upstream_canceled"
	reasonError       = "upstream_error"
)

// A DialError says why no node of a pool could be reached.
type DialError struct {
	Pool  string
	Nodes []NodeError // in the order in which they were tried
}

// A NodeError is one attempt to reach a node.
type NodeError struct {
	Backend *Backend
	Err     error // of package net, which names the address
}

// Error implements error.
func (e *DialError) Error() string {
	var b strings.Builder
	b.WriteString("upstream: " + e.Pool)
	if len(e.Nodes) == 0 {
		b.WriteString(": no nodes")
	}
	separator := ": "
	for _, n := range e.Nodes {
		b.WriteString(separator + n.Err.Error())
		separator = "; "
	}
	return b.String()
}

// Unwrap returns the nodes' errors.
func (e *DialError) Unwrap() []error {
	errs := make([]error, len(e.Nodes))
	for i, n := range e.Nodes {
		errs[i] = n.Err
	}
	return errs
}

// Reason returns why, as a word for logs and metrics:
//
//	upstream_refused      the node is up, and nothing listens there
//	upstream_timeout      no answer within the connect timeout, or until ctx's deadline
//	upstream_unreachable  no route; or the nodes failed each for another reason
//	upstream_dns          the name could not be resolved
//	upstream_resources    this machine is out of file descriptors, ports or memory
//	upstream_canceled     ctx was canceled
//	upstream_error        anything else, a pool without nodes for one
func (e *DialError) Reason() string {
	if len(e.Nodes) == 0 {
		return reasonError
	}
	last := reason(e.Nodes[len(e.Nodes)-1].Err)
	if last == reasonCanceled {
		return last // whatever the nodes before had to say
	}
	for _, n := range e.Nodes {
		if reason(n.Err) != last {
			return reasonUnreachable
		}
	}
	return last
}

func reason(err error) string {
	var dns *net.DNSError
	var network net.Error
	switch {
	case errors.Is(err, context.Canceled):
		return reasonCanceled
	case errors.As(err, &dns):
		return reasonDNS
	case errors.Is(err, syscall.ECONNREFUSED):
		return reasonRefused
	case anyOf(err, syscall.EHOSTUNREACH, syscall.ENETUNREACH, syscall.EHOSTDOWN, syscall.ENETDOWN):
		return reasonUnreachable
	case anyOf(err, syscall.EMFILE, syscall.ENFILE, syscall.EADDRNOTAVAIL, syscall.ENOBUFS, syscall.ENOMEM):
		return reasonResources
	case errors.As(err, &network) && network.Timeout():
		return reasonTimeout
	default:
		return reasonError
	}
}

func anyOf(err error, numbers ...syscall.Errno) bool {
	for _, n := range numbers {
		if errors.Is(err, n) {
			return true
		}
	}
	return false
}
