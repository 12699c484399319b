package controller_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/amount"
	"github.com/utexo/utexo-operator/internal/controller"
	"github.com/utexo/utexo-operator/internal/payment"
	"github.com/utexo/utexo-operator/internal/sandbox"
	"github.com/utexo/utexo-operator/internal/testkit"
)

// The oracles judge what was seen of a trial, and believe no word of the operator: what the API server stored, the calls as they left, the
// answers as they came, the ledger. They are functions of an outcome alone, so that each can be shown one that is broken.

// traced is something that happened; one of record, resource and call is set.
type traced struct {
	at time.Time
	// record and resource are as they were stored.
	record   *v1alpha1.PaymentRecord
	resource client.Object
	call     *moneyCall
}

// moneyCall is a begin or an end of a payment.
type moneyCall struct {
	end, onchain bool
	// record is whose it is, txid the transaction that an end carries, ahead what the record said when the call left; nil for none.
	record, txid string
	ahead        *v1alpha1.PaymentJournal
	answer       *callAnswer
}

// callAnswer is what a call came to.
type callAnswer struct {
	// notSent: nothing left. clear: a whole answer that says that it was carried out, or refused.
	notSent, clear bool
}

// unclear reports whether the call may have been carried out, or may still be, for all that its answer says.
func (c *moneyCall) unclear() bool { return c.answer == nil || (!c.answer.notSent && !c.answer.clear) }

// readAnswer reads an answer and puts it back.
func readAnswer(response **http.Response, err error, nothingArrived bool) *callAnswer {
	if err != nil {
		return &callAnswer{notSent: nothingArrived}
	}
	body, err := io.ReadAll((*response).Body)
	_ = (*response).Body.Close()
	rest := io.Reader(bytes.NewReader(body))
	if err != nil {
		rest = io.MultiReader(rest, brokenBody{err})
	}
	(*response).Body = io.NopCloser(rest)
	status := (*response).StatusCode
	if err != nil || status != http.StatusOK {
		return &callAnswer{clear: err == nil && status >= 400 && status < 500 && status != http.StatusTooManyRequests}
	}
	var value any
	if json.Unmarshal(body, &value) != nil {
		return &callAnswer{}
	}
	if _, isText := value.(string); isText { // an unsigned PSBT
		return &callAnswer{clear: true}
	}
	fields, _ := value.(map[string]any)
	return &callAnswer{clear: fields["id"] != nil || fields["send_id"] != nil || fields["withdrawal_id"] != nil}
}

// brokenBody is the rest of an answer that broke off.
type brokenBody struct{ err error }

func (b brokenBody) Read([]byte) (int, error) { return 0, b.err }

// outcome is everything that the oracles judge.
type outcome struct {
	operation
	expected
	// manifest is what was declared, object the resource as it is at last; nil where it is gone.
	manifest, object client.Object
	trace            []traced
	// ledger holds what came in over Lightning, and what went out.
	ledger []sandbox.Entry
	// invoices are the BOLT11s that could be read, issued is how many the service issued.
	invoices []string
	issued   int
	// told counts the events by reason, unknownMetric is the metric's value; it is read where the outcome is unknown.
	told          map[string]int
	unknownMetric float64
	// later is what twenty further passes wrote or called.
	later []string
	// shown is all that a user or an administrator can read: objects, events, logs.
	shown string
}

// violation is what an oracle found.
type violation struct{ oracle, text string }

// violations holds an outcome against the invariants of docs/reliability.md.
func (o *outcome) violations() []violation {
	var found []violation
	fail := func(oracle, format string, arguments ...any) {
		found = append(found, violation{oracle, fmt.Sprintf(format, arguments...)})
	}
	o.judgeShown(fail)
	if len(o.later) > 0 {
		fail("I13", "twenty passes after the end made %v", slices.Compact(o.later))
	}
	if o.object != nil {
		if err := testkit.CheckStatus(o.object); err != nil {
			fail("status", "%v", err)
		}
	} else if !o.gone {
		fail("I13", "the resource is gone")
	}
	o.judgeResource(fail)
	switch {
	case o.pays():
		o.judgePayment(fail)
		o.judgeRecords(fail)
		o.judgeCalls(fail)
	case o.kind == "LightningInvoice":
		o.judgeInvoice(fail)
	default:
		o.judgeWallet(fail)
	}
	return found
}

