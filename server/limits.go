package server

import (
	"context"
	"math"
	"net/netip"
	"time"

	"github.com/google/uuid"

	"github.com/rollbook/rollbook/directory"
	"github.com/rollbook/rollbook/repository"
)

// Rate limits are about an account by one of its names, which AccountNames lists.
func nameOf(username string) string        { return "name:" + username }
func foldedName(username string) string    { return "folded:" + directory.Fold(username) }
func entryOf(directoryID string) string    { return "entry:" + directoryID }
func accountName(account uuid.UUID) string { return "account:" + account.String() }

// AccountNames returns the names by which rate limits are about an account, for LimitAccount.
func AccountNames(user repository.User) []string {
	names := []string{nameOf(user.Username), foldedName(user.Username), accountName(user.ID)}
	if user.DirectoryID != nil {
		names = append(names, foldedName(user.Email), entryOf(*user.DirectoryID))
	}
	return names
}

// LimitAccount returns the key by which the rate limits of an account's name are found.
func LimitAccount(limits *repository.Limits, name string) []byte { return limits.Key("account", name) }

// typedName is what attempts with a username count for. With a directory, which does not distinguish some spellings, it is
// the same for all of them, also if a local account has one: otherwise the limits would reveal local accounts.
func (s *Server) typedName(username string) string {
	if s.directory == nil {
		return nameOf(username)
	}
	return foldedName(username)
}

// loginLimits returns the limits of a login, and the keys of the network that it comes from. With a directory, a success
// forgets no failures: those may be for another account, whose name differs in spelling alone.
func (s *Server) loginLimits(ctx context.Context, username string) (networks [][]byte, limits []repository.Limit) {
	if s.limits == nil {
		return nil, nil
	}
	from, failures, names := callerOf(ctx).address, repository.CountFailuresInRow, []string{nameOf(username)}
	if s.directory != nil {
		failures, names = repository.CountFailures, append(names, foldedName(username))
	}
	limits = append(s.accountLimits(s.typedName(username), failures, from), s.successes(nameOf(username)))
	addresses := s.addressLimits(limitAddress, limitSite, s.throttle.PerAddress, from)
	for i := range addresses {
		addresses[i].UnknownOnly = true
	}
	return s.networks(from, names...), append(limits, addresses...)
}

// entryLimits returns the limits of a login as an entry of the directory; for nobody, those of an entry of the typed name.
func (s *Server) entryLimits(
	ctx context.Context, username, directoryID string,
) (networks [][]byte, limits []repository.Limit) {
	if s.limits == nil {
		return nil, nil
	}
	name := entryOf(directoryID)
	if directoryID == "" {
		name = "missing:" + directory.Fold(username)
	}
	from := callerOf(ctx).address
	limits = append(s.accountLimits(name, repository.CountFailuresInRow, from), s.successes(name))
	return s.networks(from, name), limits
}

// decoyLimits returns as many limits as entryLimits, which refuse nothing: to take them takes as long.
func (s *Server) decoyLimits(ctx context.Context, username string) (networks [][]byte, limits []repository.Limit) {
	networks, limits = s.entryLimits(ctx, username, "")
	for i, l := range limits {
		limits[i] = repository.Limit{Name: "decoy", Key: s.limits.Key("decoy", string(l.Key)), Max: math.MaxInt32, Window: time.Microsecond}
	}
	return networks, limits
}

