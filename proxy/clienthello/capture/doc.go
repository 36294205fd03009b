// Package capture finds the ClientHellos in what was captured of a network: in
// files of tcpdump, dumpcap and Wireshark (pcap and pcapng), in what `tcpdump -x`
// prints, and in single packets.
//
// It follows every TCP connection for as long as its client's hello is on the
// way, whatever the order in which segments come and however often, and forgets
// it then. A PROXY protocol header before the hello is read, too, since that is
// what a capture in front of a gateway has behind a load balancer.
//
// Captures are read as streams, and are not trusted: what is kept at any time is
// bounded by maxConnections and maxBuffered, for hellos that have been found by
// maxHellos and maxKept. Nothing that a packet announces is taken memory for.
package capture
