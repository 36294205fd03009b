package seal

import (
	"errors"
	"fmt"
	"net"
	"net/url"
)

// CheckEndpoint returns an error unless a URL is one by which data keys may
// travel: with TLS, or without leaving this host.
func CheckEndpoint(endpoint string) error {
	u, err := url.Parse(endpoint)
	switch {
	case err != nil:
		return errors.New("the endpoint is not a URL") // whose error would show it
	case u.User != nil:
		return errors.New("the endpoint has a user name or password in it, which URLs do not keep to themselves")
	case u.Hostname() == "" || u.RawQuery != "" || u.Fragment != "":
		return fmt.Errorf("the endpoint %q is not a URL of the form https://HOST:PORT", endpoint)
	case u.Scheme == "https":
		return nil
	case u.Scheme != "http":
		return fmt.Errorf("the endpoint %q does not begin with https://", endpoint)
	}
	if ip := net.ParseIP(u.Hostname()); u.Hostname() == "localhost" || ip != nil && ip.IsLoopback() {
		return nil
	}
	return fmt.Errorf("the endpoint %q is neither https nor on this host: data keys would cross the network in the clear", endpoint)
}
