package simulation

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/payment"
	"github.com/utexo/utexo-operator/internal/sandbox"
	"github.com/utexo/utexo-operator/internal/testkit"
	"github.com/utexo/utexo-operator/internal/walletlock"
)

// judge holds a run against the invariants of docs/protocol.md. It believes no word of the operator: only the log of writes as they were
// stored, the calls as they left, the answers as they came, and the ledger.
type judge struct {
	// calls are the begins and ends, by the xpub of their wallet, in the order in which they left.
	calls map[string][]*moneyCall
	// doubts say, by record, why its outcome may be Unknown.
	doubts map[string]string
	// restarted and foreign are of the service; armed are the faults that were put there.
	restarted, foreign bool
	armed              []sandbox.Fault
	// forced tells that a resource was taken away by force.
	forced bool
	// disturbed tells that a replica crashed, was paused or could not reach its API server.
	disturbed bool
	// touched are the records whose resource somebody deleted or held back.
	touched map[string]bool
	// replaced are the objects that a person creates again once they are gone.
	replaced []*object
	stats    stats
	// watching tells that the run is over, quiet counts what it still did.
	watching bool
	writes   []string
	// issued are the LightningInvoices that asked for an invoice or show one, by UID; uids are these in the order of their appearance.
	issued map[string]*issuing
	uids   []string
	// loss is nil where no records were lost; resolved are the records of which a person said what became of the payment.
	loss     *loss
	resolved map[string]bool
	// sendWrites counts writes of records of on-chain sends. halved tells that some of those were lost.
	sendWrites int
	halved     bool
	// losing is the record that somebody is just deleting.
	losing string
	// held are what waits for somebody to look after lost records: nobody looks at it before, although its time may run out.
	held []objectKey
}

func newJudge() judge {
	return judge{calls: map[string][]*moneyCall{}, doubts: map[string]string{}, touched: map[string]bool{}, issued: map[string]*issuing{}, resolved: map[string]bool{}}
}

// stats counts what happened in runs.
type stats struct {
	kubeCalls, serviceCalls, crashes, pauses, kubeFaults, serviceFaults, begins, ends, unclear, repeats, moved, unknown, failed, succeeded int
	invoices, settled, losses, resolved, approvals, pins, recordsLost, told, settles, channels, renewed, signed                            int
}

func (a *stats) add(b stats) {
	a.kubeCalls += b.kubeCalls
	a.serviceCalls += b.serviceCalls
	a.crashes += b.crashes
	a.pauses += b.pauses
	a.kubeFaults += b.kubeFaults
	a.serviceFaults += b.serviceFaults
	a.begins += b.begins
	a.ends += b.ends
	a.unclear += b.unclear
	a.repeats += b.repeats
	a.moved += b.moved
	a.unknown += b.unknown
	a.failed += b.failed
	a.succeeded += b.succeeded
	a.invoices += b.invoices
	a.settled += b.settled
	a.losses += b.losses
	a.resolved += b.resolved
	a.approvals += b.approvals
	a.pins += b.pins
	a.recordsLost += b.recordsLost
	a.told += b.told
	a.settles += b.settles
	a.channels += b.channels
	a.renewed += b.renewed
	a.signed += b.signed
}

func (a *stats) String() string {
	return fmt.Sprintf("%d calls of the API server, %d of the service; faults that struck: %d at the service, %d at the API server, %d crashes, %d pauses; "+
		"%d begins, %d ends, of them %d without a clear answer and %d repetitions; payments: %d moved money, records %d Succeeded, %d Failed or Cancelled, %d Unknown; "+
		"%d invoices shown, %d Settled; all records lost %d times; %d words of people; %d approvals given; %d references to invoices resolved; one record lost %d times; %d resources looked at because a process said so; "+
		"%d settle calls, %d channels opened by them; %d invoices renewed; %d signatures given",
		a.kubeCalls, a.serviceCalls, a.serviceFaults, a.kubeFaults, a.crashes, a.pauses, a.begins, a.ends, a.unclear, a.repeats, a.moved,
		a.succeeded, a.failed, a.unknown, a.invoices, a.settled, a.losses, a.resolved,
		a.approvals, a.pins, a.recordsLost, a.told, a.settles, a.channels, a.renewed, a.signed)
}

