// Package corpus holds the scanner to what people really send: texts of all kinds that
// hold no secret must pass. TestCorpus reads Go's source; `make dlp-corpus` all that
// is on the machine, and prints each finding, to be judged by a person.
package corpus
