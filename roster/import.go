// Package roster brings accounts to what a list of students in a CSV file says, and writes such lists.
package roster

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/gofrs/flock"
	"github.com/google/uuid"

	"github.com/rollbook/rollbook/password"
	"github.com/rollbook/rollbook/repository"
	"github.com/rollbook/rollbook/server"
)

// Options are what an import works with. DB, Rules, Hasher, CodeTTL and Report are needed.
type Options struct {
	DB     *repository.DB
	Rules  *server.Rules
	Hasher *password.Hasher
	// CodeTTL is how long the one-time codes of accounts without a password can be used.
	CodeTTL time.Duration
	// DeactivateMissing deactivates the active accounts that are not on the roster, unless they are more than MostMissing,
	// a share of all active ones.
	DeactivateMissing bool
	MostMissing       float64
	// Report is the file that gets a row for every line. Its neighbours .plan and .tmp are there meanwhile, and
	// .lock stays.
	Report string
	// Ignored are told the columns that are not read; may be nil.
	Ignored func(columns []string)

	DryRun   bool
	Show     func(Row) error                             // of a dry run: what would be done
	Progress func(done, of int64)                        // in bytes
	Started  func()                                      // called before the first change
	Audit    func(server.Event, uuid.UUID, ...slog.Attr) // what was done to an account
}

// Counts are how many lines and accounts had each result.
type Counts map[Result]int

// nameKey stands for a username, in little room.
type nameKey [16]byte

func keyOf(username string) nameKey {
	sum := sha256.Sum256([]byte(username))
	return nameKey(sum[:])
}

// importer is an import under way.
type importer struct {
	Options
	file   *os.File
	info   os.FileInfo
	done   int64
	counts Counts

	seen  map[nameKey]int        // the line of each username
	blind []int                  // the wrong lines that do not say for sure whose they are
	codes map[nameKey]remembered // of earlier runs
	plan  *reportReader          // in the second pass
	write func(Row) error        // to the plan, then to the report
}

// Import reads a roster twice. First it says, in a plan, what is to be done, which codes included; then it does it. A run
// that was interrupted, however, is taken up by running it again: what was done is found done, and the codes that were
// planned are the codes. Lines that are wrong are reported and left out. The same roster twice changes nothing the second
// time.
func Import(ctx context.Context, path string, o Options) (counts Counts, err error) {
	if !o.DryRun {
		// The file stays: to remove it would let two hold the lock.
		lock := flock.New(o.Report+".lock", flock.SetPermissions(0o600))
		locked, err := lock.TryLock()
		if err != nil {
			return nil, fmt.Errorf("lock the report: %w", err)
		}
		if !locked {
			return nil, fmt.Errorf("another import with the report %s is under way", o.Report)
		}
		defer func() { err = errors.Join(err, lock.Close()) }()
	}
	file, err := os.Open(path) //nolint:gosec // the operator says which
	if err != nil {
		return nil, fmt.Errorf("open the roster: %w", err)
	}
	defer func() { _ = file.Close() }() // it was only read
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file: it is read twice", path)
	}
	i := &importer{Options: o, file: file, info: info, codes: map[nameKey]remembered{}}
	if err := i.makePlan(ctx); err != nil || o.DryRun {
		return i.counts, err
	}
	if i.Started != nil {
		i.Started()
	}
	if err := i.carryOut(ctx); err != nil {
		return i.counts, fmt.Errorf("%w; run it again to go on", err)
	}
	return i.counts, nil
}

// makePlan writes the plan, and changes nothing else.
func (i *importer) makePlan(ctx context.Context) error {
	err := errors.Join(remember(i.Report, false, i.codes), remember(i.planPath(), true, i.codes))
	if err != nil {
		return err
	}
	if i.DryRun {
		i.write = i.Show
		return i.planAll(ctx)
	}
	plan, err := createReport(i.planPath())
	if err != nil {
		return err
	}
	defer plan.Abandon()
	i.write = func(r Row) error { return plan.Write(r.cells()...) }
	if err := i.planAll(ctx); err != nil {
		return err
	}
	return plan.Finish()
}

func (i *importer) planAll(ctx context.Context) error {
	err := i.eachBatch(ctx, i.planBatch)
	if err == nil && i.DeactivateMissing {
		err = i.planMissing(ctx)
	}
	if err != nil || i.DryRun {
		return err
	}
	return i.carryCodes(ctx)
}

// carryOut does what the plan says, as far as it is not done, and turns it into the report.
func (i *importer) carryOut(ctx context.Context) (err error) {
	if i.plan, err = openReport(i.planPath()); err != nil {
		return err
	}
	defer func() { _ = i.plan.close() }() // it was only read
	report, err := createReport(i.Report)
	if err != nil {
		return err
	}
	defer report.Abandon()
	i.write = func(r Row) error { return report.Write(r.cells()...) }
	if err := i.eachBatch(ctx, i.carryOutBatch); err != nil {
		return err
	}
	if err := i.finishPlanned(ctx); err != nil {
		return err
	}
	if info, err := i.file.Stat(); err != nil || info.Size() != i.info.Size() || !info.ModTime().Equal(i.info.ModTime()) {
		return errors.Join(errChanged, err)
	}
	if err := report.Finish(); err != nil {
		return err
	}
	return os.Remove(i.planPath())
}

var errChanged = errors.New("the roster was changed while it was read")

func (i *importer) planPath() string { return i.Report + ".plan" }

// eachBatch reads the roster and hands on its students, repository.MostAtOnce at a time.
func (i *importer) eachBatch(ctx context.Context, f func(context.Context, []*student) error) error {
	i.seen, i.blind, i.counts = map[nameKey]int{}, nil, Counts{}
	if _, err := i.file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	r, err := newReader(io.TeeReader(i.file, i))
	if err != nil {
		return err
	}
	if i.Ignored != nil && len(r.ignored) > 0 && i.plan == nil { // in the first pass
		i.Ignored(r.ignored)
	}
	for end := false; !end; {
		var batch []*student
		for len(batch) < repository.MostAtOnce {
			rec, err := r.next()
			if end = errors.Is(err, io.EOF); end {
				break
			}
			if err != nil {
				return err
			}
			s, err := i.check(ctx, rec)
			if err != nil {
				return err
			}
			i.see(&s)
			batch = append(batch, &s)
		}
		if err := errors.Join(ctx.Err(), f(ctx, batch)); err != nil {
			return err
		}
		for _, s := range batch {
			i.counts[s.Result]++
			if err := i.write(s.Row); err != nil {
				return err
			}
		}
	}
	return nil
}

// Write counts what was read of the roster.
func (i *importer) Write(p []byte) (int, error) {
	i.done += int64(len(p))
	if i.Progress != nil {
		passes := int64(2)
		if i.DryRun {
			passes = 1
		}
		i.Progress(i.done, passes*i.info.Size())
	}
	return len(p), nil
}

// see remembers that an account is on the roster, also where its line is wrong. A second line about it is wrong: one of the two
// may be meant for another.
func (i *importer) see(s *student) {
	if s.nameless {
		i.blind = append(i.blind, s.Line)
		return
	}
	key := keyOf(s.Username)
	first, there := i.seen[key]
	if !there {
		i.seen[key] = s.Line
		return
	}
	i.blind = append(i.blind, s.Line)
	if s.Result != Wrong {
		s.Result, s.Reason = Wrong, fmt.Sprintf("username: Line %d has the same.", first)
	}
}