// count sums a run up.
func (s *sim) count() {
	sum := &s.judge.stats
	for _, request := range s.service.Requests() {
		if request.Fault != "" {
			sum.serviceFaults++
		}
		if request.Effect == sandbox.EffectSettled {
			sum.channels++
		}
	}
	for _, calls := range s.judge.calls {
		seen := map[string]bool{}
		for _, c := range calls {
			if c.notSent {
				continue
			}
			if c.operation == settleCall {
				sum.settles++
				continue
			}
			if !c.end {
				sum.begins++
				continue
			}
			sum.ends++
			if c.unclear() {
				sum.unclear++
			}
			attempt := fmt.Sprint(c.record, c.attempt)
			if seen[attempt] {
				sum.repeats++
			}
			seen[attempt] = true
		}
	}
	for _, uid := range s.judge.uids {
		if of := s.judge.issued[uid]; of.text != "" {
			sum.invoices++
			if len(uid) > uidLength {
				sum.renewed++
			}
		}
	}
	if s.judge.loss != nil {
		sum.losses++
	}
	sum.resolved += len(s.judge.resolved)
	sum.signed += len(s.given)
	sum.approvals += len(s.consents.given)
	for _, o := range s.orders {
		sum.moved += len(s.service.Moved(o.key))
	}
	for _, key := range s.api.keys {
		record, ok := s.api.current(key).(*v1alpha1.PaymentRecord)
		if !ok {
			continue
		}
		if record.Journal.Reason == v1alpha1.ReasonSettled {
			sum.settled++
		}
		if record.Spec.Kind == v1alpha1.RecordInvoicePin {
			sum.pins++
		}
		switch record.Journal.Phase {
		case v1alpha1.RecordSucceeded:
			sum.succeeded++
		case v1alpha1.RecordFailed, v1alpha1.RecordCancelled:
			sum.failed++
		case v1alpha1.RecordUnknown:
			sum.unknown++
		}
	}
}

// moneyCall is a begin or an end as it left a replica.
type moneyCall struct {
	task      *task
	operation string
	wallet    string
	record    string
	attempt   int32
	end       bool
	at        time.Time
	// body is the answer to a settle call.
	body []byte
	// answered tells that the caller had an answer, clean that it was whole and readable, notSent that nothing left.
	answered, clean, notSent bool
	status                   int
}

func (c *moneyCall) unclear() bool { return !c.notSent && !c.clean }

// writeAhead is what a record says before an end.
type writeAhead struct {
	record   string
	attempt  int32
	endCalls int32
	txid     string
	notAfter time.Time
	// permitted is when the task began to ask for permission.
	permitted time.Time
}

// wrote is told of every stored write.
func (s *sim) wrote(made change) {
	t := s.current
	if s.tracing && t == nil {
		s.note("user: %s", made.key)
	}
	if s.judge.watching && made.key.kind != "Wallet" && !slices.Contains(s.judge.held, made.key) {
		s.judge.writes = append(s.judge.writes, "K "+made.key.String())
	}
	switch made.key.kind {
	case "PaymentRecord":
		s.wroteRecord(made)
	case "Wallet":
		if t == nil && made.before != nil {
			for _, o := range s.objects {
				s.judge.touched[o.record] = s.judge.touched[o.record] || o.wallet == made.key.name
			}
		}
	case "LightningPayment", "OnchainSend", "LightningInvoice", "Settlement":
		if o := s.objectOf(made.key); o != nil && t == nil && made.before != nil {
			s.judge.touched[o.record] = true
		}
		if made.after != nil {
			s.scan("the status of "+made.key.name, s.withoutRequest(string(made.text)))
			s.keepsIDs(made)
		}
		if made.key.kind == "LightningInvoice" {
			s.wroteInvoice(made)
		}
	}
	s.recreateSoon(made)
}

// recreateSoon creates again what was deleted to be replaced.
func (s *sim) recreateSoon(made change) {
	if made.after == nil && len(s.judge.replaced) > 0 {
		s.recreate()
	}
}

// order of phases within an attempt.
var phaseRank = map[v1alpha1.RecordPhase]int{
	v1alpha1.RecordClaimed: 1, v1alpha1.RecordBegan: 2, v1alpha1.RecordAwaitingSignature: 3, v1alpha1.RecordSubmitting: 4, v1alpha1.RecordSubmitted: 5,
	v1alpha1.RecordFailed: 6, v1alpha1.RecordCancelled: 6, v1alpha1.RecordUnknown: 6, v1alpha1.RecordSucceeded: 7, v1alpha1.RecordHeld: 1,
}

