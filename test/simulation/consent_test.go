package simulation

import (
	"fmt"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/testkit"
)

// consents is what people must agree to, in the seeds in which wallets demand it, and what they agreed to.
type consents struct {
	// aboveSats is the wallets' requireApprovalAboveSats, required their requiredApprovals; 0 where none are demanded.
	aboveSats int64
	required  int32
	given     []*consent
}

// consent is an approval as the person meant it who gave it. The judge does not read it with the operator's eyes.
type consent struct {
	key      objectKey
	uid      string
	approver string
	expires  time.Time
	// counts tells that it names the payment, the plan that was shown for it, and its wallet.
	counts bool
}

// author declared the payments, according to their annotation.
const author = "author"

// people who approve. Nobody prevents the author from creating an approval, which does not count.
var people = []string{"alice", "bob", "carol", author}

// demandConsent lets the wallets of a seed demand approvals, of the larger of the payments or of all.
func (s *sim) demandConsent() {
	s.consents.aboveSats, s.consents.required = 6500, 1
	if s.chance(30) {
		s.consents.required = 2
	}
}

func (s *sim) demandsConsent() bool { return s.consents.aboveSats > 0 }

// declareCarefully says who declares a payment of a seed with approvals, and lets some of them be planned first.
func (s *sim) declareCarefully(o *object) {
	if !s.demandsConsent() {
		return
	}
	o.refused = s.chance(5)
	if !s.chance(3) { // one that nobody says who declared is never approved
		o.made.SetAnnotations(map[string]string{v1alpha1.AuthorAnnotation: author})
	}
	if s.chance(30) {
		setMode(o.made, v1alpha1.ModePlan)
	}
}

func modeOf(object client.Object) v1alpha1.PaymentMode {
	mode := v1alpha1.PaymentMode("")
	switch o := object.(type) {
	case *v1alpha1.LightningPayment:
		mode = o.Spec.Mode
	case *v1alpha1.OnchainSend:
		mode = o.Spec.Mode
	}
	if mode == "" {
		return v1alpha1.ModeApply
	}
	return mode
}

func setMode(object client.Object, mode v1alpha1.PaymentMode) {
	switch o := object.(type) {
	case *v1alpha1.LightningPayment:
		o.Spec.Mode = mode
	case *v1alpha1.OnchainSend:
		o.Spec.Mode = mode
	}
}

func isSuspended(object client.Object) bool {
	switch o := object.(type) {
	case *v1alpha1.LightningPayment:
		return o.Spec.Suspend
	case *v1alpha1.OnchainSend:
		return o.Spec.Suspend
	case *v1alpha1.Wallet:
		return o.Spec.Suspend
	}
	return false
}

func planOf(object client.Object) *v1alpha1.PaymentPlan {
	switch o := object.(type) {
	case *v1alpha1.LightningPayment:
		return o.Status.Plan
	case *v1alpha1.OnchainSend:
		return o.Status.Plan
	}
	return nil
}

// offerConsent adds what people can do about payments that they must agree to.
func (s *sim) offerConsent(consider func(time.Time, int, func())) {
	if !s.demandsConsent() {
		return
	}
	now := s.clock.Now()
	for _, o := range s.objects {
		if s.asksForConsent(o) {
			consider(o.askedAgain, 10, func() { s.approve(o) })
		}
	}
	if !s.chaotic {
		return
	}
	consider(now, 1, s.changeMode)
	if len(s.consents.given) > 0 {
		consider(now, 1, s.withdraw)
	}
}

// asksForConsent reports whether a payment shows a plan that people have not agreed to yet.
func (s *sim) asksForConsent(o *object) bool {
	if o.order == nil || o.refused {
		return false
	}
	found := s.api.current(o.key)
	if found == nil || found.GetDeletionTimestamp() != nil || found.GetAnnotations()[v1alpha1.AuthorAnnotation] == "" {
		return false
	}
	switch phase := phaseOf(found); {
	case planOf(found) == nil || phase != v1alpha1.PaymentAwaitingApproval && phase != v1alpha1.PaymentPlanned:
		return false
	case phase == v1alpha1.PaymentPlanned && !s.chaotic:
		return false
	}
	return s.approvers(found, s.api.revision, s.clock.Now()) < int(s.consents.required)
}

// approve lets a person approve what a payment shows. As long as things go wrong, some mistake the plan, the wallet or themselves.
func (s *sim) approve(o *object) {
	found := s.api.current(o.key)
	o.askedAgain = s.clock.Now().Add(time.Duration(1+s.random.IntN(600)) * time.Second)
	c := &consent{uid: string(found.GetUID()), approver: people[s.random.IntN(3)], expires: s.clock.Now().Add(48 * time.Hour).Truncate(time.Second), counts: true}
	hash, wallet := planOf(found).Hash, o.wallet
	if s.chaotic {
		c.approver = people[s.random.IntN(len(people))]
		if s.chance(50) {
			c.expires = s.clock.Now().Add(time.Duration(1+s.random.IntN(900)) * time.Second).Truncate(time.Second)
		}
		switch {
		case s.chance(8):
			hash, c.counts = fmt.Sprintf("%064x", 7), false
		case s.chance(8):
			wallet, c.counts = "wallet-9", false
		}
	}
	made := testkit.MakePaymentApproval(c.approver, v1alpha1.PaymentReference{Kind: o.key.kind, Name: o.key.name, UID: c.uid}, wallet, hash, c.expires)
	made.Namespace, made.Name = team, fmt.Sprintf("approval-%d", len(s.consents.given))
	c.key = keyOf(made)
	s.consents.given = append(s.consents.given, c)
	s.note("%s approves %s until %s, as it should be %t", c.approver, o.key, c.expires.Format(time.TimeOnly), c.counts)
	s.mustCreate(made)
}

