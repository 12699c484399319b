package simulation

import (
	"fmt"
	"slices"
	"time"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/bolt11"
	"github.com/utexo/utexo-operator/internal/invoice"
	"github.com/utexo/utexo-operator/internal/sandbox"
	"github.com/utexo/utexo-operator/internal/testkit"
)

// issuing is what the judge keeps of one LightningInvoice, by UID; of one that renews, by generationOf.
type issuing struct {
	object *object
	uid    string
	// text is the BOLT11 that was readable first.
	text string
	// calls of create-invoice may have left an invoice behind; strips took the count of them from the status.
	calls, strips int
	// asked is the last renewal whose invoice was asked for.
	asked int32
}

// planInvoices decides which invoices people will declare, and when each is paid.
func (s *sim) planInvoices(wallets int) {
	count := 0
	if s.chance(40) {
		count = 1
		if s.chance(25) {
			count = 2
		}
	}
	for i := range count {
		o := &object{wallet: fmt.Sprintf("wallet-%d", s.random.IntN(wallets)), payAfter: time.Duration(s.random.IntN(90)) * time.Second}
		expiry := time.Duration(10+s.random.IntN(50)) * time.Minute
		switch {
		case s.chance(3): // it expires unpaid
			o.payAfter = -1
		case s.chance(4): // a payment that was on its way settles it late
			o.payAfter = expiry + time.Duration(s.random.IntN(7200))*time.Second
		}
		o.made = testkit.MakeLightningInvoice(fmt.Sprintf("invoice-%d", i)).Namespace(team).Wallet(o.wallet).
			AmountSats(int64(3000 + i)).Expiry(expiry).Obj()
		o.key = keyOf(o.made)
		s.addObject(o)
		at := s.random.IntN(len(s.toMake) + 1)
		s.toMake = append(s.toMake[:at:at], append([]*object{o}, s.toMake[at:]...)...)
	}
}

// wroteInvoice checks that a LightningInvoice shows one BOLT11 for all its life, and tells the payer of it (I10).
func (s *sim) wroteInvoice(made change) {
	if made.after == nil {
		s.watchReceipts(made.before.(*v1alpha1.LightningInvoice))
		return
	}
	after := made.after.(*v1alpha1.LightningInvoice)
	s.readable(generationOf(string(after.UID), after.Status.Renewals), after.Status.PaymentRequest)
	before, ok := made.before.(*v1alpha1.LightningInvoice)
	if after.Spec.Renewal == v1alpha1.RenewOnExpiry {
		s.wroteRenewal(before, after)
	}
	stripped := ok && before.Status.IssueAttempts > 0 && after.Status.IssueAttempts == 0 && s.current == nil
	if stripped {
		s.issuingOf(string(after.UID)).strips++
	}
}

func (s *sim) issuingOf(uid string) *issuing {
	if s.judge.issued[uid] == nil {
		s.judge.issued[uid] = &issuing{uid: uid[:uidLength]}
		s.judge.uids = append(s.judge.uids, uid)
	}
	return s.judge.issued[uid]
}

// readable notes that anybody can read text as the invoice of a resource.
func (s *sim) readable(uid, text string) {
	if text == "" {
		return
	}
	of := s.issuingOf(uid)
	if of.text == "" {
		of.text, of.uid = text, uid[:uidLength]
		for _, o := range s.objects {
			found := s.api.current(o.key)
			if o.key.kind == "LightningInvoice" && found != nil && string(found.GetUID()) == of.uid {
				of.object = o
				switch {
				case o.payer != nil:
					s.newGeneration(o, uid)
				case o.payAfter >= 0:
					o.payAt = s.clock.Now().Add(o.payAfter)
				}
			}
		}
	}
	s.check("I10", of.text == text, "the LightningInvoice %s showed %s and then %s", uid, of.text, text)
}