// wroteRecord checks that a record only goes forward, and keeps what the writing task announced.
func (s *sim) wroteRecord(made change) {
	if made.after == nil && s.judge.loss != nil && s.judge.loss.at.Equal(s.clock.Now()) {
		return
	}
	if made.after == nil {
		s.check("I4", made.key.name == s.judge.losing, "the record %s was deleted", made.key.name)
		return
	}
	after := made.after.(*v1alpha1.PaymentRecord)
	s.scan("a record", string(made.text))
	if after.Spec.Kind == v1alpha1.RecordOnchainSend {
		s.judge.sendWrites++
		s.madeAnew(made)
	}
	switch after.Spec.Kind {
	case v1alpha1.RecordLightningInvoice:
		s.readable(strings.TrimPrefix(made.key.name, "in-"), after.Spec.PaymentRequest)
	case v1alpha1.RecordInvoicePin:
		s.pinned(after)
	}
	if made.before != nil {
		was := &made.before.(*v1alpha1.PaymentRecord).Journal
		s.forward(made.key, was, &after.Journal)
		s.giveUpInTime(made.key, was, &after.Journal)
	}
	if t := s.current; t != nil {
		if t.object != nil && made.key.name == t.recordName() {
			t.recordLost = false // it works with what is there
		}
		if before, ok := made.before.(*v1alpha1.PaymentRecord); ok && after.Journal.Phase == v1alpha1.RecordSubmitting &&
			(before.Journal.Phase != v1alpha1.RecordSubmitting || after.Journal.EndCalls > before.Journal.EndCalls) {
			s.permitted(t, before)
		}
		switch after.Journal.Phase {
		case v1alpha1.RecordBegan:
			t.began = after.Journal.Attempt
		case v1alpha1.RecordSubmitting:
			t.ahead = &writeAhead{
				record: made.key.name, attempt: after.Journal.Attempt, endCalls: after.Journal.EndCalls, txid: after.Journal.Txid,
				notAfter: after.Journal.NotAfter.Time, permitted: t.looks.asked,
			}
		default:
			if t.ahead != nil && t.ahead.record == made.key.name {
				t.ahead = nil
			}
		}
	}
}

func (s *sim) forward(key objectKey, was, is *v1alpha1.PaymentJournal) {
	back := phaseRank[is.Phase] < phaseRank[was.Phase]
	switch {
	case is.Attempt < was.Attempt:
		s.fail("I10", "%s: attempt %d after %d", key, is.Attempt, was.Attempt)
	case was.RequestID != "" && is.RequestID != was.RequestID:
		s.fail("I10", "%s: id %q after %q", key, is.RequestID, was.RequestID)
	case s.answeredLate(key.name, was, is):
	case was.Phase == v1alpha1.RecordSucceeded && is.Phase != v1alpha1.RecordSucceeded,
		was.Phase == v1alpha1.RecordUnknown && is.Phase != v1alpha1.RecordUnknown && !s.judge.resolved[key.name]:
		s.fail("I10", "%s: %s after %s, and nobody resolved it", key, is.Phase, was.Phase)
	case back && is.Attempt > was.Attempt && is.Phase == v1alpha1.RecordBegan && was.Phase == v1alpha1.RecordBegan:
	case back && is.Phase == v1alpha1.RecordClaimed && (was.Phase == v1alpha1.RecordBegan || was.Phase == v1alpha1.RecordAwaitingSignature || was.Phase == v1alpha1.RecordSubmitting):
	case back && is.Phase == v1alpha1.RecordClaimed && (was.Phase == v1alpha1.RecordCancelled || was.Phase == v1alpha1.RecordFailed) && was.SubmittedAt == nil:
	case back && was.Phase == v1alpha1.RecordFailed && is.Phase == v1alpha1.RecordSubmitted: // a late word of the service
	case back:
		s.fail("I10", "%s: %s %d after %s %d", key, is.Phase, is.Attempt, was.Phase, was.Attempt)
	}
}

// answeredLate reports whether a record that was in doubt takes up the id that the service answered for it, and for nothing else.
func (s *sim) answeredLate(record string, was, is *v1alpha1.PaymentJournal) bool {
	if was.Phase != v1alpha1.RecordUnknown || was.RequestID != "" || is.RequestID == "" || is.Phase != v1alpha1.RecordSubmitted {
		return false
	}
	claim, ok := s.api.current(objectKey{"PaymentRecord", operator, payment.SendClaimName(is.RequestID)}).(*v1alpha1.PaymentRecord)
	return ok && claim.Spec.RecordRef == record
}

// giveUpInTime checks that an attempt is called not sent, or failed, only once its end cannot land any more (R5).
func (s *sim) giveUpInTime(key objectKey, was, is *v1alpha1.PaymentJournal) {
	if was.Phase != v1alpha1.RecordSubmitting || (is.Phase != v1alpha1.RecordClaimed && is.Phase != v1alpha1.RecordFailed) {
		return
	}
	for _, earlier := range s.judge.calls {
		for _, e := range earlier {
			if e.end && e.record == key.name && e.attempt == was.Attempt && e.unclear() && s.clock.Now().Before(e.at.Add(quarantine)) {
				s.fail("R5", "%s is %s %s after an end without a clear answer", key, is.Phase, s.clock.Now().Sub(e.at))
			}
		}
	}
}

