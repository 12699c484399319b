package sandbox

import (
	"fmt"
	"slices"
	"time"
)

// FaultKind names something that goes wrong with a call.
type FaultKind string

// The faults of a call of the API. "Processed" means that the service did what it was asked, as far as it would.
const (
	FaultRefuseConnection FaultKind = "refuse-connection" // not processed; the connection is refused (in process) or closed
	FaultDropRequest      FaultKind = "drop-request"      // not processed; the connection is closed
	FaultDropAnswer       FaultKind = "drop-answer"       // processed; the connection is closed
	FaultDelay            FaultKind = "delay"             // processed after Delay
	FaultSlowAnswer       FaultKind = "slow-answer"       // processed at once, answered after Delay
	FaultLandLate         FaultKind = "land-late"         // the connection is closed; processed after Delay
	FaultDeliverTwice     FaultKind = "deliver-twice"     // processed twice, at once or after Delay; answered as the second time if at once and not First
	FaultErrorBefore      FaultKind = "error-before"      // not processed; 5xx
	FaultErrorAfter       FaultKind = "error-after"       // processed; 5xx
	FaultTruncate         FaultKind = "truncate"          // processed; 200 whose body ends in the middle
	FaultGarble           FaultKind = "garble"            // processed; 200 whose body is no JSON
	FaultNull             FaultKind = "null"              // processed; 200 null
	FaultUnknownStatus    FaultKind = "unknown-status"    // processed; the status word is one that no document knows
	FaultRefuse           FaultKind = "refuse"            // not processed; a node error of Status and Name
	FaultThrottle         FaultKind = "throttle"          // not processed; 429, or Status, with Retry-After
	FaultHTML             FaultKind = "html"              // not processed; a gateway's page, 502 or Status
	FaultHTMLAfter        FaultKind = "html-after"        // processed; the same page
	FaultOtherObject      FaultKind = "other-object"      // processed; the answer carries another object's ids
	FaultRedirect         FaultKind = "redirect"          // not processed; 307 to Location, the same URL where empty
	FaultLie              FaultKind = "lie"               // a look-up answers what Claim says
	FaultRestart          FaultKind = "restart"           // the service restarts, then processes
	FaultRestartAfter     FaultKind = "restart-after"     // processed; then the service restarts and the answer is lost
	FaultForeignBegin     FaultKind = "foreign-begin"     // another client of the wallet begins an order, then processed
	FaultAssetLie         FaultKind = "asset-lie"         // a begin of the documented service answers an asset transfer that is as Claim says
)

// FaultStale is a fault of NodeCloseChannel: the channel is still listed as open right after.
const FaultStale FaultKind = "stale"

// The calls that the service makes of its node, as operations of faults. Of the kinds they know delay, drop-request, drop-answer,
// refuse, error-before and garble.
const (
	NodeCreateInvoice Operation = "node.lninvoice"
	NodeInvoiceStatus Operation = "node.invoicestatus"
	NodeDecode        Operation = "node.decodelninvoice"
	NodeSendPayment   Operation = "node.sendpayment"
	NodeGetPayment    Operation = "node.getpayment"
	NodeListPayments  Operation = "node.listpayments"
	NodeListChannels  Operation = "node.listchannels"
	NodeOpenChannel   Operation = "node.openchannel"
	NodeCloseChannel  Operation = "node.closechannel"
	NodeBalance       Operation = "node.btcbalance"
	NodeSendBtc       Operation = "node.sendbtc"
	NodeSendAsset     Operation = "node.sendasset"
)

// What a lying look-up says.
const (
	ClaimAbsent    = "absent"    // there is no such object
	ClaimFailed    = "failed"    // it failed
	ClaimSucceeded = "succeeded" // it succeeded
	ClaimPending   = "pending"   // it is still under way
)

