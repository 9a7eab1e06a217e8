package cluster

import (
	"errors"
	"fmt"
	"io"
	"time"
)

// Process is one process to run.
type Process struct {
	// Name is its own, and its log's: NAME.log.
	Name string
	// Group says when it starts: those of a lower group are ready before.
	Group int
	// Args are the binary's arguments.
	Args []string
	// Where people reach what it serves; may be empty.
	Where string
	// Admin is HOST:PORT of its admin listener, whose /readyz is asked.
	Admin string
}

// Config says what to run.
type Config struct {
	Binary    string
	Environ   []string
	Dir       string // that exists: logs go here
	Processes []Process
	// Restart has those started again that die.
	Restart bool
	// Logs, where set, gets all that the processes log, each line with its name.
	Logs io.Writer
	// Out is where people read.
	Out io.Writer
	// Ready is called once all are ready for the first time. It may be nil.
	Ready func()
}

const (
	// StopTimeout is how long a process may take to end politely.
	StopTimeout = 6 * time.Second

	askEvery   = 200 * time.Millisecond // whether processes are ready
	askTimeout = time.Second
	pauseFirst = 500 * time.Millisecond // before one that died is started again
	pauseMost  = 10 * time.Second
	lastingFor = 20 * time.Second // one that lived so long has started well
	startTries = 3                // before the first time that all are ready
)

func (c *Config) validate() error {
	if c.Binary == "" || c.Dir == "" || c.Out == nil || len(c.Processes) == 0 {
		return errors.New("cluster: a binary, a folder, an output and processes are needed")
	}
	names := map[string]bool{}
	for _, p := range c.Processes {
		if p.Name == "" || p.Admin == "" || names[p.Name] {
			return fmt.Errorf("cluster: process %q needs a name of its own and an admin address", p.Name)
		}
		names[p.Name] = true
	}
	return nil
}