// keepsIDs checks that what a status tells of a payment does not change.
func (s *sim) keepsIDs(made change) {
	if made.before == nil || made.before.GetUID() != made.after.GetUID() {
		return
	}
	var was, is []string
	switch a := made.after.(type) {
	case *v1alpha1.LightningPayment:
		b := made.before.(*v1alpha1.LightningPayment)
		was, is = []string{b.Status.PaymentHash, b.Status.RequestID, hashOf(b.Status.Plan)}, []string{a.Status.PaymentHash, a.Status.RequestID, hashOf(a.Status.Plan)}
	case *v1alpha1.LightningInvoice:
		b := made.before.(*v1alpha1.LightningInvoice)
		if a.Status.Renewals != b.Status.Renewals {
			return // which is another invoice
		}
		was = []string{b.Status.PaymentRequest, b.Status.PaymentHash, b.Status.RequestID}
		is = []string{a.Status.PaymentRequest, a.Status.PaymentHash, a.Status.RequestID}
	case *v1alpha1.OnchainSend:
		b := made.before.(*v1alpha1.OnchainSend)
		was, is = []string{hashOf(b.Status.Plan), b.Status.SendID}, []string{hashOf(a.Status.Plan), a.Status.SendID}
	}
	for i := range was {
		if was[i] != "" && is[i] != was[i] && is[i] != "" && (made.key.kind != "OnchainSend" || s.judge.loss == nil) {
			s.fail("I10", "%s: the status says %q after %q", made.key, is[i], was[i])
		}
	}
}

func hashOf(plan *v1alpha1.PaymentPlan) string {
	if plan == nil {
		return ""
	}
	return plan.Hash
}

// sending judges a request at the instant at which it leaves, and remembers begins and ends.
func (s *sim) sending(t *task, operation, wallet string, body []byte) *moneyCall {
	isBegin, isEnd := strings.HasSuffix(operation, "-begin"), strings.HasSuffix(operation, "-end")
	if operation == settleCall {
		isEnd = true
	}
	if !isBegin && !isEnd {
		return nil
	}
	now := s.clock.Now()
	c := &moneyCall{task: t, operation: operation, wallet: wallet, record: t.recordName(), attempt: t.began, end: isEnd, at: now}
	if isEnd && t.ahead != nil {
		c.attempt = t.ahead.attempt
	}
	if t.recordLost {
		c.record = lostName(c.record)
	}
	earlier := s.judge.calls[wallet]
	s.judge.calls[wallet] = append(earlier, c)
	if s.judge.watching {
		s.judge.writes = append(s.judge.writes, "U "+operation)
	}
	switch {
	case operation == settleCall:
		s.sendingSettle(c, earlier)
	case isBegin:
		s.sendingBegin(c, earlier)
	default:
		s.sendingEnd(c, earlier, body)
	}
	return c
}

func (s *sim) sendingBegin(c *moneyCall, earlier []*moneyCall) {
	s.beginsAfterLoss(c)
	s.check("plan", !s.onlyPlanned(c.task.object.key, c.task.uid), "%s begins, and was only planned", c.task.name)
	again := 0
	for _, e := range earlier {
		switch {
		case e.notSent:
		case e.unclear() && c.at.Before(e.at.Add(quarantine)):
			s.fail("I7", "%s begins %s after the unclear %s of %s", c.task.name, c.at.Sub(e.at), e.operation, e.task.name)
		}
		if e.record != c.record {
			continue
		}
		if e.end && e.unclear() && strings.HasPrefix(c.operation, "onchain") {
			s.fail("I8", "%s begins again after an unclear end", c.task.name)
		}
		if !e.end && e.attempt == c.attempt && !(e.clean && e.status != 200) {
			again++
		}
	}
	if again > 0 {
		s.fail("I9", "%s: begin %d of attempt %d", c.task.name, again+1, c.attempt)
	}
	if c.at.After(c.task.object.order.startBefore) {
		s.fail("R11", "%s begins at %s, after %s", c.task.name, c.at, c.task.object.order.startBefore)
	}
}

