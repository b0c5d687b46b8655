package runtime

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
	corev1 "k8s.io/api/core/v1"
)

// planEnv is kubelet's makeEnvironmentVariables: what envFrom brings, the
// declared variables over it, then the service variables, which kubelet gives
// to every container of a pod and which are read from another one's own
// environment. copied, the lowest of all, is what the user wants of the target's
// environment.
func planEnv(f *Facts, spec *corev1.EphemeralContainer, copied []EnvVar) ([]EnvVar, error) {
	e := environment{values: map[string]string{}, services: map[string]string{}}
	var services []EnvVar
	if sibling := f.sibling(); sibling != nil {
		services = serviceVars(f.undeclared(sibling))
	}
	for _, v := range services {
		e.services[v.Name] = v.Value
	}
	for _, v := range copied {
		e.set(v.Name, v.Value)
	}
	if err := e.addFrom(f, spec.EnvFrom); err != nil {
		return nil, err
	}
	for _, v := range spec.Env {
		value, skip, err := e.value(f, v)
		if err != nil {
			return nil, fmt.Errorf("environment variable %s: %w", v.Name, err)
		}
		if !skip {
			e.set(v.Name, value)
		}
	}
	var out []EnvVar
	for _, name := range e.order {
		out = append(out, EnvVar{name, e.values[name]})
	}
	for _, v := range services {
		if _, taken := e.values[v.Name]; !taken {
			out = append(out, v)
		}
	}
	return out, nil
}

// undeclared is the environment of a container without what its own spec
// declares: a variable there may look like a service's and is not.
func (f *Facts) undeclared(t *Target) []EnvVar {
	c := f.container(t.Name)
	if c == nil {
		return t.Env
	}
	return slices.DeleteFunc(slices.Clone(t.Env), func(e EnvVar) bool {
		return slices.ContainsFunc(c.Env, func(v corev1.EnvVar) bool { return v.Name == e.Name })
	})
}

// environment is the environment as it grows.
type environment struct {
	values, services map[string]string
	order            []string // of values; the last to be set stands last
}

func (e *environment) set(name, value string) {
	if _, again := e.values[name]; again {
		e.order = slices.DeleteFunc(e.order, func(old string) bool { return old == name })
	}
	e.values[name] = value
	e.order = append(e.order, name)
}

// lookup is what $(NAME) in a declared variable means: an earlier variable,
// else a service variable.
func (e *environment) lookup(name string) (string, bool) {
	if value, ok := e.values[name]; ok {
		return value, true
	}
	value, ok := e.services[name]
	return value, ok
}

func (e *environment) addFrom(f *Facts, sources []corev1.EnvFromSource) error {
	for _, from := range sources {
		var object Object
		var kind, name string
		var optional *bool
		switch {
		case from.ConfigMapRef != nil:
			kind, name, optional = "configMap", from.ConfigMapRef.Name, from.ConfigMapRef.Optional
			object = f.Files.ConfigMaps[name]
		case from.SecretRef != nil:
			kind, name, optional = "secret", from.SecretRef.Name, from.SecretRef.Optional
			object = f.Files.Secrets[name]
		default:
			continue
		}
		if !object.Complete {
			return incomplete(f, kind, name, "", optional, object.Err)
		}
		for _, key := range slices.Sorted(maps.Keys(object.Data)) {
			e.set(from.Prefix+key, object.Data[key])
		}
	}
	return nil
}

// incomplete says that an object is not on the node, or not all of it. Whether
// an optional one exists cannot be known either: leaving its variables out could
// be wrong, so that is refused, too.
func incomplete(f *Facts, kind, name, key string, optional *bool, err error) error {
	what := fmt.Sprintf("%s %s/%s", kind, f.Pod.Namespace, name)
	if key != "" {
		what = fmt.Sprintf("key %s of %s", key, what)
	}
	if isTrue(optional) {
		what = "optional " + what
	}
	if err == nil {
		err = errdefs.ErrNotFound
	}
	return fmt.Errorf("%s is not known on this node, and the API server is not asked: %w", what, err)
}

