package manager_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/utexo/utexo-operator/internal/sandbox"
)

// service is a sandbox over HTTP, and what the cases want to know of the calls that come in.
type service struct {
	*sandbox.Server
	url string

	mutex sync.Mutex
	// inside is how many calls have come in and are not done with.
	inside int
	// tokens are the values of the Authorization header that came in; empty for none.
	tokens sets.Set[string]
	traps  []*trap
}

var seeds atomic.Uint64

// trap springs at a call.
type trap struct {
	path   string
	left   int
	sprung chan struct{}
}

// newService starts a sandbox on the real clock that is quicker than a service.
func newService(t *testing.T, profile sandbox.Profile, change ...func(*sandbox.Options)) *service {
	// Each service has ids and payment hashes of its own.
	options := sandbox.Options{Profile: profile, Seed: seeds.Add(1), Timing: sandbox.Timing{
		Payment: 100 * time.Millisecond, Block: 200 * time.Millisecond, Step: 20 * time.Millisecond, Close: 50 * time.Millisecond,
		Poll: 100 * time.Millisecond, Settle: -1,
	}}
	for _, f := range change {
		f(&options)
	}
	s := &service{Server: sandbox.New(options), tokens: sets.New[string]()}
	handler := s.Handler()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.enter(r)
		defer s.leave() // also where a fault breaks the connection off by a panic
		handler.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	s.url = server.URL
	return s
}

func (s *service) enter(r *http.Request) {
	body, err := io.ReadAll(r.Body)
	r.Body = io.NopCloser(io.MultiReader(bytes.NewReader(body), &brokenBody{err})) // the sandbox meets the same end
	var end struct {
		SignedPSBT string `json:"signed_psbt"`
	}
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.inside++
	s.tokens.Insert(r.Header.Get("Authorization"))
	if strings.HasSuffix(r.URL.Path, "-end") && json.Unmarshal(body, &end) == nil && end.SignedPSBT != "" {
		canary(end.SignedPSBT)
	}
	s.traps = slices.DeleteFunc(s.traps, func(t *trap) bool {
		if strings.HasPrefix(r.URL.Path, t.path) {
			t.left--
		}
		if t.left == 0 {
			close(t.sprung)
		}
		return t.left == 0
	})
}

func (s *service) leave() {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.inside--
}

// brokenBody ends a body as it ended on the wire.
type brokenBody struct{ err error }

func (b *brokenBody) Read([]byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	return 0, io.EOF
}

// trap returns a channel that is closed when, from now on, the nth call of a path comes in.
func (s *service) trap(path string, nth int) <-chan struct{} {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	set := &trap{path: path, left: nth, sprung: make(chan struct{})}
	s.traps = []*trap{set}
	return set.sprung
}

// busy returns an error while a call is being worked on.
func (s *service) busy() error {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.inside > 0 {
		return fmt.Errorf("%d calls are being worked on", s.inside)
	}
	return nil
}

// unauthorized reports whether a call came in without a bearer token, or none at all did.
func (s *service) unauthorized() bool {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	for token := range s.tokens {
		if !strings.HasPrefix(token, "Bearer token-") {
			return true
		}
	}
	return len(s.tokens) == 0
}

// fault puts f in force.
func (s *service) fault(t *testing.T, f sandbox.Fault) {
	t.Helper()
	if _, err := s.AddFault(f); err != nil {
		t.Fatal(err)
	}
}

// hit returns an error until n calls of an operation have been hit by faults.
func (s *service) hit(operation sandbox.Operation, n int) error {
	hits := 0
	for _, request := range s.Requests() {
		if request.Operation == operation && request.Fault != "" {
			hits++
		}
	}
	if hits < n {
		return fmt.Errorf("%d of %d calls of %s were hit", hits, n, operation)
	}
	return nil
}

// count is how many calls of an operation a wallet made.
func (s *service) count(operation sandbox.Operation, xpubVanilla string) int {
	n := 0
	for _, request := range s.Requests() {
		if request.Operation == operation && request.Wallet == xpubVanilla {
			n++
		}
	}
	return n
}

var errNothingMoved = errors.New("no money moved")

// paidOnce says what is wrong where a payment was not made exactly once, by a wallet's own signatures.
func (s *service) paidOnce(key string) error {
	moved := s.Moved(key)
	switch {
	case len(moved) == 0:
		return errNothingMoved
	case len(moved) > 1:
		return fmt.Errorf("MONEY MOVED %d TIMES: %+v", len(moved), moved)
	case moved[0].PSBT == nil || !moved[0].PSBT.Valid:
		return fmt.Errorf("the money moved on a PSBT that the chain would refuse: %+v", moved[0].PSBT)
	}
	return nil
}
