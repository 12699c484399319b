package controller

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/approval"
	"github.com/utexo/utexo-operator/internal/limits"
	"github.com/utexo/utexo-operator/internal/observer"
	"github.com/utexo/utexo-operator/internal/payment"
	"github.com/utexo/utexo-operator/internal/readiness"
	"github.com/utexo/utexo-operator/internal/record"
	"github.com/utexo/utexo-operator/internal/spender"
	"github.com/utexo/utexo-operator/internal/turns"
)

// Annotations that a person sets on a payment.
const (
	// DeletionPolicyAnnotation with the value AbandonTracking lets a payment be deleted although its outcome is not known. The record
	// stays and goes on keeping it from being made twice.
	DeletionPolicyAnnotation = "payments.utexo.com/deletion-policy"
	AbandonTracking          = "abandon-tracking"
	// ResolveAnnotation is a person's word on an unknown outcome, see payment.Resolve.
	ResolveAnnotation = "payments.utexo.com/resolve"
)

// maxSteps bounds the steps of one pass. A payment takes about eight.
const maxSteps = 20

var errNoRest = errors.New("a payment was decided on without coming to rest")

// Payments drives payments of both kinds: observe, decide, write, act, until there is nothing to do now.
type Payments struct {
	Client client.Client
	// Reader reads from the API server, not from a cache. Everything that money depends on is read with it.
	Reader    client.Reader
	Clock     clock.Clock
	Status    *StatusWriter
	Records   *record.Store
	Spender   *spender.Spender
	Connector *Connector
	Budgets   *Budgets
	Policy    payment.Policy
	// Observe tells of news at the services; nil for nothing that does.
	Observe *ObserverReconciler
	// Turns has the payments of a wallet come one after another; nil for each to try again and again.
	Turns *turns.Turns[observer.Subject]
}

// payable is a payment resource of either kind.
type payable interface {
	// inner is the resource itself.
	inner() conditioned
	// fresh is an empty one of the kind.
	fresh() payable
	walletReference() v1alpha1.WalletReference
	phase() v1alpha1.PaymentPhase
	// attempt is the number of the attempt that the status tells of; 0 for none.
	attempt() int32
	// lifetime is how long, in seconds, the resource is kept after it finished, and when that was; nil for no end and not yet.
	lifetime() (ttl *int32, finished *metav1.Time)
	// recordName is the name of the record that the status names; empty for none.
	recordName() string
	suspended() bool
	mode() v1alpha1.PaymentMode
	// resolve says what is to be paid. waiting is why that is not known yet, invalid the dead end of what cannot be paid; the order is
	// returned with both as far as it is known.
	resolve(ctx context.Context, p *Payments, wallet *v1alpha1.Wallet, known v1alpha1.RecordWallet) (resolution, error)
	// project writes into the status what the record and the decision say.
	project(order *payment.Order, record *v1alpha1.PaymentRecord, facts *payment.Facts, projection payment.Projection, now time.Time)
	// showPlan writes into the status what the payment does to the wallet; nil where nobody wants to know.
	showPlan(plan *v1alpha1.PaymentPlan)
	plan() *v1alpha1.PaymentPlan
	// showSigning writes into the status what people have to sign now; nil for nothing.
	showSigning(request *v1alpha1.SigningRequest)
	copy() payable
}

// resolution is what a manifest comes to.
type resolution struct {
	order            *payment.Order
	waiting, invalid *payment.Obstacle
}

// pass is one pass over one payment.
type pass struct {
	*Payments
	object  payable
	before  payable
	wallet  *v1alpha1.Wallet
	session *spender.Session
	facts   payment.Facts
	// standing is what is left of the wallet's budget, where it has one and it was looked at.
	standing *limits.Standing
	// gated tells that it was looked at whether the payment needs an approval.
	gated bool
	// unsigned is the PSBT that people have to sign, of the attempt unsignedAttempt, once it was read.
	unsigned        string
	unsignedAttempt int32
	// inLine tells that it waits for its turn at the wallet, and will be called.
	inLine bool
}

