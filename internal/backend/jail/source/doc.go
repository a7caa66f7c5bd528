// Package source opens what a bottle shows of the host: by the inode that was
// checked, through no link, as mounts that hang nowhere yet.
package source
