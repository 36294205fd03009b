// Package e2e tests the suitegate program from the outside: real clients reach
// real brokers through it, over TLS.
//
// It has tests alone. They build the program once, with the race detector
// where there is a C compiler, run it with configurations of their own, and
// look at what its users can see: what clients get, its log lines and its
// metrics. RabbitMQ, ActiveMQ and Mosquitto are started once, by the first
// test that needs one, on loopback ports of their own and in a temporary
// directory. Where one is not installed, its tests fail in CI (CI=true) and
// skip elsewhere; .ci/install installs them.
package e2e
