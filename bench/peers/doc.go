// Command peers measures suitegate beside the TLS proxies that people use today:
// HAProxy, nginx, stunnel, hitch and ghostunnel, those of them that are there,
// with equal settings, in turn and on one processor. bench/README.md says what
// the figures mean.
//
//	go run ./bench/peers --scenarios 'handshake/*' --rounds 3
//
// A round goes over all gateways, each started afresh, and the next round begins
// with the next of them: what the machine's mood does to one, it does to all. A
// figure is the median of the rounds, and a ratio the median of the rounds'
// ratios to HAProxy.
package main