func (s *sim) sendingEnd(c *moneyCall, earlier []*moneyCall, body []byte) {
	ahead := c.task.ahead
	switch {
	case ahead == nil:
		s.fail("I5", "%s ends without a write-ahead", c.task.name)
		return
	case ahead.record != c.record || ahead.txid != testkit.TxidOfEnd(body) || c.at.After(ahead.notAfter):
		s.fail("I5", "%s ends %s until %s on the write-ahead %+v", c.task.name, testkit.TxidOfEnd(body), ahead.notAfter, *ahead)
	}
	s.check("permit", c.at.Sub(ahead.permitted) <= staleAfter, "%s ends %s after it asked for permission", c.task.name, c.at.Sub(ahead.permitted))
	ends := int32(1)
	var last *moneyCall
	for _, e := range earlier {
		if e.notSent {
			continue
		}
		last = e
		if e.end && e.record == c.record && e.attempt == c.attempt {
			ends++
		}
	}
	limit := int32(1)
	if strings.HasPrefix(c.operation, "onchain") {
		limit = 4
	}
	if ends > limit {
		s.fail("I9", "%s: end %d of attempt %d", c.task.name, ends, c.attempt)
	}
	if ends > ahead.endCalls {
		s.fail("I5", "%s: end %d of attempt %d, and the record says %d", c.task.name, ends, c.attempt, ahead.endCalls)
	}
	if last == nil || last.record != c.record || last.attempt != c.attempt {
		s.fail("I6", "%s ends attempt %d, and the last call of the wallet is %s", c.task.name, c.attempt, last)
	}
}

func (c *moneyCall) String() string {
	if c == nil {
		return "none"
	}
	return fmt.Sprintf("%s of %s, attempt %d", c.operation, c.task.name, c.attempt)
}

// answered notes what the caller of a begin or an end learnt.
func (s *sim) answered(c *moneyCall, a *answer, injected error) {
	if c == nil {
		return
	}
	c.answered, c.status = injected == nil, a.status
	c.notSent = a.notSent()
	c.clean = injected == nil && a.clean(c.operation)
	c.body = a.body
	switch {
	case c.end && (c.unclear() || injected != nil): // also where what the caller did not learn is that the connection was refused
		s.doubt(c.record, "an end without a clear answer")
	case c.end && bytes.Contains(a.body, []byte(`"detail":{`)):
		s.doubt(c.record, "an end that the node refused, perhaps after the service had begun to carry it out")
	}
}

// beforeBroadcast are the codes with which the reference server says that a send failed and nothing was broadcast.
var beforeBroadcast = []string{"UNSUPPORTED_SOURCE", "CHANNEL_CLOSE_FAILED", "BALANCE_UPDATE_TIMEOUT"}

// sawFailure notes that the service called a send failed in a way in which it also does where money moved.
func (s *sim) sawFailure(t *task, operation string, a *answer) {
	var status struct {
		Status    string `json:"status"`
		ErrorCode string `json:"error_code"`
	}
	if !strings.HasPrefix(operation, "onchain-send/") || json.Unmarshal(a.body, &status) != nil || status.Status != "FAILED" {
		return
	}
	if s.profile != v1alpha1.ProfileReference || !slices.Contains(beforeBroadcast, status.ErrorCode) {
		s.doubt(t.object.record, "the service says that it failed: "+status.ErrorCode)
	}
}

// doubt notes a reason for which the outcome of a record may have to be left to a person.
func (s *sim) doubt(record, why string) { s.judge.doubts[record] = why }

// quarantine is the protocol's T_q.
const quarantine = 300 * time.Second

// final judges the end of the run.
func (s *sim) final() {
	for _, o := range s.orders {
		s.judgeOrder(o)
	}
	s.judgeSends()
	s.judgePlans()
	s.judgeBudget()
	s.judgeInvoices()
	s.judgeRenewals()
	s.judgeSettlements()
	s.judgeObjects()
	s.count()
	if len(s.failures) == 0 {
		s.quiet()
	}
}

func (s *sim) recordOf(name string) *v1alpha1.PaymentRecord {
	found := s.api.current(objectKey{"PaymentRecord", operator, name})
	if found == nil {
		return nil
	}
	return found.(*v1alpha1.PaymentRecord)
}

