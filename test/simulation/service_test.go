package simulation

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"syscall"
	"time"

	"github.com/utexo/utexo-operator/internal/utexo"
)

// transport carries requests of the real client to the sandbox. The service works on each in a task of its own, so that a client can
// give up, or die, while it does.
type transport struct{ sim *sim }

// patience is how long the client waits for the answer to a call, as in package utexo; there it is real time, here virtual.
func patience(operation string) time.Duration {
	switch {
	case strings.HasSuffix(operation, "-end"), operation == settleCall:
		return 150 * time.Second
	case strings.HasSuffix(operation, "-begin"):
		return 60 * time.Second
	}
	return 35 * time.Second
}

// RoundTrip implements http.RoundTripper.
func (tr *transport) RoundTrip(request *http.Request) (*http.Response, error) {
	s := tr.sim
	t := s.current
	operation := strings.TrimPrefix(strings.TrimPrefix(request.URL.Path, "/"), "lightning/")
	name := request.Method + " " + shortPath(operation)
	s.judge.stats.serviceCalls++
	t.looks = looks{}
	if err := s.cross(name, false); err != nil {
		s.note("%s U %s: not made: %v", t.name, name, err)
		return nil, errors.Join(utexo.ErrNotSent, err)
	}
	var body []byte
	if request.Body != nil {
		var err error
		if body, err = io.ReadAll(request.Body); err != nil {
			return nil, err
		}
	}
	if err := utexo.Leave(request.Context()); err != nil && !s.mutation.late {
		s.note("%s U %s: too late: %v", t.name, name, err)
		return nil, err
	}
	made := s.sending(t, operation, request.Header.Get("xpub-van"), body)
	answer := tr.exchange(t, request, operation, body)
	if s.mutation.resend && answer.lost() && made != nil {
		s.answered(made, &answer, nil)
		made = s.sending(t, operation, request.Header.Get("xpub-van"), body)
		answer = tr.exchange(t, request, operation, body)
	}
	s.tick()
	injected := s.cross(name, true)
	s.answered(made, &answer, injected)
	s.asksForInvoice(t, operation, &answer)
	s.sawFailure(t, operation, &answer)
	if s.mutation.answer != nil {
		s.mutation.answer(s, t, operation, &answer)
	}
	s.note("%s U %s: %s", t.name, name, &answer)
	if injected != nil {
		return nil, injected
	}
	return answer.response(request)
}

// exchange lets the service work on the request and waits for its answer.
func (tr *transport) exchange(t *task, request *http.Request, operation string, body []byte) answer {
	s := tr.sim
	var got answer
	work := s.spawn(&task{name: "service for " + t.name, until: s.clock.Now()}, func() {
		served, err := http.NewRequest(request.Method, request.URL.String(), bytes.NewReader(body))
		if err != nil {
			got.err = err
			return
		}
		served.Header = request.Header.Clone()
		response, err := s.server.RoundTrip(served)
		if err != nil {
			got.err = err
			return
		}
		got.status, got.header = response.StatusCode, response.Header
		got.body, got.err = io.ReadAll(response.Body)
	})
	if !s.await(work, s.clock.Now().Add(patience(operation))) {
		return answer{err: errTimeout}
	}
	return got
}

var errTimeout = errors.New("no answer in time")

// answer is what came back of a request.
type answer struct {
	status int
	header http.Header
	body   []byte
	// err is why the body is not whole, or where status is 0 why there is none.
	err error
}

func (a *answer) lost() bool { return a.err != nil || a.status >= 500 }

// notSent tells that the connection was refused.
func (a *answer) notSent() bool { return errors.Is(a.err, syscall.ECONNREFUSED) }

// clean tells that the service said, whole and readably, what it did or that it did nothing.
func (a *answer) clean(operation string) bool {
	if a.err != nil {
		return false
	}
	if a.status != http.StatusOK {
		return a.status >= 400 && a.status < 500 && a.status != http.StatusTooManyRequests
	}
	var value any
	if json.Unmarshal(a.body, &value) != nil {
		return false
	}
	if strings.HasSuffix(operation, "-begin") {
		_, ok := value.(string)
		return ok
	}
	fields, ok := value.(map[string]any)
	return ok && (operation == settleCall || fields["id"] != nil || fields["send_id"] != nil || fields["withdrawal_id"] != nil)
}

func (a *answer) String() string {
	if a.status == 0 {
		return fmt.Sprint(a.err)
	}
	text := string(a.body)
	if len(text) > 160 {
		text = text[:160] + "…"
	}
	text = fmt.Sprintf("%d %s", a.status, strings.TrimSpace(text))
	if a.err != nil {
		text += " " + a.err.Error()
	}
	return text
}

func (a *answer) response(request *http.Request) (*http.Response, error) {
	if a.status == 0 {
		if a.notSent() {
			return nil, errors.Join(utexo.ErrNotSent, a.err)
		}
		return nil, a.err
	}
	var body io.Reader = bytes.NewReader(a.body)
	if a.err != nil {
		body = io.MultiReader(body, failing{a.err})
	}
	return &http.Response{
		StatusCode: a.status, Status: fmt.Sprint(a.status), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: a.header,
		Body: io.NopCloser(body), ContentLength: -1, Request: request,
	}, nil
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func shortPath(operation string) string {
	name, id, found := strings.Cut(operation, "/")
	if found && len(id) > 8 {
		return name + "/" + id[:8]
	}
	return operation
}
