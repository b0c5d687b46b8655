package main

import (
	"errors"
	"io"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/urfave/cli/v2"
)

// parsed is what a command's action saw.
type parsed struct {
	command     string              // full name; empty when no action ran
	values      map[string][]string // by first name, only what was set
	positionals []string
	tail        []string // the command after "--"
	dashed      bool
}

func debugFlags() []cli.Flag {
	return []cli.Flag{
		&cli.BoolFlag{Name: "stdin", Aliases: []string{"i"}},
		&cli.BoolFlag{Name: "tty", Aliases: []string{"t"}},
		&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}},
		&cli.StringFlag{Name: "image"},
		&cli.StringFlag{Name: "target"},
		&cli.StringFlag{Name: "custom"},
		&cli.StringFlag{Name: "container", Aliases: []string{"c"}},
		&cli.StringFlag{Name: "namespace", Aliases: []string{"n"}},
		&cli.StringFlag{Name: "filename", Aliases: []string{"f"}},
		&cli.StringSliceFlag{Name: "env", Aliases: []string{"e"}, KeepSpace: true},
		&cli.StringFlag{Name: "secret-door", Hidden: true},
	}
}

// testApp is an app shaped like porthole's, whose actions fill got.
func testApp(got *parsed) *cli.App {
	record := func(c *cli.Context) error {
		*got = parsed{command: c.Command.HelpName, values: map[string][]string{}}
		got.positionals, got.tail, got.dashed = splitCommand(c.Args().Slice())
		for _, ctx := range c.Lineage() {
			if ctx.Command == nil {
				continue
			}
			for _, f := range ctx.Command.Flags {
				if name := f.Names()[0]; c.IsSet(name) {
					got.values[name] = valuesOf(c, f)
				}
			}
		}
		return nil
	}
	return &cli.App{
		Name:                      "porthole",
		UseShortOptionHandling:    true,
		DisableSliceFlagSeparator: true,
		Writer:                    io.Discard,
		ErrWriter:                 io.Discard,
		ExitErrHandler:            func(*cli.Context, error) {},
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "runtime-endpoint", Value: "default"},
			&cli.BoolFlag{Name: "verbose"},
		},
		Commands: []*cli.Command{
			{Name: "debug", Aliases: []string{"run"}, HideHelpCommand: true, Flags: debugFlags(), Action: record},
			{Name: "pods", Action: record, Flags: []cli.Flag{&cli.BoolFlag{Name: "all", Aliases: []string{"A"}}}},
			{Name: "raw", Action: record, SkipFlagParsing: true},
			{Name: "context", Aliases: []string{"ctx"}, Flags: []cli.Flag{&cli.StringFlag{Name: "file"}}, Subcommands: []*cli.Command{
				{Name: "ls", Action: record, HideHelpCommand: true, Flags: []cli.Flag{&cli.StringFlag{Name: "output", Aliases: []string{"o"}}}},
			}},
			{Name: "completion", Subcommands: []*cli.Command{{Name: "bash", Action: record}}},
		},
	}
}

func valuesOf(c *cli.Context, f cli.Flag) []string {
	name := f.Names()[0]
	switch f.(type) {
	case *cli.BoolFlag:
		if c.Bool(name) {
			return []string{"true"}
		}
		return []string{"false"}
	case *cli.StringSliceFlag:
		return c.StringSlice(name)
	}
	return []string{c.String(name)}
}

// run permutes a command line and has cli/v2 parse the result.
func runApp(t *testing.T, args ...string) (parsed, error) {
	t.Helper()
	var got parsed
	app := testApp(&got)
	permuted, err := permuteApp(app, args)
	if err != nil {
		return got, err
	}
	again, err := permuteApp(app, permuted)
	if err != nil || !slices.Equal(again, permuted) {
		t.Errorf("permuting %q twice gives %q, %v; once gives %q", args, again, err, permuted)
	}
	return got, app.RunContext(t.Context(), permuted)
}

type values = map[string][]string

