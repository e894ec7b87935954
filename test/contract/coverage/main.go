// Command coverage tells how much of the contract the tests have exercised, from the folder with their notes. It ends
// with 1 where something is missing.
package main

import (
	"fmt"
	"os"

	"github.com/rollbook/rollbook/test/contract"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "coverage:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("usage: coverage FOLDER, the one that %s named when the tests ran", contract.CoverageVariable)
	}
	declared, missing, err := contract.Coverage(args[0])
	if err != nil {
		return err
	}
	isMissing := map[string]bool{}
	for _, line := range missing {
		isMissing[line] = true
	}
	for _, line := range declared {
		mark := "✓"
		if isMissing[line] {
			mark = "✗"
		}
		fmt.Println(mark, line)
	}
	fmt.Printf("%d of %d declared answers were exercised\n", len(declared)-len(missing), len(declared))
	if len(missing) > 0 {
		return fmt.Errorf("%d were not: %q", len(missing), missing)
	}
	return nil
}
