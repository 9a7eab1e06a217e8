// Package archtest holds the rules about the code's shape that no linter states:
// who may know whom, that every goroutine has an owner, that files stay short,
// that packages say what they are, and that those which start goroutines check
// for leaks. It has tests only.
package archtest
