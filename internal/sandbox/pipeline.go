package sandbox

import (
	"net/http"
	"strconv"
	"time"
)

// delivery is what reaches the client: an answer, or less.
type delivery struct {
	answer answer
	// raw replaces the answer's body; contentType belongs to it.
	raw         []byte
	contentType string
	cut         cut
}

// cut says where the connection ends.
type cut int

const (
	whole     cut = iota
	refused       // before the request
	reset         // before the answer
	truncated     // in the middle of the body
)

func (d delivery) body() ([]byte, string) {
	if d.raw != nil {
		return d.raw, d.contentType
	}
	return d.answer.encode(), "application/json"
}

// write delivers over net/http.
func (d delivery) write(w http.ResponseWriter) {
	if d.cut == refused || d.cut == reset {
		panic(http.ErrAbortHandler)
	}
	body, contentType := d.body()
	for name, values := range d.answer.header {
		w.Header()[name] = values
	}
	if len(body) > 0 {
		w.Header().Set("Content-Type", contentType)
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(d.answer.status)
	if d.cut == truncated {
		_, _ = w.Write(body[:len(body)/2])
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
	_, _ = w.Write(body) // a client that went away has no answer; that is its fault to test
}

// throughFaults processes c under the fault that hits it.
func (s *Server) throughFaults(c *call) (d delivery) {
	defer func() {
		switch cause := recover().(type) {
		case nil:
		case killed:
			d = delivery{cut: reset}
		default:
			panic(cause)
		}
	}()
	f := s.faults.match(c.route.op, c.identity.vanilla)
	if f == nil {
		return delivery{answer: c.process()}
	}
	s.ledger.requests[c.entry].Fault = f.Kind
	if d, done := s.unprocessed(c, f); done {
		return d
	}
	return s.processed(c, f)
}

// unprocessed handles the faults that keep the service from the request.
func (s *Server) unprocessed(c *call, f *Fault) (d delivery, done bool) {
	switch f.Kind {
	case FaultRefuseConnection:
		return delivery{cut: refused}, true
	case FaultDropRequest:
		return delivery{cut: reset}, true
	case FaultLandLate:
		s.after(time.Duration(f.Delay), func() { c.again(f).process() })
		return delivery{cut: reset}, true
	case FaultErrorBefore:
		return delivery{answer: f.serverError()}, true
	case FaultRefuse:
		return delivery{answer: f.nodeError().answer()}, true
	case FaultThrottle:
		a := detailError(f.statusOr(http.StatusTooManyRequests), "Too Many Requests")
		a.header = http.Header{"Retry-After": {strconv.Itoa(f.RetryAfter)}}
		return delivery{answer: a}, true
	case FaultHTML:
		return f.page(), true
	case FaultRedirect:
		location := f.Location
		if location == "" {
			location = c.request.URL.RequestURI()
		}
		return delivery{answer: answer{status: http.StatusTemporaryRedirect, header: http.Header{"Location": {location}}}}, true
	case FaultLie:
		if f.Claim == ClaimAbsent {
			return delivery{answer: s.absent(c.route.op)}, true
		}
	}
	return delivery{}, false
}

// processed lets the service do its work and spoils the answer, or the circumstances.
func (s *Server) processed(c *call, f *Fault) delivery {
	switch f.Kind {
	case FaultDelay:
		c.wait(time.Duration(f.Delay))
	case FaultRestart:
		s.memory = newMemory()
		c.memory = s.memory
	case FaultForeignBegin:
		_ = s.foreignBegin(c.identity, c.route.op == OnchainBegin || c.route.op == OnchainEnd) // a wallet without coins begins nothing
	case FaultOtherObject:
		return delivery{answer: s.otherObject(c)}
	case FaultAssetLie:
		c.claim = f.Claim
	}
	slot := s.memory.pays[c.identity.vanilla]
	a := c.process()
	switch f.Kind {
	case FaultDropAnswer:
		return delivery{cut: reset}
	case FaultRestartAfter:
		s.memory = newMemory()
		return delivery{cut: reset}
	case FaultSlowAnswer:
		c.wait(time.Duration(f.Delay))
	case FaultDeliverTwice:
		a = s.deliverAgain(c, f, slot, a)
	case FaultErrorAfter:
		a = f.serverError()
	case FaultHTMLAfter:
		return f.page()
	case FaultTruncate:
		return delivery{answer: a, cut: truncated}
	case FaultGarble:
		return delivery{answer: answer{status: http.StatusOK}, raw: []byte(`{"id": "`), contentType: "application/json"}
	case FaultNull:
		a = ok(nil)
	case FaultUnknownStatus:
		a = withStatus(a, "AWAITING_MANUAL_REVIEW")
	case FaultLie:
		a = s.claimed(c, a, f.Claim)
	}
	return delivery{answer: a}
}

// deliverAgain processes c a second time: after the delay, or where it is zero at once, as if the first had not finished yet.
func (s *Server) deliverAgain(c *call, f *Fault, slot *begunPayment, first answer) answer {
	if f.Delay > 0 {
		s.after(time.Duration(f.Delay), func() { c.again(f).process() })
		return first
	}
	after := s.memory.pays[c.identity.vanilla]
	if slot != nil && after == nil {
		s.memory.pays[c.identity.vanilla] = slot
	}
	second := c.again(f).process()
	if after == nil && c.route.op == PayEnd {
		delete(s.memory.pays, c.identity.vanilla)
	}
	if f.First {
		return first
	}
	return second
}

// again is the same call delivered once more, with an entry of its own in the log. It does not wait for the clock.
func (c *call) again(f *Fault) *call {
	repeat := *c
	repeat.patient = false
	repeat.memory = c.s.memory
	repeat.log()
	repeat.s.ledger.requests[repeat.entry].Fault = f.Kind
	repeat.s.ledger.requests[repeat.entry].Repeat = true
	return &repeat
}

func (f *Fault) statusOr(status int) int {
	if f.Status != 0 {
		return f.Status
	}
	return status
}

// serverError is a 5xx with the text of the service's own failures; its words say nothing about what was done.
func (f *Fault) serverError() answer {
	a := internalError()
	a.status = f.statusOr(http.StatusInternalServerError)
	return a
}

func (f *Fault) page() delivery {
	status := f.statusOr(http.StatusBadGateway)
	text := strconv.Itoa(status) + " " + http.StatusText(status)
	page := "<html>\r\n<head><title>" + text + "</title></head>\r\n<body>\r\n<center><h1>" + text +
		"</h1></center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
	return delivery{answer: answer{status: status}, raw: []byte(page), contentType: "text/html"}
}
