//go:build !goexperiment.runtimesecret

package seal

// erasing calls f. What it leaves in registers, on its stack and on the heap is
// erased in builds with GOEXPERIMENT=runtimesecret, and reused in time in others.
func erasing(f func()) { f() }