func TestPermuteParsesAsKubectl(t *testing.T) {
	one := func(s string) []string { return []string{s} }
	it := func(more values) values {
		all := values{"stdin": one("true"), "tty": one("true")}
		maps.Copy(all, more)
		return all
	}
	for line, want := range map[string]parsed{
		// kubectl debug --help
		"debug mypod -it --image=busybox":                                          {values: it(values{"image": one("busybox")}), positionals: one("mypod")},
		"debug --image=myproj/debug-tools -c debugger mypod":                       {values: values{"image": one("myproj/debug-tools"), "container": one("debugger")}, positionals: one("mypod")},
		"debug mypod --image=myapp-image:latest -- sh":                             {values: values{"image": one("myapp-image:latest")}, positionals: one("mypod"), dashed: true, tail: one("sh")},
		"debug -it mypod --image=busybox --target=mycontainer --custom=x.json":     {values: it(values{"image": one("busybox"), "target": one("mycontainer"), "custom": one("x.json")}), positionals: one("mypod")},
		"debug mypod -it --image=busybox --target=app -- sh -c ls\u00a0-l --image": {values: it(values{"image": one("busybox"), "target": one("app")}), positionals: one("mypod"), dashed: true, tail: []string{"sh", "-c", "ls\u00a0-l", "--image"}},
		"debug node/mynode -it --image=busybox":                                    {values: it(values{"image": one("busybox")}), positionals: one("node/mynode")},
		"debug -f pod.yaml --image=busybox":                                        {values: values{"filename": one("pod.yaml"), "image": one("busybox")}},
		"debug --image busybox -f -":                                               {values: values{"filename": one("-"), "image": one("busybox")}},
		// spellings of flags
		"debug p -itn ns":                          {values: it(values{"namespace": one("ns")}), positionals: one("p")},
		"debug p -itnkube-system":                  {values: it(values{"namespace": one("kube-system")}), positionals: one("p")},
		"debug p -n=kube-system":                   {values: values{"namespace": one("kube-system")}, positionals: one("p")},
		"debug p -nkube=system":                    {values: values{"namespace": one("kube=system")}, positionals: one("p")},
		"debug p -n==x":                            {values: values{"namespace": one("=x")}, positionals: one("p")},
		"debug p --stdin=false -i -i=true --stdin": {values: values{"stdin": one("true")}, positionals: one("p")},
		"debug p -it=false":                        {values: values{"stdin": one("true"), "tty": one("false")}, positionals: one("p")},
		"debug p -i false":                         {values: values{"stdin": one("true")}, positionals: []string{"p", "false"}},
		"debug p --target= --image=a=b":            {values: values{"target": one(""), "image": one("a=b")}, positionals: one("p")},
		"debug p --env -x --env=-y -e--z -e=A=,b":  {values: values{"env": {"-x", "-y", "--z", "A=,b"}}, positionals: one("p")},
		"debug a -i b - c":                         {values: values{"stdin": one("true")}, positionals: []string{"a", "b", "-", "c"}},
		// only the first "--" counts
		"debug p --":                {positionals: one("p"), dashed: true},
		"debug --":                  {dashed: true},
		"debug -it -- sh -- -x":     {values: it(nil), dashed: true, tail: []string{"sh", "--", "-x"}},
		"debug p -- -- --image":     {positionals: one("p"), dashed: true, tail: []string{"--", "--image"}},
		"debug help -- --nonsuch -": {positionals: one("help"), dashed: true, tail: []string{"--nonsuch", "-"}},
		// commands, aliases, global flags
		"run p -q":                        {command: "porthole debug", values: values{"quiet": one("true")}, positionals: one("p")},
		"--runtime-endpoint X debug p -q": {command: "porthole debug", values: values{"runtime-endpoint": one("X"), "quiet": one("true")}, positionals: one("p")},
		"pods --runtime-endpoint X -A":    {command: "porthole pods", values: values{"runtime-endpoint": one("X"), "all": one("true")}},
		"--runtime-endpoint=X --verbose pods --runtime-endpoint= x": {command: "porthole pods", values: values{"runtime-endpoint": one(""), "verbose": one("true")}, positionals: one("x")},
		"context --file f ls x -o yaml --verbose":                   {command: "porthole context ls", values: values{"file": one("f"), "output": one("yaml"), "verbose": one("true")}, positionals: one("x")},
		"ctx ls --file f":     {command: "porthole context ls", values: values{"file": one("f")}},
		"completion bash":     {command: "porthole completion bash"},
		"raw x --image -- -z": {command: "porthole raw", positionals: []string{"x", "--image"}, dashed: true, tail: one("-z")},
	} {
		t.Run(line, func(t *testing.T) {
			got, err := runApp(t, append([]string{"porthole"}, strings.Split(line, " ")...)...)
			if err != nil {
				t.Fatal(err)
			}
			if want.command == "" {
				want.command = "porthole debug"
			}
			if !want.equal(got) {
				t.Errorf("got  %+v\nwant %+v", got, want)
			}
		})
	}
}

func (p parsed) equal(q parsed) bool {
	return p.command == q.command && p.dashed == q.dashed && slices.Equal(p.positionals, q.positionals) &&
		slices.Equal(p.tail, q.tail) && (len(p.values) == 0 && len(q.values) == 0 || reflect.DeepEqual(p.values, q.values))
}

