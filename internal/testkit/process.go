package testkit

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// Process is a program that was started.
type Process struct {
	// Log is the file with all that it printed.
	Log string
	// Done is closed once it has ended.
	Done <-chan struct{}

	command *exec.Cmd
}

// StartProcess starts the program at path with its output in a new file log. Its process group is its own: a Ctrl-C is the starter's to
// pass on.
func StartProcess(log, path string, arguments ...string) (*Process, error) {
	file, err := os.Create(log)
	if err != nil {
		return nil, err
	}
	defer file.Close() // the program has its own
	command := exec.Command(path, arguments...)
	command.Stdout, command.Stderr = file, file
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := command.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", path, err)
	}
	done := make(chan struct{})
	go func() {
		_ = command.Wait() // ExitCode tells
		close(done)
	}()
	return &Process{Log: log, Done: done, command: command}, nil
}

// PID is the number of the program's process.
func (p *Process) PID() int { return p.command.Process.Pid }

// Signal sends a signal to the program, and to nobody where it has ended.
func (p *Process) Signal(signal os.Signal) {
	_ = p.command.Process.Signal(signal) // os.ErrProcessDone is what Done says
}

// Stop asks the program to end, and ends it where it has not done so within patience.
func (p *Process) Stop(patience time.Duration) {
	p.Signal(syscall.SIGTERM)
	select {
	case <-p.Done:
	case <-time.After(patience):
		p.Kill()
	}
}

// Kill ends the program where it is, also one that is suspended, and returns when it is gone.
func (p *Process) Kill() {
	p.Signal(syscall.SIGKILL)
	<-p.Done
}

// ExitCode waits until the program has ended and returns its exit code; -1 where a signal ended it.
func (p *Process) ExitCode() int {
	<-p.Done
	return p.command.ProcessState.ExitCode()
}
