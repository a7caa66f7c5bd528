// Package dial opens every onward connection of a gateway: it resolves a decided
// name, classifies each address, and connects to a literal that it classified.
package dial
