package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"unicode"
)

// printRows writes rows as a table for people, or as a JSON array for programs.
func printRows[T any](out io.Writer, f formatted, header []string, rows []T, cells func(T) []string) error {
	if f.JSON {
		encoder := json.NewEncoder(out)
		encoder.SetIndent("", "  ")
		return encoder.Encode(rows)
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	if _, err := fmt.Fprintln(table, strings.Join(header, "\t")); err != nil {
		return err
	}
	for _, row := range rows {
		line := cells(row)
		for i := range line {
			line[i] = printable(line[i])
		}
		if _, err := fmt.Fprintln(table, strings.Join(line, "\t")); err != nil {
			return err
		}
	}
	return table.Flush()
}

// printable keeps what others have typed from steering the terminal.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, text)
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
