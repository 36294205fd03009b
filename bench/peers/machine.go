package main

import (
	"context"
	"strings"
)

// unknown is what the system does not tell.
const unknown = "unknown"

// thisMachine says what it is measured on.
func thisMachine(cpus int, pinned bool) Machine {
	return Machine{CPU: processorName(), CPUs: cpus, Kernel: kernel(), Pinned: pinned}
}

// libraryVersions are those that the figures of several hang on.
func libraryVersions(ctx context.Context) (list []Version) {
	if out, err := commandOutput(ctx, "", "go", "env", "GOVERSION"); err == nil {
		list = append(list, Version{"Go", strings.TrimPrefix(out, "go")})
	}
	if _, version, err := installed("openssl", "version")(ctx, finder{}); err == nil {
		list = append(list, Version{"OpenSSL", version})
	}
	return list
}
