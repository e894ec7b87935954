package main

import (
	"context"
	"log/slog"
	"os"
	"os/user"
	"regexp"
	"slices"
	"strconv"
	"sync"

	"github.com/google/uuid"

	"github.com/rollbook/rollbook/server"
)

// commandLine is the address of audit lines about commands.
const commandLine = "command line"

// audit writes the line that the server writes for such an event, with the operator as its actor.
func (o output) audit(ctx context.Context, event server.Event, id uuid.UUID, more ...slog.Attr) {
	server.Audit(ctx, o.log, event, id, commandLine, append(operator(), more...)...)
}

// operator names the user of the operating system who runs this command.
var operator = sync.OnceValue(func() []slog.Attr { return operatorOf(os.Getuid(), os.Geteuid(), os.Getenv) })

// sudoUsers are the values of SUDO_USER that are believed.
var sudoUsers = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.@-]{0,63}\$?$`)

// operatorOf names a user by the system's list of users, else by the number, never by the environment, which anybody can
// set. Only root's is believed about who has called sudo.
func operatorOf(uid, effective int, env func(string) string) []slog.Attr {
	name := "uid " + strconv.Itoa(uid)
	if known, err := user.LookupId(strconv.Itoa(uid)); err == nil {
		name = known.Username
	} else if known, err := user.Current(); uid < 0 && err == nil { // Windows has no numbers
		name = known.Username
	}
	attrs := []slog.Attr{server.ActorAttr(name)}
	if by := env("SUDO_USER"); effective == 0 && sudoUsers.MatchString(by) {
		attrs = append(attrs, slog.String("sudo_user", by))
	}
	return attrs
}

// work is an operation on many accounts, of which the start and the end are audited.
type work struct {
	o       output
	ended   server.Event
	about   []slog.Attr
	started bool
}

// start audits that the work starts. What a command refuses before is told to the operator alone.
func (w *work) start(ctx context.Context, started server.Event) {
	if !w.started {
		w.started = true
		w.o.audit(ctx, started, uuid.Nil, w.about...)
	}
}

// end audits how the work ended, if it has started.
func (w *work) end(ctx context.Context, err error, counts ...slog.Attr) {
	if !w.started {
		return
	}
	result := "done"
	if err != nil {
		result = "failed"
	}
	attrs := slices.Concat(w.about, []slog.Attr{slog.String("result", result)}, counts)
	w.o.audit(ctx, w.ended, uuid.Nil, attrs...)
}
