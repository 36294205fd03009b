//go:build !linux

package main

import (
	"errors"
	"os/exec"
)

// errLinux is why there is nothing to measure elsewhere: processors, processor
// times and memory of other processes are asked for as Linux has them.
var errLinux = errors.New("peers: it measures on Linux alone")

func allowedCPUs() ([]int, error)            { return nil, errLinux }
func pinSelf([]int) error                    { return errLinux }
func startPinned(cmd *exec.Cmd, _ int) error { return errLinux }
func killGroup(int)                          {}
func raiseOpenFiles() (int, error)           { return 0, errLinux }
func kernel() string                         { return unknown }
func processorName() string                  { return unknown }
