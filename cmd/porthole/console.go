package main

import (
	"io"
	"strings"
	"sync"

	"github.com/porthole-project/porthole/internal/escape"
)

// console is where messages for the user go (standard error). What others have
// named, and what the runtime says, is escaped on its way.
type console struct {
	mu  sync.Mutex
	w   io.Writer
	raw bool
}

func newConsole(w io.Writer) *console { return &console{w: w} }

// line writes one message.
func (c *console) line(text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	end := "\n"
	text = strings.TrimSuffix(escape.Text(text), "\n")
	if c.raw {
		// Nobody turns a newline into a new line's beginning in raw mode.
		end = "\r\n"
		text = strings.ReplaceAll(text, "\n", end)
	}
	// There is nobody to tell that the user cannot be told.
	_, _ = io.WriteString(c.w, text+end)
}

// setRaw says whether the terminal is in raw mode.
func (c *console) setRaw(raw bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.raw = raw
}

// Write lets cli/v2 write its own messages.
func (c *console) Write(p []byte) (int, error) {
	c.line(string(p))
	return len(p), nil
}
