package main

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync/atomic"
	"time"
)

const (
	certificateInterval = time.Second // between two reads of the files
	maxCertificateFile  = 1 << 20     // bytes
)

// certificate is a key pair that is read from two files, and again when they change.
type certificate struct {
	certFile, keyFile string
	log               *slog.Logger
	now               func() time.Time

	current               atomic.Pointer[tls.Certificate]
	served, seen, refused [sha256.Size]byte // digests of what the files held
}

// openCertificate reads a key pair. One outside its validity period is served, with a warning.
func openCertificate(certFile, keyFile string, log *slog.Logger) (*certificate, error) {
	c := &certificate{certFile: certFile, keyFile: keyFile, log: log, now: time.Now}
	warnExposed(log, "key of the certificate", othersOnly, keyFile)
	files, err := c.read()
	if err != nil {
		return nil, err
	}
	pair, err := files.parse()
	if err != nil {
		return nil, fmt.Errorf("read the certificate in %s and its key in %s: %w", certFile, keyFile, err)
	}
	if err := checkValidity(pair, c.now()); err != nil {
		log.Warn("clients will refuse the certificate", "file", certFile, slog.Any("error", err))
	}
	c.current.Store(pair)
	c.served = files.digest()
	return c, nil
}

// get returns the key pair that is served now.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return c.current.Load(), nil
}

// watch reads the files again from time to time until the context ends.
func (c *certificate) watch(ctx context.Context) {
	ticker := time.NewTicker(certificateInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			c.reload()
		}
	}
}

// reload serves what the files hold once two reads in a row found the same, as they may be half written. A pair that
// cannot be served leaves the current one in place and is logged once.
func (c *certificate) reload() {
	files, err := c.read()
	digest := files.digest()
	if err != nil {
		digest = sha256.Sum256([]byte(err.Error()))
	}
	settled := digest == c.seen
	c.seen = digest
	switch {
	case digest == c.served:
		c.refused = [sha256.Size]byte{}
		return
	case !settled, digest == c.refused:
		return
	}
	var pair *tls.Certificate
	if err == nil {
		pair, err = files.parse()
	}
	if err == nil {
		err = checkValidity(pair, c.now())
	}
	if err != nil {
		c.refused = digest
		c.log.Warn("the new certificate cannot be used, the current one stays",
			"cert", c.certFile, "key", c.keyFile, slog.Any("error", err))
		return
	}
	c.current.Store(pair)
	c.served, c.refused = digest, [sha256.Size]byte{}
	c.log.Info("certificate reloaded", "file", c.certFile, "expires", pair.Leaf.NotAfter.UTC())
}

// keyFiles are the contents of the two files.
type keyFiles struct{ cert, key []byte }

func (c *certificate) read() (keyFiles, error) {
	cert, err := readBounded(c.certFile, maxCertificateFile)
	if err != nil {
		return keyFiles{}, fmt.Errorf("read the certificate: %w", err)
	}
	key, err := readBounded(c.keyFile, maxCertificateFile)
	if err != nil {
		return keyFiles{}, fmt.Errorf("read the key of the certificate: %w", err)
	}
	return keyFiles{cert, key}, nil
}

func (f keyFiles) digest() [sha256.Size]byte {
	cert, key := sha256.Sum256(f.cert), sha256.Sum256(f.key)
	return sha256.Sum256(append(cert[:], key[:]...))
}

func (f keyFiles) parse() (*tls.Certificate, error) {
	pair, err := tls.X509KeyPair(f.cert, f.key)
	if err != nil {
		return nil, err
	}
	return &pair, nil
}

// checkValidity refuses a certificate that is not valid at a time.
func checkValidity(pair *tls.Certificate, now time.Time) error {
	switch {
	case now.After(pair.Leaf.NotAfter):
		return fmt.Errorf("the certificate expired at %s", pair.Leaf.NotAfter.UTC().Format(time.RFC3339))
	case now.Before(pair.Leaf.NotBefore):
		return fmt.Errorf("the certificate is valid only from %s", pair.Leaf.NotBefore.UTC().Format(time.RFC3339))
	}
	return nil
}

var errTooLarge = errors.New("the file is too large")

// readBounded reads a file of at most that many bytes.
func readBounded(path string, maxBytes int64) (content []byte, err error) {
	file, err := os.Open(path) //nolint:gosec // the operator names it
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	content, err = io.ReadAll(io.LimitReader(file, maxBytes+1))
	if err == nil && int64(len(content)) > maxBytes {
		err = fmt.Errorf("%s: %w (more than %d bytes)", path, errTooLarge, maxBytes)
	}
	return content, err
}
