package server_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/rollbook/rollbook/server"
	"github.com/rollbook/rollbook/test/testdb"
	"github.com/rollbook/rollbook/test/testserver"
)

// Whoever is not a trusted proxy cannot choose an address, and a trusted one is believed only for what it wrote itself.
func TestForgedAddresses(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		trusted string
		headers func(i int) string
		alike   bool // all attempts count as from one address
	}{
		"no proxy is trusted":            {"", func(i int) string { return fmt.Sprintf("192.0.2.%d", i) }, true},
		"another proxy is trusted":       {"198.51.100.0/24", func(i int) string { return fmt.Sprintf("192.0.2.%d", i) }, true},
		"the client forges further left": {"127.0.0.0/8", func(i int) string { return fmt.Sprintf("192.0.2.%d, 203.0.113.9", i) }, true},
		"behind two proxies":             {"127.0.0.0/8,10.0.0.0/8", func(i int) string { return fmt.Sprintf("6.6.6.6, 192.0.2.%d, 10.0.0.%d", i, i) }, false},
		"nonsense in the header":         {"127.0.0.0/8", func(i int) string { return fmt.Sprintf("192.0.2.%d, nonsense%d", i, i) }, true},
		"an address of IPv4 in IPv6":     {"127.0.0.0/8", func(i int) string { return "::ffff:192.0.2.1"[(i%2)*7:] }, true},
		"neighbours of IPv6":             {"127.0.0.0/8", func(i int) string { return fmt.Sprintf("2001:db8:0:%x00::1", i) }, false},
		"told apart":                     {"127.0.0.0/8", func(i int) string { return fmt.Sprintf("192.0.2.%d", i) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := testserver.Start(t, testdb.SQLite(t), func(c *server.Config) {
				queues, err := c.DB.Limits(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				c.Throttle, c.Limits = server.Throttle{PerAddress: 2}, queues
				for prefix := range strings.SplitSeq(test.trusted, ",") {
					if prefix != "" {
						c.Trusted = append(c.Trusted, netip.MustParsePrefix(prefix))
					}
				}
			})
			var statuses []int
			for i := range 4 {
				statuses = append(statuses, try(s, test.headers(i), "nobody", "wrong").Status)
			}
			expected := []int{400, 400, 400, 400}
			if test.alike {
				expected = []int{400, 400, 429, 429}
			}
			if !slices.Equal(statuses, expected) {
				t.Errorf("got %v, want %v", statuses, expected)
			}
		})
	}
}
