package scan

// What the tests of agreement share with the others. They stand outside of the
// package, because they start a gateway, and that imports it.
var (
	NewCertificate = certificate
	RSACertificate = rsaCertificate
	PEMFiles       = pemFiles
	StartSServer   = startSServer
)