// Reconcile drives one payment. Each step writes what it is about to do, then does at most that one thing.
func (p *Payments) Reconcile(ctx context.Context, object payable) (ctrl.Result, error) {
	run := &pass{Payments: p, object: object, before: object.copy()}
	defer func() {
		if !run.inLine {
			p.forfeit(run.who())
		}
	}()
	if err := run.observe(ctx); err != nil {
		return resultFor(err)
	}
	for range maxSteps {
		decision := payment.Decide(run.facts, p.Policy, p.Clock.Now())
		if err := run.write(ctx, decision); err != nil {
			return resultFor(err)
		}
		if decision.Step == payment.Rest {
			return run.rest(ctx, decision)
		}
		if err := run.act(ctx, decision.Step); err != nil {
			return resultFor(err)
		}
	}
	run.object.project(run.facts.Order, run.facts.Record, &run.facts, internalError, p.Clock.Now())
	return ctrl.Result{}, errors.Join(reconcile.TerminalError(errNoRest), p.Status.Write(ctx, run.before.inner(), run.object.inner()))
}

// who is the payment as others in this process know it.
func (r *pass) who() observer.Subject {
	kind := observer.Payment
	if _, ok := r.object.(lightningPayable); !ok {
		kind = observer.Send
	}
	return observer.Subject{Kind: kind, NamespacedName: client.ObjectKeyFromObject(r.object.inner())}
}

// forfeit gives up the turn of a payment that wants none now.
func (p *Payments) forfeit(who observer.Subject) {
	if p.Turns != nil {
		p.Turns.Forfeit(who)
	}
}

// gone forgets a payment whose resource is no more.
func (p *Payments) gone(kind observer.Kind, name client.ObjectKey) {
	who := observer.Subject{Kind: kind, NamespacedName: name}
	p.forfeit(who)
	p.Observe.Forget(who)
}

// internalError is what a status says where an invariant of the operator is broken.
var internalError = payment.Projection{Phase: v1alpha1.PaymentPending, Summary: readiness.Summary{
	Outcome: readiness.DeadEnd, Reason: v1alpha1.ReasonInternalError,
	Message: "the operator could not decide what to do next, which is a fault of its own; nothing more is done for this payment: report it, with the PaymentRecord",
}}

// observe reads the wallet, what is to be paid and its record.
func (r *pass) observe(ctx context.Context) error {
	r.facts = payment.Facts{
		Suspended:  r.object.suspended(),
		Deleting:   !r.object.inner().GetDeletionTimestamp().IsZero(),
		Abandon:    r.object.inner().GetAnnotations()[DeletionPolicyAnnotation] == AbandonTracking,
		Resolution: r.object.inner().GetAnnotations()[ResolveAnnotation],
		GivenUp:    givenUp(r.object, r.Clock.Now()),
		Recorded:   r.object.recordName() != "",
		Mode:       r.object.mode(),
	}
	if deleted := r.object.inner().GetDeletionTimestamp(); deleted != nil {
		r.facts.DeletedAt = deleted.Time
	}
	reference := r.object.walletReference()
	known := v1alpha1.RecordWallet{
		Name: reference.Name, Namespace: payment.ForeignNamespace(r.object.inner().GetNamespace(), reference),
	}
	if err := r.observeWallet(ctx, &known); err != nil {
		return err
	}
	resolved, err := r.object.resolve(ctx, r.Payments, r.wallet, known)
	if err != nil {
		return err
	}
	r.facts.Order = resolved.order
	if r.facts.Invalid == nil {
		r.facts.Invalid = resolved.invalid
	}
	if r.facts.Waiting == nil {
		r.facts.Waiting = resolved.waiting
	}
	if r.facts.Order == nil {
		return r.observeUnreadable(ctx)
	}
	if r.facts.Record, err = r.Records.Get(ctx, r.facts.Order.RecordName()); err != nil {
		return err
	}
	if err := r.observeSignature(ctx); err != nil {
		return err
	}
	if record := r.facts.Record; record != nil && record.Spec.Kind == v1alpha1.RecordOnchainSend && payment.AwaitsAnswer(&record.Journal) {
		if r.facts.ClaimedSend, err = r.Records.ClaimedSend(ctx, record); err != nil {
			return err
		}
	}
	if r.facts.Mode == v1alpha1.ModeObserve {
		return nil // nothing starts, so that nothing is asked that may keep it from starting
	}
	if r.wallet != nil && r.facts.Order.Kind == v1alpha1.RecordOnchainSend && r.facts.NoSpending == nil {
		if r.facts.NoSpending, err = r.journalObstacle(ctx, known.XpubVanilla); err != nil {
			return err
		}
	}
	if record := r.facts.Record; r.session == nil || (record != nil && record.Journal.SubmittedAt != nil) {
		return nil
	}
	return r.gate(ctx)
}

