// Package bench measures the gateway: full and resumed handshakes a second, and
// bytes a second through the relay, each beside a peer in the same run.
//
// The peer is the smallest proxy that crypto/tls allows: accept, handshake,
// dial, copy. What the gateway adds to it (the whole hello read first, exact
// policy, first bytes, metrics, log line) is the ratio between the two; the
// ratio is what to compare between changes, because the absolute figures are
// the machine's.
//
//	go test -run '^$' -bench . -count 6 ./bench | tee new.txt
//	benchstat -col /proxy new.txt
//
// BenchmarkSuites goes further, suite by suite: the gateway is a process of its
// own, its processor time is read from the system, and OpenSSL's server and
// HAProxy, where they are installed, are measured in turn with it.
//
// Both find differences between two versions of the code. For figures of a gateway
// that runs, or of another server, there is the load generator in the folder
// load, which is also the command suitegate bench. The command in the folder peers
// measures with it against more of the proxies that people use, on processors of
// their own, and keeps the results; README.md has them.
//
// Client, gateway and broker share the processors, so a handshake's figure is
// the cost of both of its ends and a dial of the backend.
package bench