type failing func(oracle, format string, arguments ...any)

// out are the movements out of the wallet.
func (o *outcome) out() []sandbox.Entry {
	return slices.DeleteFunc(slices.Clone(o.ledger), func(e sandbox.Entry) bool { return e.Kind == sandbox.LightningIn })
}

// journal is what the record of the payment said last; nil for none.
func (o *outcome) journal() (last *v1alpha1.PaymentJournal) {
	for _, e := range o.trace {
		if e.record != nil && isPayment(e.record) {
			last = &e.record.Journal
		}
	}
	return last
}

func isPayment(record *v1alpha1.PaymentRecord) bool {
	return record.Spec.Kind == v1alpha1.RecordLightningPayment || record.Spec.Kind == v1alpha1.RecordOnchainSend
}

// judgePayment holds the ledger against what the resource, or where that is gone its record, says: I1 to I4, I14.
func (o *outcome) judgePayment(fail failing) {
	out := o.out()
	if len(out) > 1 {
		fail("I1", "money moved %d times: %+v", len(out), out)
	}
	for _, entry := range out {
		o.judgeMovement(fail, entry)
	}
	if o.object == nil {
		journal := o.journal()
		if len(out) > 0 && (journal == nil || journal.SubmittedAt == nil || journal.Phase == v1alpha1.RecordFailed || journal.Phase == v1alpha1.RecordCancelled) {
			fail("I4", "money moved, and the record of the resource that is gone says %+v", journal)
		}
		return
	}
	phase := phaseOf(o.object)
	switch phase {
	case v1alpha1.PaymentSucceeded:
		if len(out) == 0 {
			fail("I2", "Succeeded, and no money moved")
		}
	case v1alpha1.PaymentFailed:
		if len(out) > 0 {
			fail("I3", "Failed, and money moved")
		}
		if !o.failed {
			fail("I14", "Failed, and nothing refused it: %+v", conditionsOf(o.object))
		}
	case v1alpha1.PaymentUnknown:
		o.judgeUnknown(fail)
	default:
		fail("I13", "came to rest as %q, and money moved %d times", phase, len(out))
	}
	if len(out) == 1 && phase != v1alpha1.PaymentSucceeded && phase != v1alpha1.PaymentUnknown {
		fail("I4", "money moved, and it is %q", phase)
	}
	if o.unknown && phase != v1alpha1.PaymentUnknown {
		fail("I14", "%s, although nobody can know", phase)
	}
}

func (o *outcome) judgeMovement(fail failing, entry sandbox.Entry) {
	declared, destination := amount.Sat(5000), ""
	if send, ok := o.manifest.(*v1alpha1.OnchainSend); ok {
		declared, destination = amount.Sat(*send.Spec.AmountSats), send.Spec.To.Address
	}
	if pay, ok := o.object.(*v1alpha1.LightningPayment); ok {
		destination = pay.Status.Payee
		if entry.Key != pay.Status.PaymentHash {
			fail("I2", "another invoice was paid")
		}
	}
	if entry.AmountSats != declared || (destination != "" && entry.Destination != destination) {
		fail("I2", "%d sat moved to %s, declared are %d to %s", entry.AmountSats, entry.Destination, declared, destination)
	}
	if entry.PSBT == nil || (!o.lied && (!entry.PSBT.Valid || !entry.PSBT.Asked)) {
		fail("I2", "moved on a PSBT that is not the one that was asked for and signed: %+v", entry.PSBT)
	}
}

// judgeUnknown checks that an unknown outcome is one that must be, and that a person learns of it in all three ways.
func (o *outcome) judgeUnknown(fail failing) {
	if !o.unknown {
		fail("I14", "Unknown after a fault that leaves no doubt: %s", asJSON(conditionsOf(o.object)))
	}
	outcome := meta.FindStatusCondition(conditionsOf(o.object), v1alpha1.ConditionOutcomeKnown)
	if outcome == nil || outcome.Status != metav1.ConditionFalse || outcome.Reason != v1alpha1.ReasonOutcomeUnknown {
		fail("I14", "OutcomeKnown of an unknown outcome is %+v", outcome)
	}
	if !meta.IsStatusConditionTrue(conditionsOf(o.object), v1alpha1.ConditionStalled) {
		fail("I14", "an unknown outcome is not Stalled")
	}
	if o.told[v1alpha1.ReasonOutcomeUnknown] != 1 {
		fail("I14", "a person was told %v, want OutcomeUnknown once", o.told)
	}
	if o.unknownMetric != 1 {
		fail("I14", "the metric counts %v unknown outcomes", o.unknownMetric)
	}
}