// pay lets the payer of an invoice pay it, if that is still possible.
func (s *sim) pay(o *object) {
	o.payAt = time.Time{}
	if o.payer != nil {
		s.payGeneration(o)
		return
	}
	for _, uid := range s.judge.uids {
		if of := s.judge.issued[uid]; of.object == o && of.text != "" {
			_, err := s.service.PayInvoice(of.text, true)
			s.note("somebody pays %s%s", o.key, errorText(err))
		}
	}
}

// asksForInvoice counts the calls for an invoice. Those for a resource are three at most (I10).
func (s *sim) asksForInvoice(t *task, operation string, a *answer) {
	if operation != "create-invoice" || t.object.key.kind != "LightningInvoice" || a.notSent() || a.clean(operation) && a.status != 200 {
		return
	}
	of := s.issuingOf(t.uid)
	of.calls++
	s.check("I10", of.calls <= invoice.MaxIssueAttempts*(1+of.strips+int(of.asked)), "%s: %d calls for one invoice", t.name, of.calls)
}

// watchReceipts does what the manager does where a LightningInvoice goes, or is paid after it was renewed: its records are watched on.
func (s *sim) watchReceipts(left *v1alpha1.LightningInvoice) {
	names := invoice.RecordNames(left)
	if left.Spec.Renewal != v1alpha1.RenewOnExpiry {
		names = names[:1]
	}
	for _, name := range names {
		key := objectKey{"PaymentRecord", operator, name}
		if s.objectOf(key) != nil {
			continue
		}
		s.addObject(&object{key: key})
		for _, r := range s.replicas {
			r.due, r.busy, r.dirty, r.failures = append(r.due, s.clock.Now()), append(r.busy, false), append(r.dirty, false), append(r.failures, 0)
		}
	}
}

// paid reports whether somebody paid text.
func (s *sim) paid(text string) bool {
	decoded, err := bolt11.Decode(text)
	if err != nil {
		return false
	}
	for _, entry := range s.service.Ledger() {
		if entry.Kind == sandbox.LightningIn && entry.Key == decoded.PaymentHashHex() {
			return true
		}
	}
	return false
}

// judgeInvoices checks that what is Settled is what was paid, by the ledger.
func (s *sim) judgeInvoices() {
	for _, uid := range s.judge.uids {
		of := s.judge.issued[uid]
		if of.text == "" {
			continue
		}
		paid := s.paid(of.text)
		record := s.recordOf("in-" + uid)
		lost := record == nil && s.judge.loss != nil // what is settled needs no new record
		s.check("I10", lost || record != nil && record.Spec.PaymentRequest == of.text, "the invoice of %s is not on record", uid)
		known := !s.judge.restarted && !s.idLost() && !lost
		phase := v1alpha1.InvoicePhase("")
		if of.object != nil {
			if found := s.api.current(of.object.key); found != nil && string(found.GetUID()) == of.uid {
				phase = found.(*v1alpha1.LightningInvoice).Status.Phase
			}
		}
		s.note("invoice of %s: %s, paid %t", uid, phase, paid)
		switch {
		case phase != "" && of.object.payer != nil: // see judgeRenewals
		case phase == "": // deleted
			completed := record != nil && record.Journal.CompletedAt != nil
			s.check("I2", !completed || paid, "the record of the deleted invoice %s says paid, the ledger does not", uid)
			s.check("I4", completed || !paid || !known, "the deleted invoice %s was paid, and its record does not say so", uid)
		case phase == v1alpha1.InvoiceSettled:
			s.check("I2", paid, "invoice %s is Settled, and nobody paid it", uid)
		default:
			s.check("I4", !paid || !known, "invoice %s was paid, and is %s", uid, phase)
		}
	}
}

// idLost reports whether the service cannot tell of an invoice by its id: it restarted, or answered with another id when it issued one.
func (s *sim) idLost() bool {
	return slices.ContainsFunc(s.service.Requests(), func(r sandbox.Request) bool {
		return r.Fault == sandbox.FaultRestart || r.Fault == sandbox.FaultRestartAfter ||
			r.Fault == sandbox.FaultOtherObject && r.Operation == sandbox.CreateInvoice
	})
}
