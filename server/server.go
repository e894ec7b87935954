// Package server answers HTTP requests as openapi.yaml says.
package server

import (
	"cmp"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"

	rollbook "github.com/rollbook/rollbook"
	"github.com/rollbook/rollbook/directory"
	"github.com/rollbook/rollbook/gen"
	"github.com/rollbook/rollbook/password"
	"github.com/rollbook/rollbook/repository"
)

// Config is what a Server works with. DB, Hasher and Log are needed.
type Config struct {
	DB     *repository.DB
	Tokens repository.Lifetimes // none by default, as DRF's tokens have none
	Hasher *password.Hasher
	Policy password.Policy
	// RefuseAfter is how long after its arrival a login is refused, whatever the reason, so that the time tells nothing:
	// longer than any stored password takes to verify. 0 is at once.
	RefuseAfter     time.Duration
	Decoys          *Decoys              // what names without a password verify; by default, encodings of today's cost
	Throttle        Throttle             // none by default
	Limits          *repository.Limits   // needed if there is a Throttle
	AdmissionWait   time.Duration        // how long an attempt waits for others in progress to end, 5 seconds by default
	Trusted         []netip.Prefix       // the proxies whose X-Forwarded-For is believed
	Closed          string               // why nobody can register, and where accounts come from; empty while registration is open
	OwnProfilesOnly bool                 // another's profile is 404
	Directory       *directory.Directory // knows the passwords of those who have no local account; none by default
	// PasswordElsewhere is said to those who want to change the password that the directory knows: where to do that.
	PasswordElsewhere string
	Origins           []string // of the pages whose scripts may call, as in https://example.org, or * for all; none by default
	// Metrics is where the metrics are registered, those of the database and the hasher included; nowhere by default. It can
	// have those of one server only: New panics for a second one.
	Metrics prometheus.Registerer
	// Traces makes the spans of requests; none are made by default.
	Traces trace.TracerProvider
	Log    *slog.Logger
	Trail  *Trail // writes the audit events that clients can repeat; by default to Log, where nobody flushes it
}

// Server holds the handlers of the contract's operations.
type Server struct {
	db     *repository.DB
	users  *repository.Users
	tokens *repository.Tokens
	codes  *repository.Codes
	hasher *password.Hasher
	decoys *password.Mix
	policy password.Policy
	rules  *Rules
	log    *slog.Logger
	trail  *Trail

	metrics      *metrics
	operationIDs map[string]map[string]string // by path and method

	refuseAfter       time.Duration
	throttle          Throttle
	limits            *repository.Limits
	admissionWait     time.Duration
	trusted           []netip.Prefix
	closed            string
	ownProfilesOnly   bool
	directory         *directory.Directory
	directoryLog      *connLog
	passwordElsewhere string
	allow             map[string]string // the methods of each path, as Echo spells it
}

var _ gen.StrictServerInterface = (*Server)(nil)

// patchAsIs is what fetch('…', {method: 'patch'}) sends. All other methods are compared by case (RFC 9110, section 9.1).
const patchAsIs = "patch"

// New returns the handler of everything that is served: the operations of the contract, the contract itself and its
// documentation.
func New(c Config) (http.Handler, error) {
	api, err := loadContract(rollbook.OpenAPI)
	if err != nil {
		return nil, fmt.Errorf("read the contract: %w", err)
	}
	s := &Server{
		db: c.DB, users: c.DB.Users(), tokens: c.DB.Tokens(c.Tokens), codes: c.DB.Codes(), hasher: c.Hasher, policy: c.Policy, log: c.Log,
		refuseAfter: c.RefuseAfter, throttle: c.Throttle, limits: c.Limits, admissionWait: cmp.Or(c.AdmissionWait, defaultAdmissionWait), trusted: c.Trusted,
		closed: c.Closed, ownProfilesOnly: c.OwnProfilesOnly, directory: c.Directory, directoryLog: &connLog{log: c.Log, more: "more errors of the directory"}, passwordElsewhere: c.PasswordElsewhere,
		rules: rulesOf(api, c.Policy), trail: c.Trail, decoys: c.Decoys.mixed(),
		metrics: newMetrics(c.Metrics, c), operationIDs: operationIDs(api), allow: map[string]string{},
	}
	if s.trail == nil {
		s.trail = NewTrail(c.Log)
	}
	e := echo.New()
	e.HTTPErrorHandler = s.writeError
	e.Use(s.watch, recoverPanics, secureHeaders)
	if len(c.Origins) > 0 {
		e.Use(s.crossOrigin(c.Origins))
	}
	s.route(e, api)
	if err := routeDocs(e, api); err != nil {
		return nil, fmt.Errorf("prepare the documentation: %w", err)
	}
	return s.traced(c.Traces, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.URL.RawPath = ""         // a path is the same however it is escaped
		if r.Method == patchAsIs { // browsers put the other methods of the contract in upper case themselves
			r.Method = http.MethodPatch
		}
		e.ServeHTTP(w, r)
	})), nil
}
