package main

import (
	"encoding/json"
	"fmt"
	goruntime "runtime"

	"github.com/urfave/cli/v2"
)

func versionCommand(io stdio) *cli.Command {
	return &cli.Command{
		Name:            "version",
		Usage:           "print the version",
		UsageText:       "porthole version [-o text|json]",
		HideHelpCommand: true,
		Flags:           []cli.Flag{&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "text or json", Value: "text"}},
		Action: func(c *cli.Context) error {
			platform := goruntime.GOOS + "/" + goruntime.GOARCH
			switch c.String("output") {
			case "text":
				_, err := fmt.Fprintf(io.out, "porthole %s (commit %s, %s, %s, %s)\n", version, commit, date, goruntime.Version(), platform)
				return err
			case "json":
				return json.NewEncoder(io.out).Encode(map[string]string{
					"version": version, "commit": commit, "date": date, "go": goruntime.Version(), "platform": platform,
				})
			}
			return usageErrorf("--output %q: want text or json", c.String("output"))
		},
	}
}
