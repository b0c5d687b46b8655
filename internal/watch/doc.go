// Package watch follows what happens to the files of one directory, through
// inotify: created, written, closed after writing, renamed, removed. It exists
// for the reader of a CRI log, who must follow kubelet's rotation (0.log is
// renamed to 0.log.20260102-150405 and a new 0.log appears) and wants to know
// when the runtime has flushed and closed a log for good.
//
// What does not belong here: reading the files, knowing what a log looks like,
// and watching trees. The events say that something happened and in which
// order; what is on disk is for the consumer to look at.
//
// # What is promised
//
// Every change other than a write is delivered, in order. Writes are coalesced:
// while the consumer is slow, a run of writes to one file is a single Modify, so
// that a busy writer costs no memory. What cannot be kept (the kernel's queue,
// fs.inotify.max_queued_events, or this package's own is full) becomes one
// [Overflow]: everything known about the directory is stale, look again.
//
// A write that happened before [Dir] returned is not reported; look at the
// files after Dir, not before. The kernel itself joins two equal changes in a
// row, so a CloseWrite means "closed at least once since".
package watch
