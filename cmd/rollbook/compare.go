package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/rollbook/rollbook/parity"
)

type compareCmd struct {
	Old       *url.URL `required:"" placeholder:"URL" help:"The old server, as in https://example.org."`
	New       *url.URL `required:"" placeholder:"URL" help:"The new server, with REGISTER_THROTTLE=0 and LOGIN_THROTTLE=0."`
	Token     string   `name:"with-token" secret:"" env:"COMPARE_TOKEN" placeholder:"TOKEN" help:"The token to read profiles with, good at both. The environment is the better place for it."`
	TokenFile string   `name:"with-token-file" env:"COMPARE_TOKEN_FILE" placeholder:"FILE" help:"A file with the value of COMPARE_TOKEN on its one line."`
	IDs       string   `name:"ids" placeholder:"FILE" help:"A list of ids whose profiles to read, one on a line, or as in django-ids.csv; - is standard input."`
	Cases     bool     `negatable:"" default:"true" help:"Replay the recorded cases, too, which register some hundred accounts with random names, at both."`
}

// comparison is what was compared so far.
type comparison struct {
	out                                         io.Writer
	requests, explained, unexplained, throttled int
}

// Run compares two servers.
func (c compareCmd) Run(ctx context.Context, o output) error {
	const patience = 30 * time.Second
	servers := parity.Servers{
		Old: strings.TrimSuffix(c.Old.String(), "/"), New: strings.TrimSuffix(c.New.String(), "/"),
		Client: &http.Client{
			Timeout:       patience,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
	compared := &comparison{out: o.out}
	if c.Cases {
		cases, err := parity.Load()
		if err != nil {
			return err
		}
		for _, recorded := range cases {
			if err := compared.note(servers.Case(ctx, recorded)); err != nil {
				return err
			}
		}
	}
	if c.IDs != "" {
		if err := c.profiles(ctx, o, servers, compared); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(o.out, "%d cases and reads: %d differences that docs/differences.md explains, %d unexplained\n",
		compared.requests, compared.explained, compared.unexplained)
	switch {
	case err != nil:
	case compared.unexplained > 0:
		err = errors.New("the servers do not answer alike")
	case compared.throttled > 0:
		err = fmt.Errorf("%d were throttled, so that it is not known how they are answered: start the new server with REGISTER_THROTTLE=0 and LOGIN_THROTTLE=0", compared.throttled)
	}
	return err
}

// profiles reads the profiles of the list.
func (c compareCmd) profiles(ctx context.Context, o output, servers parity.Servers, compared *comparison) error {
	var list io.Reader = o.in
	if c.IDs != "-" {
		file, err := os.Open(c.IDs)
		if err != nil {
			return err
		}
		defer func() { _ = file.Close() }() // it was only read
		list = file
	}
	lines := bufio.NewScanner(list)
	for lines.Scan() {
		cells := strings.Split(strings.TrimSpace(lines.Text()), ",")
		if cells[0] == "" || cells[0] == "django_id" {
			continue
		}
		old, fresh := cells[0], cells[0]
		if len(cells) > 1 {
			fresh = cells[1]
		}
		if err := compared.note(servers.Profile(ctx, url.PathEscape(old), url.PathEscape(fresh), c.Token)); err != nil {
			return err
		}
	}
	return lines.Err()
}

// note prints a difference, if it is one, and counts.
func (c *comparison) note(d *parity.Difference, err error) error {
	if err != nil {
		return err
	}
	c.requests++
	switch {
	case d == nil:
		return nil
	case d.Row > 0:
		c.explained++
		if d.Row == parity.Throttled {
			c.throttled++
		}
		_, err = fmt.Fprintf(c.out, "row %d: %s: %s\n", d.Row, d.Where, printable(d.What[0]))
	default:
		c.unexplained++
		_, err = fmt.Fprintf(c.out, "unexplained: %s: %s\n", d.Where, printable(strings.Join(d.What, "; ")))
	}
	return err
}
