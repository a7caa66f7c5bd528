// Package provider knows what each agent CLI needs inside a bottle: its command
// line, its environment, the files that spare it its first-run questions, and
// the host folders that hold the program itself.
//
// It is pure. It reads the host's file system through an fs.FS, follows symlinks
// by hand, executes nothing, and answers with a value. It never sees a secret:
// where a CLI wants a credential, it hands out a placeholder of the same shape.
package provider
