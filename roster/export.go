package roster

import (
	"context"
	"encoding/csv"
	"io"
	"strconv"

	"github.com/rollbook/rollbook/password"
	"github.com/rollbook/rollbook/repository"
)

// Export writes all accounts as a roster that Import reads, in the order of their usernames; with their encoded passwords
// where that is asked for.
func Export(ctx context.Context, db *repository.DB, to io.Writer, withHashes bool) error {
	out := csv.NewWriter(to)
	header := []string{colUsername, colFirstName, colLastName, colEmail, colActive}
	if withHashes {
		header = append(header, colHash)
	}
	if err := out.Write(header); err != nil {
		return err
	}
	for last := ""; ; {
		users, err := db.Users().After(ctx, last, repository.MostAtOnce)
		if err != nil {
			return err
		}
		for _, u := range users {
			cells := []string{u.Username, u.FirstName, u.LastName, u.Email, strconv.FormatBool(u.IsActive)}
			if withHashes {
				encoded := ""
				if password.IsSet(u.Password) {
					encoded = u.Password
				}
				cells = append(cells, encoded)
			}
			if err := out.Write(cells); err != nil {
				return err
			}
		}
		out.Flush()
		if err := out.Error(); err != nil || len(users) < repository.MostAtOnce {
			return err
		}
		last = users[len(users)-1].Username
	}
}
