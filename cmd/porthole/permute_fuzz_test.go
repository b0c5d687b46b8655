package main

import (
	"slices"
	"strconv"
	"strings"
	"testing"
)

// words are what the fuzzer composes command lines of. The last stands for a
// word of its own.
var words = []string{
	"debug", "run", "mypod", "node/n", "sh", "--", "-", "", "=", "-=", "---", "--=", "x=y", "true",
	"-i", "-t", "-it", "-ti=false", "-q=true", "--stdin", "--tty=false", "--quiet=", "--quiet=maybe", "-i=0",
	"--image", "--image=busybox", "--image=", "--image=-x=y", "--target", "-n", "-nkube-system", "-n=ns", "-n=", "-itn", "-itnx",
	"-e", "-eA=1,2", "--env", "--env=A= 1 ", "-f", "-f-", "-c", "-cit", "--imgae", "-x", "-itx", "--i", "-image",
	"--runtime-endpoint", "--runtime-endpoint=X", "--verbose", "--verbose=false", "RAW",
}

// FuzzPermute runs command lines through permuteApp and cli/v2 and compares
// what the action sees with a model of pflag.
func FuzzPermute(f *testing.F) {
	for line := range strings.SplitSeq("mypod -it --image=busybox|mypod --image x -- sh -|-- --|-itn x --|--env -x|RAW -f -", "|") {
		var seed []byte
		for word := range strings.SplitSeq(line, " ") {
			seed = append(seed, byte(max(0, slices.Index(words, word))))
		}
		f.Add(seed, "-ti\xff")
	}
	f.Fuzz(func(t *testing.T, picks []byte, raw string) {
		var args []string
		for _, pick := range picks[:min(len(picks), 40)] {
			word := words[int(pick)%len(words)]
			if word == "RAW" {
				word = raw
			}
			args = append(args, word)
		}
		if slices.ContainsFunc(args, isHelp) {
			t.Skip("asks for help")
		}
		want, ok := model(args)
		got, err := runApp(t, append([]string{"porthole", "debug"}, args...)...)
		if ok != (err == nil) {
			t.Fatalf("%q: error %v; the model agrees to it: %t", args, err, ok)
		}
		if ok && !want.equal(got) {
			t.Errorf("%q\ngot  %+v\nwant %+v", args, got, want)
		}
	})
}

func isHelp(arg string) bool {
	return strings.HasPrefix(arg, "--help") || strings.HasPrefix(arg, "-") && !strings.HasPrefix(arg, "--") && strings.Contains(arg, "h")
}

var (
	modelBools  = map[string]string{"stdin": "stdin", "i": "stdin", "tty": "tty", "t": "tty", "quiet": "quiet", "q": "quiet", "verbose": "verbose"}
	modelValues = map[string]string{"image": "image", "target": "target", "custom": "custom", "container": "container", "c": "container",
		"namespace": "namespace", "n": "namespace", "filename": "filename", "f": "filename", "env": "env", "e": "env",
		"secret-door": "secret-door", "runtime-endpoint": "runtime-endpoint"}
)

// model reads the arguments of debug one by one, as pflag does and cli/v2 does
// not. It reports false where there must be an error.
func model(args []string) (p parsed, ok bool) {
	p = parsed{command: "porthole debug", values: values{}}
	for i := 0; i < len(args); i++ {
		arg := args[i]
		if arg == "--" {
			p.dashed, p.tail = true, args[i+1:]
			if len(p.positionals) == 0 && len(p.tail) > 0 && p.tail[0] == "--" {
				p.tail = p.tail[1:] // the one thing that reads differently
			}
			break
		}
		if len(arg) < 2 || arg[0] != '-' {
			p.positionals = append(p.positionals, arg)
			continue
		}
		names, value, hasValue := modelNames(arg)
		for j, name := range names {
			last := j == len(names)-1
			if flag, isBool := modelBools[name]; isBool {
				if !last || !hasValue {
					p.values[flag] = []string{"true"}
				} else if b, err := strconv.ParseBool(value); err == nil {
					p.values[flag] = []string{strconv.FormatBool(b)}
				} else {
					return p, false
				}
				continue
			}
			flag, known := modelValues[name]
			if !known {
				return p, false
			}
			if !hasValue {
				if i++; i == len(args) || args[i] == "--" {
					return p, false
				}
				value = args[i]
			}
			if flag == "env" {
				value = string([]rune(value)) // cli/v2 copies lists to their aliases as JSON, which must be UTF-8
			} else {
				p.values[flag] = nil
			}
			p.values[flag] = append(p.values[flag], value)
		}
	}
	return p, true
}

// modelNames takes one argument apart: -itnx is i, t and n with the value x.
func modelNames(arg string) (names []string, value string, hasValue bool) {
	if long, ok := strings.CutPrefix(arg, "--"); ok {
		name, value, hasValue := strings.Cut(long, "=")
		if len(name) == 1 {
			name = "--" + name // one letter takes one dash
		}
		return []string{name}, value, hasValue
	}
	for i, c := range arg[1:] {
		names = append(names, string(c))
		if c == '\uFFFD' { // perhaps a byte that is no UTF-8; unknown in any case
			return names, "", false
		}
		rest := arg[1+i+len(string(c)):]
		if value, ok := strings.CutPrefix(rest, "="); ok {
			return names, value, true
		}
		if _, isBool := modelBools[string(c)]; !isBool {
			return names, rest, rest != ""
		}
	}
	return names, "", false
}
