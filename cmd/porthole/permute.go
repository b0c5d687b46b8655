package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/containerd/errdefs"
	"github.com/urfave/cli/v2"
)

// permute reorders the arguments of one command (what follows its name) so
// that cli/v2, which stops looking for flags at the first positional, sees
// them as kubectl (pflag) would: flags and positionals may come in any order.
//
// The result is every flag, then the positionals, then the first "--" and all
// that follows it, untouched. Each flag is rewritten to one argument under its
// first name, "--stdin" or "--namespace=kube-system": clusters (-it, -itn ns)
// and attached values (-nns, -n=ns) are taken apart, and "-i --stdin" does not
// become cli/v2's "Cannot use two forms of the same flag". Values never
// change, an empty one included, and repeated flags keep their order. A lone
// "-" is a positional, or the value of the flag before it.
//
// A flag takes the next argument as its value whatever that is, as in pflag,
// with one exception: never "--", so that a forgotten value in
// "--image -- sh" is an error and not an image called "--". Another difference
// is "-n=", here an empty value as "--namespace=" is, there "=".
//
// The flag package swallows a "--" that follows no positional, and with it the
// difference between a pod and a command. In that case a second one is added;
// splitCommand sees the survivor. For the same reason "-- --" at that place
// reads as "--", which makes permuting twice the same as permuting once.
//
// Errors are errdefs.ErrInvalidArgument and name the flag.
func permute(flags []cli.Flag, args []string) ([]string, error) {
	p := permuter{levels: []*level{{options: optionsOf(flags)}}}
	if err := p.walk(args); err != nil {
		return nil, err
	}
	return p.result(), nil
}

// permuteApp does for a whole command line, os.Args, what permute does for the
// arguments of one command. It finds the command, by name or alias, and its
// subcommand, and permutes each level's flags to right after its name. Call it
// once, on an app that is complete, before app.RunContext.
//
// A global flag may also be given after the command: it is moved in front of
// it, where cli/v2 looks for it. So the app's flags need not be repeated in
// each command, which would not work anyway: cli/v2 asks the innermost level
// first and would find the copy's default there. Where a command has a flag
// of the same name, the command's wins, --help among them.
//
// With --help anywhere before "--", the command's positionals are dropped:
// cli/v2 would take the first of them for a help topic.
//
// What cannot be permuted is left for cli/v2 to judge: all from an unknown
// command on, the arguments of a command with SkipFlagParsing, and requests
// for shell completion, which are unfinished by nature.
func permuteApp(app *cli.App, args []string) ([]string, error) {
	if len(args) == 0 || app.EnableBashCompletion && args[len(args)-1] == "--generate-bash-completion" {
		return args, nil
	}
	app.Setup() // adds the built-in help command and flag, and --version
	p := permuter{
		levels:   []*level{{name: args[0], options: optionsOf(app.Flags)}},
		commands: app.Commands,
		strict:   len(app.Commands) > 0,
	}
	if err := p.walk(args[1:]); err != nil {
		return nil, err
	}
	return p.result(), nil
}

// splitCommand divides a command's permuted arguments at the first "--" into
// the positionals and the command to run. dashed tells "POD --" from "POD".
func splitCommand(args []string) (positionals, command []string, dashed bool) {
	i := slices.Index(args, "--")
	if i < 0 {
		return args, nil, false
	}
	return args[:i], args[i+1:], true
}

// flagError is a mistake in the use of a flag. Its text is complete, so the
// class is not part of it.
type flagError string

func (e flagError) Error() string { return string(e) }

// Unwrap gives the class.
func (flagError) Unwrap() error { return errdefs.ErrInvalidArgument }

// option is what the permuter must know of a flag.
type option struct {
	canonical string // its first name, with dashes
	bool      bool   // takes no argument
	hidden    bool   // not to be suggested
}

// level is the program itself, a command or a subcommand.
type level struct {
	name    string // as typed; empty when the caller has stripped it
	options map[string]option
	flags   []string // normalised
}

type permuter struct {
	levels      []*level // outermost first
	commands    []*cli.Command
	strict      bool // a positional must be one of commands
	positionals []string
	dashed      bool     // tail is a "--" and what follows
	tail        []string // not to be touched
}

func optionsOf(flags []cli.Flag) map[string]option {
	options := make(map[string]option)
	for _, f := range flags {
		doc, known := f.(cli.DocGenerationFlag)
		visible, ok := f.(cli.VisibleFlag)
		for _, name := range f.Names() {
			options[name] = option{
				canonical: dashes(f.Names()[0]),
				bool:      known && !doc.TakesValue(),
				hidden:    ok && !visible.IsVisible(),
			}
		}
	}
	return options
}

func dashes(name string) string {
	if utf8.RuneCountInString(name) == 1 {
		return "-" + name
	}
	return "--" + name
}

func (p *permuter) walk(args []string) (err error) {
	for len(args) > 0 && err == nil {
		switch arg := args[0]; {
		case arg == "--":
			p.dashed, p.tail = true, args
			return nil
		case strings.HasPrefix(arg, "--"):
			args, err = p.long(args)
		case len(arg) > 1 && arg[0] == '-':
			args, err = p.short(args)
		default:
			if args = p.positional(args); p.tail != nil {
				return nil
			}
		}
	}
	return err
}

