// Package manifest reads what people write: the Markdown files that say what a
// bottle may do and what an agent is for. It turns an fs.FS into the typed words
// of package bottle, decides who may define what (boundaries come only from the
// home folder), applies extends, and reports every problem of every file
// involved at once, each with file, line, column and what to do about it.
package manifest
