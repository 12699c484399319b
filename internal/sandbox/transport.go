package sandbox

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"syscall"
)

// Transport returns a RoundTripper that takes requests to the server without a socket, whatever their host: for tests and simulations
// in one process. Faults show as the errors that a socket would give.
func (s *Server) Transport() http.RoundTripper {
	return &transport{server: s, table: routes(s.opts.Profile)}
}

type transport struct {
	server *Server
	table  []route
}

// RoundTrip makes the call in the caller's goroutine.
func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	var body []byte
	if r.Body != nil {
		defer r.Body.Close()
		var err error
		if body, err = io.ReadAll(io.LimitReader(r.Body, maxBody)); err != nil {
			return nil, err
		}
	}
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	served := r.Clone(r.Context())
	served.Host = r.URL.Host
	d := t.server.deliver(t.table, served, body)
	if err := r.Context().Err(); err != nil {
		return nil, err // the answer came too late
	}
	switch d.cut {
	case refused:
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	case reset:
		return nil, &net.OpError{Op: "read", Net: "tcp", Err: syscall.ECONNRESET}
	}
	return d.response(r), nil
}

func (d delivery) response(r *http.Request) *http.Response {
	body, contentType := d.body()
	header := d.answer.header.Clone()
	if header == nil {
		header = http.Header{}
	}
	if len(body) > 0 {
		header.Set("Content-Type", contentType)
	}
	var content io.Reader = bytes.NewReader(body)
	if d.cut == truncated {
		content = io.MultiReader(bytes.NewReader(body[:len(body)/2]), brokenReader{})
	}
	return &http.Response{
		Status: fmt.Sprintf("%d %s", d.answer.status, http.StatusText(d.answer.status)), StatusCode: d.answer.status,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: header,
		Body: io.NopCloser(content), ContentLength: int64(len(body)), Request: r,
	}
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }
