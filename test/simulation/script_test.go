package simulation

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/payment"
	"github.com/utexo/utexo-operator/internal/sandbox"
	"github.com/utexo/utexo-operator/internal/testkit"
)

// operation is one resource that a person declares, on one kind of service, and that one replica then sees through.
type operation struct {
	name    string
	service sandbox.Profile
	profile v1alpha1.ServerProfile
	// declare plans the resource; nil for the Wallet itself.
	declare func(*sim)
}

var operations = func() (all []operation) {
	for _, on := range []struct {
		name    string
		service sandbox.Profile
		profile v1alpha1.ServerProfile
	}{{"documented", sandbox.Documented, v1alpha1.ProfileConservative}, {"reference", sandbox.Reference, v1alpha1.ProfileReference}} {
		all = append(all,
			operation{"LightningInvoice/" + on.name, on.service, on.profile, func(s *sim) {
				o := &object{wallet: "wallet-0", payAfter: time.Second}
				o.made = testkit.MakeLightningInvoice("invoice").Namespace(team).Wallet(o.wallet).AmountSats(3000).Expiry(time.Hour).Obj()
				o.key = keyOf(o.made)
				s.addObject(o)
				s.toMake = append(s.toMake, o)
			}},
			operation{"LightningPayment/" + on.name, on.service, on.profile, func(s *sim) {
				s.orders = append(s.orders, s.lightningOrder(5000, 24*time.Hour))
				s.planObject(s.orders[0], "payment", "wallet-0")
			}},
			operation{"OnchainSend/" + on.name, on.service, on.profile, func(s *sim) {
				s.orders = append(s.orders, s.onchainOrder(25_000, 24*time.Hour))
				s.planObject(s.orders[0], "payment", "wallet-0")
			}},
			operation{"Wallet/" + on.name, on.service, on.profile, nil})
	}
	// Its calls are the same on both services; the answer of this one says more.
	return append(all, operation{"Settlement/reference", sandbox.Reference, v1alpha1.ProfileReference, func(s *sim) {
		s.planSettlement("settlement", "wallet-0", 1_000_000)
	}})
}()

// boundary is a call as an operation made it without faults: the nth of its name.
type boundary struct {
	call string
	nth  int
}

// strike is a fault at a boundary.
type strike struct {
	// boundary is the index in the path.
	boundary int
	// kind is crash, replaced, stale, or an error of the API server; empty for a fault of the service.
	kind string
	// after puts it behind the call's effect.
	after bool
	fault sandbox.Fault
}

func (k strike) String() string {
	if k.kind == "" {
		name := string(k.fault.Kind)
		switch k.fault.Kind {
		case sandbox.FaultRefuse, sandbox.FaultThrottle:
			name += fmt.Sprintf(" %d %s", k.fault.Status, k.fault.Name)
		case sandbox.FaultDeliverTwice:
			name += fmt.Sprintf(", answered as the first %t", k.fault.First)
		}
		return name
	}
	if k.after {
		return k.kind + " after it took effect"
	}
	return k.kind
}

// script says which call of an object is hit by what. Its zero value but for the object records the path.
type script struct {
	object *object
	path   []boundary
	// strikes are still to come, in their order; the first one hits the nth call of its name from when the last one struck.
	strikes []scripted
	seen    map[string]int
	struck  int
	stale   bool
}

type scripted struct {
	strike
	at boundary
}

// scriptOf is the script of faults at boundaries of a path. The second fault hits the call that stands at its boundary, counted from where
// the first one struck where the boundary is a later one, and from there as if the operation began anew where it is not.
func scriptOf(path []boundary, strikes ...strike) *script {
	made := &script{seen: map[string]int{}}
	for i, k := range strikes {
		at := path[k.boundary]
		if i > 0 && k.boundary > strikes[i-1].boundary {
			at.nth = 0
			for _, b := range path[strikes[i-1].boundary+1 : k.boundary+1] {
				if b.call == at.call {
					at.nth++
				}
			}
		}
		made.strikes = append(made.strikes, scripted{k, at})
	}
	return made
}

// scripted is a boundary of a call of the script's object.
func (s *sim) scripted(t *task, name string, after bool) error {
	sc := s.script
	if strings.HasPrefix(name, "patch PaymentRecord") {
		name = strings.TrimRight(name, " 0123456789") // whichever attempt it is
	}
	if !after {
		sc.seen[name]++
		sc.path = append(sc.path, boundary{name, sc.seen[name]})
	}
	if len(sc.strikes) == 0 {
		return nil
	}
	k := sc.strikes[0]
	if k.at.call != name || k.at.nth != sc.seen[name] || k.after != after {
		return nil
	}
	sc.strikes = sc.strikes[1:]
	sc.struck++
	clear(sc.seen)
	s.note("%s: %s at %s", t.name, k.strike, name)
	if k.kind == "" {
		f := k.fault
		f.Operation = operationAt(name)
		if _, err := s.service.AddFault(f); err != nil {
			panic(err)
		}
		s.judge.armed = append(s.judge.armed, f)
		return nil
	}
	s.judge.disturbed = true
	switch k.kind {
	case "crash":
		s.die(t.replica)
		panic(crash{})
	case "stale":
		sc.stale = true
		return nil
	case "replaced":
		s.replace(name)
		return nil
	case "gone":
		if t.ahead != nil && strings.HasPrefix(name, "patch PaymentRecord") {
			s.doubt(t.ahead.record, "an outcome that could not be written: the record was said to be gone")
		}
	}
	return kubeError(k.kind)
}

