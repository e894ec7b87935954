package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
)

// transport are the settings of how the API is reached.
type transport struct {
	CertFile       string `name:"tls-cert-file" env:"TLS_CERT_FILE" placeholder:"FILE" help:"The HTTPS certificate, in PEM, followed by its intermediates. It is read again when it changes. Default: none, the API is served over plain HTTP."`
	KeyFile        string `name:"tls-key-file" env:"TLS_KEY_FILE" placeholder:"FILE" help:"The private key of the certificate, in PEM. It is read again when it changes."`
	AllowPlainHTTP bool   `name:"allow-plain-http" env:"ALLOW_PLAIN_HTTP" help:"Serve plain HTTP to other machines, although passwords and tokens can then be read on the network."`
}

// Validate refuses half of a key pair.
func (t transport) Validate() error {
	if (t.CertFile == "") != (t.KeyFile == "") {
		return errors.New("--tls-cert-file and --tls-key-file belong together")
	}
	return nil
}

// errPlainHTTP refuses an address that other machines can reach.
var errPlainHTTP = errors.New("other machines can reach this address, " +
	"and over plain HTTP passwords and tokens can be read on the network: " +
	"set TLS_CERT_FILE and TLS_KEY_FILE to serve HTTPS, or TRUSTED_PROXIES to the networks of the proxies that serve HTTPS, " +
	"or ALLOW_PLAIN_HTTP=1 to accept the risk")

// plainHTTPAllowed reports whether the settings allow plain HTTP on every address.
func (s serve) plainHTTPAllowed() bool {
	return s.Transport.CertFile != "" || len(s.TrustedProxies) > 0 || s.Transport.AllowPlainHTTP
}

// checkAddress returns errPlainHTTP for an address that the settings do not allow, before anything is opened. An address
// that cannot be resolved is left to listen.
func (s serve) checkAddress() error {
	address, err := net.ResolveTCPAddr("tcp", s.Addr)
	if err != nil || s.plainHTTPAllowed() || isLoopback(address.String()) {
		return nil //nolint:nilerr // as documented
	}
	return fmt.Errorf("listen on %s: %w", s.Addr, errPlainHTTP)
}

// listen listens on an address. Unless others may reach it, an address beyond loopback is errPlainHTTP. The resolved
// address of the socket decides, before the socket is bound.
func listen(ctx context.Context, address string, others bool) (net.Listener, error) {
	config := net.ListenConfig{Control: func(_, resolved string, _ syscall.RawConn) error {
		if !others && !isLoopback(resolved) {
			return errPlainHTTP
		}
		return nil
	}}
	listener, err := config.Listen(ctx, "tcp", address)
	if errors.Is(err, errPlainHTTP) {
		err = errPlainHTTP // without the words that net adds
	}
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", address, err)
	}
	return listener, nil
}

// isLoopback reports whether only this machine can reach a resolved address, as in 127.0.0.1:8000. An empty host means
// all addresses.
func isLoopback(resolved string) bool {
	at, err := netip.ParseAddrPort(resolved)
	return err == nil && at.Addr().IsLoopback()
}

// reachable is an address that a browser on this machine can open, where the server listens on all of them.
func reachable(address net.Addr) string {
	tcp, ok := address.(*net.TCPAddr)
	if ok && tcp.IP.IsUnspecified() {
		return fmt.Sprintf("localhost:%d", tcp.Port)
	}
	return address.String()
}

// checkNetworks refuses networks of IPv4 that are written as IPv6: no address is in them, since addresses are compared as
// IPv4.
func checkNetworks(flag string, networks []netip.Prefix) error {
	for _, network := range networks {
		if network.Addr().Is4In6() {
			return fmt.Errorf("%s: write %s as a network of IPv4", flag, network)
		}
	}
	return nil
}