// positional takes a positional or the name of a subcommand from args. It
// sets the tail where permuting must end.
func (p *permuter) positional(args []string) (rest []string) {
	i := slices.IndexFunc(p.commands, func(c *cli.Command) bool { return c.HasName(args[0]) })
	if i < 0 {
		if p.strict {
			p.tail = args
			return nil
		}
		p.commands = nil
		p.positionals = append(p.positionals, args[0])
		return args[1:]
	}
	c := p.commands[i]
	flags := c.Flags
	if !c.HideHelp && cli.HelpFlag != nil {
		flags = append(slices.Clip(flags), cli.HelpFlag)
	}
	p.levels = append(p.levels, &level{name: args[0], options: optionsOf(flags)})
	p.commands = c.Subcommands
	p.strict = len(c.Subcommands) > 0 && c.Action == nil
	if c.SkipFlagParsing {
		p.tail = args[1:]
	}
	return args[1:]
}

// long takes "--name", "--name=value" or "--name value" from args.
func (p *permuter) long(args []string) (rest []string, err error) {
	name, value, hasValue := strings.Cut(args[0][2:], "=")
	l, o := p.lookup(name)
	if l == nil || utf8.RuneCountInString(name) < 2 {
		return nil, p.unknown("--"+name, "", name)
	}
	if o.bool || hasValue {
		l.add(o, value, hasValue)
		return args[1:], nil
	}
	return l.next(o, "--"+name, args[1:])
}

// short takes "-n", "-n=value", "-nvalue", "-n value" or a cluster, "-itn
// value", from args.
func (p *permuter) short(args []string) (rest []string, err error) {
	cluster := args[0][1:]
	for tail := cluster; tail != ""; {
		_, size := utf8.DecodeRuneInString(tail)
		name := tail[:size]
		l, o := p.lookup(name)
		if l == nil {
			whole, _, _ := strings.Cut(cluster, "=")
			return nil, p.unknown("-"+name, args[0], whole)
		}
		tail = tail[size:]
		value, hasValue := strings.CutPrefix(tail, "=")
		switch {
		case hasValue, !o.bool && tail != "":
			l.add(o, value, true)
			return args[1:], nil
		case !o.bool:
			return l.next(o, "-"+name, args[1:])
		}
		l.add(o, "", false)
	}
	return args[1:], nil
}

// lookup finds the innermost level that knows a flag; nil if none does.
func (p *permuter) lookup(name string) (*level, option) {
	for _, l := range slices.Backward(p.levels) {
		if o, ok := l.options[name]; ok {
			return l, o
		}
	}
	return nil, option{}
}

func (l *level) add(o option, value string, hasValue bool) {
	arg := o.canonical
	if hasValue {
		arg += "=" + value
	}
	l.flags = append(l.flags, arg)
}

// next gives the flag, which the user typed as typed, the next argument.
func (l *level) next(o option, typed string, args []string) (rest []string, err error) {
	if len(args) == 0 || args[0] == "--" {
		return nil, flagError("flag needs an argument: " + typed)
	}
	l.add(o, args[0], true)
	return args[1:], nil
}

// unknown is the error for a flag that no level knows: typed, in the cluster
// arg if that is not empty. name is what was probably meant.
func (p *permuter) unknown(typed, arg, name string) error {
	msg := "unknown flag " + typed
	if arg != "" && arg != typed {
		msg += " in " + arg
	}
	if nearest := p.nearest(name); nearest != "" {
		msg += fmt.Sprintf(", did you mean %s?", nearest)
	}
	return flagError(msg)
}

// nearest is the visible flag most like name, with dashes; empty if none is
// within one slip and one more for every four letters.
func (p *permuter) nearest(name string) string {
	best, least := "", 2+len(name)/4
	for _, l := range slices.Backward(p.levels) {
		for _, candidate := range slices.Sorted(maps.Keys(l.options)) {
			slips := max(len(name), len(candidate)) - min(len(name), len(candidate)) // at the least
			// One letter is always within one slip of another.
			if l.options[candidate].hidden || slips >= least || name != candidate && min(len(name), len(candidate)) < 2 {
				continue
			}
			if d := distance(name, candidate); d < least {
				best, least = dashes(candidate), d
			}
		}
	}
	return best
}

// distance counts the letters to insert, delete, replace or swap with their
// neighbour to get from a to b (optimal string alignment).
func distance(a, b string) int {
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			substitution := 1
			if a[i-1] == b[j-1] {
				substitution = 0
			}
			rows[i][j] = min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+substitution)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}

func (p *permuter) result() []string {
	var out []string
	for i, l := range p.levels {
		if i > 0 || l.name != "" {
			out = append(out, l.name)
		}
		out = append(out, l.flags...)
	}
	if len(p.levels) > 1 && cli.HelpFlag != nil && slices.Contains(p.levels[len(p.levels)-1].flags, dashes(cli.HelpFlag.Names()[0])) {
		return out
	}
	out = append(out, p.positionals...)
	doubled := len(p.tail) > 1 && p.tail[1] == "--"
	if p.dashed && len(p.positionals) == 0 && len(p.commands) == 0 && !doubled {
		out = append(out, "--")
	}
	return append(out, p.tail...)
}
