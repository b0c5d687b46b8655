package runtime

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// The annotations that kubelet puts on every container and reads back at each
// relist (kuberuntime/labels.go). Leaving them out is tolerated, a value that
// cannot be parsed is logged as an error each time.
const (
	annotationHash        = "io.kubernetes.container.hash"
	annotationRestarts    = "io.kubernetes.container.restartCount"
	annotationTermPath    = "io.kubernetes.container.terminationMessagePath"
	annotationTermPolicy  = "io.kubernetes.container.terminationMessagePolicy"
	annotationGracePeriod = "io.kubernetes.pod.terminationGracePeriod"
	annotationDeletion    = "io.kubernetes.pod.deletionGracePeriod"
)

func planAnnotations(f *Facts, spec *corev1.EphemeralContainer) map[string]string {
	a := map[string]string{
		annotationHash:       containerHash(spec.Name, spec.Image),
		annotationRestarts:   "0",
		annotationTermPath:   spec.TerminationMessagePath,
		annotationTermPolicy: string(spec.TerminationMessagePolicy),
	}
	if f.Spec != nil {
		if n := f.Spec.DeletionGracePeriodSeconds; n != nil {
			a[annotationDeletion] = strconv.FormatInt(*n, 10)
		}
		if n := f.Spec.Spec.TerminationGracePeriodSeconds; n != nil {
			a[annotationGracePeriod] = strconv.FormatInt(*n, 10)
		}
		return a
	}
	// The pod's grace period is on each of its containers.
	for _, c := range f.Containers {
		if IsOurs(c.Labels) {
			continue
		}
		if text, ok := c.Annotations[annotationGracePeriod]; ok {
			if _, err := strconv.ParseInt(text, 10, 64); err == nil {
				a[annotationGracePeriod] = text
				break
			}
		}
	}
	return a
}

// containerHash is kubelet's HashContainer: FNV-32a over the way kubelet dumps
// the bytes of {"image":…,"name":…}, in hex without padding.
func containerHash(name, image string) string {
	doc, err := json.Marshal(map[string]string{"name": name, "image": image})
	if err != nil {
		panic("two strings are always valid JSON: " + err.Error())
	}
	var dump strings.Builder
	dump.WriteString("([]uint8)[")
	for i, b := range doc {
		if i > 0 {
			dump.WriteByte(' ')
		}
		dump.WriteString(strconv.Itoa(int(b)))
	}
	dump.WriteByte(']')
	h := fnv.New32a()
	h.Write([]byte(dump.String()))
	return fmt.Sprintf("%x", h.Sum32())
}
