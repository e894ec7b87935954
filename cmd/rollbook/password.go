package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"golang.org/x/term"

	"github.com/rollbook/rollbook/password"
)

// policyFlag is the flag of the commands that set passwords.
type policyFlag struct {
	MinLength int `name:"password-min-length" env:"PASSWORD_MIN_LENGTH" placeholder:"N" default:"8" help:"How many characters a new password needs, at least 8. Default: ${default}."`
}

// Validate refuses what makes no sense.
func (p policyFlag) Validate() error {
	if p.MinLength < password.MinLength || p.MinLength > maxPassword {
		return fmt.Errorf("--password-min-length must be from %d to %d", password.MinLength, maxPassword)
	}
	return nil
}

// passwordSource is where a password comes from: it is asked for, or read from standard input, never an argument, which
// others on the machine could read.
type passwordSource struct{ policyFlag }

// read asks for a password twice on a terminal, and elsewhere takes a line of standard input.
func (passwordSource) read(o output) (string, error) {
	fd := int(o.in.Fd())
	if !term.IsTerminal(fd) {
		line, err := bufio.NewReader(io.LimitReader(o.in, 64<<10)).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return "", fmt.Errorf("read the password: %w", err)
		}
		if !utf8.ValidString(line) {
			return "", errors.New("the password is not UTF-8, so nobody could log in with it")
		}
		return strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r"), nil
	}
	var typed [2]string
	for i, prompt := range []string{"Password: ", "Again: "} {
		_, _ = fmt.Fprint(o.err, prompt) // a prompt that cannot be shown does not keep from typing
		text, err := term.ReadPassword(fd)
		_, _ = fmt.Fprintln(o.err)
		if err != nil {
			return "", fmt.Errorf("read the password: %w", err)
		}
		typed[i] = string(text)
	}
	if typed[0] != typed[1] {
		return "", errors.New("the two passwords are not the same")
	}
	return typed[0], nil
}