// gate says in the facts which limit of the wallet, or which missing approval, keeps the payment from starting. Within the wallet's
// critical section it is exact: what others submitted is read uncached, and nobody else submits. Either is looked at again at the latest
// when the payment's time is over.
func (r *pass) gate(ctx context.Context) (err error) {
	defer func() {
		for _, obstacle := range []*payment.Obstacle{r.facts.Blocked, r.facts.Unapproved} {
			if left := r.facts.Order.StartBefore.Sub(r.Clock.Now()); obstacle != nil && left > 0 && (obstacle.RetryAfter == 0 || left < obstacle.RetryAfter) {
				obstacle.RetryAfter = left
			}
		}
	}()
	if r.facts.Blocked, err = r.blocked(ctx); err != nil {
		return err
	}
	r.facts.Unapproved, r.facts.Approval, r.gated = nil, nil, true
	needed := approval.Required(r.wallet.Spec.Limits, r.facts.Order)
	if needed == 0 {
		return nil
	}
	var approvals v1alpha1.PaymentApprovalList
	holder := r.facts.Order.Holder
	if err := r.Reader.List(ctx, &approvals, client.InNamespace(holder.Namespace), client.MatchingFields{referenceField: holder.UID}); err != nil {
		return fmt.Errorf("listing PaymentApprovals: %w", err)
	}
	need := approval.Need{
		Order: r.facts.Order, Required: needed, Author: r.object.inner().GetAnnotations()[v1alpha1.AuthorAnnotation],
		Wallet: v1alpha1.WalletReference{Namespace: r.wallet.Namespace, Name: r.wallet.Name},
	}
	state := need.Judge(approvals.Items, r.Clock.Now())
	r.facts.Unapproved = state.Obstacle(approval.PlanHash(r.facts.Order))
	r.facts.Approval = approvedCondition(state, r.facts.Unapproved)
	return nil
}

// referenceField is the field by which the API server selects PaymentApprovals and PaymentSignatures.
const referenceField = "spec.paymentRef.uid"

func approvedCondition(state approval.State, missing *payment.Obstacle) *metav1.Condition {
	if missing != nil {
		return &metav1.Condition{Type: v1alpha1.ConditionApproved, Status: metav1.ConditionFalse, Reason: missing.Reason, Message: missing.Message}
	}
	return &metav1.Condition{
		Type: v1alpha1.ConditionApproved, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonApproved,
		Message: payment.Limit("approved by "+strings.Join(state.Approvers, ", "), 512),
	}
}

// blocked says which limit of the wallet keeps the payment from starting, or nil.
func (r *pass) blocked(ctx context.Context) (*payment.Obstacle, error) {
	allowed := r.wallet.Spec.Limits
	if allowed == nil {
		return nil, nil
	}
	if allowed.DailySats != nil {
		standing, err := r.Budgets.Standing(ctx, r.session.Wallet, *allowed.DailySats)
		if err != nil {
			return nil, err
		}
		r.standing = &standing
	}
	if obstacle := limits.Check(allowed, r.facts.Order); obstacle != nil || r.standing == nil {
		return obstacle, nil
	}
	return r.standing.Block(limits.Need(r.facts.Order), r.Clock.Now()), nil
}

