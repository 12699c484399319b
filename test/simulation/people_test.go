package simulation

import (
	"fmt"
	"slices"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/controller"
	"github.com/utexo/utexo-operator/internal/sandbox"
)

// loss is what the judge keeps of the loss of all records.
type loss struct {
	at time.Time
	// held are the wallets, by their vanilla xpub, of which nothing may begin on-chain any more: something shows that records were lost.
	held map[string]bool
	// again are the orders that may then have been sent a second time.
	again map[*order]bool
}

// loseRecords is the operator's namespace deleted and the operator installed again, after longer than a quarantine: all records, Leases and
// unsigned PSBTs are gone. What a backup restored has no status, and that may be the wallets', too.
func (s *sim) loseRecords() {
	if s.judge.loss != nil {
		return
	}
	stripped := s.chance(50)
	s.note("all records are lost, the wallets' status too: %t", stripped)
	lost := &loss{at: s.clock.Now(), held: map[string]bool{}, again: map[*order]bool{}}
	s.judge.loss = lost
	back := lost.at.Add(quarantine + time.Duration(30+s.random.IntN(600))*time.Second)
	for _, r := range s.replicas {
		s.die(r)
		r.downUntil = back
	}
	for _, key := range s.api.keys {
		if held := s.api.current(key); held != nil && key.namespace == operator {
			s.api.store(key, held, version{})
		}
	}
	for _, o := range s.objects {
		held := s.api.current(o.key)
		if held == nil {
			continue
		}
		issued, isInvoice := held.(*v1alpha1.LightningInvoice)
		if isInvoice && issued.Status.PaymentRequest == "" {
			s.forgetIssued(string(issued.UID)) // only the record said what was issued
		}
		if wallet, ok := held.(*v1alpha1.Wallet); ok {
			xpub := wallet.Status.XpubVanilla
			lost.held[xpub] = !stripped && wallet.Status.JournalEpoch != "" || s.showsSends(xpub)
			if !stripped {
				continue
			}
		} else if s.chance(50) {
			continue
		}
		s.strip(o)
		if isInvoice {
			s.forgetIssued(string(issued.UID)) // nothing is left of what was issued
		}
	}
	s.judge.calls = map[string][]*moneyCall{} // none of them can land any more when the operator is back
}

// loseOneRecord is the record of one Lightning payment deleted, at any moment of it, while all else stays: the service knows the payment by its
// hash, and the Lease what may still land. Of an on-chain send nothing would tell.
func (s *sim) loseOneRecord() {
	if s.dailySats > 0 { // the budget is counted from records
		return
	}
	var kept []*order
	for _, o := range s.orders {
		if o.kind != v1alpha1.RecordLightningPayment || o.key == "" || len(o.objects) == 0 || s.recordOf(o.objects[0].record) == nil {
			continue
		}
		if !slices.ContainsFunc(o.objects, s.going) && !o.ofSeveralWallets() {
			kept = append(kept, o)
		}
	}
	if len(kept) == 0 {
		return
	}
	s.loseRecord(kept[s.random.IntN(len(kept))], 0)
}

// loseHalf is each record of an on-chain send of one wallet deleted or not, as a repair of etcd may do: what there is besides stays.
func (s *sim) loseHalf() {
	s.losesAfter = 0
	wallet := ""
	for _, o := range s.orders {
		for i, object := range o.objects {
			if o.kind != v1alpha1.RecordOnchainSend || s.recordOf(object.record) == nil || wallet != "" && object.wallet != wallet || s.extra.IntN(2) == 0 {
				continue
			}
			wallet, s.judge.halved = object.wallet, true
			s.loseRecord(o, i)
		}
	}
}

// madeAnew judges the record of an on-chain send that comes to be after it was lost: where the status tells of the one that was, as far as
// whoever makes it can know, it may have been sent and is not begun again.
func (s *sim) madeAnew(made change) {
	for _, o := range s.orders {
		for _, object := range o.objects {
			if made.before != nil || object.record != made.key.name || !o.recordLost || s.current == nil {
				continue
			}
			o.again = true
			known, there := s.current.cached.(*v1alpha1.OnchainSend)
			s.check("journal", !there || known.Status.RecordRef == "", "%s is made anew although its record was lost", object.key)
		}
	}
}

