// Command app is the only file of the test image localhost/app:1: a
// "distroless" workload without a shell. As process 1 it also reaps whatever
// is left to it, so `app pause` serves as the sandbox container.
//
// It imports nothing but the standard library: testenv builds it from its
// embedded source, outside this module.
package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// address is where the app answers; every pod has its own network namespace.
const address = ":8080"

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// run does what the first argument says: pause waits, exit N ends at once with
// status N, and nothing at all serves. It returns the exit status.
func run(args []string, stdout, stderr io.Writer) int {
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGCHLD)
	verb := "serve"
	if len(args) > 0 {
		verb = args[0]
	}
	switch verb {
	case "pause":
	case "exit":
		return exitStatus(args[1:])
	case "serve":
		fmt.Fprintf(stdout, "app: started as uid %d, pid %d\n", os.Getuid(), os.Getpid())
		l, err := net.Listen("tcp", address)
		if err != nil {
			// A pod on the host's network may find the port taken; the
			// process matters more to the tests than its port.
			fmt.Fprintf(stderr, "app: listen on %s: %v\n", address, err)
			break
		}
		go serve(l)
	default:
		fmt.Fprintf(stderr, "app: unknown verb %q: want serve, pause or exit N\n", verb)
		return 2
	}
	for s := range signals {
		if s != syscall.SIGCHLD {
			break
		}
		reap()
	}
	return 0
}

// exitStatus parses the N of `exit N`; without one it is 0.
func exitStatus(args []string) int {
	if len(args) == 0 {
		return 0
	}
	n, err := strconv.Atoi(args[0])
	if err != nil {
		return 2
	}
	return n
}

// reap collects every child that has ended. In a pod with a shared process
// namespace process 1 inherits the orphans of all containers.
func reap() {
	for {
		pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
		if err == syscall.EINTR {
			continue
		}
		if pid <= 0 || err != nil {
			return
		}
	}
}

// serve says hello to every connection, as HTTP if it was asked in HTTP.
func serve(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go hello(conn)
	}
}

// hello answers one connection and closes it.
func hello(conn net.Conn) {
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(200 * time.Millisecond))
	request := make([]byte, 4096)
	n, _ := conn.Read(request)
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	if strings.Contains(string(request[:n]), " HTTP/1") {
		fmt.Fprint(conn, "HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 6\r\n\r\n")
	}
	fmt.Fprint(conn, "hello\n")
}