// withdraw lets a person take an approval back.
func (s *sim) withdraw() {
	c := s.consents.given[s.random.IntN(len(s.consents.given))]
	if s.api.current(c.key) != nil {
		s.note("%s withdraws %s", c.approver, c.key)
		_ = s.api.remove(c.key)
	}
}

// changeMode lets a person plan what was to be paid, or pay what was planned.
func (s *sim) changeMode() {
	o := s.anyResource()
	if o == nil || o.order == nil {
		return
	}
	mode := v1alpha1.ModeApply
	if s.chance(30) {
		mode = v1alpha1.ModePlan
	}
	s.applyMode(o, mode)
}

func (s *sim) applyMode(o *object, mode v1alpha1.PaymentMode) {
	if found := s.api.current(o.key); found == nil || modeOf(found) == mode {
		return
	}
	s.note("%s: mode %s", o.key, mode)
	setMode(o.made, mode)
	s.api.update(o.key, false, func(object client.Object) { setMode(object, mode) })
}

// decidePlans lets people pay or delete what is only planned when the faults stop, but for some that soon is too late to be paid.
func (s *sim) decidePlans() {
	for _, o := range s.objects {
		found := s.api.current(o.key)
		if o.order == nil || found == nil || modeOf(found) != v1alpha1.ModePlan {
			continue
		}
		left := o.order.startBefore.Sub(s.clock.Now())
		switch record := s.recordOf(o.record); {
		case record == nil && left < 30*time.Minute && s.chance(60):
		case s.chance(75):
			s.applyMode(o, v1alpha1.ModeApply)
		default:
			s.note("%s is deleted", o.key)
			_ = s.api.remove(o.key)
		}
	}
}

// approvers counts the people, but for the author, whose approvals of a payment are there at revision and last beyond now.
func (s *sim) approvers(payment client.Object, revision int64, now time.Time) int {
	by := payment.GetAnnotations()[v1alpha1.AuthorAnnotation]
	if by == "" {
		return 0
	}
	counted := map[string]bool{}
	for _, c := range s.consents.given {
		if c.counts && c.uid == string(payment.GetUID()) && c.approver != by && now.Before(c.expires) && s.api.at(c.key, revision) != nil {
			counted[c.approver] = true
		}
	}
	return len(counted)
}

// looks are what a task read, uncached, since it last called the service: what it knew when it gave itself permission. Revisions are those
// that the API server showed, 0 for not looked at.
type looks struct {
	objects map[objectKey]int64
	// approvals is when they were listed.
	approvals   int64
	approvalsAt time.Time
	// asked is when the payment was looked at.
	asked time.Time
}

func (t *task) looked(key objectKey, revision int64, now time.Time) {
	if t.looks.objects == nil {
		t.looks.objects = map[objectKey]int64{}
	}
	t.looks.objects[key] = revision
	if key == t.object.key {
		t.looks.asked = now
	}
}

// staleAfter is the age beyond which permission counts no more: that of the process until it declares the end, and that of the end.
const staleAfter = 40 * time.Second

// permitted judges a write-ahead: right before it, and after all that was asked of the service, the task saw that the payment is to be
// made, that its wallet may spend, and at the first end of an attempt that enough people agree.
func (s *sim) permitted(t *task, before *v1alpha1.PaymentRecord) {
	o := t.object
	found := s.api.at(o.key, t.looks.objects[o.key])
	switch {
	case found == nil:
		s.fail("permit", "%s submits a payment that it did not look at, or that was gone", t.name)
		return
	case string(found.GetUID()) != t.uid, found.GetDeletionTimestamp() != nil:
		s.fail("permit", "%s submits a payment that was deleted", t.name)
	case isSuspended(found), modeOf(found) != v1alpha1.ModeApply:
		s.fail("permit", "%s submits a payment that was held: suspended %t, mode %s", t.name, isSuspended(found), modeOf(found))
	}
	key := objectKey{"Wallet", team, o.wallet}
	wallet, ok := s.api.at(key, t.looks.objects[key]).(*v1alpha1.Wallet)
	if !ok || isSuspended(wallet) {
		s.fail("permit", "%s submits a payment of a wallet that it did not look at, or that was suspended or gone", t.name)
		return
	}
	s.signedFor(t, found, &before.Journal)
	if before.Journal.Phase == v1alpha1.RecordSubmitting || !s.demandsConsent() || o.order == nil || o.order.sats <= s.consents.aboveSats {
		return
	}
	count := s.approvers(found, t.looks.approvals, t.looks.approvalsAt)
	s.check("consent", count >= int(s.consents.required), "%s submits %d sat with the consent of %d people, %d are needed", t.name, o.order.sats, count,
		s.consents.required)
}

// onlyPlanned reports whether a payment was never in mode Apply.
func (s *sim) onlyPlanned(key objectKey, uid string) bool {
	held := s.api.objects[key]
	if held == nil || uid == "" {
		return false
	}
	seen := false
	for _, v := range *held {
		if v.object == nil || string(v.object.GetUID()) != uid {
			continue
		}
		seen = true
		if modeOf(v.object) == v1alpha1.ModeApply {
			return false
		}
	}
	return seen
}

// judgePlans checks that nothing came of payments that were never more than planned, but what the service had anyway.
func (s *sim) judgePlans() {
	for _, o := range s.orders {
		for _, object := range o.objects {
			if record := s.recordOf(object.record); record != nil {
				holder := record.Journal.Holder
				s.check("plan", !s.onlyPlanned(objectKey{holder.Kind, holder.Namespace, holder.Name}, holder.UID),
					"%s was only planned, and has a record that is %s", holder.Name, record.Journal.Phase)
			}
		}
	}
}