// value is one declared variable. skip says that an optional source lacks it.
func (e *environment) value(f *Facts, v corev1.EnvVar) (value string, skip bool, err error) {
	from := v.ValueFrom
	switch {
	case v.Value != "" || from == nil:
		return Expand(v.Value, e.lookup), false, nil
	case from.FieldRef != nil:
		value, err = f.fieldValue(from.FieldRef)
	case from.ResourceFieldRef != nil:
		value, err = f.resourceValue(from.ResourceFieldRef)
	case from.ConfigMapKeyRef != nil:
		r := from.ConfigMapKeyRef
		return f.keyValue("configMap", "ConfigMap", r.Name, r.Key, r.Optional, f.Files.ConfigMaps[r.Name])
	case from.SecretKeyRef != nil:
		r := from.SecretKeyRef
		return f.keyValue("secret", "Secret", r.Name, r.Key, r.Optional, f.Files.Secrets[r.Name])
	case from.FileKeyRef != nil:
		return f.fileValue(from.FileKeyRef)
	}
	return value, false, err
}

func (f *Facts) keyValue(kind, title, name, key string, optional *bool, object Object) (value string, skip bool, err error) {
	if value, ok := object.Data[key]; ok {
		return value, false, nil
	}
	switch {
	case !object.Complete && !slices.Contains(object.Missing, key):
		return "", false, incomplete(f, kind, name, key, optional, object.Err)
	case isTrue(optional):
		return "", true, nil
	}
	return "", false, fmt.Errorf("couldn't find key %s in %s %s/%s: %w", key, title, f.Pod.Namespace, name, errdefs.ErrNotFound)
}

// fileValue follows kubelet: an empty value counts as a key that is not there.
func (f *Facts) fileValue(ref *corev1.FileKeySelector) (value string, skip bool, err error) {
	file := f.Files.EnvFiles[FileKey{ref.VolumeName, ref.Path, ref.Key}]
	switch {
	case file.Err != nil:
		return "", false, fmt.Errorf("file %q of volume %q: %w", ref.Path, ref.VolumeName, file.Err)
	case file.Value != "":
		return file.Value, false, nil
	case isTrue(ref.Optional):
		return "", true, nil
	}
	return "", false, fmt.Errorf("environment variable key %q not found in file %q of volume %q: %w", ref.Key, ref.Path, ref.VolumeName, errdefs.ErrNotFound)
}

func expandAll(in []string, env []EnvVar) []string {
	if len(in) == 0 {
		return nil
	}
	vars := map[string]string{}
	for _, e := range env {
		vars[e.Name] = e.Value
	}
	out := make([]string, 0, len(in))
	for _, s := range in {
		out = append(out, Expand(s, func(name string) (string, bool) { v, ok := vars[name]; return v, ok }))
	}
	return out
}

// serviceVars picks, out of a container's environment, the variables that
// kubelet derives from the services of the namespace: for each service NAME
// there is NAME_SERVICE_HOST, and with it a known family.
// (kubelet pkg/kubelet/envvars/envvars.go)
func serviceVars(env []EnvVar) []EnvVar {
	have := map[string]bool{}
	for _, e := range env {
		have[e.Name] = true
	}
	var prefixes []string
	for name := range have {
		if p, ok := strings.CutSuffix(name, "_SERVICE_HOST"); ok && have[p+"_SERVICE_PORT"] {
			prefixes = append(prefixes, p)
		}
	}
	var out []EnvVar
	for _, e := range env {
		if slices.ContainsFunc(prefixes, func(p string) bool {
			rest, ok := strings.CutPrefix(e.Name, p+"_")
			return ok && isServiceVar(rest)
		}) {
			out = append(out, e)
		}
	}
	return out
}

