package server

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"
)

const (
	// strictTransport tells browsers to use HTTPS only, for a year. Other names below this one may belong to somebody else.
	strictTransport = "max-age=31536000"

	maxStreams    = 100              // requests at once on a connection of HTTP/2
	pingAfterIdle = 30 * time.Second // so that a connection of HTTP/2 whose client has vanished is closed
)

// ServeTLS is Serve over TLS 1.2 or newer, with HTTP/2 and HTTP/1.1. The certificate is asked for at each handshake.
func ServeTLS(
	ctx context.Context, listener net.Listener, certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error),
	handler http.Handler, t Timeouts, log *slog.Logger,
) error {
	s := newServer(ctx, strict(handler), t, log)
	s.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: certificate}
	s.HTTP2 = &http.HTTP2Config{MaxConcurrentStreams: maxStreams, SendPingTimeout: pingAfterIdle, WriteByteTimeout: t.Write}
	return serveUntil(ctx, s, func() error { return s.ServeTLS(listener, "", "") }, t)
}

// strict sets the header by which browsers use HTTPS only (RFC 6797).
func strict(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(echo.HeaderStrictTransportSecurity, strictTransport)
		next.ServeHTTP(w, r)
	})
}
