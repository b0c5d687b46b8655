package critest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// maxLogLine is where both runtimes cut a line in two (containerd's max_container_log_line_size).
const maxLogLine = 16 << 10

// logFile is a container's open CRI log. Like the runtimes', it stays on its inode when the file is renamed, until
// ReopenContainerLog.
type logFile struct {
	mu   sync.Mutex
	file *os.File
}

// Log writes text to the container's CRI log as the runtime does what the container says on the stream, "stdout" or
// "stderr": one line of log for each line, tagged F, or P for what has no newline (yet), and for the parts of a line
// over 16 KiB. Containerd's log drops the CR of a CRLF.
func (c *Container) Log(stream, text string) error {
	return c.log.write(c.LogPath(), c.logLines(stream, text))
}

func (c *Container) logLines(stream, text string) string {
	if c.s.flavor == Containerd {
		text = strings.ReplaceAll(text, "\r\n", "\n")
	}
	var out strings.Builder
	for line := range strings.Lines(text) {
		body, whole := strings.CutSuffix(line, "\n")
		for len(body) > maxLogLine {
			logLine(&out, stream, "P", body[:maxLogLine])
			body = body[maxLogLine:]
		}
		tag := "P"
		if whole {
			tag = "F"
		}
		logLine(&out, stream, tag, body)
	}
	return out.String()
}

func logLine(out *strings.Builder, stream, tag, body string) {
	fmt.Fprintf(out, "%s %s %s %s\n", time.Now().Format(time.RFC3339Nano), stream, tag, body)
}

func (l *logFile) write(path, lines string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.open(path); err != nil {
		return err
	}
	_, err := l.file.WriteString(lines)
	return err
}

// start opens the log, and makes its directory.
func (l *logFile) start(path string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.open(path)
}

func (l *logFile) open(path string) error {
	if l.file != nil {
		return nil
	}
	if path == "" {
		return fmt.Errorf("the container has no log path")
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	var err error
	l.file, err = os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o640)
	return err
}

// reopen is containerd's: the new file is there before the old one is closed.
func (l *logFile) reopen(path string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	old := l.file
	l.file = nil
	if err := l.open(path); err != nil {
		l.file = old
		return err
	}
	if old != nil {
		_ = old.Close()
	}
	return nil
}

// replace is that of CRI-O's conmon: the old file is closed first, and the new
// one gets its name when it is open.
func (l *logFile) replace(path string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file != nil {
		_ = l.file.Close()
		l.file = nil
	}
	if err := l.open(path + ".tmp"); err != nil {
		return err
	}
	return os.Rename(path+".tmp", path)
}

// close lets go of the file; a later write opens the path anew.
func (l *logFile) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file != nil {
		_ = l.file.Close()
		l.file = nil
	}
}
