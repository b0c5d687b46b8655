package main

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// The page and the help come from one table.
func TestExitCodesAreDocumented(t *testing.T) {
	page, err := os.ReadFile("../../docs/exit-codes.md")
	if err != nil {
		t.Fatal(err)
	}
	help := exitHelp()
	for _, row := range exitTable {
		if want := fmt.Sprintf("| %s | %s |", row.code, row.meaning); !strings.Contains(string(page), want) {
			t.Errorf("docs/exit-codes.md lacks %q", want)
		}
		if !strings.Contains(help, row.meaning) {
			t.Errorf("the help lacks %q", row.meaning)
		}
	}
	if got, want := strings.Count(string(page), "\n| ")-1, len(exitTable); got != want {
		t.Errorf("docs/exit-codes.md has %d rows, want %d", got, want)
	}
}

// README's table of commands is the program's.
func TestReadmeNamesEveryCommand(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range newApp(nil, nil, newConsole(nil)).Commands {
		if !c.Hidden && !strings.Contains(string(readme), "`porthole "+c.Name) {
			t.Errorf("README.md does not name the command %s", c.Name)
		}
	}
}
