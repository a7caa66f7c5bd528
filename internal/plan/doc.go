// Package plan turns a resolved specification and the facts of a backend into
// one value that says everything a start would create. It is pure: printing a
// plan creates nothing. It also holds the data that the processes of a bottle
// hand to each other (Gateway, Hello, Ready), because those are parts of a plan.
package plan