// plan is what the payment does to the wallet, for whom it has to be shown to. It says the same in every pass, whatever can be reached:
// of a payment that is recorded it is made from the record, and what cannot be told now is left as it was.
func (r *pass) plan(projection payment.Projection) *v1alpha1.PaymentPlan {
	order, known := r.facts.Order, r.object.plan()
	planning := r.facts.Mode == v1alpha1.ModePlan
	if order == nil {
		return known
	}
	declared, estimate, found := *order, r.facts.FeeEstimateSats, (*v1alpha1.OnchainPlan)(nil)
	recorded := isOurs(order, r.facts.Record)
	if recorded {
		journal := &r.facts.Record.Journal
		declared.Wallet = r.facts.Record.Spec.Wallet
		if estimate == nil {
			estimate = journal.FeeEstimateSats
		}
		if order.Kind == v1alpha1.RecordOnchainSend {
			found = journal.Plan
		}
	}
	switch {
	case !planning && found == nil && r.facts.Approval == nil && known == nil:
		return nil
	case !recorded && (r.session == nil || r.facts.Invalid != nil || r.facts.GivenUp != nil):
		return known
	}
	startBefore := metav1.NewTime(order.StartBefore.Truncate(time.Second))
	plan := &v1alpha1.PaymentPlan{
		Hash: approval.PlanHash(&declared), Destination: order.Destination, AmountSats: int64(order.AmountSats), Asset: order.Asset,
		FeeSats: estimate, MaxFeeSats: int64(order.MaxFeeSats), OutflowSats: int64(limits.Need(order)), StartBefore: &startBefore,
	}
	if planning {
		plan.Verdict, plan.Message = r.facts.Verdict(projection), projection.Summary.Message
		if r.standing != nil {
			left := int64(r.standing.RemainingSats)
			plan.BudgetRemainingSats = &left
		}
	}
	if found != nil {
		plan.FeeSats, plan.OutflowSats, plan.Outputs = &found.FeeSats, found.OutflowSats, found.Outputs
	}
	return plan
}

// observeUnreadable reads the record that the status names where the manifest cannot be read any more, as after an upgrade that reads
// more strictly: what was paid stays paid.
func (r *pass) observeUnreadable(ctx context.Context) error {
	name := r.object.recordName()
	if name == "" {
		return nil
	}
	found, err := r.Records.Get(ctx, name)
	if found != nil && found.Journal.Holder.UID == string(r.object.inner().GetUID()) {
		r.facts.Record = found
	}
	return err
}

// givenUp is the dead end that the status tells of. It is the one thing that is read from a status: a payment of which nothing is recorded
// was called failed nowhere else. Where the status names a record it is looked for again for a while: what was called failed is looked at a last
// time, and the record says whether it was.
func givenUp(object payable, now time.Time) *payment.Obstacle {
	ready := meta.FindStatusCondition(object.inner().GetConditions(), v1alpha1.ConditionReady)
	if object.phase() != v1alpha1.PaymentFailed || ready == nil {
		return nil
	}
	obstacle := &payment.Obstacle{Reason: ready.Reason, Message: ready.Message, DeadEnd: true}
	if _, finished := object.lifetime(); finished != nil && object.recordName() != "" && now.Sub(finished.Time) < lostRecordWatch {
		obstacle.RetryAfter = lostRecordPoll
	}
	return obstacle
}

// observeWallet connects to the wallet, or says in the facts why it cannot be used, or not for spending.
func (r *pass) observeWallet(ctx context.Context, known *v1alpha1.RecordWallet) error {
	used, err := r.Connector.Use(ctx, r.object.inner(), r.object.walletReference())
	if err != nil {
		return err
	}
	if r.wallet = used.wallet; r.wallet != nil {
		r.facts.Profile = r.wallet.Spec.Endpoint.Profile
		r.facts.Suspended = r.facts.Suspended || r.wallet.Spec.Suspend
		r.facts.PeopleSign = peopleSign(r.wallet)
	}
	if used.unusable != nil {
		r.facts.Waiting = used.unusable
		return nil
	}
	*known = used.connection.Record
	r.session = used.connection.Session(r.wallet)
	if r.facts.NoSpending = used.notReady; r.facts.NoSpending == nil || used.connection.Unsigned != nil {
		r.facts.NoSpending = used.told(noSigner(r.wallet, used.connection))
	}
	return nil
}

// lostRecordPoll is how often a record is looked for that a status names and that is not there: somebody may bring it back.
const lostRecordPoll = 10 * time.Minute

// lostRecordWatch is how long after its end the record of a payment that was called failed is looked for.
const lostRecordWatch = time.Hour

