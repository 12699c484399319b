package simulation

import (
	"slices"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/invoice"
	"github.com/utexo/utexo-operator/internal/sandbox"
)

// offerChaos adds what people and bad luck can do now.
func (s *sim) offerChaos(consider func(time.Time, int, func())) {
	now := s.clock.Now()
	if len(s.toMake) > 0 {
		consider(now, 4, s.declare)
	}
	if s.budget > 0 {
		consider(now, 4, s.strike)
	}
	if s.moving() {
		consider(now, 4, s.moveNext)
	}
	// Time passes although there is something to do.
	consider(now, 4, func() { s.advance(s.pick(durations)) })
}

// durations by which time jumps: within a call, within a Lease, beyond one, within and beyond a quarantine.
var durations = []time.Duration{
	10 * time.Millisecond, 100 * time.Millisecond, 500 * time.Millisecond, time.Second, time.Second, 3 * time.Second, 20 * time.Second,
}

func (s *sim) pick(from []time.Duration) time.Duration { return from[s.random.IntN(len(from))] }

// declare lets a person create the next resource of the plan.
func (s *sim) declare() {
	o := s.toMake[0]
	s.toMake = s.toMake[1:]
	s.note("declared: %s from %s", o.key, o.wallet)
	s.deposit(o)
	s.mustCreate(s.labelled(o))
}

// evil is a kind of bad thing and how often it comes.
type evil struct {
	weight int
	do     func(*sim)
}

// ambushes wait for a call; the others happen at once.
var ambushes = []evil{{34, (*sim).breakService}, {22, (*sim).breakKube}, {16, (*sim).armCrash}, {14, (*sim).armPause}}

var evils = append([]evil{
	{6, (*sim).restartService},
	{5, (*sim).beginElsewhere},
	{6, (*sim).stripStatus},
	{7, (*sim).deleteOne},
	{7, (*sim).deleteAndCreate},
	{7, (*sim).toggleSuspend},
	{3, (*sim).toggleList},
	{5, (*sim).misbehavingPayee},
	{3, (*sim).forceAway},
	{2, (*sim).loseRecords},
	{3, (*sim).loseOneRecord},
}, ambushes...)

// strike does one bad thing.
func (s *sim) strike() {
	from := evils
	if s.mutation.evils != nil {
		from = s.mutation.evils
	}
	s.doOne(from)
}

func (s *sim) lieInWait() {
	if s.mutation.evils == nil {
		s.doOne(ambushes)
	}
}

func (s *sim) doOne(from []evil) {
	s.budget--
	total := 0
	for _, e := range from {
		total += e.weight
	}
	pick := s.random.IntN(total)
	for _, e := range from {
		if pick -= e.weight; pick < 0 {
			e.do(s)
			return
		}
	}
}

// Operations of the service, those that move money more often than the others.
var targets = []sandbox.Operation{
	sandbox.PayBegin, sandbox.PayBegin, sandbox.PayEnd, sandbox.PayEnd, sandbox.PayEnd, sandbox.SendRequest, sandbox.SendRequest,
	sandbox.ListPayments, sandbox.OnchainBegin, sandbox.OnchainBegin, sandbox.OnchainEnd, sandbox.OnchainEnd, sandbox.OnchainEnd,
	sandbox.OnchainStatus, sandbox.FeeEstimate, sandbox.Balance, sandbox.NodeSendPayment, sandbox.NodeSendBtc, sandbox.NodeCloseChannel,
	sandbox.NodeGetPayment, sandbox.NodeDecode, sandbox.CreateInvoice, sandbox.ReceiveRequest, sandbox.NodeCreateInvoice,
	sandbox.NodeInvoiceStatus,
}

var serviceFaults = []sandbox.FaultKind{
	sandbox.FaultRefuseConnection, sandbox.FaultDropRequest, sandbox.FaultDropAnswer, sandbox.FaultDelay, sandbox.FaultSlowAnswer,
	sandbox.FaultLandLate, sandbox.FaultLandLate, sandbox.FaultDeliverTwice, sandbox.FaultErrorBefore, sandbox.FaultErrorAfter,
	sandbox.FaultTruncate, sandbox.FaultGarble, sandbox.FaultNull, sandbox.FaultUnknownStatus, sandbox.FaultRefuse, sandbox.FaultThrottle,
	sandbox.FaultHTML, sandbox.FaultHTMLAfter, sandbox.FaultOtherObject, sandbox.FaultRedirect, sandbox.FaultRestart,
	sandbox.FaultRestartAfter, sandbox.FaultForeignBegin,
}

