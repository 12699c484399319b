package controller_test

import (
	"maps"
	"slices"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/sandbox"
)

// What a broken state is made of: a run without a fault, or one that leaves doubt.
const (
	goodInvoice = "a LightningInvoice that is Settled"
	goodPayment = "a LightningPayment that Succeeded"
	goodSend    = "an OnchainSend that Succeeded"
	doubtfulOne = "an OnchainSend that is Unknown"
	goodWallet  = "a Wallet that is synced"
)

// TestEachOracleSees shows each oracle of the matrix a state that is broken in the one way that it is there for.
func TestEachOracleSees(t *testing.T) {
	good := map[string]*outcome{
		goodInvoice: goodOutcome(t, "LightningInvoice", nil),
		goodPayment: goodOutcome(t, "LightningPayment", nil),
		goodSend:    goodOutcome(t, "OnchainSend", nil),
		doubtfulOne: goodOutcome(t, "OnchainSend", &sandbox.Fault{Kind: sandbox.FaultDropAnswer, Operation: sandbox.OnchainEnd}),
		goodWallet:  goodOutcome(t, "Wallet", nil),
	}
	cases := map[string]struct {
		of     string
		breaks func(o *outcome)
		oracle string
	}{
		"I1: the ledger shows two movements": {goodPayment, func(o *outcome) { o.ledger = append(o.ledger, o.ledger[0]) }, "I1"},
		"I1: a sync moved money": {goodWallet, func(o *outcome) {
			o.ledger = []sandbox.Entry{{Kind: sandbox.OnchainOut}}
		}, "I1"},
		"I2: Succeeded without a movement":         {goodSend, func(o *outcome) { o.ledger = nil }, "I2"},
		"I2: a satoshi less arrived":               {goodSend, func(o *outcome) { o.ledger[0].AmountSats-- }, "I2"},
		"I2: it arrived elsewhere":                 {goodSend, func(o *outcome) { o.ledger[0].Destination = "bcrt1q" }, "I2"},
		"I2: another payee got it":                 {goodPayment, func(o *outcome) { o.ledger[0].Destination = "02aa" }, "I2"},
		"I2: another invoice was paid":             {goodPayment, func(o *outcome) { o.ledger[0].Key = "00" }, "I2"},
		"I2: something else was signed":            {goodSend, func(o *outcome) { o.ledger[0].PSBT.Asked = false }, "I2"},
		"I2: a signature is missing":               {goodSend, func(o *outcome) { o.ledger[0].PSBT.Valid = false }, "I2"},
		"I2: Settled, and nothing came in":         {goodInvoice, func(o *outcome) { o.ledger = nil }, "I2"},
		"I3: Failed, and money moved":              {goodPayment, func(o *outcome) { paymentOf(o).Status.Phase = v1alpha1.PaymentFailed }, "I3"},
		"I4: money moved, and nothing tells of it": {goodPayment, func(o *outcome) { paymentOf(o).Status.Phase = v1alpha1.PaymentPending }, "I4"},
		"I4: the resource is gone, and its record is Cancelled": {goodSend, func(o *outcome) {
			o.object, o.gone = nil, true
			o.lastRecord().Journal.Phase = v1alpha1.RecordCancelled
		}, "I4"},
		"I4: the resource is gone, and there is no record": {goodSend, func(o *outcome) {
			o.object, o.gone = nil, true
			o.trace = slices.DeleteFunc(o.trace, func(e traced) bool { return e.record != nil })
		}, "I4"},
		"I5: nothing was written ahead":             {goodPayment, func(o *outcome) { o.call(true).call.ahead = nil }, "I5"},
		"I5: the record still says Began":           {goodPayment, func(o *outcome) { o.call(true).call.ahead.Phase = v1alpha1.RecordBegan }, "I5"},
		"I5: another transaction was written ahead": {goodSend, func(o *outcome) { o.call(true).call.ahead.Txid = "00" }, "I5"},
		"I5: the end left after its time": {goodSend, func(o *outcome) {
			o.call(true).at = o.call(true).call.ahead.NotAfter.Add(time.Second)
		}, "I5"},
		"I5: a repetition was not written ahead": {goodSend, func(o *outcome) { o.trace = append(o.trace, *o.call(true)) }, "I5"},
		"I6: an end without its begin": {goodPayment, func(o *outcome) {
			begin := o.call(false)
			o.trace = slices.DeleteFunc(o.trace, func(e traced) bool { return e.call == begin.call })
		}, "I6"},
		"I6: the begin of another payment in between": {goodPayment, func(o *outcome) {
			o.call(false).call.record = "ln-another"
		}, "I6"},
		"I7: a begin right after one without a clear answer": {goodPayment, func(o *outcome) {
			begin := *o.call(false)
			unclear := *begin.call
			unclear.answer = &callAnswer{}
			o.trace = append([]traced{{at: begin.at.Add(-time.Minute), call: &unclear}}, o.trace...)
		}, "I7"},
		"I8: a begin after an end without a clear answer": {doubtfulOne, func(o *outcome) {
			begin := *o.call(false)
			begin.at = begin.at.Add(time.Hour)
			o.trace = append(o.trace, begin)
		}, "I8"},
		"I9: a Lightning payment is submitted twice": {goodPayment, func(o *outcome) { o.trace = append(o.trace, *o.call(true)) }, "I9"},
		"I9: an attempt is submitted with another transaction": {goodSend, func(o *outcome) {
			again := *o.call(true).call
			ahead := *again.ahead
			ahead.Txid, again.txid, again.ahead = "00", "00", &ahead
			o.trace = append(o.trace, traced{at: o.call(true).at, call: &again})
		}, "I9"},
		"I9: a fifth submission": {goodSend, func(o *outcome) {
			for range maxRepeats {
				o.trace = append(o.trace, *o.call(true))
			}
		}, "I9"},
		"G5: three begins": {goodPayment, func(o *outcome) { o.trace = append(o.trace, *o.call(false), *o.call(false)) }, "G5"},
		"G5: three invoices were issued": {goodInvoice, func(o *outcome) {
			o.issued = 3
		}, "G5"},
		"I10: a record goes back": {goodPayment, func(o *outcome) {
			back := o.lastRecord().DeepCopy()
			back.Journal.Phase = v1alpha1.RecordBegan
			o.trace = append(o.trace, traced{record: back})
		}, "I10"},
		"I10: an attempt is taken back": {goodPayment, func(o *outcome) {
			back := o.lastRecord().DeepCopy()
			back.Journal.Attempt = 0
			o.trace = append(o.trace, traced{record: back})
		}, "I10"},
		"I10: a record's id changes": {goodSend, func(o *outcome) {
			changed := o.lastRecord().DeepCopy()
			changed.Journal.RequestID = "another"
			o.trace = append(o.trace, traced{record: changed})
		}, "I10"},
		"I10: Unknown is resolved by nobody": {doubtfulOne, func(o *outcome) {
			changed := o.lastRecord().DeepCopy()
			changed.Journal.Phase = v1alpha1.RecordSucceeded
			o.trace = append(o.trace, traced{record: changed})
		}, "I10"},
		"I10: a status's id changes": {goodSend, func(o *outcome) {
			changed := o.object.DeepCopyObject().(*v1alpha1.OnchainSend)
			changed.Status.SendID = "another"
			o.trace = append(o.trace, traced{resource: changed})
		}, "I10"},
		"I10: a status's BOLT11 changes": {goodInvoice, func(o *outcome) {
			changed := o.object.DeepCopyObject().(*v1alpha1.LightningInvoice)
			changed.Status.PaymentRequest = "lnbcrt1another"
			o.trace = append(o.trace, traced{resource: changed})
		}, "I10"},
		"I10: two BOLT11s can be read": {goodInvoice, func(o *outcome) { o.invoices = append(o.invoices, "lnbcrt1another") }, "I10"},
		"I13: it goes on writing":      {goodWallet, func(o *outcome) { o.later = []string{"K patch status Wallet"} }, "I13"},
		"I13: it rests in flight":      {goodPayment, func(o *outcome) { paymentOf(o).Status.Phase = v1alpha1.PaymentInFlight }, "I13"},
		"I13: it is gone":              {goodInvoice, func(o *outcome) { o.object = nil }, "I13"},
		"I13: the invoice rests Open": {goodInvoice, func(o *outcome) {
			o.object.(*v1alpha1.LightningInvoice).Status.Phase = v1alpha1.InvoiceOpen
		}, "I13"},
		"I13: the wallet is not Ready":    {goodWallet, func(o *outcome) { o.condition(v1alpha1.ConditionReady).Status = metav1.ConditionFalse }, "I13"},
		"I13: a new journal is lost":      {goodWallet, func(o *outcome) { o.told[v1alpha1.ReasonJournalLost] = 1 }, "I13"},
		"I14: Unknown without a doubt":    {doubtfulOne, func(o *outcome) { o.unknown = false }, "I14"},
		"I14: a doubt, and Succeeded":     {goodSend, func(o *outcome) { o.unknown = true }, "I14"},
		"I14: Failed, and nobody refused": {goodPayment, func(o *outcome) { paymentOf(o).Status.Phase, o.ledger = v1alpha1.PaymentFailed, nil }, "I14"},
		"I14: OutcomeKnown is missing": {doubtfulOne, func(o *outcome) {
			send := o.object.(*v1alpha1.OnchainSend)
			meta.RemoveStatusCondition(&send.Status.Conditions, v1alpha1.ConditionOutcomeKnown)
		}, "I14"},
		"I14: OutcomeKnown is True": {doubtfulOne, func(o *outcome) {
			o.condition(v1alpha1.ConditionOutcomeKnown).Status = metav1.ConditionTrue
		}, "I14"},
		"I14: it is not Stalled": {doubtfulOne, func(o *outcome) {
			send := o.object.(*v1alpha1.OnchainSend)
			meta.RemoveStatusCondition(&send.Status.Conditions, v1alpha1.ConditionStalled)
		}, "I14"},
		"I14: nobody is told":       {doubtfulOne, func(o *outcome) { o.told = nil }, "I14"},
		"I14: it is told twice":     {doubtfulOne, func(o *outcome) { o.told[v1alpha1.ReasonOutcomeUnknown] = 2 }, "I14"},
		"I14: the metric says none": {doubtfulOne, func(o *outcome) { o.unknownMetric = 0 }, "I14"},
		"I15: a token can be read":  {goodWallet, func(o *outcome) { o.shown += canaryToken }, "I15"},
		"I15: a PSBT can be read":   {goodSend, func(o *outcome) { o.shown += "cHNidP8BAHECAAAAAAAAAAAAAAAAAAAA" }, "I15"},
		"I15: a private key": {goodWallet, func(o *outcome) {
			o.shown += "tprv8ZgxMBicQKsPd9TeAdPADNnSyH9SSUUbTVeFszDE23Ki6TBB5nCefAdHkK8Fm3qMQR6sHwA56zqRmKmxnHk37JkiFzvncDqoKmPWubu7hDF"
		}, "I15"},
		"I15: the mnemonic": {goodWallet, func(o *outcome) { o.shown += mnemonic }, "I15"},
		"R5: absence counts at once": {doubtfulOne, func(o *outcome) {
			o.lastRecord().Journal.Phase, o.lastTraced().at = v1alpha1.RecordClaimed, o.call(true).at
		}, "R5"},
		"status: Ready is missing": {goodPayment, func(o *outcome) {
			meta.RemoveStatusCondition(&paymentOf(o).Status.Conditions, v1alpha1.ConditionReady)
		}, "status"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if seen := good[tc.of].copy().violations(); len(seen) > 0 {
				t.Fatalf("%s is broken already: %v", tc.of, seen)
			}
			broken := good[tc.of].copy()
			tc.breaks(broken)
			seen := broken.violations()
			if !slices.ContainsFunc(seen, func(v violation) bool { return v.oracle == tc.oracle }) {
				t.Errorf("%s does not see it; others saw %v", tc.oracle, seen)
			}
		})
	}
}