// accountLimits returns the limits of failed logins for an account by one of its names. Failures is how those in a row are
// counted.
func (s *Server) accountLimits(name string, failures repository.Counts, from netip.Addr) (limits []repository.Limit) {
	t, network, site, account := s.throttle, NetworkOf(from), SiteOf(from), LimitAccount(s.limits, name)
	limits = []repository.Limit{
		{
			Name: limitPair, Key: s.limits.Key(limitPair, name, network), Account: account, Network: network,
			Counts: failures, Max: t.Failures, Backoff: t.Backoff, BackoffMax: t.BackoffMax,
		},
		{
			Name: limitAccount, Key: s.limits.Key(limitAccount, name), Account: account,
			Counts: repository.CountFailures, Max: t.PerAccount, Window: accountWindow, UnknownOnly: true,
		},
	}
	if site != "" && t.PerAccount > 0 {
		limits = append(limits, repository.Limit{
			Name: limitAccountSite, Key: s.limits.Key(limitAccountSite, name, site), Account: account, Network: site,
			Counts: repository.CountFailures, Max: max(1, t.PerAccount/siteShare), Window: accountWindow, UnknownOnly: true,
		})
	}
	if s.directory != nil && t.DirectoryFailures > 0 {
		limits = append(limits, repository.Limit{
			Name: limitDirectory, Key: s.limits.Key(limitDirectory, name), Account: account,
			Counts: failures, Max: t.DirectoryFailures, Backoff: directoryWindow, BackoffMax: directoryWindow,
		}, repository.Limit{
			Name: limitDirectoryUnknown, Key: s.limits.Key(limitDirectoryUnknown, name), Account: account,
			Counts: failures, Max: max(1, t.DirectoryFailures*5/8), UnknownOnly: true,
			// A little longer, so that limitDirectory has expired when a guesser comes again.
			Backoff: directoryWindow + time.Second, BackoffMax: directoryWindow + time.Second,
		})
	}
	return limits
}

// networks returns the keys of the network of an address, as one that is known to an account by one of its names.
func (s *Server) networks(from netip.Addr, names ...string) (keys [][]byte) {
	for _, name := range names {
		keys = append(keys, s.limits.Key("known", name, NetworkOf(from)))
	}
	return keys
}

// successes is the limit on sign-ins of an account, which one valid password may not exceed.
func (s *Server) successes(name string) repository.Limit {
	return repository.Limit{
		Name: limitSuccesses, Key: s.limits.Key(limitSuccesses, name), Account: LimitAccount(s.limits, name),
		Counts: repository.CountSuccesses, Max: s.throttle.Successes, Window: accountWindow,
	}
}

// addressLimits returns the limits on failures of a network and of its /48.
func (s *Server) addressLimits(address, site string, most int, from netip.Addr) []repository.Limit {
	if contains(s.throttle.Exempt, from) {
		return nil
	}
	limits := []repository.Limit{{
		Name: address, Key: s.limits.Key(address, NetworkOf(from)), Network: NetworkOf(from),
		Counts: repository.CountFailures, Max: most, Window: addressWindow,
	}}
	if of := SiteOf(from); of != "" {
		limits = append(limits, repository.Limit{
			Name: site, Key: s.limits.Key(site, of), Network: of,
			Counts: repository.CountFailures, Max: siteFactor * most, Window: addressWindow,
		})
	}
	return limits
}

// changeLimits returns the limits of a password change, which needs a valid token: nobody without one can exhaust them.
func (s *Server) changeLimits(ctx context.Context, user repository.User) []repository.Limit {
	if s.limits == nil {
		return nil
	}
	name, token := accountName(user.ID), callerOf(ctx).token.String()
	return []repository.Limit{{
		Name: limitChange, Key: s.limits.Key(limitChange, name, token), Account: LimitAccount(s.limits, name),
		Counts: repository.CountFailuresInRow, Max: s.throttle.Failures, Backoff: s.throttle.Backoff, BackoffMax: s.throttle.BackoffMax,
	}, s.successes(nameOf(user.Username))}
}

// codeLimits returns the limits of one-time codes, which have 80 random bits: nobody guesses one, so that an account needs
// no limit that others could exhaust.
func (s *Server) codeLimits(ctx context.Context, username string) (networks [][]byte, limits []repository.Limit) {
	if s.limits == nil {
		return nil, nil
	}
	from := callerOf(ctx).address
	limits = s.addressLimits(limitCodeAddress, limitCodeSite, s.throttle.PerAddress, from)
	return s.networks(from, nameOf(username)), limits
}

// registrationLimits returns the limits of registrations.
func (s *Server) registrationLimits(ctx context.Context, username string) (networks [][]byte, limits []repository.Limit) {
	if s.limits == nil {
		return nil, nil
	}
	from := callerOf(ctx).address
	limits = s.addressLimits(limitRegistration, limitRegistrationSite, s.throttle.Registrations, from)
	for i := range limits {
		limits[i].Counts, limits[i].Window = repository.CountAttempts, registrationWindow
	}
	return s.networks(from, nameOf(username)), limits
}
