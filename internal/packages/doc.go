// Package packages fetches Debian and npm packages with the operator's own apt and npm,
// on the operator's side of the wall, and unpacks them for a bottle. Nothing of a package
// is run here: apt and npm look up and download, both check what they download (apt by the
// repository's signature, npm by the registry's hash), and this room checks it once more
// against what it was told first. dpkg-deb opens the outer archive; files are written by
// this room, inside one folder (os.Root), within bounds.
//
//	adding/p4k7m2x-k2h5qd/   one Stage
//	  lock                   held while its command lives; without, the next one sweeps it
//	  work/                  archives, and what npm writes
//	  tree/                  what the bottle shall see at plan.Added/p4k7m2x
//	    bin/                 programs: links, or small scripts that set LD_LIBRARY_PATH
//	    deb/                 usr/, lib/, … of all Debian packages
//	    npm/node_modules/
package packages
