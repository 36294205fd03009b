//go:build goexperiment.runtimesecret

package seal

import "runtime/secret"

// erasing calls f, and erases what it leaves in registers and on its stack; what
// it has allocated, its results too, once nothing refers to that any more.
func erasing(f func()) { secret.Do(f) }