func TestPermuteEmptyArguments(t *testing.T) {
	got, err := runApp(t, "porthole", "debug", "", "--target", "", "--env", " A = 1 ", "--", "")
	want := parsed{command: "porthole debug", values: values{"target": {""}, "env": {" A = 1 "}}, positionals: []string{""}, dashed: true, tail: []string{""}}
	if err != nil || !want.equal(got) {
		t.Errorf("got  %+v, %v\nwant %+v", got, err, want)
	}
	if got, err := permuteApp(&cli.App{}, nil); err != nil || len(got) != 0 {
		t.Errorf("no arguments at all give %q, %v", got, err)
	}
}

func TestPermuteOneCommand(t *testing.T) {
	for line, want := range map[string]string{
		"mypod -it --image=busybox":        "--stdin --tty --image=busybox mypod",
		"a --image x b -- c -i":            "--image=x a b -- c -i",
		"-i -- sh":                         "--stdin -- -- sh",
		"-- --":                            "-- --",
		"p -n a --namespace=b -nc --quiet": "--namespace=a --namespace=b --namespace=c --quiet p",
		"--filename - -":                   "--filename=- -",
	} {
		got, err := permute(debugFlags(), strings.Fields(line))
		if err != nil || strings.Join(got, " ") != want {
			t.Errorf("permute(%s) = %q, %v; want %s", line, got, err, want)
		}
		if again, err := permute(debugFlags(), got); err != nil || !slices.Equal(again, got) {
			t.Errorf("permute(%q) = %q, %v: not what it was", got, again, err)
		}
	}
}

func TestPermuteErrors(t *testing.T) {
	for line, want := range map[string]string{
		"debug p --imgae=x":          "unknown flag --imgae, did you mean --image?",
		"debug p --imgae":            "unknown flag --imgae, did you mean --image?",
		"debug p -image=x":           "unknown flag -m in -image=x, did you mean --image?",
		"debug p -itx":               "unknown flag -x in -itx",
		"debug p -x":                 "unknown flag -x",
		"debug p --i":                "unknown flag --i, did you mean -i?",
		"debug p --runtime-endpiont": "unknown flag --runtime-endpiont, did you mean --runtime-endpoint?",
		"debug p --secret-dor=x":     "unknown flag --secret-dor",
		"debug p --frobnicate":       "unknown flag --frobnicate",
		"debug p ---image":           "unknown flag ---image, did you mean --image?",
		"debug p --=x":               "unknown flag --",
		"debug p -=x":                "unknown flag -= in -=x",
		"debug p -\xff":              "unknown flag -\xff",
		"debug p --image":            "flag needs an argument: --image",
		"debug p -itn":               "flag needs an argument: -n",
		"debug --image -- sh":        "flag needs an argument: --image",
		"debug -n -- sh":             "flag needs an argument: -n",
		"pods --image x":             "unknown flag --image",
		"--verbos pods":              "unknown flag --verbos, did you mean --verbose?",
		"context ls --outptu=yaml":   "unknown flag --outptu, did you mean --output?",
		"context --output yaml ls":   "unknown flag --output",
	} {
		got, err := runApp(t, append([]string{"porthole"}, strings.Fields(line)...)...)
		if err == nil || err.Error() != want {
			t.Errorf("%q: got error %q, want %q", line, err, want)
		}
		if !errors.Is(err, errdefs.ErrInvalidArgument) {
			t.Errorf("%q: error %v is not errdefs.ErrInvalidArgument", line, err)
		}
		if got.command != "" {
			t.Errorf("%q: %s ran", line, got.command)
		}
	}
}

func TestPermuteLeavesToTheApp(t *testing.T) {
	for _, line := range []string{
		"",
		"nonsuch --image -x -- y",
		"context nonsuch -x",
		"-- debug p -it",
		"--verbose -- debug",
		"debug --image --generate-bash-completion",
		"raw -- -x",
		"raw --",
	} {
		args := append([]string{"porthole"}, strings.Fields(line)...)
		app := testApp(&parsed{})
		app.EnableBashCompletion = true
		got, err := permuteApp(app, args)
		if err != nil || !slices.Equal(got, args) {
			t.Errorf("permuteApp(%q) = %q, %v", args, got, err)
		}
	}
}

func TestPermuteHelp(t *testing.T) {
	for _, line := range []string{"debug --help", "debug p --image x -h", "debug -ith p -- sh", "run p --help"} {
		var got parsed
		var out strings.Builder
		app := testApp(&got)
		app.Writer = &out
		args, err := permuteApp(app, append([]string{"porthole"}, strings.Fields(line)...))
		if err == nil {
			err = app.RunContext(t.Context(), args)
		}
		if err != nil || got.command != "" || !strings.Contains(out.String(), "porthole debug") {
			t.Errorf("%q: error %v, ran %q, printed %q", line, err, got.command, out.String())
		}
	}
	if got, err := runApp(t, "porthole", "debug", "p", "--", "env", "--help"); err != nil || !slices.Equal(got.tail, []string{"env", "--help"}) {
		t.Errorf("--help after -- gives %+v, %v", got, err)
	}
}
