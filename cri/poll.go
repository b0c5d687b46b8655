package cri

import (
	"time"
)

// Without inotify, files are looked at this often, and one counts as closed when
// it has not grown for so many looks: few if another has followed it, more if
// only its container is known to have ended.
const (
	pollEvery     = 10 * time.Millisecond
	pollsFollowed = 3
	pollsEnded    = 10
)

// poll is listen for a node without a free inotify instance.
func (f *follower) poll() {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		select {
		case <-f.closed:
			return
		case <-tick.C:
		}
		f.mu.Lock()
		f.catchUp()
		for i, g := range f.chain {
			quiet := 0 // whatever comes, it is open
			if i < len(f.chain)-1 {
				quiet = pollsFollowed
			} else if f.ending {
				quiet = pollsEnded
			}
			f.look(g, quiet)
		}
		f.signal()
		f.mu.Unlock()
	}
}

// look notes what polling shows of one file, which counts as closed after so many
// quiet looks, or never for 0.
func (f *follower) look(g *generation, quiet int) {
	if g.file == nil {
		return
	}
	info, err := g.file.Stat()
	if err != nil {
		return
	}
	if info.Size() != g.size {
		g.size, g.quiet = info.Size(), 0
		g.seen++
		return
	}
	if g.quiet++; quiet > 0 && g.quiet >= quiet && g.closes == 0 {
		g.closes++
		g.seen++
	}
}
