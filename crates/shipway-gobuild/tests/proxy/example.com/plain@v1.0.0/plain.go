// Package plain registers nothing.
package plain

// Answer is not a plugin.
const Answer = 42
