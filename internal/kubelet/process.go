package kubelet

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// procFileLimit is far more than any kubelet's command line or status.
const procFileLimit = 64 << 10

// process is a running kubelet, or a distribution's binary with a kubelet in it.
type process struct {
	pid  int
	name string
	args []string
	// cwd is what its relative paths are relative to, empty if unknown.
	cwd string
	// home is its HOME, nil if that cannot be told.
	home *string
	// near is set if its paths mean the same files to the caller.
	near bool
}

func (p process) String() string { return fmt.Sprintf("%s %d", p.name, p.pid) }

// fromProcesses asks the kubelet that runs. Of several, one near the caller is
// preferred, then a process that is kubelet and nothing else, then the oldest
// number.
func fromProcesses(proc string) findings {
	entries, err := os.ReadDir(proc)
	if err != nil {
		return findings{notes: []string{fmt.Sprintf("no running kubelet was looked for: %v", err)}}
	}
	var running []process
	var notes []string
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		p, err := look(proc, pid)
		if err != nil {
			notes = append(notes, err.Error())
		} else if p.pid != 0 {
			running = append(running, p)
		}
	}
	if len(running) == 0 {
		return findings{notes: notes}
	}
	slices.SortFunc(running, func(a, b process) int {
		return cmp.Or(preferTrue(a.near, b.near), preferTrue(a.name == "kubelet", b.name == "kubelet"), cmp.Compare(a.pid, b.pid))
	})
	for _, other := range running[1:] {
		notes = append(notes, fmt.Sprintf("%s runs, too; %s was asked", other, running[0]))
	}
	f := running[0].tells()
	f.notes = append(notes, f.notes...)
	return f
}

func preferTrue(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	}
	return 1
}

// look returns the process if it is a kubelet to believe, the zero process if
// it is none, and an error saying why if it only calls itself one.
func look(proc string, pid int) (process, error) {
	// An open /proc directory stays with its process; nothing read through it
	// can come from a successor with the same number.
	dir, err := os.OpenRoot(filepath.Join(proc, strconv.Itoa(pid)))
	if err != nil {
		return process{}, nil // ended meanwhile
	}
	defer dir.Close()
	cmdline, err := readLimited(dir, "cmdline")
	if err != nil {
		return process{}, nil
	}
	name, args := program(cmdline)
	if name == "" {
		return process{}, nil
	}
	p := process{pid: pid, name: name, args: args}
	if err := believable(proc, dir); err != nil {
		return process{}, fmt.Errorf("%s is not believed: %w", p, err)
	}
	p.cwd, _ = dir.Readlink("cwd")
	if environ, err := readLimited(dir, "environ"); err == nil {
		p.home = new(homeIn(environ))
	}
	root, err := dir.Readlink("root")
	p.near = err == nil && root == "/" && sameMounts(proc, "self", dir)
	return p, nil
}

// homeIn takes HOME, and nothing else, out of an environment.
func homeIn(environ string) string {
	for variable := range strings.SplitSeq(environ, "\x00") {
		if home, ok := strings.CutPrefix(variable, "HOME="); ok {
			return home
		}
	}
	return ""
}

// program recognises a kubelet by its command line. The name is empty for
// anything else; args are kubelet's own flags, or the distribution's.
func program(cmdline string) (name string, args []string) {
	argv := strings.Split(strings.TrimRight(cmdline, "\x00"), "\x00")
	if len(argv) == 1 {
		// k3s overwrites its command line with "/usr/local/bin/k3s server" to
		// hide its flags, some of which are secret.
		argv = strings.Fields(argv[0])
	}
	if len(argv) == 0 {
		return "", nil
	}
	name, args = filepath.Base(argv[0]), argv[1:]
	if name == "kubelet" {
		return name, args
	}
	verbs := map[string][]string{"k3s": {"server", "agent"}, "k0s": {"worker", "controller"}}[name]
	if len(args) > 0 && slices.Contains(verbs, args[0]) {
		return name, args[1:]
	}
	return "", nil
}

// believable keeps tenants out: a process in a pod or of a user may carry any
// name. The owner of the /proc directory would not do, it is root for every
// process that is not dumpable.
func believable(proc string, dir *os.Root) error {
	status, err := readLimited(dir, "status")
	if err != nil {
		return err
	}
	uids := []string{}
	for line := range strings.Lines(status) {
		if rest, ok := strings.CutPrefix(line, "Uid:"); ok {
			uids = strings.Fields(rest)
		}
	}
	if !slices.Equal(uids, []string{"0", "0", "0", "0"}) {
		return fmt.Errorf("it runs with user ids %v, not as root", uids)
	}
	if !sameMounts(proc, "self", dir) && !sameMounts(proc, "1", dir) {
		return errors.New("it lives in another mount namespace than this process and PID 1, or CAP_SYS_PTRACE is missing to tell")
	}
	return nil
}

// sameMounts compares mount namespaces by the text of their links; unreadable
// is different.
func sameMounts(proc, other string, dir *os.Root) bool {
	link, err := dir.Readlink("ns/mnt")
	if err != nil {
		return false
	}
	want, err := os.Readlink(filepath.Join(proc, other, "ns/mnt"))
	return err == nil && link == want
}

func readLimited(dir *os.Root, name string) (string, error) {
	f, err := dir.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, procFileLimit))
	return string(text), err
}
