package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/porthole-project/porthole/internal/escape"
)

func completionCommand(io stdio) *cli.Command {
	return &cli.Command{
		Name:            "completion",
		Usage:           "print a completion script for a shell",
		UsageText:       "porthole completion bash|zsh|fish\n\n   For bash:  source <(porthole completion bash)",
		HideHelpCommand: true,
		BashComplete: func(c *cli.Context) {
			for _, shell := range []string{"bash", "zsh", "fish"} {
				fmt.Fprintln(c.App.Writer, shell)
			}
		},
		Action: func(c *cli.Context) error {
			if c.Args().Len() != 1 {
				return usageErrorf("name one shell: bash, zsh or fish")
			}
			return writeCompletion(io.out, c.Args().First())
		},
	}
}

// The scripts ask the program itself, with the hidden flag of cli/v2, so they
// need no change when a command or flag is added.
const (
	bashCompletion = `_porthole_complete() {
  local cur="${COMP_WORDS[COMP_CWORD]}" words
  words=$("${COMP_WORDS[@]:0:COMP_CWORD}" ${cur:+"$cur"} --generate-bash-completion 2>/dev/null)
  if [ -z "$words" ] || [[ "$cur" != -* ]]; then
    words=$("${COMP_WORDS[@]:0:COMP_CWORD}" --generate-bash-completion 2>/dev/null)
  fi
  COMPREPLY=($(compgen -W "$words" -- "$cur"))
}
complete -o bashdefault -o default -F _porthole_complete porthole
`
	zshCompletion = `#compdef porthole
_porthole() {
  local -a words_found
  local cur="${words[CURRENT]}"
  if [[ "$cur" == -* ]]; then
    words_found=("${(@f)$("${words[@]:0:CURRENT-1}" "$cur" --generate-bash-completion 2>/dev/null)}")
  else
    words_found=("${(@f)$("${words[@]:0:CURRENT-1}" --generate-bash-completion 2>/dev/null)}")
  fi
  compadd -a words_found
}
compdef _porthole porthole
`
	fishCompletion = `function __porthole_complete
  set -l words (commandline -opc)
  set -l cur (commandline -ct)
  if string match -q -- '-*' $cur
    $words $cur --generate-bash-completion 2>/dev/null
  else
    $words --generate-bash-completion 2>/dev/null
  end
end
complete -c porthole -f -a '(__porthole_complete)'
`
)

func writeCompletion(w io.Writer, shell string) error {
	script, ok := map[string]string{"bash": bashCompletion, "zsh": zshCompletion, "fish": fishCompletion}[shell]
	if !ok {
		return usageErrorf("no completion for shell %q: bash, zsh or fish", shell)
	}
	_, err := io.WriteString(w, script)
	return err
}

// completePods offers the pods of the node. Nobody waits long for a completion,
// and nothing is said if it cannot be had.
func completePods(c *cli.Context) {
	cli.DefaultCompleteWithFlags(c.Command)(c)
	ctx, cancel := context.WithTimeout(c.Context, time.Second)
	defer cancel()
	c.Context = ctx
	n, err := openNode(c, stdio{out: io.Discard, console: newConsole(io.Discard)})
	if err != nil {
		return
	}
	defer n.close()
	pods, err := n.client.Pods(ctx, nil)
	if err != nil {
		return
	}
	for _, p := range pods {
		fmt.Fprintln(c.App.Writer, escape.String(p.Name))
	}
}