// Fault is something to go wrong, once or often.
type Fault struct {
	ID   int       `json:"id"`
	Kind FaultKind `json:"kind"`
	// Operation is the call to hit; empty for every operation of the API.
	Operation Operation `json:"operation,omitempty"`
	// Wallet is the xpub-van of the caller to hit; empty for everyone.
	Wallet string `json:"wallet,omitempty"`
	// Nth is the first matching call to hit, counted from when the fault was added; 0 is 1.
	Nth int `json:"nth,omitempty"`
	// Count is how many calls to hit; 0 is 1, negative is all.
	Count int `json:"count,omitempty"`
	// Delay is for the kinds that are late.
	Delay Duration `json:"delay,omitempty"`
	// Status is the HTTP status of the kinds that answer one.
	Status int `json:"status,omitempty"`
	// Name and Message are the node error of refuse.
	Name    string `json:"name,omitempty"`
	Message string `json:"message,omitempty"`
	// RetryAfter, in seconds, is the header of throttle.
	RetryAfter int `json:"retry_after,omitempty"`
	// Location is where redirect sends the client.
	Location string `json:"location,omitempty"`
	// First answers deliver-twice as the first processing did.
	First bool `json:"first,omitempty"`
	// Claim is what lie says, or how asset-lie lies.
	Claim string `json:"claim,omitempty"`

	// Seen and Hit count the matching calls, and those that the fault hit.
	Seen int `json:"seen"`
	Hit  int `json:"hit"`
}

// Duration is a time.Duration that JSON writes as text: "1m30s".
type Duration time.Duration

// MarshalText returns d as time.Duration prints it.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText reads what time.ParseDuration does.
func (d *Duration) UnmarshalText(text []byte) error {
	parsed, err := time.ParseDuration(string(text))
	*d = Duration(parsed)
	return err
}

// faultTable holds the faults in force, oldest first: of several that match, the oldest hits.
type faultTable struct {
	faults []*Fault
	lastID int
}

// AddFault puts f in force and returns its id. It fails on a kind or claim that does not exist.
func (s *Server) AddFault(f Fault) (id int, err error) {
	if err := f.validate(); err != nil {
		return 0, err
	}
	s.lock()
	defer s.unlock()
	s.faults.lastID++
	f.ID, f.Seen, f.Hit = s.faults.lastID, 0, 0
	s.faults.faults = append(s.faults.faults, &f)
	return f.ID, nil
}

// Faults returns the faults that were added and not cleared, spent ones included.
func (s *Server) Faults() []Fault {
	s.lock()
	defer s.unlock()
	faults := make([]Fault, 0, len(s.faults.faults))
	for _, f := range s.faults.faults {
		faults = append(faults, *f)
	}
	return faults
}

// ClearFaults removes the fault with that id, or all where id is 0.
func (s *Server) ClearFaults(id int) {
	s.lock()
	defer s.unlock()
	s.faults.faults = slices.DeleteFunc(s.faults.faults, func(f *Fault) bool { return id == 0 || f.ID == id })
}

var faultKinds = []FaultKind{
	FaultRefuseConnection, FaultDropRequest, FaultDropAnswer, FaultDelay, FaultSlowAnswer, FaultLandLate, FaultDeliverTwice,
	FaultErrorBefore, FaultErrorAfter, FaultTruncate, FaultGarble, FaultNull, FaultUnknownStatus, FaultRefuse, FaultThrottle,
	FaultHTML, FaultHTMLAfter, FaultOtherObject, FaultRedirect, FaultLie, FaultRestart, FaultRestartAfter, FaultForeignBegin, FaultStale,
	FaultAssetLie,
}

// nodeFaultKinds are the kinds that a call of the node can have.
var nodeFaultKinds = []FaultKind{
	FaultDelay, FaultDropRequest, FaultDropAnswer, FaultRefuse, FaultErrorBefore, FaultGarble, FaultStale,
}