// loseRecord deletes the record of an object that orders o.
func (s *sim) loseRecord(o *order, of int) {
	name := o.objects[of].record
	key := objectKey{"PaymentRecord", operator, name}
	s.note("the record %s is lost: %s", short(name), s.recordOf(name).Journal.Phase)
	o.recordLost = true
	s.judge.losing = name
	s.api.store(key, s.api.current(key), version{})
	s.judge.losing = ""
	s.judge.stats.recordsLost++
	for _, calls := range s.judge.calls {
		for _, c := range calls {
			if c.record == name {
				c.record = lostName(name) // its attempts count no more; that they may land does
			}
		}
	}
	for _, t := range s.tasks {
		if t.object != nil && t.object.record == name {
			t.recordLost = true
		}
		if t.ahead != nil && t.ahead.record == name {
			t.ahead.record = lostName(name)
		}
	}
}

func lostName(record string) string { return record + ", lost" }

// ofSeveralWallets reports whether several wallets are to pay one order. Their nodes know nothing of each other: only the record does.
func (o *order) ofSeveralWallets() bool {
	return slices.ContainsFunc(o.objects, func(object *object) bool { return object.wallet != o.objects[0].wallet })
}

// going reports whether there is nothing of object any more, or soon will not be.
func (s *sim) going(object *object) bool {
	found := s.api.current(object.key)
	return found == nil || found.GetDeletionTimestamp() != nil
}

// showsSends reports whether the service's list of transactions, which the sandbox always serves, shows that the wallet sent.
func (s *sim) showsSends(xpub string) bool {
	if s.service.Options().Profile != sandbox.Documented {
		return false
	}
	for _, entry := range s.service.Ledger() {
		if entry.Kind == sandbox.OnchainOut && entry.Wallet == xpub {
			return true
		}
	}
	return false
}

// beginsAfterLoss judges a begin of an on-chain send after all records were lost.
func (s *sim) beginsAfterLoss(c *moneyCall) {
	lost := s.judge.loss
	if lost == nil || c.task.object.order.kind != v1alpha1.RecordOnchainSend {
		return
	}
	s.check("journal", !lost.held[c.wallet], "%s begins although records of its wallet were lost", c.task.name)
	lost.again[c.task.object.order] = true
}

// heldSinceLoss reports whether object waits, as it should, for somebody to look after the records that were lost, or after a payment that
// has none: that of another client, which an end of ours can make.
func (s *sim) heldSinceLoss(found client.Object) bool {
	return (s.judge.loss != nil || s.judge.halved || s.judge.foreign || s.confused()) && readyReason(found) == v1alpha1.ReasonJournalLost
}

// saySo lets people look at the ledger and say what became of some of the payments that are Unknown, as the runbook has it.
func (s *sim) saySo() {
	said := false
	for _, o := range s.objects {
		found := s.api.current(o.key)
		if o.order == nil || found == nil || !s.chance(60) {
			continue
		}
		record := s.recordOf(o.record)
		if record == nil || record.Journal.Phase != v1alpha1.RecordUnknown || record.Journal.Holder.UID != string(found.GetUID()) {
			continue
		}
		word := fmt.Sprintf("%s:%d:notpaid", record.UID, record.Journal.Attempt)
		for _, entry := range s.service.Moved(o.order.key) {
			if len(o.order.objects) == 1 || entry.PSBT != nil && entry.PSBT.Txid == record.Journal.Txid {
				word = fmt.Sprintf("%s:%d:paid:%s", record.UID, record.Journal.Attempt, entry.Txid)
			}
		}
		s.note("somebody says of %s: %s", o.key, word)
		said, s.judge.resolved[o.record] = true, true
		s.api.update(o.key, false, func(object client.Object) {
			annotations := object.GetAnnotations()
			if annotations == nil {
				annotations = map[string]string{}
			}
			annotations[controller.ResolveAnnotation] = word
			object.SetAnnotations(annotations)
		})
	}
	if said {
		s.driveToRest()
	}
}

// jumpClock sets the clock of one replica forward or back by up to an hour. Those of the service and of the API server do not jump.
func (s *sim) jumpClock() {
	r := s.replicas[s.random.IntN(len(s.replicas))]
	r.offset = time.Duration(s.random.IntN(7201)-3600) * time.Second
	s.note("the clock of %s is off by %s", r.name, r.offset)
}

// replicaClock is the clock of a replica, which may be off.
type replicaClock struct {
	*virtualClock
	replica *replica
}

// Now implements clock.PassiveClock.
func (c *replicaClock) Now() time.Time { return c.virtualClock.Now().Add(c.replica.offset) }

// Since implements clock.PassiveClock.
func (c *replicaClock) Since(then time.Time) time.Duration { return c.Now().Sub(then) }
