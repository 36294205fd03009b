// The compiler takes functions without a body, which go:linkname makes, only in
// a package with assembly in it.
