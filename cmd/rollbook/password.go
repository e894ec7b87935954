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
	"github.com/rollbook/rollbook/server"
)

// policyFlags are the flags of the commands that set passwords.
type policyFlags struct {
	MinLength    int      `name:"password-min-length" env:"PASSWORD_MIN_LENGTH" placeholder:"N" default:"8" help:"How many characters a new password needs, at least 8. Default: ${default}."`
	Words        []string `name:"password-words" env:"PASSWORD_WORDS" placeholder:"WORD,…" help:"Words on which no new password may be based, such as the name of the site. Default: none."`
	BreachedFile string   `name:"password-breached-file" env:"PASSWORD_BREACHED_FILE" placeholder:"FILE" help:"A file of the SHA-1 hashes of breached passwords, sorted by hash, as Have I Been Pwned publishes it. No new password may be one of them. The file is searched on disk. Default: none."`
}

// Validate refuses what makes no sense.
func (p policyFlags) Validate() error {
	if p.MinLength < password.MinLength || p.MinLength > password.MaxLength {
		return fmt.Errorf("--password-min-length must be from %d to %d", password.MinLength, password.MaxLength)
	}
	return nil
}

// openPolicy returns the policy. The list of breached passwords stays open until close is called.
func (p policyFlags) openPolicy() (policy password.Policy, closeList func() error, err error) {
	policy = password.Policy{MinLength: p.MinLength, Words: p.Words}
	if p.BreachedFile == "" {
		return policy, func() error { return nil }, nil
	}
	if policy.Breached, err = password.OpenBreached(p.BreachedFile); err != nil {
		return policy, nil, err
	}
	return policy, policy.Breached.Close, nil
}

// rules returns the rules for accounts created outside the HTTP API. The list of breached passwords stays open until
// close is called.
func (p policyFlags) rules() (rules *server.Rules, closeList func() error, err error) {
	policy, closeList, err := p.openPolicy()
	if err != nil {
		return nil, nil, err
	}
	if rules, err = server.NewRules(policy); err != nil {
		return nil, nil, errors.Join(err, closeList())
	}
	return rules, closeList, nil
}

// passwordSource is where a password comes from: it is asked for, or read from standard input, never an argument, which
// others on the machine could read.
type passwordSource struct{ policyFlags }

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
