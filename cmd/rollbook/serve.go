package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/rollbook/rollbook/password"
	"github.com/rollbook/rollbook/repository"
	"github.com/rollbook/rollbook/server"
)

// Run serves until the context ends.
func (s serve) Run(ctx context.Context, o output) (err error) {
	if err := s.checkAddress(); err != nil {
		return err
	}
	var https *certificate
	if s.Transport.CertFile != "" {
		if https, err = openCertificate(s.Transport.CertFile, s.Transport.KeyFile, o.log); err != nil {
			return err
		}
	}
	directory, err := s.LDAP.directory()
	if err != nil {
		return err
	}
	policy, closePolicy, err := s.Passwords.openPolicy()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closePolicy()) }()
	db, applied, err := s.open(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	at, known, err := db.Versions(ctx)
	if err != nil {
		return err
	}
	hasher := password.New(password.Options{Wait: s.Passwords.HashWait})
	useHugePages(hasher)
	collectLessOften()
	if at > known { // which is how going back and a rolling upgrade look
		o.log.Warn("the database is newer than this release", "version", at, "known", known)
	}
	limits, err := db.Limits(ctx)
	if err != nil {
		return err
	}
	decoys, err := server.NewDecoys(ctx, db)
	if err != nil {
		return err
	}
	traces, flush, err := startTracing(ctx, o.log)
	if err != nil {
		return err
	}
	defer flush()
	trail := server.NewTrail(o.log)
	defer trail.Flush() //nolint:contextcheck // the requests that it is about have ended
	metrics := newMetrics()
	handler, err := server.New(server.Config{
		DB:                db,
		Tokens:            repository.Lifetimes(s.Lifetimes),
		Hasher:            hasher,
		Policy:            policy,
		RefuseAfter:       s.Passwords.RefuseAfter,
		Decoys:            decoys,
		Throttle:          s.Throttle.limits(),
		Limits:            limits,
		AdmissionWait:     s.Passwords.HashWait,
		Trusted:           s.TrustedProxies,
		Closed:            s.Access.closed(),
		OwnProfilesOnly:   s.Access.Profiles == "own",
		Directory:         directory,
		PasswordElsewhere: s.Directory.PasswordElsewhere,
		Origins:           s.Access.Origins,
		Metrics:           metrics,
		Traces:            traces,
		Log:               o.log,
		Trail:             trail,
	})
	if err != nil {
		return err
	}
	if directory != nil && s.Access.Registration == "open" {
		o.log.Warn("whoever registers a name first keeps those in the directory from signing in who have it: close the registration with REGISTRATION=closed")
	}
	defer keepCounting(ctx, decoys, o)()
	defer s.lookForLeavers(ctx, db, directory, o)()
	return s.serve(ctx, handler, https, metrics, o, fmt.Sprintf("  database  %s (%d migrations applied)\n", db.Name(), len(applied)))
}

// serve listens, says where, and answers until the context ends.
func (s serve) serve(
	ctx context.Context, handler http.Handler, https *certificate, metrics prometheus.Gatherer, o output, about string,
) error {
	listener, err := listen(ctx, s.Addr, s.plainHTTPAllowed())
	if err != nil {
		return err
	}
	base := "http://" + reachable(listener.Addr())
	if https != nil {
		base = "https://" + reachable(listener.Addr())
	}
	said := fmt.Sprintf("Rollbook %s\n  API       %s/api/v1/\n  docs      %s/docs/\n", version, base, base)
	timeouts := server.DefaultTimeouts
	timeouts.Delay = s.ShutdownDelay
	if s.Transport.AllowPlainHTTP && https == nil && !isLoopback(listener.Addr().String()) {
		o.log.Warn("plain HTTP is served to other machines: passwords and tokens can be read on the network", "address", listener.Addr().String())
	}
	var metricsListener net.Listener
	if s.MetricsAddr != "" {
		if metricsListener, err = listen(ctx, s.MetricsAddr, true); err != nil {
			return err
		}
		if !isLoopback(metricsListener.Addr().String()) {
			o.log.Warn("other machines can read the metrics, over plain HTTP", "address", metricsListener.Addr().String())
		}
		said += fmt.Sprintf("  metrics   http://%s/metrics\n", reachable(metricsListener.Addr()))
	}
	if _, err := io.WriteString(o.out, said+about); err != nil {
		return err
	}
	serving, ctx := errgroup.WithContext(ctx)
	answering, ended := context.WithCancel(context.WithoutCancel(ctx)) // the metrics can be read to the end
	serving.Go(func() error {
		defer ended()
		if https == nil {
			return server.Serve(ctx, listener, handler, timeouts, o.log)
		}
		go https.watch(ctx)
		return server.ServeTLS(ctx, listener, https.get, handler, timeouts, o.log)
	})
	if metricsListener != nil {
		serving.Go(func() error { return serveMetrics(answering, metricsListener, metrics, o.log) })
	}
	return serving.Wait()
}

// keepCounting keeps the decoys as the database's passwords are, until the function is called that it returns.
func keepCounting(ctx context.Context, decoys *server.Decoys, o output) (end func()) {
	ctx, cancel := context.WithCancel(ctx)
	var counting sync.WaitGroup
	counting.Go(func() { decoys.Run(ctx, o.log) })
	return func() { cancel(); counting.Wait() }
}

// closed is what is said to who wants to register, and empty where they may.
func (a access) closed() string {
	if a.Registration == "closed" {
		return a.Closed
	}
	return ""
}

// limits are all those of logins, or none.
func (t throttle) limits() server.Throttle {
	limits := server.Throttle(t)
	if t.Failures == 0 {
		limits.PerAccount, limits.Successes, limits.PerAddress, limits.DirectoryFailures = 0, 0, 0, 0
	}
	return limits
}

// Run migrates and tells what it did.
func (m migrate) Run(ctx context.Context, o output) (err error) {
	db, applied, err := m.open(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	for _, name := range applied {
		if _, err := fmt.Fprintln(o.out, "applied", name); err != nil {
			return err
		}
	}
	at, known, err := db.Versions(ctx)
	if err != nil {
		return err
	}
	state := "the database is up to date"
	if at > known {
		state = fmt.Sprintf("the database is at version %d, newer than the %d of this release", at, known)
	}
	_, err = fmt.Fprintln(o.out, state)
	return err
}

// open opens and migrates the database.
func (d database) open(ctx context.Context) (db *repository.DB, applied []string, err error) {
	if err := d.Pool.Validate(); err != nil {
		return nil, nil, err
	}
	if db, err = repository.Open(ctx, d.DatabaseURL, d.Pool.settings()); err != nil {
		return nil, nil, err
	}
	if applied, err = db.Migrate(ctx); err != nil {
		return nil, nil, errors.Join(err, db.Close())
	}
	return db, applied, nil
}
