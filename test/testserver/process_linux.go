package testserver

import (
	"os/exec"
	"syscall"
)

// endWithParent ends a process when this one does, in whatever way.
func endWithParent(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
