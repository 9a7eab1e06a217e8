package cli

import "fmt"

// versionCmd is `lzstock version`.
type versionCmd struct{}

// Run prints what this binary was built from.
func (versionCmd) Run(p *process) error {
	_, err := fmt.Fprintln(p.stdout, p.build)
	return err
}
