// Package audit is the decision log of one bottle: one JSON object a line, each
// line chained to the one before it by SHA-256. It appends, reads, verifies and
// renders.
//
// What the chain proves: a line that was changed, removed, inserted, moved or cut
// in the middle of the log is found, and where.
//
// What it cannot prove by itself: that lines are missing at the end, or that the
// whole file was not written anew. There is no key in it, so who may write the
// file may also write another consistent one. Only a head (number and hash of
// the last record) that was kept elsewhere can tell: take it from Log.Head or
// Report.Head, and hold the log against it later with VerifyAgainst.
//
// A record is handed to the kernel before Append returns, but it is not flushed
// to the disk: a killed process loses nothing, a power cut may lose the last
// records.
package audit