var nodeFaults = []sandbox.FaultKind{
	sandbox.FaultDelay, sandbox.FaultDropRequest, sandbox.FaultDropAnswer, sandbox.FaultRefuse, sandbox.FaultErrorBefore, sandbox.FaultGarble,
}

// late are delays of a call. All are shorter than the quarantine counted from when the call left: that is what the quarantine is for.
var late = []time.Duration{time.Second, 20 * time.Second, 100 * time.Second, 200 * time.Second, 290 * time.Second}

func (s *sim) breakService() {
	f := sandbox.Fault{Operation: targets[s.random.IntN(len(targets))], Nth: 1}
	if s.chance(30) {
		f.Nth = 2
	}
	kinds := serviceFaults
	if f.Operation[:5] == "node." {
		kinds = nodeFaults
	}
	f.Kind = kinds[s.random.IntN(len(kinds))]
	f.Delay = sandbox.Duration(s.pick(late))
	switch f.Kind {
	case sandbox.FaultDeliverTwice:
		f.Delay = 0
		f.First = s.chance(50)
	case sandbox.FaultRefuse:
		names := []struct {
			status int
			name   string
		}{{403, "LockedNode"}, {403, "ChangingState"}, {403, "DuplicatePayment"}, {403, "NoRoute"}, {400, "InvalidInvoice"}, {500, "FailedPayment"}, {503, "Network"}}
		chosen := names[s.random.IntN(len(names))]
		f.Status, f.Name = chosen.status, chosen.name
	case sandbox.FaultThrottle:
		f.RetryAfter = 1 + s.random.IntN(60)
	}
	if s.chance(20) {
		f.Count = 2
	}
	if f.Operation == sandbox.SendRequest && s.chance(25) {
		f.Kind, f.Claim, f.Count = sandbox.FaultLie, sandbox.ClaimAbsent, 1
	}
	if _, err := s.service.AddFault(f); err != nil {
		panic(err)
	}
	s.note("armed at the service: %s of %s, call %d, %d times, delay %s", f.Kind, f.Operation, f.Nth, max(f.Count, 1), time.Duration(f.Delay))
	s.judge.armed = append(s.judge.armed, f)
}

// moments of a payment at which a fault tells most.
var moments = []string{
	"", "", "", "PaymentRecord", "Submitting", "Submitting", "Submitted", "Lease", "Lease", "-end", "-end", "-begin", "create PaymentRecord",
	"get PaymentRecord", "create Secret", "status", "Began", "create-invoice", "create PaymentRecord in-",
}

func (s *sim) arm(f kubeFault) {
	f.call = moments[s.random.IntN(len(moments))]
	f.after = s.chance(50)
	if f.call == "" {
		f.skip = s.random.IntN(40)
	} else {
		f.skip = max(s.random.IntN(5)-2, 0)
	}
	s.note("armed: %s at %q, after it %t, skipping %d, %d times", f.kind, f.call, f.after, f.skip, f.count)
	s.faults = append(s.faults, &f)
}

func (s *sim) breakKube() {
	kinds := []string{"conflict", "timeout", "timeout", "internal", "throttled", "forbidden"}
	f := kubeFault{kind: kinds[s.random.IntN(len(kinds))], count: 1}
	if s.chance(25) {
		f.count = 1 + s.random.IntN(15)
	}
	s.arm(f)
	if last := s.faults[len(s.faults)-1]; last.after && !slices.Contains([]string{"timeout", "internal"}, last.kind) {
		last.after = false // these are answers of a server that did nothing
	}
}

func (s *sim) armCrash() { s.arm(kubeFault{kind: "crash", count: 1}) }

func (s *sim) armPause() {
	s.arm(kubeFault{kind: "pause", count: 1, duration: s.pick([]time.Duration{
		2 * time.Second, 15 * time.Second, 35 * time.Second, 70 * time.Second, 310 * time.Second, 400 * time.Second, 1000 * time.Second,
	})})
}

func (s *sim) restartService() {
	s.note("the service restarts")
	s.service.Restart()
	s.judge.restarted = true
}

func (s *sim) beginElsewhere() {
	xpub := s.xpubOf(s.objects[0].wallet)
	if s.chance(50) && s.objects[1].key.kind == "Wallet" {
		xpub = s.xpubOf(s.objects[1].wallet)
	}
	if s.service.ForeignBegin(xpub, s.chance(60)) == nil {
		s.note("somebody else begins on a wallet")
		s.judge.foreign = true
	}
}

func (s *sim) xpubOf(wallet string) string {
	found := s.api.current(objectKey{"Wallet", team, wallet})
	return found.(*v1alpha1.Wallet).Status.XpubVanilla
}

