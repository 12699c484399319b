package signerserver

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net/http"
	"os"
	"time"
)

// TLSFiles are the files of mutual TLS, all PEM.
type TLSFiles struct {
	// Certificate is the server's chain, Key its key.
	Certificate, Key string
	// ClientCA has the authorities whose clients may ask. Whoever has a certificate of theirs may have payments signed.
	ClientCA string
}

// load reads the files.
func (f TLSFiles) load() (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(f.Certificate, f.Key)
	if err != nil {
		return nil, errors.New("the server's certificate and key cannot be read, or do not fit")
	}
	text, err := os.ReadFile(f.ClientCA)
	if err != nil {
		return nil, fmt.Errorf("reading the authorities of clients: %w", err)
	}
	clients := x509.NewCertPool()
	if !clients.AppendCertsFromPEM(text) {
		return nil, errors.New("the file with the authorities of clients holds no certificate in PEM")
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS13, NextProtos: []string{"http/1.1"}, Certificates: []tls.Certificate{pair},
		ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: clients,
		SessionTicketsDisabled: true, // a resumed session would outlive the authority that vouched for it
	}, nil
}

// Config returns the configuration of a listener. The files are read anew for each connection, so that certificates can be renewed without
// a restart; it fails where they cannot be read now.
func (f TLSFiles) Config() (*tls.Config, error) {
	if _, err := f.load(); err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS13, NextProtos: []string{"http/1.1"}, ClientAuth: tls.RequireAndVerifyClientCert,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return f.load() },
	}, nil
}

// HTTPServer returns a server with bounds on what a client can make it wait for or keep.
func HTTPServer(handler http.Handler, logger *slog.Logger) *http.Server {
	return &http.Server{
		Handler: handler, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 15 * time.Second, WriteTimeout: 30 * time.Second,
		IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10,
		ErrorLog: log.New(errorWriter{logger}, "", 0),
	}
}

// errorWriter makes a structured line of what net/http complains of: handshakes that failed, above all.
type errorWriter struct{ log *slog.Logger }

func (w errorWriter) Write(line []byte) (int, error) {
	w.log.Warn("connection failed", "cause", string(line[:min(len(line), 300)]))
	return len(line), nil
}
