package directory

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"time"

	"github.com/go-ldap/ldap/v3"
)

// trust is with whose certificates the directory may identify itself.
func trust(file string) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if file == "" {
		return config, nil
	}
	pem, err := os.ReadFile(file) //nolint:gosec // the operator names it
	if err != nil {
		return nil, fmt.Errorf("read the directory's CA certificates: %w", err)
	}
	config.RootCAs = x509.NewCertPool()
	if !config.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s has no certificate in PEM", file)
	}
	return config, nil
}

// with asks the directory what do asks, over a connection of its own that is bound as who searches. It ends with the context, which
// has a deadline.
func (d *Directory) with(ctx context.Context, do func(*ldap.Conn) error) error {
	c, err := d.connect(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }() // what was asked has been answered, or never will be
	return do(c)
}

// connect tries one server after the other.
func (d *Directory) connect(ctx context.Context) (*ldap.Conn, error) {
	var failed error
	for n, server := range d.servers {
		c, err := d.connectTo(ctx, server, len(d.servers)-n)
		if err == nil {
			return c, nil
		}
		failed = errors.Join(failed, err)
	}
	return nil, failed
}

// connectTo connects to a server, of so many that are to be tried yet in the time that there is.
func (d *Directory) connectTo(ctx context.Context, server *url.URL, tries int) (*ldap.Conn, error) {
	deadline, _ := ctx.Deadline()
	trying, cancel := context.WithTimeout(ctx, time.Until(deadline)/time.Duration(tries))
	defer cancel()
	port := server.Port()
	if port == "" {
		port = map[string]string{"ldap": ldap.DefaultLdapPort, "ldaps": ldap.DefaultLdapsPort}[server.Scheme]
	}
	conn, err := new(net.Dialer).DialContext(trying, "tcp", net.JoinHostPort(server.Hostname(), port))
	if err != nil {
		return nil, unavailable(server.Host, err)
	}
	// The library waits for answers without end; what ends is the connection.
	until, _ := trying.Deadline()
	hangUp := context.AfterFunc(ctx, func() { _ = conn.Close() })
	doing := server.Host
	c, err := d.secure(trying, conn, server, until)
	if err == nil && d.settings.BindDN != "" {
		doing += ": bind as who searches"
		err = c.Bind(d.settings.BindDN, d.settings.BindPassword)
	}
	if err != nil {
		hangUp()
		_ = conn.Close() // which ends the library's reader, too; the error that counts is the one before
		return nil, unavailable(doing, err)
	}
	return c, conn.SetDeadline(deadline)
}

// secure makes of a connection one that is encrypted, where it is to be.
func (d *Directory) secure(ctx context.Context, conn net.Conn, server *url.URL, until time.Time) (*ldap.Conn, error) {
	if err := conn.SetDeadline(until); err != nil {
		return nil, err
	}
	config := d.tls.Clone()
	config.ServerName = server.Hostname()
	if server.Scheme == "ldaps" {
		encrypted := tls.Client(conn, config)
		if err := encrypted.HandshakeContext(ctx); err != nil {
			return nil, err
		}
		c := ldap.NewConn(encrypted, true)
		c.Start()
		return c, nil
	}
	c := ldap.NewConn(conn, false)
	c.Start()
	if d.settings.Cleartext {
		return c, nil
	}
	if err := c.StartTLS(config); err != nil {
		_ = c.Close() // the error that counts is the one before
		return nil, fmt.Errorf("StartTLS: %w", err)
	}
	return c, nil
}

// refused tells whether a directory lets somebody not sign in: a wrong password, or an account that is locked or has none.
func refused(err error) bool {
	return ldap.IsErrorAnyOf(err, ldap.LDAPResultInvalidCredentials, ldap.LDAPResultUnwillingToPerform, ldap.LDAPResultInsufficientAccessRights,
		ldap.LDAPResultConstraintViolation, ldap.LDAPResultNoSuchObject, ldap.LDAPResultInappropriateAuthentication)
}

// unavailable is ErrUnavailable with what the directory's answer means, but not what else it says, in which names may be.
func unavailable(doing string, err error) error {
	if err == nil {
		return nil
	}
	if answer, ok := errors.AsType[*ldap.Error](err); ok && answer.ResultCode < ldap.ErrorNetwork {
		return fmt.Errorf("%w: %s: %s", ErrUnavailable, doing, ldap.LDAPResultCodeMap[answer.ResultCode])
	}
	return fmt.Errorf("%w: %s: %w", ErrUnavailable, doing, err)
}
