package kubelet

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
)

// row is what was seen of a pod. What was not seen stays empty.
type row struct {
	opened    time.Duration // from the command's start to the container's first line
	alive     time.Duration // under kubelet's eyes
	unchanged string        // the pod meanwhile
	lines     int           // of kubelet's log about the container, while it lived
	complaint int           // those of them that are not tolerated
	exited    time.Duration // from the command's end until nothing of it was left
	killed    time.Duration // from the manifest's end until nothing of a second one was left
	dying     int           // lines about that which say that it was in kubelet's way
	deleted   time.Duration // from the manifest's end until nothing of the pod was left
}

// printTable writes a line for each pod.
func printTable(out io.Writer, pods []*watched) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "pod\topened with\tready ms\talive s\tpod meanwhile\tlog lines\tcomplaints\tgone after exit ms\tgone after delete ms\tin its way\tpod gone s")
	for _, p := range pods {
		r := p.row
		flags := strings.Join(p.flags, " ")
		if flags == "" {
			flags = "-"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%d\t%d\t%s\t%s\t%d\t%s\n", p.name, flags, in(r.opened, time.Millisecond), in(r.alive, time.Second),
			r.unchanged, r.lines, r.complaint, in(r.exited, time.Millisecond), in(r.killed, time.Millisecond), r.dying, in(r.deleted, time.Second))
	}
	_ = w.Flush() // whoever reads it would notice
}

// in renders a duration in whole units, and as a dash what never came.
func in(d, unit time.Duration) string {
	if d == 0 {
		return "-"
	}
	return fmt.Sprint(int64(d.Round(unit) / unit))
}