// order of the phases of a record within an attempt.
var phaseOrder = map[v1alpha1.RecordPhase]int{
	v1alpha1.RecordClaimed: 1, v1alpha1.RecordBegan: 2, v1alpha1.RecordAwaitingSignature: 3, v1alpha1.RecordSubmitting: 4,
	v1alpha1.RecordSubmitted: 5, v1alpha1.RecordFailed: 6, v1alpha1.RecordCancelled: 6, v1alpha1.RecordUnknown: 6, v1alpha1.RecordSucceeded: 7,
}

// judgeRecords checks that records only go forward (I10), and that nothing is called not sent, or failed, while its end may land (R5).
func (o *outcome) judgeRecords(fail failing) {
	last := map[string]*v1alpha1.PaymentJournal{}
	var unclearEnd time.Time
	for _, e := range o.trace {
		if e.call != nil && e.call.end && e.call.unclear() {
			unclearEnd = e.at
		}
		if e.record == nil || !isPayment(e.record) {
			continue
		}
		is := &e.record.Journal
		was := last[string(e.record.UID)]
		last[string(e.record.UID)] = is
		if was == nil {
			continue
		}
		if why := backward(was, is); why != "" {
			fail("I10", "%s: %s", e.record.Name, why)
		}
		if was.Phase == v1alpha1.RecordSubmitting && (is.Phase == v1alpha1.RecordClaimed || is.Phase == v1alpha1.RecordFailed) &&
			!unclearEnd.IsZero() && e.at.Before(unclearEnd.Add(quarantine)) {
			fail("R5", "%s is %s %s after an end without a clear answer", e.record.Name, is.Phase, e.at.Sub(unclearEnd))
		}
	}
}

var quarantine = payment.DefaultPolicy().Quarantine

// backward says in what a journal goes back; empty where it does not.
func backward(was, is *v1alpha1.PaymentJournal) string {
	nothingSent := was.SubmittedAt == nil
	switch {
	case is.Attempt < was.Attempt:
		return fmt.Sprintf("attempt %d after %d", is.Attempt, was.Attempt)
	case was.RequestID != "" && is.RequestID != was.RequestID:
		return fmt.Sprintf("id %q after %q", is.RequestID, was.RequestID)
	case was.Phase == v1alpha1.RecordUnknown && is.Phase == v1alpha1.RecordSubmitted && was.RequestID == "" && is.RequestID != "":
		return "" // the answer came after all
	case was.Phase == v1alpha1.RecordUnknown && is.Phase != v1alpha1.RecordUnknown:
		return fmt.Sprintf("%s after Unknown, and nobody resolved it", is.Phase)
	case phaseOrder[is.Phase] >= phaseOrder[was.Phase]:
		return ""
	case is.Phase == v1alpha1.RecordClaimed && (was.Phase == v1alpha1.RecordBegan || was.Phase == v1alpha1.RecordAwaitingSignature || was.Phase == v1alpha1.RecordSubmitting):
		return "" // proved not to be sent
	case is.Phase == v1alpha1.RecordClaimed && nothingSent && (was.Phase == v1alpha1.RecordFailed || was.Phase == v1alpha1.RecordCancelled):
		return ""
	case is.Phase == v1alpha1.RecordSubmitted && was.Phase == v1alpha1.RecordFailed: // a late word of the service
		return ""
	}
	return fmt.Sprintf("%s %d after %s %d", is.Phase, is.Attempt, was.Phase, was.Attempt)
}

// judgeResource checks that what a status tells of ids never changes (I10).
func (o *outcome) judgeResource(fail failing) {
	seen := map[string]string{}
	for _, e := range o.trace {
		if e.resource == nil {
			continue
		}
		for name, id := range idsOf(e.resource) {
			key := string(e.resource.GetUID()) + name
			if was := seen[key]; was != "" && id != "" && id != was {
				fail("I10", "%s is %q after %q", name, id, was)
			}
			if id != "" {
				seen[key] = id
			}
		}
	}
}