// journalObstacle holds an on-chain send where the records of earlier ones may be missing, or its own is.
func (r *pass) journalObstacle(ctx context.Context, xpubVanilla string) (*payment.Obstacle, error) {
	if xpubVanilla == "" {
		return nil, nil
	}
	epoch, err := r.Records.Get(ctx, payment.EpochName(xpubVanilla))
	if err != nil {
		return nil, err
	}
	switch {
	case epoch == nil:
		return &payment.Obstacle{
			Reason: v1alpha1.ReasonWalletNotReady, Message: fmt.Sprintf("Wallet %s has no journal yet", r.wallet.Name), RetryAfter: secretPoll,
		}, nil
	case epoch.Spec.Epoch != r.wallet.Status.JournalEpoch:
		return &payment.Obstacle{
			Reason: v1alpha1.ReasonWalletNotReady, RetryAfter: secretPoll,
			Message: fmt.Sprintf("the records of Wallet %s are others than when it was last looked at; it is looked at again", r.wallet.Name),
		}, nil
	case epoch.Journal.Reason == v1alpha1.ReasonJournalLost && r.wallet.Spec.AcknowledgedEpoch != epoch.Spec.Epoch:
		return &payment.Obstacle{
			Reason: v1alpha1.ReasonJournalLost, RetryAfter: max(r.facts.Order.StartBefore.Sub(r.Clock.Now()), 0),
			Message: fmt.Sprintf("the service shows payments of Wallet %s of which no record exists, so this send may already have been made; "+
				"make sure that it was not, then set the Wallet's spec.acknowledgedEpoch to %s", r.wallet.Name, epoch.Spec.Epoch),
		}, nil
	case r.facts.Recorded && r.facts.Record == nil && r.wallet.Spec.AcknowledgedEpoch != epoch.Spec.Epoch:
		// The epoch is there, so that not all records were lost, but this one was.
		return &payment.Obstacle{
			Reason: v1alpha1.ReasonJournalLost, RetryAfter: lostRecordPoll,
			Message: fmt.Sprintf("the record %s of this send is gone, so that it may already have been made; make sure that it was not, then set the "+
				"spec.acknowledgedEpoch of Wallet %s to %s", r.object.recordName(), r.wallet.Name, epoch.Spec.Epoch),
		}, nil
	}
	return nil, nil
}

// write does what a decision wants written: the finalizer before anything that must not go unnoticed, then the record.
func (r *pass) write(ctx context.Context, decision payment.Decision) error {
	if decision.Hold && !r.facts.Deleting {
		if err := r.patchFinalizer(ctx, controllerutil.AddFinalizer); err != nil {
			return err
		}
	}
	if decision.Journal != nil {
		updated, err := r.Records.Swap(ctx, r.facts.Record, *decision.Journal)
		if err != nil {
			return err
		}
		logRecorded(ctx, updated)
		r.freed(ctx, r.facts.Record, updated)
		r.facts.Record = updated
		r.facts.Sighting = nil
	}
	r.Status.Emit(r.object.inner(), decision.Events)
	return nil
}

// logRecorded tells of a change of phase, the thread by which a payment can be followed in the log.
func logRecorded(ctx context.Context, record *v1alpha1.PaymentRecord) {
	log.FromContext(ctx).Info("payment recorded", "record", record.Name, "phase", record.Journal.Phase, "attempt", record.Journal.Attempt,
		"reason", record.Journal.Reason)
}

// rest writes the status, lets the resource go where it may, and says when to look again.
func (r *pass) rest(ctx context.Context, decision payment.Decision) (ctrl.Result, error) {
	r.showApproval(&decision.Projection)
	r.object.project(r.facts.Order, r.facts.Record, &r.facts, decision.Projection, r.Clock.Now())
	r.object.showPlan(r.plan(decision.Projection))
	signing, err := r.signing(ctx)
	if err != nil {
		return resultFor(err)
	}
	r.object.showSigning(signing)
	if err := r.Status.Write(ctx, r.before.inner(), r.object.inner()); err != nil {
		return resultFor(err)
	}
	if !decision.Hold {
		if err := r.settle(ctx); err != nil {
			return resultFor(err)
		}
	}
	again := r.await(decision)
	if again > 0 || decision.Hold || !r.paidOrFailed() {
		return ctrl.Result{RequeueAfter: again, Priority: r.priority()}, nil
	}
	return r.expire(ctx, r.object)
}