// replace lets a person delete and create again the resource that a call is about.
func (s *sim) replace(call string) {
	o := s.script.object
	if strings.Contains(call, " Wallet ") {
		o = s.objects[0]
	}
	t := s.current
	s.current = nil // it is not the operator who writes
	s.note("%s is replaced", o.key)
	_ = s.api.remove(o.key)
	s.judge.replaced = append(s.judge.replaced, o)
	s.recreate()
	s.current = t
}

// revisionToRead is what a read of key sees: now, but for a stale one, which sees what was there before the last write.
func (s *sim) revisionToRead(key objectKey) int64 {
	if s.script == nil || !s.script.stale || s.current.object != s.script.object {
		return s.api.revision
	}
	s.script.stale = false
	if held := s.api.versionAt(key, s.api.revision); held.revision > 0 {
		return held.revision - 1
	}
	return s.api.revision
}

// operationAt is the operation of the service that a call of that name is.
func operationAt(name string) sandbox.Operation {
	_, path, _ := strings.Cut(name, " ")
	path, _, _ = strings.Cut(path, "/")
	if strings.HasPrefix(name, "POST wallet/") {
		return sandbox.RegisterWallet
	}
	return map[string]sandbox.Operation{
		"create-invoice": sandbox.CreateInvoice, "receive-request": sandbox.ReceiveRequest, "fee-estimate": sandbox.FeeEstimate,
		"pay-invoice-begin": sandbox.PayBegin, "pay-invoice-end": sandbox.PayEnd, "send-request": sandbox.SendRequest,
		"listpayments": sandbox.ListPayments, "onchain-receive": sandbox.OnchainReceive, "balance": sandbox.Balance,
		"onchain-send-begin": sandbox.OnchainBegin, "onchain-send-end": sandbox.OnchainEnd, "onchain-send": sandbox.OnchainStatus,
		settleCall: sandbox.Settle, "listtransfers": sandbox.ListTransfers, "listtransactions": sandbox.ListTransactions,
	}[path]
}

func isDeclared(call string) bool {
	return slices.ContainsFunc(watchedKinds, func(kind string) bool { return strings.Contains(call, " "+kind+" ") })
}

func isServiceCall(name string) bool {
	return strings.HasPrefix(name, "GET ") || strings.HasPrefix(name, "POST ")
}

// kubeKinds are what each verb can meet; those with "+" after it took effect. What people declared can be replaced by themselves; of the
// operator's own objects the API server says that they are gone.
var kubeKinds = map[string][]string{
	"get":    {"timeout", "internal", "forbidden", "stale", "gone"},
	"list":   {"timeout", "internal", "forbidden"},
	"create": {"exists", "timeout", "timeout+", "internal", "forbidden"},
	"patch":  {"conflict", "timeout", "timeout+", "internal", "forbidden", "gone"},
	"delete": {"timeout", "timeout+", "internal", "forbidden", "gone"},
}

