// Package cmd is the command line.
package cmd

import (
	"os"
	"sort"

	"example.com/app"
)

// Main runs the program: it lists what it was built with.
func Main() {
	var ids []string
	for _, m := range app.Modules() {
		ids = append(ids, m.ID)
	}
	sort.Strings(ids)
	for _, id := range ids {
		os.Stdout.WriteString(id + "\n")
	}
}