// showApproval adds how far the payment is approved. Of one that was submitted, or is over, that is what it was then; where none is needed
// any more it is nothing.
func (r *pass) showApproval(projection *payment.Projection) {
	shown := meta.FindStatusCondition(r.object.inner().GetConditions(), v1alpha1.ConditionApproved)
	switch {
	case r.facts.Approval != nil && (shown == nil || projection.Phase != v1alpha1.PaymentFailed):
		shown = r.facts.Approval
	case r.gated && projection.Phase != v1alpha1.PaymentFailed:
		projection.Summary.Without = []string{v1alpha1.ConditionApproved}
		return
	}
	if shown != nil {
		projection.Summary.Also = append(slices.Clone(projection.Summary.Also), *shown)
	}
}

// priority is that of the next pass in the queue: what was submitted only looks, and lets pass what is still to be paid.
func (r *pass) priority() *int {
	if r.facts.Record == nil || r.facts.Record.Journal.Phase != v1alpha1.RecordSubmitted {
		return nil
	}
	return ptr.To(priorityLook)
}

// await has a Lightning payment that is under way watched, and returns when to decide again without news.
func (r *pass) await(decision payment.Decision) time.Duration {
	if r.Observe == nil || r.facts.Order == nil || r.facts.Order.Kind != v1alpha1.RecordLightningPayment {
		return decision.RequeueAfter
	}
	who := r.who()
	if r.session == nil || !isOurs(r.facts.Order, r.facts.Record) || r.facts.Record.Journal.Phase != v1alpha1.RecordSubmitted {
		r.Observe.Forget(who)
		return decision.RequeueAfter
	}
	wallet := client.ObjectKeyFromObject(r.wallet)
	r.Observe.Watch(wallet, r.session.Wallet.Server, r.session.Service, who, observer.Watch{PaymentHashes: []string{r.facts.Order.PaymentHash}})
	if decision.RequeueAfter == payment.LongPoll && r.Observe.Observer.Lists(wallet, r.Clock.Now()) {
		return listedPoll
	}
	return decision.RequeueAfter
}

// listedPoll is how often a payment that is long under way is looked at where a list of payments tells of it.
const listedPoll = 10 * time.Minute

// paidOrFailed reports whether the payment is over in a way in which declaring it again could not pay it.
func (r *pass) paidOrFailed() bool {
	if !isOurs(r.facts.Order, r.facts.Record) {
		return false
	}
	switch journal := r.facts.Record.Journal; journal.Phase {
	case v1alpha1.RecordSucceeded:
		return true
	case v1alpha1.RecordFailed:
		return !payment.NeverSubmitted(&journal)
	}
	return false
}

// expire deletes a payment that is over once its time has passed.
func (p *Payments) expire(ctx context.Context, object payable) (ctrl.Result, error) {
	ttl, completed := object.lifetime()
	return expire(ctx, p.Client, p.Clock.Now(), object.inner(), ttl, completed)
}

// settle cleans up after a payment of which nothing more is expected: its PSBT and its finalizer go.
func (r *pass) settle(ctx context.Context) error {
	if !controllerutil.ContainsFinalizer(r.object.inner(), v1alpha1.Finalizer) {
		return nil
	}
	if record := r.facts.Record; record != nil && r.facts.Order != nil && record.Journal.Attempt > 0 &&
		payment.SameHolder(record.Journal.Holder, r.facts.Order.Holder) {
		shown := record.Journal.SignBefore != nil || record.Journal.UnsignedAttempts > 0
		if record.Spec.Kind == v1alpha1.RecordOnchainSend || shown {
			if err := r.Records.DropPSBTs(ctx, record, shown); err != nil {
				return err
			}
		}
	}
	return client.IgnoreNotFound(r.patchFinalizer(ctx, controllerutil.RemoveFinalizer))
}

func (r *pass) patchFinalizer(ctx context.Context, change func(client.Object, string) bool) error {
	before := r.object.copy()
	if !change(r.object.inner(), v1alpha1.Finalizer) {
		return nil
	}
	// The answer to the patch overwrites the object, and with it a status that was not written yet: there is none here.
	patch := client.MergeFromWithOptions(before.inner(), client.MergeFromWithOptimisticLock{})
	if err := r.Client.Patch(ctx, r.object.inner(), patch); err != nil {
		return err
	}
	r.before = r.object.copy()
	return nil
}
