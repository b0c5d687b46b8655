package main

import (
	"bytes"
	"encoding/json"
	_ "unsafe" // for the two functions of kubectl's that are not exported

	corev1 "k8s.io/api/core/v1"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/cli-runtime/pkg/printers"
	"k8s.io/kubectl/pkg/cmd/debug"
	"sigs.k8s.io/yaml"
)

//go:linkname applyCustom k8s.io/kubectl/pkg/cmd/debug.(*DebugOptions).applyCustomProfileEphemeral
func applyCustom(o *debug.DebugOptions, pod *corev1.Pod, container string) error

//go:linkname displayWarning k8s.io/kubectl/pkg/cmd/debug.(*DebugOptions).displayWarning
func displayWarning(o *debug.DebugOptions, container *corev1.Container, pod *corev1.Pod)

// askKubectl does in kubectl debug's order what it does between its flags and
// its request: read the custom profile, check, apply, warn.
func (a *answer) askKubectl(q *question) {
	var said bytes.Buffer
	o := debug.NewDebugOptions(genericiooptions.IOStreams{Out: &bytes.Buffer{}, ErrOut: &said})
	o.Profile, o.Image, o.TargetNames = q.Profile, "image", []string{q.Pod.Name}
	o.WarningPrinter = printers.NewWarningPrinter(&said, printers.WarningPrinterOptions{})
	applier, err := debug.NewProfileApplier(q.Profile, debug.KeepFlags{})
	if err == nil && q.Custom != "" {
		if err = json.Unmarshal([]byte(q.Custom), &o.CustomProfile); err != nil {
			err = yaml.Unmarshal([]byte(q.Custom), &o.CustomProfile)
		}
	}
	if err == nil {
		err = o.Validate()
	}
	pod := q.Pod.DeepCopy()
	pod.Spec.EphemeralContainers = append(pod.Spec.EphemeralContainers, *q.Spec.DeepCopy())
	if err == nil {
		err = applier.Apply(pod, q.Spec.Name, pod)
	}
	if err == nil && o.CustomProfile != nil {
		err = applyCustom(o, pod, q.Spec.Name)
	}
	if err != nil {
		a.Refused = err.Error()
		return
	}
	if pod.Spec.SecurityContext == nil { // kubectl gets pods from the server, which sets it
		pod.Spec.SecurityContext = &corev1.PodSecurityContext{}
	}
	a.Kubectl = &pod.Spec.EphemeralContainers[len(q.Pod.Spec.EphemeralContainers)]
	displayWarning(o, (*corev1.Container)(&a.Kubectl.EphemeralContainerCommon), pod)
	a.Warning = said.String()
}