// goodOutcome is the outcome of an operation at the documented service, under a fault or none, in which no oracle sees anything.
func goodOutcome(t *testing.T, kind string, f *sandbox.Fault) *outcome {
	t.Helper()
	var fault *singleFault
	if f != nil {
		fault = &singleFault{service: f}
	}
	r := newTrial(t, documented(kind), fault, -1)
	r.run()
	found := r.outcome()
	found.unknown = fault != nil
	report(t, found)
	return found
}

// copy is the same outcome, of which everything that a case breaks can be broken.
func (o *outcome) copy() *outcome {
	copied := *o
	copied.object = o.object.DeepCopyObject().(client.Object)
	copied.ledger = slices.Clone(o.ledger)
	for i := range copied.ledger {
		if evidence := copied.ledger[i].PSBT; evidence != nil {
			signed := *evidence
			copied.ledger[i].PSBT = &signed
		}
	}
	copied.trace = slices.Clone(o.trace)
	for i := range copied.trace {
		e := &copied.trace[i]
		if e.record != nil {
			e.record = e.record.DeepCopy()
		}
		if e.call != nil {
			call := *e.call
			call.ahead = call.ahead.DeepCopy()
			e.call = &call
		}
	}
	copied.told, copied.invoices = maps.Clone(o.told), slices.Clone(o.invoices)
	return &copied
}

// call is the first begin or end.
func (o *outcome) call(end bool) *traced {
	return &o.trace[slices.IndexFunc(o.trace, func(e traced) bool { return e.call != nil && e.call.end == end })]
}

// lastTraced is the last write to the payment's record.
func (o *outcome) lastTraced() *traced {
	for i := len(o.trace) - 1; ; i-- {
		if e := &o.trace[i]; e.record != nil && isPayment(e.record) {
			return e
		}
	}
}

func (o *outcome) lastRecord() *v1alpha1.PaymentRecord { return o.lastTraced().record }

func (o *outcome) condition(kind string) *metav1.Condition {
	return meta.FindStatusCondition(conditionsOf(o.object), kind)
}

// paymentOf is the outcome's LightningPayment.
func paymentOf(o *outcome) *v1alpha1.LightningPayment { return o.object.(*v1alpha1.LightningPayment) }
