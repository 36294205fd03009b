package proxy

import (
	"errors"
	"log/slog"

	"github.com/suitegate/suitegate/policy"
	"github.com/suitegate/suitegate/proxy/clienthello"
)

// maxOffered is how many values of a kind a log line spells out: more than any
// client has that was not told to offer everything.
const maxOffered = 64

// offered is what a client offers that the policy refuses, as log attributes:
// its versions and suites, and of the rest what it is refused for. For other
// errors there is nothing to say: the offer was not what they are about.
func offered(h *clienthello.Hello, err error) []slog.Attr {
	refused, ok := errors.AsType[*policy.Refusal](err)
	if !ok || h == nil {
		return nil
	}
	attrs := append(
		list("versions_offered", as[policy.Version](h.Versions()), policy.Version.String),
		list("suites_offered", h.CipherSuites, policy.SuiteName)...)
	switch refused.Cause {
	case policy.NoCommonGroup, policy.NoCommonDHEGroup:
		attrs = append(attrs, list("groups_offered", as[policy.Group](h.Groups), policy.Group.String)...)
	case policy.NoCommonSignatureAlgorithm:
		attrs = append(attrs, list("signature_algorithms_offered", as[policy.SignatureScheme](h.SignatureSchemes), policy.SignatureScheme.String)...)
	}
	return attrs
}

// list is an attribute with values, without GREASE and in the client's order,
// and where there are more than maxOffered another one with how many more.
func list[T ~uint16](key string, values []T, name func(T) string) []slog.Attr {
	var names []string
	more := 0
	for _, v := range values {
		switch {
		case clienthello.IsGREASE(uint16(v)):
		case len(names) == maxOffered:
			more++
		default:
			names = append(names, name(v))
		}
	}
	return withMore(key, names, more)
}

// bounded is the same for texts, each of which is cut where it is too long.
func bounded(key string, texts []string) []slog.Attr {
	var names []string
	for _, text := range texts[:min(len(texts), maxOffered)] {
		names = append(names, shortened(text))
	}
	return withMore(key, names, len(texts)-len(names))
}

func withMore(key string, names []string, more int) []slog.Attr {
	attrs := []slog.Attr{slog.Any(key, names)}
	if more > 0 {
		attrs = append(attrs, slog.Int(key+"_more", more))
	}
	return attrs
}