func idsOf(object client.Object) map[string]string {
	switch o := object.(type) {
	case *v1alpha1.LightningInvoice:
		return map[string]string{"id": o.Status.RequestID, "hash": o.Status.PaymentHash, "BOLT11": o.Status.PaymentRequest}
	case *v1alpha1.LightningPayment:
		return map[string]string{"id": o.Status.RequestID, "hash": o.Status.PaymentHash}
	case *v1alpha1.OnchainSend:
		return map[string]string{"send id": o.Status.SendID}
	case *v1alpha1.Wallet:
		return map[string]string{"epoch": o.Status.JournalEpoch}
	}
	return nil
}

// The most that one fault may make a payment call: G5.
const (
	maxBegins = 2
	maxEnds   = 2
	// maxRepeats is how often one PSBT may be submitted on-chain: I9.
	maxRepeats = 4
)

// judgeCalls checks that each end was written ahead (I5), that nothing comes between begin and end (I6), nor a begin after an unclear
// call (I7, I8), and how often each is made (I9, G5).
func (o *outcome) judgeCalls(fail failing) {
	begins, ends := o.calls()
	if begins > maxBegins || ends > maxEnds {
		fail("G5", "%d begins and %d ends", begins, ends)
	}
	var last, unclear, unclearEnd *traced
	submitted := map[string][]string{} // txids by attempt
	for i := range o.trace {
		e := &o.trace[i]
		call := e.call
		if call == nil || (call.answer != nil && call.answer.notSent) {
			continue
		}
		if call.end {
			o.judgeEnd(fail, e, last, submitted)
		} else {
			if unclear != nil && e.at.Before(unclear.at.Add(quarantine)) {
				fail("I7", "a begin %s after an unclear call", e.at.Sub(unclear.at))
			}
			if unclearEnd != nil && call.onchain {
				fail("I8", "a begin after an unclear end")
			}
		}
		last = e
		if call.unclear() {
			unclear = e
			if call.end {
				unclearEnd = e
			}
		}
	}
}

// judgeEnd checks an end against the record as the API server had it when the end left.
func (o *outcome) judgeEnd(fail failing, e, last *traced, submitted map[string][]string) {
	call := e.call
	ahead := call.ahead
	switch {
	case ahead == nil || ahead.Phase != v1alpha1.RecordSubmitting || ahead.NotAfter == nil || ahead.PSBTDigest == "":
		fail("I5", "an end left, and the record says %s", asJSON(ahead))
		return
	case ahead.Txid != call.txid || e.at.After(ahead.NotAfter.Time):
		fail("I5", "an end of %s left at %s, the record allows %s until %s", call.txid, e.at, ahead.Txid, ahead.NotAfter)
	}
	attempt := fmt.Sprint(call.record, ahead.Attempt)
	again := len(submitted[attempt]) > 0
	submitted[attempt] = append(submitted[attempt], call.txid)
	limit := 1
	if call.onchain {
		limit = maxRepeats
	}
	if got := submitted[attempt]; len(got) > limit || len(slices.Compact(slices.Clone(got))) > 1 {
		fail("I9", "attempt %d was submitted as %v", ahead.Attempt, got)
	}
	if int32(len(submitted[attempt])) > ahead.EndCalls {
		fail("I5", "end %d of attempt %d, and the record says %d", len(submitted[attempt]), ahead.Attempt, ahead.EndCalls)
	}
	if last == nil || last.call.record != call.record || (last.call.end && !again) {
		fail("I6", "an end is not preceded by its begin")
	}
}

// calls counts the begins and ends that left.
func (o *outcome) calls() (begins, ends int) {
	for _, e := range o.trace {
		switch {
		case e.call == nil || (e.call.answer != nil && e.call.answer.notSent):
		case e.call.end:
			ends++
		default:
			begins++
		}
	}
	return begins, ends
}

