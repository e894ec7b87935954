// Command rollbook runs the Rollbook server and looks after its database.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"github.com/rollbook/rollbook/repository"
)

func main() {
	if info, ok := debug.ReadBuildInfo(); ok && version == unknownVersion {
		version, commit = noted(info)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "rollbook:", oneLine(err))
		os.Exit(1)
	}
}

// oneLine is an error's text on one line, and what it says twice once: that of an unreachable PostgreSQL has a line for
// each way that was tried.
func oneLine(err error) string {
	var said []string
	for line := range strings.Lines(err.Error()) {
		if line = strings.TrimSpace(line); !slices.Contains(said, line) {
			said = append(said, line)
		}
	}
	return strings.Join(said, " ")
}

// database is the flag of the commands that use the database.
type database struct {
	DatabaseURL     string `name:"database-url" secret:"" env:"DATABASE_URL" placeholder:"URL" default:"sqlite:rollbook.db" help:"Where the accounts are kept: postgres://USER:PASSWORD@HOST/NAME or sqlite:PATH. Default: ${default}. As it may hold a password, the environment is the better place for it."`
	DatabaseURLFile string `name:"database-url-file" env:"DATABASE_URL_FILE" placeholder:"FILE" help:"A file with the value of DATABASE_URL on its one line. Default: none."`
	Pool            pool   `embed:""`
}

// databases are the addresses of the databases that a command opens.
func (d database) databases() []string { return []string{d.DatabaseURL} }

// pool are the settings of a database that operators make.
type pool struct {
	Connections int           `name:"db-connections" env:"DB_CONNECTIONS" placeholder:"N" default:"16" help:"How many connections to PostgreSQL there are at most. Default: ${default}."`
	Lifetime    time.Duration `name:"db-connection-lifetime" env:"DB_CONNECTION_LIFETIME" placeholder:"DURATION" default:"30m" help:"How old a connection to PostgreSQL gets. Default: ${default}."`
	Timeout     time.Duration `name:"db-timeout" env:"DB_TIMEOUT" placeholder:"DURATION" default:"5s" help:"How long a statement or transaction may take, waiting for a connection included, before it is cancelled and a request answered 503. Default: ${default}."`
}

func (p pool) settings() repository.Settings {
	return repository.Settings{Connections: p.Connections, Lifetime: p.Lifetime, Timeout: p.Timeout}
}

// Validate refuses what makes no sense.
func (p pool) Validate() error {
	if p.Connections < 1 || p.Lifetime <= 0 || p.Timeout <= 0 {
		return errors.New("--db-connections, --db-connection-lifetime and --db-timeout must be more than 0")
	}
	return nil
}

// cli is the command line; each field's tags name its flag, its environment variable and its default.
type cli struct {
	LogFormat string `env:"LOG_FORMAT" enum:"text,json" placeholder:"text|json" default:"text" help:"How the log is written. Default: ${default}."`

	Serve     serve        `cmd:"" help:"Migrate the database and serve the API."`
	Migrate   migrate      `cmd:"" help:"Bring the database to the version that this release needs, and end."`
	User      userCmd      `cmd:"" help:"Look after accounts, also while the server runs."`
	Token     tokenCmd     `cmd:"" help:"Look after the tokens of accounts, also while the server runs."`
	Throttle  throttleCmd  `cmd:"" help:"Look at the rate limits on guessing, and clear them, also while the server runs."`
	Roster    rosterCmd    `cmd:"" help:"Accounts from a list, and a list of the accounts."`
	Directory directoryCmd `cmd:"" help:"Look after the accounts of those whom a directory knows (LDAP), also while the server runs."`
	Import    importCmd    `cmd:"" help:"Move in from another server."`
	Copy      copyCmd      `cmd:"" help:"Copy everything to another database, as from SQLite to PostgreSQL, or for a backup while the server runs."`
	Compare   compareCmd   `cmd:"" help:"Ask an old and a new server the same, and tell where they do not answer alike."`
	Version   versionCmd   `cmd:"" help:"Print the version."`
}

type serve struct {
	database
	Addr           string         `env:"ADDR" placeholder:"HOST:PORT" default:"127.0.0.1:8000" help:"The address to listen on. Other machines can reach any address but those of loopback: it then needs TLS_CERT_FILE, TRUSTED_PROXIES or ALLOW_PLAIN_HTTP. Default: ${default}."`
	Transport      transport      `embed:""`
	MetricsAddr    string         `env:"METRICS_ADDR" placeholder:"HOST:PORT" help:"The address on which Prometheus finds the metrics, at /metrics; not for the public. Default: none."`
	ShutdownDelay  time.Duration  `env:"SHUTDOWN_DELAY" placeholder:"DURATION" default:"0" help:"How long the server, when it is told to end, goes on answering with /readyz at 503, so that load balancers turn to others before it takes no more. Default: ${default}."`
	TrustedProxies []netip.Prefix `env:"TRUSTED_PROXIES" placeholder:"CIDR,…" help:"The networks of the proxies in front, whose X-Forwarded-For, X-Request-Id and traceparent are believed. Default: none."`
	Access         access         `embed:""`
	Passwords      passwords      `embed:""`
	Lifetimes      lifetimes      `embed:""`
	Throttle       throttle       `embed:""`
	LDAP           ldap           `embed:""`
	Directory      directoryFlags `embed:""`
}