// judgeOrder checks I1 to I4 of what was ordered, possibly by several resources.
func (s *sim) judgeOrder(o *order) {
	moved := s.service.Moved(o.key)
	s.note("order %s of %d sat: moved %d times", short(o.key), o.sats, len(moved))
	if s.judge.loss != nil && s.judge.loss.again[o] || o.again {
		return // nothing was left to tell that it was sent
	}
	if len(moved) > 1 && !(s.judge.loss != nil && o.ofSeveralWallets()) {
		s.fail("I1", "%s %s moved %d times", o.kind, short(o.key), len(moved))
	}
	var phases []v1alpha1.RecordPhase
	var names []string
	for _, object := range o.objects {
		record := s.recordOf(object.record)
		if record == nil || slices.Contains(names, object.record) {
			continue
		}
		names = append(names, object.record)
		phases = append(phases, record.Journal.Phase)
		s.judgeRecord(o, object, record, moved)
	}
	lightning := o.kind == v1alpha1.RecordLightningPayment
	if (o.recordLost || s.judge.loss != nil && lightning) && (s.saysSucceeded(o) || slices.ContainsFunc(o.objects, func(object *object) bool { return s.api.current(object.key) == nil })) {
		return // it is not made anew for what is over, or gone
	}
	if o.recordLost && !lightning {
		return // it is not made anew: nobody knows what became of it
	}
	if s.judge.loss != nil && (!lightning || s.saysSucceeded(o) || s.waitsSinceLoss(o)) {
		return // its record was lost and is not made anew
	}
	if slices.ContainsFunc(o.objects, s.orphaned) {
		s.check("I4", len(moved) == 0 || len(phases) > 0, "order %s moved, and there is no record", short(o.key))
	} else if len(moved) > 0 && !slices.Contains(phases, v1alpha1.RecordSucceeded) && (lightning || !slices.Contains(phases, v1alpha1.RecordUnknown)) {
		s.fail("I4", "order %s moved, and its records are %v", short(o.key), phases)
	}
	succeeded := 0
	for _, phase := range phases {
		if phase == v1alpha1.RecordSucceeded {
			succeeded++
		}
	}
	s.check("I2", succeeded <= max(len(moved), 0), "order %s: %d succeeded, moved %d times", short(o.key), succeeded, len(moved))
}

// waitsSinceLoss reports whether a resource that orders o waits for somebody to look after the records that were lost.
func (s *sim) waitsSinceLoss(o *order) bool {
	return slices.ContainsFunc(o.objects, func(object *object) bool {
		found := s.api.current(object.key)
		return found != nil && s.heldSinceLoss(found)
	})
}

// saysSucceeded reports whether the status of a resource that orders o does.
func (s *sim) saysSucceeded(o *order) bool {
	return slices.ContainsFunc(o.objects, func(object *object) bool {
		found := s.api.current(object.key)
		return found != nil && phaseOf(found) == v1alpha1.PaymentSucceeded
	})
}

func (s *sim) judgeRecord(o *order, object *object, record *v1alpha1.PaymentRecord, moved []sandbox.Entry) {
	s.note("record %s: %s attempt %d: %s %s", short(record.Name), record.Journal.Phase, record.Journal.Attempt, record.Journal.Reason,
		record.Journal.Message)
	switch record.Journal.Phase {
	case v1alpha1.RecordSucceeded:
		if len(moved) == 1 {
			s.judgeMovement(o, moved[0])
		}
	case v1alpha1.RecordFailed, v1alpha1.RecordCancelled:
		// One whose record was lost and which was deleted before it was looked for again is Cancelled: nothing else was known of it.
		known := record.Journal.Phase == v1alpha1.RecordFailed || !o.recordLost
		if known && len(moved) > 0 && (o.kind == v1alpha1.RecordLightningPayment || s.mine(object, moved[0])) {
			s.fail("I3", "%s is %s, and the money moved", object.key, record.Journal.Phase)
		}
	case v1alpha1.RecordUnknown:
		switch why := s.judge.doubts[object.record]; {
		case o.kind == v1alpha1.RecordLightningPayment:
			s.fail("I14", "%s is Unknown, and a Lightning payment never has to be", object.key)
		case why == "" && !s.judge.restarted && !s.judge.foreign && !s.confused():
			s.fail("I14", "%s is Unknown, and nothing was unclear: %s", object.key, record.Journal.Message)
		case s.couldRepeat(object, record):
			s.fail("I14", "%s is Unknown, and the same end could still have been repeated: %s", object.key, record.Journal.Message)
		}
	default:
		found := s.api.current(object.key)
		if o.recordLost && found != nil && phaseOf(found) == v1alpha1.PaymentSucceeded {
			return // it was paid, and claimed again by a process whose cache did not know yet: nobody else pays it, and it rests as it is
		}
		s.check("I13", s.orphaned(object) || found != nil && (s.blocked(found) || s.heldSinceLoss(found)), "%s came to rest as %s", object.key, record.Journal.Phase)
	}
}

// couldRepeat reports whether the answer to an end was lost for good although the service would have told it to a repetition.
func (s *sim) couldRepeat(object *object, record *v1alpha1.PaymentRecord) bool {
	if s.profile != v1alpha1.ProfileReference || s.judge.restarted || s.judge.foreign || s.confused() || s.judge.touched[object.record] ||
		strings.HasPrefix(s.judge.doubts[object.record], "the service says") {
		return false
	}
	ends := 0
	for _, earlier := range s.judge.calls {
		for _, e := range earlier {
			if e.end && e.record == object.record && e.attempt == record.Journal.Attempt {
				ends++
			}
		}
	}
	return ends < 4 && !s.judge.disturbed // by what may have used up the time in which it may be repeated
}