// anyResource returns a payment or an invoice that exists; nil where there is none.
func (s *sim) anyResource() *object {
	var there []*object
	for _, o := range s.objects {
		if o.made != nil && o.rests() && s.api.current(o.key) != nil {
			there = append(there, o)
		}
	}
	if len(there) == 0 {
		return nil
	}
	return there[s.random.IntN(len(there))]
}

// stripStatus is what a restore from a backup does.
func (s *sim) stripStatus() {
	if o := s.anyResource(); o != nil {
		s.strip(o)
	}
}

func (s *sim) strip(o *object) {
	s.note("the status of %s is stripped", o.key)
	if issued, ok := s.api.current(o.key).(*v1alpha1.LightningInvoice); ok && s.recordOf(invoice.RecordName(string(issued.UID))) == nil {
		if of := s.issuingOf(string(issued.UID)); of.text != "" {
			s.forgetIssued(string(issued.UID)) // its record was lost before, and nothing is left of what was issued
		}
	}
	s.api.update(o.key, true, func(object client.Object) {
		switch o := object.(type) {
		case *v1alpha1.LightningPayment:
			o.Status = v1alpha1.LightningPaymentStatus{ObservedGeneration: -1}
		case *v1alpha1.OnchainSend:
			o.Status = v1alpha1.OnchainSendStatus{ObservedGeneration: -1}
		case *v1alpha1.LightningInvoice:
			o.Status = v1alpha1.LightningInvoiceStatus{ObservedGeneration: -1}
		case *v1alpha1.Wallet:
			o.Status = v1alpha1.WalletStatus{ObservedGeneration: -1}
		case *v1alpha1.Settlement:
			o.Status = v1alpha1.SettlementStatus{ObservedGeneration: -1}
		}
	})
}

func (s *sim) deleteOne() {
	if o := s.anyResource(); o != nil {
		s.note("%s is deleted", o.key)
		_ = s.api.remove(o.key)
	}
}

// deleteAndCreate lets a person replace a resource by itself: at once where it can go, else as soon as it is gone.
func (s *sim) deleteAndCreate() {
	if o := s.anyResource(); o != nil {
		s.note("%s is replaced", o.key)
		_ = s.api.remove(o.key)
		s.judge.replaced = append(s.judge.replaced, o)
		s.recreate()
	}
}

// recreate creates what was deleted to be replaced, once it is gone.
func (s *sim) recreate() {
	waiting := s.judge.replaced[:0]
	for _, o := range s.judge.replaced {
		if s.api.current(o.key) != nil {
			waiting = append(waiting, o)
			continue
		}
		s.note("declared again: %s", o.key)
		s.mustCreate(s.labelled(o))
	}
	s.judge.replaced = waiting
}

// forceAway removes a finalizer by force, as the deletion of a namespace may.
func (s *sim) forceAway() {
	if o := s.anyResource(); o != nil {
		s.note("%s is forced away", o.key)
		s.judge.forced = true
		_ = s.api.remove(o.key)
		s.api.update(o.key, false, func(object client.Object) { object.SetFinalizers(nil) })
		if s.chance(50) {
			s.judge.replaced = append(s.judge.replaced, o)
			s.recreate()
		}
	}
}

func (s *sim) toggleSuspend() {
	o := s.objects[s.random.IntN(len(s.objects))]
	s.setSuspend(o, s.chance(70))
}

func (s *sim) setSuspend(o *object, suspend bool) {
	current := s.api.current(o.key)
	if current == nil {
		return
	}
	changed := false
	edit := func(object client.Object) {
		switch object := object.(type) {
		case *v1alpha1.LightningPayment:
			changed, object.Spec.Suspend = object.Spec.Suspend != suspend, suspend
		case *v1alpha1.OnchainSend:
			changed, object.Spec.Suspend = object.Spec.Suspend != suspend, suspend
		case *v1alpha1.Wallet:
			changed, object.Spec.Suspend = object.Spec.Suspend != suspend, suspend
		}
	}
	if edit(current.DeepCopyObject().(client.Object)); changed {
		s.note("%s: suspend %t", o.key, suspend)
		s.api.update(o.key, false, edit)
	}
}

func (s *sim) toggleList() { s.service.SetListPayments(s.chance(50)) }

func (s *sim) misbehavingPayee() {
	o := s.orders[s.random.IntN(len(s.orders))]
	if o.kind != v1alpha1.RecordLightningPayment || o.key == "" {
		return
	}
	mode := sandbox.PayeeHangs
	if s.chance(40) {
		mode = sandbox.PayeeFails
	}
	s.note("the payee of %s: %s", short(o.key), mode)
	_ = s.service.SetPayee(o.key, mode)
}
