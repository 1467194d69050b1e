// Command pause waits and reaps. It is process 1 of the sandbox's PID
// namespace, where every orphan ends up, and the pause container of each pod.
package main

import (
	"os"
	"os/signal"
	"syscall"
)

func main() {
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, syscall.SIGCHLD, syscall.SIGINT, syscall.SIGTERM)
	for {
		if received := <-signals; received != syscall.SIGCHLD {
			os.Exit(0)
		}
		for {
			// A pending SIGCHLD stands for any number of children.
			if pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); pid <= 0 || err != nil {
				break
			}
		}
	}
}
