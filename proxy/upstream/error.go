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
	reasonDrained     = "upstream_drained"
	reasonError       = "upstream_error"
)

// A DialError says why no node of a pool could be reached.
type DialError struct {
	Pool  string
	Nodes []NodeError // in the order in which they were tried

	drained bool // every node drains, so that none was tried
}

// A NodeError is one attempt to reach a node.
type NodeError struct {
	Node string // an address, or a name that has none
	Err  error  // of package net, which names the node
}

// Error implements error.
func (e *DialError) Error() string {
	var b strings.Builder
	b.WriteString("upstream: " + e.Pool)
	switch {
	case e.drained:
		b.WriteString(": all nodes drain")
	case len(e.Nodes) == 0:
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
//	upstream_drained      all nodes drain
//	upstream_error        anything else, a pool without nodes for one
func (e *DialError) Reason() string {
	switch {
	case e.drained:
		return reasonDrained
	case len(e.Nodes) == 0:
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
	var check *CheckError
	switch {
	case errors.As(err, &check):
		return check.reason
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

// Reasons of a [CheckError].
const (
	checkNoAnswer    = "check_no_answer"
	checkClosed      = "check_closed"
	checkWrongAnswer = "check_wrong_answer"
)

// A CheckError says what is wrong with a node that accepted the connection of a
// check.
type CheckError struct {
	Protocol Protocol
	Err      error
	reason   string
}

// newCheckError sorts an error by what the node did.
func newCheckError(protocol Protocol, err error) *CheckError {
	e := &CheckError{Protocol: protocol, Err: err, reason: checkClosed}
	var network net.Error
	switch {
	case errors.Is(err, errAnswer):
		e.reason = checkWrongAnswer
	case errors.As(err, &network) && network.Timeout():
		e.reason = checkNoAnswer
	}
	return e
}

// Error implements error.
func (e *CheckError) Error() string {
	return "upstream: " + string(e.Protocol) + " check: " + e.Err.Error()
}

// Unwrap returns what happened to the connection or its answer.
func (e *CheckError) Unwrap() error { return e.Err }

// Reason returns what is wrong, as a word for logs and metrics:
//
//	check_no_answer     it accepts connections and says nothing, or not enough in time
//	check_closed        it closed or reset the connection before it had answered
//	check_wrong_answer  what it says is not of the protocol
func (e *CheckError) Reason() string { return e.reason }
