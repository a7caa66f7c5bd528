// Package rootfs keeps what micro-VMs run from: archives of an image, as `docker save`
// writes them. An archive is made once of a recipe, and kept under its recipe's hash and
// its own.
//
// smolvm unpacks an archive as the operator, on his disk, and how carefully is not known.
// So each one is looked into first: what would land outside of its folder, what is no
// file of a system, and what unpacks to more than a machine can hold is refused.
package rootfs