type directoryFlags struct {
	SyncInterval      time.Duration `name:"ldap-sync-interval" env:"LDAP_SYNC_INTERVAL" placeholder:"DURATION" default:"1h" help:"How often to deactivate accounts of people who left the directory, and to end sessions that began before a password change there; 0 is never. Default: ${default}."`
	PasswordElsewhere string        `name:"ldap-password-elsewhere" env:"LDAP_PASSWORD_ELSEWHERE" placeholder:"TEXT" default:"Your password is the one that your school or company knows you by. Please change it there." help:"What is said to those who want to change the password that the directory knows: where to do that. Default: ${default}"`
}

type access struct {
	Registration string   `env:"REGISTRATION" enum:"open,closed" placeholder:"open|closed" default:"open" help:"Whether anyone may register. Default: ${default}."`
	Closed       string   `name:"registration-closed" env:"REGISTRATION_CLOSED" placeholder:"TEXT" default:"Registration is closed. Please ask whoever runs this service for an account." help:"What is said where it is closed: where accounts come from. Default: ${default}"`
	Profiles     string   `env:"PROFILES" enum:"signed-in,own" placeholder:"signed-in|own" default:"signed-in" help:"Whether any signed-in user may read any profile, or only their own. Default: ${default}."`
	Origins      []string `name:"cors-origins" env:"CORS_ORIGINS" placeholder:"ORIGIN,…" help:"The sites whose scripts may call the API, as in https://example.org, or * for all. Default: none."`
}

type passwords struct {
	HashWait    time.Duration `env:"HASH_WAIT" placeholder:"DURATION" default:"5s" help:"How long a login or registration waits, behind others in progress at a rate limit or for a free hashing slot, before it is answered 503. Default: ${default}."`
	RefuseAfter time.Duration `name:"login-refuse-after" env:"LOGIN_REFUSE_AFTER" placeholder:"DURATION" default:"300ms" help:"How long after its arrival a login is refused, so that the time does not tell why. Longer than the slowest stored password takes to verify. Default: ${default}."`
	policyFlags
}

type lifetimes struct {
	Idle     time.Duration `name:"token-idle-ttl" env:"TOKEN_IDLE_TTL" placeholder:"DURATION" default:"0" help:"How long a token lives without being used; 0 is for ever. Default: ${default}."`
	Absolute time.Duration `name:"token-ttl" env:"TOKEN_TTL" placeholder:"DURATION" default:"0" help:"How long a token lives at most; 0 is for ever. Default: ${default}."`
}

type throttle struct {
	Failures          int            `name:"login-throttle" env:"LOGIN_THROTTLE" placeholder:"N" default:"5" help:"How many logins in a row may fail for an account from a network (an IPv4 address, an IPv6 /56) before each further one has to wait; 0 turns all limits of logins off. Default: ${default}."`
	Backoff           time.Duration  `name:"login-backoff" env:"LOGIN_BACKOFF" placeholder:"DURATION" default:"10s" help:"How long the first has to wait; each further one waits twice as long. Default: ${default}."`
	BackoffMax        time.Duration  `name:"login-backoff-max" env:"LOGIN_BACKOFF_MAX" placeholder:"DURATION" default:"15m" help:"How long one has to wait at most. Default: ${default}."`
	PerAccount        int            `name:"login-per-account" env:"LOGIN_PER_ACCOUNT" placeholder:"N" default:"100" help:"How many logins of an account may fail in an hour, over all networks from which it has not signed in during the last 30 days; 0 is without limit. Default: ${default}."`
	Successes         int            `name:"login-successes" env:"LOGIN_SUCCESSES" placeholder:"N" default:"100" help:"How many logins and password changes of an account may succeed in an hour; 0 is without limit. Default: ${default}."`
	PerAddress        int            `name:"login-per-address" env:"LOGIN_PER_ADDRESS" placeholder:"N" default:"300" help:"How many logins from an address may fail in ten minutes, and how many one-time codes; 0 is without limit. An IPv6 /48 has four times as many. Default: ${default}."`
	Registrations     int            `name:"register-throttle" env:"REGISTER_THROTTLE" placeholder:"N" default:"100" help:"How many registrations an address may have in an hour; 0 is without limit. An IPv6 /48 has four times as many. Default: ${default}."`
	DirectoryFailures int            `name:"ldap-failures" env:"LDAP_FAILURES" placeholder:"N" default:"8" help:"How many logins in a row may fail for an entry of the directory, each within ten minutes of the one before; set it below the number at which the directory locks an account. 0 is without limit. Default: ${default}."`
	Exempt            []netip.Prefix `name:"throttle-exempt" env:"THROTTLE_EXEMPT" placeholder:"CIDR,…" help:"The networks that the limits per address do not apply to, such as that of a school; the limits per account do. Default: none."`
}

