package simulation

import (
	"fmt"
	"slices"
	"time"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/bolt11"
	"github.com/utexo/utexo-operator/internal/payment"
	"github.com/utexo/utexo-operator/internal/testkit"
)

// offerSats is what the invoice asks for that payments refer to.
const offerSats = 4000

// planReferences lets one or two payments pay a LightningInvoice that this or the other wallet declares, and now and then somebody else, too.
func (s *sim) planReferences(wallets int) {
	from := s.random.IntN(wallets)
	offer := &object{wallet: fmt.Sprintf("wallet-%d", from), payAfter: -1}
	if s.chance(25) {
		offer.payAfter = time.Duration(s.random.IntN(120)) * time.Second
	}
	offer.made = testkit.MakeLightningInvoice("offer").Namespace(team).Wallet(offer.wallet).AmountSats(offerSats).
		Expiry(time.Duration(10+s.random.IntN(20)) * time.Minute).Obj()
	offer.key = keyOf(offer.made)
	s.addObject(offer)
	s.toMake = slices.Insert(s.toMake, s.random.IntN(len(s.toMake)+1), offer)
	for i := range 1 + s.random.IntN(2) {
		payer := from
		if !s.chance(20) {
			payer = (from + 1) % wallets
		}
		o := &object{wallet: fmt.Sprintf("wallet-%d", payer), offer: offer}
		o.order = &order{kind: v1alpha1.RecordLightningPayment, sats: offerSats, objects: []*object{o}}
		o.made = testkit.MakeLightningPayment(fmt.Sprintf("reference-%d", i)).Namespace(team).Wallet(o.wallet).InvoiceFromLightningInvoice("offer").Obj()
		o.key = keyOf(o.made)
		s.orders = append(s.orders, o.order)
		s.addObject(o)
		s.toMake = slices.Insert(s.toMake, s.random.IntN(len(s.toMake)+1), o)
	}
}

// pinned notes which invoice a reference was resolved to. That is what is ordered from then on, possibly with others; it is one that the
// LightningInvoice showed, and never another one, unless the record that says so was lost (I10).
func (s *sim) pinned(pin *v1alpha1.PaymentRecord) {
	o := s.objectOf(objectKey{pin.Journal.Holder.Kind, pin.Journal.Holder.Namespace, pin.Journal.Holder.Name})
	decoded, err := bolt11.Decode(pin.Spec.PaymentRequest)
	if o == nil || o.offer == nil || err != nil {
		s.fail("I10", "%s pins %q for %s: %v", pin.Name, pin.Spec.PaymentRequest, pin.Journal.Holder.Name, err)
		return
	}
	shown := slices.ContainsFunc(s.judge.uids, func(uid string) bool { return s.judge.issued[uid].text == pin.Spec.PaymentRequest })
	s.check("I10", shown || s.judge.loss != nil, "%s pins an invoice that nobody showed", pin.Name)
	key := decoded.PaymentHashHex()
	before := o.order
	switch {
	case before.key == key:
		return
	case before.key == "":
		before.objects = nil
	default:
		if s.judge.loss == nil {
			s.fail("I10", "%s pays %s, and %s before", o.key, short(key), short(before.key))
			return
		}
		s.judge.loss.again[before] = true
	}
	to := &order{kind: before.kind, sats: before.sats}
	if at := slices.IndexFunc(s.orders, func(other *order) bool { return other.key == key }); at >= 0 {
		to = s.orders[at]
	} else {
		s.orders = append(s.orders, to)
	}
	to.key, to.destination, to.startBefore = key, pin.Spec.PaymentRequest, decoded.ExpiresAt().Add(-payment.ExpiryMargin)
	to.objects = append(to.objects, o)
	o.order, o.record = to, payment.LightningRecordName(key)
}

// payOffers lets somebody else pay most of the invoices that payments refer to once those had their time: unpaid ones are watched for hours.
func (s *sim) payOffers() {
	for _, o := range s.objects {
		if o.offer != nil && o.offer.payAt.IsZero() && s.chance(90) {
			o.offer.payAt = s.clock.Now().Add(5 * time.Minute)
		}
	}
}

// hopeless reports whether a payment refers to an invoice that will not come.
func (s *sim) hopeless(o *object) bool {
	found := s.api.current(o.key)
	if o.offer == nil || found == nil || o.order.key != "" && (s.judge.loss == nil || readyReason(found) != v1alpha1.ReasonReferenceNotFound) || s.chaotic || len(s.judge.replaced) > 0 ||
		s.recordOf(payment.InvoicePinName(team, o.key.name)) != nil {
		return false
	}
	offer, there := s.api.current(o.offer.key).(*v1alpha1.LightningInvoice)
	return !there || offer.Status.Phase == v1alpha1.InvoiceFailed && offer.Status.PaymentRequest == ""
}

// giveUp lets people delete a payment whose invoice will not come.
func (s *sim) giveUp(o *object) {
	s.note("%s is deleted: there is nothing to pay", o.key)
	_ = s.api.remove(o.key)
}
