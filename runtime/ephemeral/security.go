package ephemeral

import (
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// securityContext is ValidateSecurityContext of an API server that allows
// privileged containers, as every installer sets it up. Whether a namespace does
// is for its policy to say, not for the API.
func (c *checker) securityContext(sc *corev1.SecurityContext, at *field.Path) {
	if sc == nil {
		return
	}
	if sc.RunAsUser != nil {
		c.invalid(at.Child("runAsUser"), *sc.RunAsUser, validation.IsValidUserID(*sc.RunAsUser)...)
	}
	if sc.RunAsGroup != nil {
		c.invalid(at.Child("runAsGroup"), *sc.RunAsGroup, validation.IsValidGroupID(*sc.RunAsGroup)...)
	}
	if sc.ProcMount != nil {
		oneOf(c, at.Child("procMount"), *sc.ProcMount, corev1.DefaultProcMount, corev1.UnmaskedProcMount)
		if *sc.ProcMount == corev1.UnmaskedProcMount && c.pod.Known && c.pod.HostUsers {
			c.invalid(at.Child("procMount"), sc.ProcMount, "`hostUsers` must be false to use `Unmasked`")
		}
	}
	c.seccomp(sc.SeccompProfile, at.Child("seccompProfile"))
	c.escalation(sc, at)
	if sc.WindowsOptions != nil {
		c.windows(sc.WindowsOptions, at.Child("windowsOptions"))
	}
	c.appArmor(sc.AppArmorProfile, at.Child("appArmorProfile"))
}

// escalation: what a container may not gain it cannot have from the beginning.
// The API looks for CAP_SYS_ADMIN in this spelling only.
func (c *checker) escalation(sc *corev1.SecurityContext, at *field.Path) {
	if sc.AllowPrivilegeEscalation == nil || *sc.AllowPrivilegeEscalation {
		return
	}
	if isTrue(sc.Privileged) {
		c.invalid(at, sc, "cannot set `allowPrivilegeEscalation` to false and `privileged` to true")
	}
	if sc.Capabilities == nil {
		return
	}
	for _, name := range sc.Capabilities.Add {
		if name == "CAP_SYS_ADMIN" {
			c.invalid(at, sc, "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN")
		}
	}
}

// seccomp is validateSeccompProfileField.
func (c *checker) seccomp(profile *corev1.SeccompProfile, at *field.Path) {
	if profile == nil {
		return
	}
	if profile.Type == "" {
		c.add(field.Required(at.Child("type"), "type is required when seccompProfile is set"))
	} else {
		oneOf(c, at.Child("type"), profile.Type, corev1.SeccompProfileTypeLocalhost, corev1.SeccompProfileTypeRuntimeDefault, corev1.SeccompProfileTypeUnconfined)
	}
	file, local := profile.LocalhostProfile, profile.Type == corev1.SeccompProfileTypeLocalhost
	switch at := at.Child("localhostProfile"); {
	case local && file == nil:
		c.add(field.Required(at, "must be set when seccomp type is Localhost"))
	case local:
		c.descending(*file, at)
	case file != nil:
		c.invalid(at, profile, "can only be set when seccomp type is Localhost")
	}
}

// maxAppArmorName is PATH_MAX without the NUL byte.
const maxAppArmorName = 4095

// appArmor is ValidateAppArmorProfileField.
func (c *checker) appArmor(profile *corev1.AppArmorProfile, at *field.Path) {
	if profile == nil {
		return
	}
	name, at, kind := profile.LocalhostProfile, at.Child("localhostProfile"), at.Child("type")
	switch profile.Type {
	case corev1.AppArmorProfileTypeLocalhost:
		if name == nil || *name == "" {
			c.add(field.Required(at, "must be set when AppArmor type is Localhost"))
			return
		}
		if *name != strings.TrimSpace(*name) {
			c.invalid(at, *name, "must not be padded with whitespace")
		}
		if len(*name) > maxAppArmorName {
			c.add(field.TooLong(at, "", maxAppArmorName))
		}
	case corev1.AppArmorProfileTypeRuntimeDefault, corev1.AppArmorProfileTypeUnconfined:
		if name != nil {
			c.invalid(at, name, "can only be set when AppArmor type is Localhost")
		}
	case "":
		c.add(field.Required(kind, "type is required when appArmorProfile is set"))
	default:
		oneOf(c, kind, profile.Type, corev1.AppArmorProfileTypeLocalhost, corev1.AppArmorProfileTypeRuntimeDefault, corev1.AppArmorProfileTypeUnconfined)
	}
}

// Limits of Windows' user names, in bytes but for the last, and of GMSA
// documents, in KiB.
const (
	maxCredentialSpec = 64
	maxDomain         = 255
	maxUser           = 104
	maxNetBIOSRunes   = 15
)

// dnsDomain is a DNS name as Windows has it, in either case.
var dnsDomain = regexp.MustCompile(`^[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*$`)

// windows is validateWindowsSecurityContextOptions. The options mean nothing on
// Linux, and yet the API holds them to its rules.
func (c *checker) windows(o *corev1.WindowsSecurityContextOptions, at *field.Path) {
	if name := o.GMSACredentialSpecName; name != nil {
		c.invalid(at.Child("gmsaCredentialSpecName"), name, validation.IsDNS1123Subdomain(*name)...)
	}
	if spec, at := o.GMSACredentialSpec, at.Child("gmsaCredentialSpec"); spec != nil {
		switch {
		case *spec == "":
			c.invalid(at, spec, "gmsaCredentialSpec cannot be an empty string")
		case len(*spec) > maxCredentialSpec*1024:
			c.invalid(at, spec, fmt.Sprintf("gmsaCredentialSpec size must be under %d KiB", maxCredentialSpec))
		}
	}
	if name, at := o.RunAsUserName, at.Child("runAsUserName"); name != nil {
		domain, user, inDomain := strings.Cut(*name, `\`)
		if !inDomain {
			domain, user = "", *name
		}
		switch {
		case *name == "":
			c.invalid(at, name, "runAsUserName cannot be an empty string")
		case strings.ContainsFunc(*name, func(r rune) bool { return r < ' ' || r == '\x7f' }):
			c.invalid(at, name, "runAsUserName cannot contain control characters")
		case strings.Contains(user, `\`):
			c.invalid(at, name, "runAsUserName cannot contain more than one backslash")
		default:
			c.invalid(at, name, badWindowsUser(domain, user, inDomain)...)
		}
	}
}

// badWindowsUser says what is wrong with DOMAIN\USER.
func badWindowsUser(domain, user string, inDomain bool) (why []string) {
	if len(domain) > maxDomain {
		why = append(why, fmt.Sprintf("runAsUserName's Domain length must be under %d characters", maxDomain+1))
	}
	if inDomain && !isNetBIOS(domain) && !dnsDomain.MatchString(domain) {
		why = append(why, "runAsUserName's Domain doesn't match the NetBios nor the DNS format")
	}
	switch {
	case user == "":
		why = append(why, "runAsUserName's User cannot be empty")
	case len(user) > maxUser:
		why = append(why, fmt.Sprintf("runAsUserName's User length must not be longer than %d characters", maxUser))
	}
	if user != "" && strings.Trim(user, ". ") == "" {
		why = append(why, "runAsUserName's User cannot contain only periods or spaces")
	}
	if strings.ContainsAny(user, `"/\:;|=,+*?<>@[]`) {
		why = append(why, `runAsUserName's User cannot contain the following characters: "/\:;|=,+*?<>@[]`)
	}
	return why
}

// isNetBIOS tells whether a domain can be the name of a NetBIOS one.
func isNetBIOS(domain string) bool {
	runes := utf8.RuneCountInString(domain)
	return runes >= 1 && runes <= maxNetBIOSRunes && domain[0] != '.' && !strings.ContainsAny(domain, `\/:*?"<>|`)
}