// Validate refuses what makes no sense.
func (s serve) Validate() error {
	switch {
	case s.ShutdownDelay < 0:
		return errors.New("--shutdown-delay must not be less than 0")
	case s.Passwords.HashWait <= 0:
		return errors.New("--hash-wait must be more than 0")
	case s.Passwords.RefuseAfter < 0 || s.Passwords.RefuseAfter > maxRefuseAfter:
		return fmt.Errorf("--login-refuse-after must be from 0 to %s", maxRefuseAfter)
	case min(s.Throttle.Failures, s.Throttle.PerAccount, s.Throttle.Successes, s.Throttle.PerAddress, s.Throttle.Registrations,
		s.Throttle.DirectoryFailures) < 0:
		return errors.New("--login-throttle, --login-per-account, --login-successes, --login-per-address, --register-throttle and --ldap-failures must not be less than 0")
	case s.Directory.SyncInterval < 0:
		return errors.New("--ldap-sync-interval must not be less than 0")
	case s.Directory.PasswordElsewhere == "":
		return errors.New("--ldap-password-elsewhere must say where passwords are changed")
	case s.Access.Closed == "":
		return errors.New("--registration-closed must say where accounts come from")
	case s.Throttle.Backoff <= 0 || s.Throttle.BackoffMax < s.Throttle.Backoff:
		return errors.New("--login-backoff must be more than 0, and --login-backoff-max not less than that")
	}
	return errors.Join(s.Transport.Validate(), checkNetworks("--trusted-proxies", s.TrustedProxies),
		checkNetworks("--throttle-exempt", s.Throttle.Exempt), checkOrigins(s.Access.Origins), s.Lifetimes.Validate(), s.LDAP.Validate(), s.Passwords.Validate())
}

// Validate refuses what makes no sense.
func (l lifetimes) Validate() error {
	if l.Idle < 0 || l.Absolute < 0 {
		return errors.New("--token-idle-ttl and --token-ttl must not be less than 0")
	}
	return nil
}

// maxRefuseAfter leaves enough of the time that the server has to write an answer.
const maxRefuseAfter = 10 * time.Second

type migrate struct{ database }

// output is where the commands write: results, what is said to who watches, and the log; and where they read passwords.
type output struct {
	out, err io.Writer
	screen   *screen // the end of the log, and of a progress bar
	log      *slog.Logger
	in       *os.File
}

// command is what a command line asks for.
type command interface {
	Run(ctx context.Context, o output) error
}

// run reads the command line and the environment and does what they say.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	asked, logFormat, secrets, err := read(args, stdout, stderr)
	if asked == nil || err != nil {
		return err
	}
	end := &screen{to: stderr}
	log, flush := newLog(end, logFormat)
	warnExposed(log, "file of a secret", othersOnly, secrets...)
	if uses, ok := asked.(interface{ databases() []string }); ok {
		for _, address := range uses.databases() {
			warnExposed(log, "database", groupAndOthers, repository.Files(address)...)
		}
	}
	err = asked.Run(ctx, output{out: stdout, err: stderr, screen: end, log: log, in: os.Stdin})
	return errors.Join(err, flush())
}

// read reads the command line and the environment. There is no command where it has printed the help that was asked for. Nothing of what
// it knows of all the commands is kept: a server would look through it with each collection of garbage. It returns the files of
// secrets that it read.
func read(args []string, stdout, stderr io.Writer) (asked command, logFormat string, secrets []string, err error) {
	exited := false
	var files secretFiles
	var c cli
	parser, err := kong.New(&c,
		kong.Name("rollbook"),
		kong.Description("A server for accounts and the tokens their clients carry."),
		kong.Writers(stdout, stderr),
		kong.Exit(func(int) { exited = true }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.Resolvers(&files),
	)
	if err != nil {
		return nil, "", nil, err
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	parsed, err := parser.Parse(args)
	if exited { // the help has been printed; what else the command line lacks does not count
		return nil, "", nil, nil
	}
	if err == nil {
		err = checkTwice(parsed)
	}
	if err != nil {
		return nil, "", nil, fmt.Errorf("%w (see rollbook --help)", err)
	}
	return parsed.Selected().Target.Interface().(command), c.LogFormat, files.read, nil
}
