package simulation

import (
	"fmt"
	"slices"
	"time"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/bolt11"
	"github.com/utexo/utexo-operator/internal/invoice"
	"github.com/utexo/utexo-operator/internal/testkit"
)

// watchedFor is how long after its expiry a payment that was on its way may settle an invoice, by the service's documents.
const watchedFor = 7200 * time.Second

// uidLength is the length of a UID.
const uidLength = len("00000000-0000-4000-8000-000000000000")

// generationOf names the invoice that the n-th renewal of a LightningInvoice published; its record is of that name.
func generationOf(uid string, renewal int32) string {
	return invoice.RenewalRecordName(uid, renewal)[len("in-"):]
}

// payer is who pays an invoice that renews: one of those that were published, and sometimes another one as well.
type payer struct {
	// once is the renewal after which it is paid; pays is which one is, that one or one before.
	once, pays int32
	delay      time.Duration
	// again is how long after that the latest is paid, too; 0 for not at all.
	again time.Duration
	// uid is of the resource whose invoice is to be paid, latest its latest generation.
	uid    string
	latest int32
	paid   bool
}

// planRenewal has people declare a LightningInvoice that renews, and decides which of its invoices is paid, and when.
func (s *sim) planRenewal(wallets int) {
	p := &payer{once: int32(s.extra.IntN(3)), delay: time.Duration(s.extra.IntN(300)) * time.Second}
	p.pays = p.once - int32(s.extra.IntN(int(p.once)+1))
	if s.extra.IntN(4) == 0 {
		p.delay = time.Duration(s.extra.IntN(7200)) * time.Second
	}
	if p.once > 0 && s.extra.IntN(3) == 0 {
		p.again = time.Duration(1+s.extra.IntN(600)) * time.Second
	}
	o := &object{wallet: fmt.Sprintf("wallet-%d", s.extra.IntN(wallets)), payer: p, payAfter: -1}
	o.made = testkit.MakeLightningInvoice("renewing").Namespace(team).Wallet(o.wallet).AmountSats(2500).Expiry(10 * time.Minute).Renews().Obj()
	o.key = keyOf(o.made)
	s.addObject(o)
	s.toMake = slices.Insert(s.toMake, s.extra.IntN(len(s.toMake)+1), o)
}

// forgetIssued forgets what was issued for a resource of which nothing is left that tells.
func (s *sim) forgetIssued(uid string) {
	for _, generation := range s.judge.uids {
		if of := s.judge.issued[generation]; of.uid == uid {
			*of = issuing{uid: uid}
		}
	}
}

// newGeneration tells the payer that generation can be paid, and checks that none before it still can: whoever has one pays that.
func (s *sim) newGeneration(o *object, generation string) {
	p, uid := o.payer, generation[:uidLength]
	if p.uid != uid { // declared anew
		p.uid, p.latest, p.paid = uid, 0, false
	}
	for renewal := int32(0); generationOf(uid, renewal) != generation; renewal++ {
		p.latest = renewal + 1
		if before := s.judge.issued[generationOf(uid, renewal)]; before != nil && before.text != "" {
			s.check("renewal", s.clock.Now().After(expiryOf(before.text)), "%s was renewed before the invoice of renewal %d expired", o.key, renewal)
		}
	}
	if p.latest == p.once && !p.paid {
		o.payAt = s.clock.Now().Add(p.delay)
	}
}

func expiryOf(text string) time.Time {
	decoded, err := bolt11.Decode(text)
	if err != nil {
		panic(err) // the sandbox issued it
	}
	return decoded.ExpiresAt()
}

// payGeneration lets the payer pay the invoice that it has, or the latest where nobody would take that one any more.
func (s *sim) payGeneration(o *object) {
	p := o.payer
	which := p.latest
	if before := s.judge.issued[generationOf(p.uid, p.pays)]; !p.paid && before != nil && before.text != "" &&
		s.clock.Now().Before(expiryOf(before.text).Add(watchedFor-time.Minute)) {
		which = p.pays
	}
	if of := s.judge.issued[generationOf(p.uid, which)]; of != nil && of.text != "" {
		_, err := s.service.PayInvoice(of.text, true)
		s.note("somebody pays %s, renewal %d of %d%s", o.key, which, p.latest, errorText(err))
		if err != nil && !p.paid {
			s.note("%s is deleted: nobody can pay it", o.key)
			_ = s.api.remove(o.key)
			return
		}
	}
	if !p.paid && p.again > 0 {
		o.payAt = s.clock.Now().Add(p.again)
	}
	p.paid = true
}

