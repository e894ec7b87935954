//go:build !linux

package main

import "github.com/rollbook/rollbook/password"

// useHugePages does nothing where there is no way to ask for them.
func useHugePages(*password.Hasher) {}