func (f *Fault) validate() error {
	kinds := faultKinds
	if f.Operation.ofNode() {
		kinds = nodeFaultKinds
	}
	if !slices.Contains(kinds, f.Kind) || f.Kind == FaultStale && f.Operation != NodeCloseChannel {
		return fmt.Errorf("fault kind %q does not fit operation %q", f.Kind, f.Operation)
	}
	claims := []string{ClaimAbsent, ClaimFailed, ClaimSucceeded, ClaimPending}
	if f.Kind == FaultLie && !slices.Contains(claims, f.Claim) {
		return fmt.Errorf("a lie needs a claim of %q", claims)
	}
	if f.Kind == FaultAssetLie && !slices.Contains(assetClaims, f.Claim) {
		return fmt.Errorf("an asset lie needs a claim of %q", assetClaims)
	}
	if f.Nth < 0 || f.Delay < 0 || f.Status != 0 && (f.Status < 400 || f.Status > 599) {
		return fmt.Errorf("fault %s: nth and delay are not negative, status is 400 to 599", f.Kind)
	}
	return nil
}

func (op Operation) ofNode() bool { return len(op) > 5 && op[:5] == "node." }

// match returns the fault that hits a call of op by wallet, nil where none does. It counts.
func (t *faultTable) match(op Operation, wallet string) *Fault {
	var hit *Fault
	for _, f := range t.faults {
		if f.Operation != op && (f.Operation != "" || op.ofNode()) || f.Wallet != "" && f.Wallet != wallet {
			continue
		}
		f.Seen++
		if hit == nil && f.Seen >= max(f.Nth, 1) && (f.Count < 0 || f.Hit < max(f.Count, 1)) {
			f.Hit++
			hit = f
		}
	}
	return hit
}

// nodeReply is what came of a call of the node.
type nodeReply[T any] struct {
	value   T
	refusal *nodeError
	// lost says that there is no answer, text why; empty after a timeout. The node may have done what it was asked.
	lost bool
	text string
	// garbled says that the answer could not be read.
	garbled bool
	// stale says that the node's lists do not show what it did.
	stale bool
	// took is how long it took.
	took time.Duration
}

// The reference server's patience with its node.
const (
	nodeTimeout     = 30 * time.Second
	nodeTimeoutLong = 60 * time.Second // sendpayment, sendbtc, sendasset, openchannel, closechannel
)

// askNode makes a call of the node on behalf of wallet. What the node does, it does at once; only its answer takes time, which is for
// the caller to let pass.
func askNode[T any](s *Server, op Operation, wallet string, do func() (T, *nodeError)) nodeReply[T] {
	reply := nodeReply[T]{took: max(s.opts.Timing.Node, 0)}
	timeout := nodeTimeout
	switch op {
	case NodeSendPayment, NodeSendBtc, NodeSendAsset, NodeOpenChannel, NodeCloseChannel:
		timeout = nodeTimeoutLong
	}
	f := s.faults.match(op, wallet)
	if f == nil {
		f = &Fault{}
	}
	switch f.Kind {
	case FaultDropRequest:
		reply.lost, reply.text = true, "[Errno 111] Connection refused"
		return reply
	case FaultRefuse:
		reply.refusal = f.nodeError()
		return reply
	case FaultErrorBefore:
		reply.refusal = &nodeError{Text: "Bad Gateway", Code: 502}
		return reply
	case FaultDelay:
		reply.took += time.Duration(f.Delay)
	case FaultDropAnswer:
		reply.took, reply.lost = time.Duration(f.Delay), true
	case FaultGarble:
		reply.garbled = true
	case FaultStale:
		reply.stale = true
	}
	reply.value, reply.refusal = do()
	if reply.took > timeout {
		reply.took, reply.lost = timeout, true // a timeout's text is empty
	}
	return reply
}

// nodeError is the refusal that f describes, PaymentNotFound where it does not.
func (f *Fault) nodeError() *nodeError {
	e := &nodeError{Text: f.Message, Code: f.Status, Name: f.Name}
	orDefault(&e.Name, "PaymentNotFound")
	orDefault(&e.Code, 403)
	orDefault(&e.Text, e.Name)
	return e
}