// isServiceVar judges what follows the service's name and an underscore:
// SERVICE_HOST, SERVICE_PORT, SERVICE_PORT_<NAME>, PORT and
// PORT_<NUMBER>_<PROTO>, alone or with _PROTO, _PORT or _ADDR behind.
func isServiceVar(rest string) bool {
	if rest == "SERVICE_HOST" || rest == "SERVICE_PORT" || rest == "PORT" || strings.HasPrefix(rest, "SERVICE_PORT_") {
		return true
	}
	parts := strings.Split(rest, "_")
	if parts[0] != "PORT" || len(parts) < 3 || len(parts) > 4 || strings.Trim(parts[1], "0123456789") != "" {
		return false
	}
	protocol := parts[2] == "TCP" || parts[2] == "UDP" || parts[2] == "SCTP"
	return protocol && (len(parts) == 3 || parts[3] == "PROTO" || parts[3] == "PORT" || parts[3] == "ADDR")
}

// Variables of a target that are never copied. The target's owner chooses their
// values, and the debugger's shell, loader or interpreter would run what they
// name.
var (
	neverCopied = []string{
		"BASH_ENV", "ENV", "PROMPT_COMMAND", "PS0", "PS1", "PS2", "PS3", "PS4", "SHELLOPTS", "BASHOPTS", "IFS", "CDPATH", "GLOBIGNORE", "HISTFILE",
		"ZDOTDIR", "FPATH", "INPUTRC", "TERMCAP", "TERMINFO", "TERMINFO_DIRS", "GCONV_PATH", "GETCONF_DIR", "GLIBC_TUNABLES", "LOCPATH", "NLSPATH",
		"HOSTALIASES", "LOCALDOMAIN", "RES_OPTIONS", "RESOLV_HOST_CONF", "MALLOC_TRACE", "TMPDIR", "EDITOR", "VISUAL", "PAGER", "MANPAGER", "LESSOPEN",
		"LESSCLOSE", "BROWSER", "SHELL", "NODE_OPTIONS", "NODE_PATH", "JAVA_TOOL_OPTIONS", "_JAVA_OPTIONS", "JDK_JAVA_OPTIONS", "CLASSPATH", "DOTNET_STARTUP_HOOKS",
		"GODEBUG", "GCC_EXEC_PREFIX", "OPENSSL_CONF", "OPENSSL_MODULES", "OPENSSL_ENGINES", "SSLKEYLOGFILE", "AWKPATH", "AWKLIBPATH", "LUA_INIT", "LUA_PATH", "LUA_CPATH", "VIMINIT", "EXINIT", "LESS", "LESSKEY", "KUBECONFIG", "PHPRC",
		"PHP_INI_SCAN_DIR", "SYSTEMD_PAGER", "WGETRC", "CURL_HOME", "PSQLRC", "TCLLIBPATH", "BASH_LOADABLES_PATH",
		// What the debugger's own image and terminal say.
		"PATH", "HOME", "HOSTNAME", "TERM", "PWD", "OLDPWD", "SHLVL", "USER", "LOGNAME", "container", "_",
	}
	neverCopiedFamilies = []string{"LD_", "DYLD_", "BASH_FUNC_", "PYTHON", "PERL", "RUBY", "GIT_", "SSH_", "NIX_LD", "SUDO_", "R_PROFILE", "R_ENVIRON"}
)

// copiedEnv is what may be copied of the target's whole environment, and how
// many variables were left out for what they could do.
func copiedEnv(target *Target) (env []EnvVar, dropped []string) {
	own := slices.Index(neverCopied, "PATH")
	for _, v := range target.Environ {
		i := slices.Index(neverCopied, v.Name)
		family := slices.ContainsFunc(neverCopiedFamilies, func(p string) bool { return strings.HasPrefix(v.Name, p) })
		switch {
		case family || i >= 0 && i < own:
			dropped = append(dropped, v.Name)
		case i < 0 && validEnvName(v.Name) && !strings.ContainsRune(v.Value, 0):
			env = append(env, v)
		}
	}
	slices.SortFunc(env, func(a, b EnvVar) int { return cmp.Compare(a.Name, b.Name) })
	slices.Sort(dropped)
	return env, dropped
}

// validEnvName is the API's rule for names (RelaxedEnvironmentVariableValidation,
// GA in 1.34): printable ASCII but '='.
func validEnvName(name string) bool {
	return name != "" && !strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r > '~' || r == '=' })
}
