// Package inbound looks at what comes back: for text that gives orders to an agent,
// for characters that nobody sees, and for what a terminal obeys.
//
// Three kinds of findings, each a rule with a name (see Rules):
//
//   - hidden-*: tag characters, rows of variation selectors or of characters without
//     width, which carry text past a reader's eye; bidirectional controls that show
//     source code in another order than a compiler reads it (CVE-2021-42574).
//   - terminal-*: control sequences (ECMA-48, xterm's ctlseqs) that do more than
//     colour: the clipboard, the title, links, answers typed as if by a person,
//     moves by which one line is shown over another.
//   - injection-*: phrases by which a text takes an agent over. They are a tripwire:
//     whoever says it in other words, or in parts, is not found.
//
// A text is looked at as it flows, in pieces of any size. What is kept of it is
// bounded. All work is in proportion to the text, whatever it is.
package inbound