// orphaned reports whether the record of what object orders is held by a resource that was taken away by force: it waits for that one.
func (s *sim) orphaned(object *object) bool {
	record := s.recordOf(object.record)
	if record == nil || !s.judge.forced || payment.NeverSubmitted(&record.Journal) { // which is anybody's
		return false
	}
	holder := record.Journal.Holder
	return s.api.current(objectKey{holder.Kind, holder.Namespace, holder.Name}) == nil
}

// mine reports whether a movement is that of object, among several that order the same: it came from object's wallet.
func (s *sim) mine(object *object, entry sandbox.Entry) bool {
	return len(object.order.objects) == 1
}

// confused reports whether a fault struck by which the service did, or said, something else than it was asked, or hid what it did.
func (s *sim) confused() bool {
	for _, f := range s.service.Requests() {
		switch f.Fault {
		case sandbox.FaultRestart, sandbox.FaultRestartAfter, sandbox.FaultForeignBegin, sandbox.FaultOtherObject, sandbox.FaultLandLate:
			return true
		}
	}
	return slices.ContainsFunc(s.judge.armed, func(f sandbox.Fault) bool {
		return f.Operation == sandbox.NodeSendBtc || f.Operation == sandbox.NodeCloseChannel
	})
}

func (s *sim) judgeMovement(o *order, entry sandbox.Entry) {
	if o.kind == v1alpha1.RecordLightningPayment {
		s.check("I2", int64(entry.AmountSats) == o.sats, "order %s: %d sat moved, %d were declared", short(o.key), entry.AmountSats, o.sats)
		return
	}
	sent := int64(entry.AmountSats)
	s.check("I2", entry.Destination == o.destination && (sent == o.sats || sent == o.sats-1000 || sent == o.sats-int64(entry.FeeSats)),
		"order %s: %d sat moved to %s, %d were declared to %s", short(o.key), sent, entry.Destination, o.sats, o.destination)
}

// judgeSends checks that no two records hold one send (I11).
func (s *sim) judgeSends() {
	holders := map[string]string{}
	for _, key := range s.api.keys {
		if key.kind != "PaymentRecord" {
			continue
		}
		record := s.recordOf(key.name)
		if record == nil || record.Spec.Kind != v1alpha1.RecordOnchainSend || record.Journal.RequestID == "" {
			continue
		}
		if other := holders[record.Journal.RequestID]; other != "" {
			s.fail("I11", "send %s is of %s and of %s", record.Journal.RequestID, short(other), short(key.name))
		}
		holders[record.Journal.RequestID] = key.name
	}
}

// judgeBudget checks that no wallet spent more in 24 hours than its limit, by the ledger.
func (s *sim) judgeBudget() {
	if s.dailySats == 0 || s.judge.loss != nil { // with the records went what they said was spent
		return
	}
	spent := map[string][]sandbox.Entry{}
	for _, o := range s.orders {
		for _, entry := range s.service.Moved(o.key) {
			spent[entry.Wallet] = append(spent[entry.Wallet], entry)
		}
	}
	for wallet, entries := range spent {
		for _, first := range entries {
			sats := int64(0)
			for _, entry := range entries {
				if since := entry.At.Sub(first.At); since >= 0 && since < 24*time.Hour {
					sats += int64(entry.AmountSats + entry.FeeSats)
				}
			}
			s.check("I17", sats <= s.dailySats, "wallet %s spent %d sat in a day, its limit is %d", short(wallet), sats, s.dailySats)
		}
	}
}

// blocked reports whether a resource waits for the budget of its wallet.
func (s *sim) blocked(object client.Object) bool {
	ready := meta.FindStatusCondition(object.(interface{ GetConditions() []metav1.Condition }).GetConditions(), v1alpha1.ConditionReady)
	return s.dailySats > 0 && ready != nil && ready.Reason == v1alpha1.ReasonBudgetExceeded
}

