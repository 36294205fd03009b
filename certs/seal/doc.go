// Package seal encrypts what a storage keeps secret: private keys, ACME
// accounts, secrets of session tickets.
//
// A value is encrypted with AES-256-GCM under a data key, bound to the name it
// has in the storage, and the data key, wrapped by a key encryption key ([Key]),
// stands beside it. Key encryption keys stay where they are: in AWS KMS, in
// Vault, in a file of the operator's.
//
// # Data keys
//
// The rules are those that Amazon SQS documents for its data keys. A data key is
// used for a period (60 seconds to 24 hours, by default five minutes), after
// which the next write takes a new one. Before a new key is used it is decrypted
// once, and both answers are compared. Keys for sealing and for opening are
// cached apart, under the same period. Each principal, which is the directory of
// the storage that a value is in (the certificates of one site, one ACME account,
// the root, the ticket secrets), has data keys of its own. A plaintext data key
// is in memory for its period only, and wiped then.
//
// So a principal that writes costs two requests for each period in which it does,
// and one that reads costs one for each data key that it meets: see [Requests].
package seal
