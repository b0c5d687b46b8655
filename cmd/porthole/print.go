package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/urfave/cli/v2"
	"sigs.k8s.io/yaml"

	"github.com/porthole-project/porthole/internal/escape"
)

// apiVersion marks the documents that -o json and -o yaml print.
const apiVersion = "porthole.dev/v1alpha1"

// list is the document of a listing. Its fields stay compatible.
type list struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Items      any    `json:"items"`
}

func outputFlag() cli.Flag {
	return &cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "table, wide, json, yaml or name", Value: "table"}
}

// table is a listing for people.
type table struct {
	header []string
	wide   int // how many columns are shown without -o wide
	rows   [][]string
	names  []string // for -o name, one a row
}

// printList writes a listing in the format asked for.
func printList(w io.Writer, format string, t table, doc list) error {
	switch format {
	case "json", "yaml":
		text, err := json.MarshalIndent(doc, "", "  ")
		if err != nil {
			return err
		}
		if format == "yaml" {
			if text, err = toYAML(text); err != nil {
				return err
			}
		}
		return writeDocument(w, append(text, '\n'), format)
	case "name":
		for _, name := range t.names {
			if _, err := fmt.Fprintln(w, escape.String(name)); err != nil {
				return err
			}
		}
		return nil
	case "table", "wide":
		return t.print(w, format == "wide")
	}
	return usageErrorf("--output %q: want table, wide, json, yaml or name", format)
}

func (t table) print(w io.Writer, wide bool) error {
	if len(t.rows) == 0 {
		return nil
	}
	columns := t.wide
	if wide {
		columns = len(t.header)
	}
	tw := tabwriter.NewWriter(w, 0, 8, 3, ' ', 0)
	for _, row := range append([][]string{t.header}, t.rows...) {
		cells := make([]string, 0, columns)
		for _, cell := range row[:columns] {
			if cell == "" {
				cell = "-"
			}
			cells = append(cells, escape.String(cell))
		}
		if _, err := fmt.Fprintln(tw, strings.Join(cells, "\t")); err != nil {
			return err
		}
	}
	return tw.Flush()
}

// writeDocument writes JSON or YAML so that no invisible character reaches a
// terminal: in JSON it becomes an escape of the same meaning.
func writeDocument(w io.Writer, text []byte, format string) error {
	safe := escape.Text(string(text))
	if format == "json" {
		safe = escapeJSON(string(text))
	}
	if !strings.HasSuffix(safe, "\n") {
		safe += "\n"
	}
	_, err := io.WriteString(w, strings.TrimRight(safe, "\n")+"\n")
	return err
}

// toYAML converts a JSON document. The YAML parser refuses control characters
// that JSON lets stand as they are, and one hostile name must not spoil a list.
func toYAML(doc []byte) ([]byte, error) {
	return yaml.JSONToYAML([]byte(escapeJSON(string(doc))))
}

// escapeJSON writes what is not printable as \u escapes; outside of strings
// JSON has only what is printable, and newlines.
func escapeJSON(text string) string {
	var b strings.Builder
	for _, r := range text {
		switch {
		case r == '\n' || unicode.IsPrint(r):
			b.WriteRune(r)
		case r > 0xffff:
			r -= 0x10000
			fmt.Fprintf(&b, `\u%04x\u%04x`, 0xd800+(r>>10), 0xdc00+(r&0x3ff))
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

// age is how long ago something was, as kubectl shows it.
func age(since, now time.Time) string {
	d := now.Sub(since)
	switch {
	case since.IsZero() || d < 0:
		return "-"
	case d < 2*time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}