// judgeInvoice checks that one BOLT11 could be read at most, and that a customer's payment of it is seen.
func (o *outcome) judgeInvoice(fail failing) {
	if len(o.invoices) > 1 {
		uids := map[string]bool{}
		for _, e := range o.trace {
			if e.resource != nil {
				uids[string(e.resource.GetUID())] = true
			}
		}
		if len(o.invoices) > len(uids) {
			fail("I10", "%d invoices could be read", len(o.invoices))
		}
	}
	if o.issued > 2 {
		fail("G5", "one fault, and %d invoices were issued", o.issued)
	}
	if o.object == nil {
		return
	}
	status := o.object.(*v1alpha1.LightningInvoice).Status
	switch {
	case status.Phase == v1alpha1.InvoiceFailed && o.failed && len(o.invoices) == 0:
	case status.Phase == v1alpha1.InvoiceSettled:
		if len(o.ledger) == 0 || status.SettledAt == nil {
			fail("I2", "Settled, and %d payments came in", len(o.ledger))
		}
	case o.unseen && status.Phase == v1alpha1.InvoiceExpired:
		settled := meta.FindStatusCondition(status.Conditions, v1alpha1.ConditionSettled)
		if settled == nil || settled.Status != metav1.ConditionUnknown || settled.Reason != v1alpha1.ReasonSourceLost {
			fail("I14", "nobody can see whether it was paid, and Settled is %+v", settled)
		}
	case len(o.invoices) > 1: // of a resource that was replaced; its customer paid the other
	default:
		fail("I13", "came to rest as %q", status.Phase)
	}
}

// judgeWallet checks that the wallet is in sync, and that its journal was not taken for lost.
func (o *outcome) judgeWallet(fail failing) {
	if o.object == nil {
		return
	}
	if !meta.IsStatusConditionTrue(conditionsOf(o.object), v1alpha1.ConditionReady) {
		fail("I13", "the wallet does not come to be Ready: %s", asJSON(conditionsOf(o.object)))
	}
	if o.told[v1alpha1.ReasonJournalLost] > 0 {
		fail("I13", "the journal of a new wallet is called lost")
	}
	if out := o.out(); len(out) > 0 {
		fail("I1", "a sync moved money")
	}
}

// judgeShown looks for what nobody may read (I15).
func (o *outcome) judgeShown(fail failing) {
	for what, secret := range unreadable {
		if secret.MatchString(o.shown) {
			fail("I15", "%s can be read", what)
		}
	}
}

// unreadable is what nobody may read, by what they look like.
var unreadable = map[string]*regexp.Regexp{
	"a token":                 regexp.MustCompile(canaryToken),
	"a PSBT":                  regexp.MustCompile(`cHNidP[0-9A-Za-z+/]{20}`),
	"an extended private key": regexp.MustCompile(`[tuvxyz]prv[1-9A-HJ-NP-Za-km-z]{50}`),
	"the mnemonic":            regexp.MustCompile(strings.Join(strings.Fields(mnemonic)[:2], `\s+`)),
	"the mnemonic's end":      regexp.MustCompile(strings.Join(strings.Fields(mnemonic)[10:], `\s+`)),
}

// unknownMetric is what the metric utexo_outcome_unknown says of the kind in the world's namespace.
func (r *trial) unknownMetric() float64 {
	r.t.Helper()
	registry := prometheus.NewRegistry()
	reader, tally := client.NewNamespacedClient(r.api, r.namespace), &controller.Tally{}
	for _, list := range []client.ObjectList{&v1alpha1.LightningPaymentList{}, &v1alpha1.OnchainSendList{}} {
		if err := reader.List(r.t.Context(), list); err != nil {
			r.t.Fatal(err)
		}
		_ = meta.EachListItem(list, func(item runtime.Object) error {
			tally.OnAdd(item, true)
			return nil
		})
	}
	registry.MustRegister(controller.NewPaymentCollector(tally, reader))
	families, err := registry.Gather()
	if err != nil {
		r.t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() != "utexo_outcome_unknown" {
			continue
		}
		for _, metric := range family.GetMetric() {
			for _, label := range metric.GetLabel() {
				if label.GetName() == "kind" && label.GetValue() == r.kind {
					return metric.GetGauge().GetValue()
				}
			}
		}
	}
	r.t.Fatal(errors.New("there is no metric utexo_outcome_unknown"))
	return 0
}
