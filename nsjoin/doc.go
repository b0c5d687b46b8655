// Package nsjoin is the only room that knows Linux namespaces and the /proc
// directories of processes: it pins a process so that a number keeps meaning
// the same process, reads which namespaces that process lives in, compares two
// such sets, and names a process so that a later program can judge it.
//
// What does not belong here: who a process is to a container runtime (package
// cri knows), what a pod should look like (package runtime knows), and reading
// files of a target through /proc/PID/root. Nothing here needs cgo. Joins of
// user namespaces cannot be done from a multithreaded Go program at all and
// are left to the OCI runtime.
//
// # Why a PID is not enough
//
// A PID is a slot, not a process: once its owner is reaped the kernel gives the
// slot to the next comer. [Pin] therefore takes a pidfd and the directory
// /proc/PID, proves that both speak of the same live process, and every later
// read goes through that directory, which never starts to speak of a successor.
// Each answer ends with the question whether the process is still alive; an
// answer about an ended process is an error of class [errdefs.ErrNotFound].
// README.md tells the races one by one.
//
// # Privileges
//
// Reading another process's namespaces takes PTRACE_MODE_READ_FSCREDS. Without
// CAP_SYS_PTRACE even uid 0 is refused unless the target has no more
// capabilities than the caller and the same user and group ids, and from inside
// a container without hostPID there is nothing to see. Both come back as
// [errdefs.ErrPermissionDenied] or [errdefs.ErrNotFound] with the cure in the
// message. Kernel 5.3 is the oldest that can pin.
package nsjoin