// serviceKinds are the faults that a call of the service can meet.
func serviceKinds(op sandbox.Operation) []sandbox.Fault {
	seconds := func(n int) sandbox.Duration { return sandbox.Duration(time.Duration(n) * time.Second) }
	kinds := []sandbox.Fault{
		{Kind: sandbox.FaultRefuseConnection},
		{Kind: sandbox.FaultDropRequest},
		{Kind: sandbox.FaultErrorBefore},
		{Kind: sandbox.FaultTruncate},
		{Kind: sandbox.FaultGarble},
		{Kind: sandbox.FaultNull},
		{Kind: sandbox.FaultRefuse, Status: 403, Name: "LockedNode"},
		{Kind: sandbox.FaultThrottle, Status: 429, RetryAfter: 30},
		{Kind: sandbox.FaultThrottle, Status: 503, RetryAfter: 30},
	}
	switch op {
	case sandbox.PayEnd, sandbox.OnchainEnd, sandbox.SendRequest, sandbox.OnchainStatus, sandbox.ReceiveRequest, sandbox.ListPayments:
		kinds = append(kinds, sandbox.Fault{Kind: sandbox.FaultUnknownStatus})
	}
	switch op {
	case sandbox.PayBegin, sandbox.PayEnd, sandbox.OnchainBegin, sandbox.OnchainEnd, sandbox.CreateInvoice, sandbox.Settle:
		kinds = append(kinds, []sandbox.Fault{
			{Kind: sandbox.FaultDropAnswer},
			{Kind: sandbox.FaultLandLate, Delay: seconds(200)},
			{Kind: sandbox.FaultSlowAnswer, Delay: seconds(160)},
			{Kind: sandbox.FaultDeliverTwice},
			{Kind: sandbox.FaultDeliverTwice, First: true},
			{Kind: sandbox.FaultErrorAfter},
			{Kind: sandbox.FaultHTMLAfter},
			{Kind: sandbox.FaultOtherObject},
			{Kind: sandbox.FaultRedirect},
			{Kind: sandbox.FaultRefuse, Status: 400, Name: "InvalidInvoice"},
			{Kind: sandbox.FaultRefuse, Status: 403, Name: "NoRoute"},
		}...)
	case sandbox.SendRequest, sandbox.OnchainStatus, sandbox.ReceiveRequest:
		kinds = append(kinds, sandbox.Fault{Kind: sandbox.FaultOtherObject})
	}
	switch op {
	case sandbox.PayEnd:
		kinds = append(kinds, sandbox.Fault{Kind: sandbox.FaultRefuse, Status: 403, Name: "DuplicatePayment"})
	case sandbox.SendRequest:
		kinds = append(kinds, sandbox.Fault{Kind: sandbox.FaultRefuse, Status: 403, Name: "PaymentNotFound"})
	}
	return kinds
}

// strikesAt lists all that can go wrong along a path.
func strikesAt(path []boundary) (kube, service, crashes []strike) {
	for i, b := range path {
		crashes = append(crashes, strike{boundary: i, kind: "crash"}, strike{boundary: i, kind: "crash", after: true})
		if isServiceCall(b.call) {
			for _, f := range serviceKinds(operationAt(b.call)) {
				service = append(service, strike{boundary: i, fault: f})
			}
			continue
		}
		verb, _, _ := strings.Cut(b.call, " ")
		for _, kind := range kubeKinds[verb] {
			kind, after := strings.CutSuffix(kind, "+")
			if kind == "gone" && isDeclared(b.call) {
				kind = "replaced"
			}
			kube = append(kube, strike{boundary: i, kind: kind, after: after})
		}
	}
	return kube, service, crashes
}

// soon lets an outcome be there when a payment is looked at for the first time after it was submitted: further looks are the same calls.
var soon = sandbox.Timing{
	Payment: time.Second, Block: time.Second, Step: 10 * time.Millisecond, Poll: 100 * time.Millisecond,
}

// runScript sees an operation through under a script, to rest, and judges it.
func runScript(op operation, sc *script, tracing bool) *sim {
	s := newWorld(1, mutation{}, tracing)
	s.serve(op.service, op.profile, op.service == sandbox.Documented, soon)
	s.options.SyncInterval = 24 * time.Hour // looks at the wallet are no part of a payment
	r := &replica{sim: s, name: "a"}
	s.replicas, s.leader = []*replica{r}, r
	if op.declare == nil {
		s.addWallet("wallet-0", walletKeys[0], op.profile)
		s.script, sc.object = sc, s.objects[0]
		s.start(r)
	} else {
		s.addWallet("wallet-0", walletKeys[0], op.profile)
		op.declare(s)
		s.start(r)
		s.settle(time.Minute)
		s.script, sc.object = sc, s.toMake[0]
		s.declare()
	}
	s.restOf(op)
	s.service.ClearFaults(0)
	sc.strikes = nil
	s.settle(time.Minute) // a Wallet that was replaced is looked at again, too
	s.restOf(op)
	if op.declare == nil {
		s.judgeWallet()
	}
	s.final()
	return s
}

// restOf goes on until nothing is left to do for a long time.
func (s *sim) restOf(op operation) {
	if op.declare != nil {
		s.driveToRest()
		return
	}
	limit := s.clock.Now().Add(12 * time.Hour)
	for s.step(limit) {
	}
}

// judgeWallet checks that the wallet came to be ready, and that its records have one epoch, of which none were lost.
func (s *sim) judgeWallet() {
	wallet := s.api.current(s.objects[0].key).(*v1alpha1.Wallet)
	s.check("I13", meta.IsStatusConditionTrue(wallet.Status.Conditions, v1alpha1.ConditionReady), "the wallet came to rest as %s", readyMessage(wallet))
	epoch := s.recordOf(payment.EpochName(wallet.Status.XpubVanilla))
	switch {
	case epoch == nil:
		s.fail("I4", "the wallet's records have no epoch")
	case epoch.Journal.Reason != "" || epoch.Spec.Epoch != wallet.Status.JournalEpoch:
		s.fail("I4", "the wallet's records are of %s, its status says %s: %s", epoch.Spec.Epoch, wallet.Status.JournalEpoch, epoch.Journal.Reason)
	}
}