// payRenewals lets whoever is to pay an invoice that renews do so soon, whichever there is by then.
func (s *sim) payRenewals() {
	for _, o := range s.objects {
		if o.payer == nil || o.payer.paid {
			continue
		}
		o.payer.once = o.payer.latest
		if o.payer.uid != "" && o.payAt.IsZero() {
			o.payAt = s.clock.Now().Add(o.payer.delay)
		}
	}
}

// wroteRenewal checks that every invoice of a resource that may still be paid is watched: it is the latest, or in the history, unless one
// was paid.
func (s *sim) wroteRenewal(before, after *v1alpha1.LightningInvoice) {
	uid, status := string(after.UID), &after.Status
	base := s.issuingOf(uid)
	base.asked = max(base.asked, status.IssueRenewal)
	if status.Phase == v1alpha1.InvoiceSettled {
		if status.Renewals > 0 && before != nil && before.Status.Phase != v1alpha1.InvoiceSettled {
			s.watchReceipts(after)
		}
		return
	}
	for renewal := range status.Renewals {
		of := s.judge.issued[generationOf(uid, renewal)]
		if of == nil || of.text == "" || s.clock.Now().After(expiryOf(of.text).Add(watchedFor)) {
			continue
		}
		watched := slices.ContainsFunc(status.History, func(g v1alpha1.InvoiceGeneration) bool {
			return g.Renewal == renewal && g.Outcome != v1alpha1.OutcomeExpired
		})
		s.check("renewal", watched, "%s does not watch the invoice of renewal %d any more, which may be paid until %s: %v", after.Name, renewal,
			expiryOf(of.text).Add(watchedFor).Format(time.TimeOnly), status.History)
	}
}

// judgeRenewals checks that a LightningInvoice that renews is Settled exactly if one of its invoices was paid, and once.
func (s *sim) judgeRenewals() {
	for _, o := range s.objects {
		found, there := s.api.current(o.key).(*v1alpha1.LightningInvoice)
		if !there || o.payer == nil {
			continue
		}
		uid := string(found.UID)
		paid, settled, completed := 0, 0, 0
		for renewal := range int32(v1alpha1.MaxInvoiceHistory) {
			of, record := s.judge.issued[generationOf(uid, renewal)], s.recordOf(invoice.RenewalRecordName(uid, renewal))
			if of != nil && of.text != "" && s.paid(of.text) {
				paid++
			}
			if record == nil || record.Journal.CompletedAt == nil {
				continue
			}
			s.check("I2", of != nil && s.paid(of.text), "the record of renewal %d of %s says paid, the ledger does not", renewal, o.key)
			completed++
			if record.Journal.Reason == v1alpha1.ReasonSettled {
				settled++
			}
		}
		s.note("%s: %s after %d renewals, paid %d times, recorded %d times, of them %d for it", o.key, found.Status.Phase, found.Status.Renewals, paid,
			completed, settled)
		known := !s.judge.restarted && !s.idLost() && s.judge.loss == nil
		isSettled := found.Status.Phase == v1alpha1.InvoiceSettled
		s.check("I2", !isSettled || paid > 0, "%s is Settled, and nobody paid it", o.key)
		s.check("renewal", settled <= 1, "%s was settled by %d of its invoices", o.key, settled)
		s.check("renewal", !known || isSettled == (paid > 0), "%s was paid %d times, and is %s", o.key, paid, found.Status.Phase)
		s.check("renewal", !known || !isSettled || settled == 1 && completed == paid, "%s was paid %d times, recorded are %d, and %d settled it", o.key, paid,
			completed, settled)
	}
}
