package testserver

import (
	"os/exec"
	"syscall"
)

// EndWithParent ends a process when this one does, in whatever way.
func EndWithParent(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
