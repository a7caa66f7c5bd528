// Package object walks the objects that a push would bring upstream: those that the
// pushed refs reach and no ref of upstream does. It reads commits, trees and tags from
// their raw form, and shows each object once to a [Visitor], where it first appears.
//
// It starts nothing itself. Git runs behind a [Runner], and memory holds one id for each
// new object, whatever the objects weigh.
package object
