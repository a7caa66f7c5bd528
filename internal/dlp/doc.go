// Package dlp finds secrets in what leaves a bottle: values that the gateway knows, and
// whatever the rules say looks like one; as it is, or encoded in ways that nest.
//
// One pass over a text finds every keyword of every rule and every piece of every
// known secret (find); regular expressions look only at small windows round a keyword
// (rule). What may be encoded is decoded (decode) and looked at again, as a view of the
// text, to a bounded depth and size; what exceeds a bound is a finding itself, for
// nobody can say what is in it. A body is looked at as it flows, in windows that
// overlap, and what was found clean once is not looked at again (once).
//
// Nothing here does I/O or knows a route: what is done about a finding is decided
// elsewhere.
package dlp
