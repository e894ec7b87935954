package main

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

var writeSettings = flag.Bool("write-settings", false, "write the settings into docs/operating.md")

// settings are the rows of the table of docs/operating.md: what the flags of serve are, as kong knows them.
func settings(t *testing.T) string {
	t.Helper()
	parser, err := kong.New(&cli{})
	if err != nil {
		t.Fatal(err)
	}
	var rows strings.Builder
	for _, command := range parser.Model.Children {
		if command.Name != "serve" {
			continue
		}
		for _, group := range command.AllFlags(true) {
			for _, f := range group {
				if len(f.Envs) == 0 {
					continue
				}
				help, _, _ := strings.Cut(f.Help, " Default: ")
				fmt.Fprintf(&rows, "| `%s` | `--%s` | %s | %s |\n", f.Envs[0], f.Name, quoted(f.Default), strings.ReplaceAll(help, "|", `\|`))
			}
		}
	}
	return rows.String()
}

func quoted(text string) string {
	if text == "" {
		return ""
	}
	return "`" + text + "`"
}

// The table of settings says what the program does. `go test ./cmd/rollbook -run SettingsAreDocumented -write-settings` writes it.
func TestSettingsAreDocumented(t *testing.T) {
	t.Parallel()
	const page, head = "../../docs/operating.md", "| Variable | Flag | Default | |\n|---|---|---|---|\n"
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(text), head)
	rows, after, ended := strings.Cut(rest, "\n\n")
	if !found || !ended {
		t.Fatal("there is no table of settings")
	}
	want := strings.TrimSuffix(settings(t), "\n")
	if strings.Count(want, "\n") < 20 {
		t.Fatalf("only these settings are known:\n%s", want)
	}
	if *writeSettings {
		if err := os.WriteFile(page, []byte(before+head+want+"\n\n"+after), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if rows != want {
		t.Errorf("the table is\n%s\nwant\n%s", rows, want)
	}
}