// judgeObjects checks that each status tells what its record does, in the way that people read it.
func (s *sim) judgeObjects() {
	for _, o := range s.objects {
		found := s.api.current(o.key)
		if found == nil || o.key.kind == "PaymentRecord" {
			continue
		}
		if err := testkit.CheckStatus(found); err != nil {
			s.fail("status", "%v", err)
		}
		if o.order == nil {
			continue
		}
		phase := phaseOf(found)
		s.note("%s: %s %s", o.key, phase, readyMessage(found))
		record := s.recordOf(o.record)
		deleting := found.GetDeletionTimestamp() != nil
		switch {
		case deleting && phase != v1alpha1.PaymentUnknown:
			s.fail("I13", "%s is deleted, stays, and is %s", o.key, phase)
		case phase == v1alpha1.PaymentSucceeded:
			s.check("I2", record != nil && record.Journal.Phase == v1alpha1.RecordSucceeded ||
				(s.judge.loss != nil || o.order.recordLost) && len(s.service.Moved(o.order.key)) > 0, "%s says Succeeded, its record does not", o.key)
		case phase == v1alpha1.PaymentUnknown:
			s.check("I14", o.order.recordLost || record != nil && record.Journal.Phase == v1alpha1.RecordUnknown, "%s says Unknown, its record does not", o.key)
		case phase == v1alpha1.PaymentFailed:
			held := record != nil && record.Journal.Holder.Name == o.key.name
			// One that a cache showed after it was replaced may have claimed the record again, and let it go.
			ended := held && (record.Journal.Phase == v1alpha1.RecordFailed || record.Journal.Phase == v1alpha1.RecordCancelled)
			s.check("I4", !held || ended, "%s says Failed, its record does not", o.key)
		default:
			s.check("I13", s.orphaned(o) || s.heldSinceLoss(found) || s.blocked(found), "%s came to rest as %s: %s", o.key, phase, readyMessage(found))
		}
	}
	for _, key := range s.api.keys {
		name, _, isPSBT := strings.Cut(key.name, "-psbt-")
		if key.kind != "Secret" || key.namespace != operator || !isPSBT {
			continue
		}
		if found := s.api.current(key); found != nil {
			if record := s.recordOf(name); record != nil {
				s.note("left: %s of a payment that is %s", key, record.Journal.Phase)
			}
		}
	}
	for _, key := range s.api.keys {
		if key.kind != "Lease" {
			continue
		}
		if lease := s.api.current(key); lease != nil {
			s.scan("a Lease", lease.GetAnnotations()[walletlock.InflightAnnotation])
		}
	}
}

func phaseOf(object client.Object) v1alpha1.PaymentPhase {
	switch o := object.(type) {
	case *v1alpha1.LightningPayment:
		return o.Status.Phase
	case *v1alpha1.OnchainSend:
		return o.Status.Phase
	}
	return ""
}

func readyMessage(object client.Object) string {
	if ready := readyOf(object); ready != nil {
		return ready.Reason + ": " + ready.Message
	}
	return ""
}

func readyReason(object client.Object) string {
	if ready := readyOf(object); ready != nil {
		return ready.Reason
	}
	return ""
}

func readyOf(object client.Object) *metav1.Condition {
	return meta.FindStatusCondition(object.(interface{ GetConditions() []metav1.Condition }).GetConditions(), v1alpha1.ConditionReady)
}

// rests are how long nothing happens before each further pass over what came to rest. One seed in ten makes twenty passes instead.
var rests = []time.Duration{time.Second, time.Minute, time.Hour, 12 * time.Hour}

// quiet reconciles every payment again, on the replicas in turn: nothing is written, and nothing is called that moves money (I13).
func (s *sim) quiet() {
	s.judge.watching = true
	for _, o := range s.objects {
		if found := s.api.current(o.key); found != nil && o.order != nil && s.heldSinceLoss(found) {
			s.judge.held = append(s.judge.held, o.key)
		}
	}
	pauses := rests
	switch {
	case s.script != nil:
		pauses = []time.Duration{time.Second, time.Hour}
	case s.seed%10 == 0:
		pauses = slices.Repeat([]time.Duration{time.Minute}, 20)
	}
	for pass, pause := range pauses {
		s.advance(pause)
		r := s.replicas[pass%len(s.replicas)]
		s.leader = r
		for i, o := range s.objects {
			if o.rests() && s.api.current(o.key) != nil {
				r.due[i] = s.clock.Now()
			}
		}
		s.settle(time.Second)
	}
	s.judge.watching = false
	if len(s.judge.writes) > 0 {
		s.fail("I13", "%d passes after the end made %v", len(pauses), slices.Compact(s.judge.writes))
	}
}

// dump is everything that a run left behind, for comparing two runs. The epoch of a wallet's records is random.
func (s *sim) dump() string {
	var out bytes.Buffer
	for _, line := range s.trace {
		fmt.Fprintln(&out, line)
	}
	for _, entry := range s.service.Ledger() {
		fmt.Fprintf(&out, "%s\n", must(json.Marshal(entry)))
	}
	var epochs []string
	for _, key := range s.api.keys {
		found := s.api.current(key)
		if found == nil {
			continue
		}
		if record, ok := found.(*v1alpha1.PaymentRecord); ok && record.Spec.Epoch != "" {
			epochs = append(epochs, record.Spec.Epoch, "epoch")
		}
		fmt.Fprintf(&out, "%s %s\n", key, encoded(found))
	}
	return strings.NewReplacer(epochs...).Replace(out.String())
}

func must(text []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return text
}
