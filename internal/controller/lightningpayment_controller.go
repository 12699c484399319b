package controller

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/bitcoin"
	"github.com/utexo/utexo-operator/internal/bolt11"
	"github.com/utexo/utexo-operator/internal/observer"
	"github.com/utexo/utexo-operator/internal/payment"
	"github.com/utexo/utexo-operator/internal/readiness"
)

// LightningPaymentReconciler pays BOLT11 invoices.
type LightningPaymentReconciler struct{ Payments *Payments }

// +kubebuilder:rbac:groups=payments.utexo.com,resources=lightningpayments,verbs=get;list;watch;patch;delete
// +kubebuilder:rbac:groups=payments.utexo.com,resources=lightningpayments/status,verbs=patch
// +kubebuilder:rbac:groups=payments.utexo.com,resources=paymentapprovals;paymentsignatures,verbs=list;watch
// +kubebuilder:rbac:groups=payments.utexo.com,resources=wallets,verbs=get;list;watch
// +kubebuilder:rbac:groups=payments.utexo.com,resources=lightninginvoices,verbs=get;list;watch
// +kubebuilder:rbac:groups="",resources=configmaps,verbs=get
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// Reconcile drives one LightningPayment.
func (r *LightningPaymentReconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	var pay v1alpha1.LightningPayment
	if err := r.Payments.Client.Get(ctx, request.NamespacedName, &pay); err != nil {
		r.Payments.gone(observer.Payment, request.NamespacedName)
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if restsForGood(&pay, pay.Status.Phase, pay.Status.ObservedGeneration) {
		r.Payments.gone(observer.Payment, request.NamespacedName)
		return r.Payments.expire(ctx, lightningPayable{&pay})
	}
	return r.Payments.Reconcile(ctx, lightningPayable{&pay})
}

// lightningPayable is a LightningPayment as the driver sees it.
type lightningPayable struct{ *v1alpha1.LightningPayment }

func (l lightningPayable) inner() conditioned { return l.LightningPayment }
func (l lightningPayable) fresh() payable     { return lightningPayable{&v1alpha1.LightningPayment{}} }

func (l lightningPayable) copy() payable                             { return lightningPayable{l.DeepCopy()} }
func (l lightningPayable) walletReference() v1alpha1.WalletReference { return l.Spec.WalletRef }
func (l lightningPayable) suspended() bool                           { return l.Spec.Suspend }

func (l lightningPayable) phase() v1alpha1.PaymentPhase                 { return l.Status.Phase }
func (l lightningPayable) mode() v1alpha1.PaymentMode                   { return modeOf(l.Spec.Mode) }
func (l lightningPayable) plan() *v1alpha1.PaymentPlan                  { return l.Status.Plan }
func (l lightningPayable) showPlan(plan *v1alpha1.PaymentPlan)          { l.Status.Plan = plan }
func (l lightningPayable) showSigning(request *v1alpha1.SigningRequest) { l.Status.Signing = request }

func (l lightningPayable) recordName() string { return l.Status.RecordRef }

func (l lightningPayable) lifetime() (*int32, *metav1.Time) {
	return l.Spec.TTLSecondsAfterFinished, l.Status.CompletedAt
}

// resolve finds the BOLT11, pinning what a reference was resolved to, and makes an order of it.
func (l lightningPayable) resolve(ctx context.Context, p *Payments, wallet *v1alpha1.Wallet, known v1alpha1.RecordWallet) (resolution, error) {
	text := l.Spec.Invoice
	if l.Spec.InvoiceFrom != nil {
		pinned, obstacle, err := p.pinnedInvoice(ctx, l.LightningPayment, known)
		switch {
		case err != nil:
			return resolution{}, err
		case obstacle != nil && obstacle.DeadEnd:
			return resolution{invalid: obstacle}, nil
		case obstacle != nil:
			return resolution{waiting: obstacle}, nil
		}
		text = pinned
	}
	network := bitcoin.Network("")
	if wallet != nil {
		network = bitcoin.Network(wallet.Spec.Network)
	}
	order, obstacle := payment.NewLightningOrder(l.LightningPayment, text, network, known, p.Clock.Now())
	if wallet == nil && order != nil {
		obstacle = nil // what it is worth is known once the wallet is
	}
	return resolution{order: order, invalid: obstacle}, nil
}

// pinnedInvoice returns the BOLT11 that invoiceFrom was resolved to. The first resolution is recorded under the payment's own name, and
// counts for ever: a reference that later holds another invoice must not make one manifest pay twice.
func (p *Payments) pinnedInvoice(ctx context.Context, pay *v1alpha1.LightningPayment, known v1alpha1.RecordWallet) (string, *payment.Obstacle, error) {
	name := payment.InvoicePinName(pay.Namespace, pay.Name)
	pin, err := p.Records.Get(ctx, name)
	if err != nil {
		return "", nil, err
	}
	if pin != nil && pin.Spec.Source != sourceOf(pay.Spec.InvoiceFrom) {
		return "", &payment.Obstacle{
			Reason: v1alpha1.ReasonDuplicatePayment, DeadEnd: true,
			Message: fmt.Sprintf("an earlier LightningPayment of this name read its invoice from %s, and nothing was sent by this one; declare it under a new name",
				pin.Spec.Source),
		}, nil
	}
	if pin != nil {
		return pin.Spec.PaymentRequest, nil, nil
	}
	if !pay.DeletionTimestamp.IsZero() {
		return "", &payment.Obstacle{Reason: v1alpha1.ReasonCancelled, Message: "deleted before anything was sent"}, nil
	}
	text, waiting, err := p.readInvoice(ctx, pay)
	if waiting != nil || err != nil {
		return "", waiting, err
	}
	if lost := pinLost(pay, text); lost != nil {
		return "", lost, nil
	}
	if known.MasterFingerprint == "" {
		return "", &payment.Obstacle{Reason: v1alpha1.ReasonWalletNotReady, Message: "waiting for the Wallet", RetryAfter: secretPoll}, nil
	}
	spec := v1alpha1.PaymentRecordSpec{
		Kind: v1alpha1.RecordInvoicePin, Wallet: known, PaymentRequest: text, Source: sourceOf(pay.Spec.InvoiceFrom),
	}
	journal := v1alpha1.PaymentJournal{
		Phase:  v1alpha1.RecordHeld,
		Holder: v1alpha1.RecordHolder{Kind: "LightningPayment", Namespace: pay.Namespace, Name: pay.Name, UID: string(pay.UID)},
	}
	pin, _, err = p.Records.Claim(ctx, name, spec, journal)
	if err != nil {
		return "", nil, err
	}
	return pin.Spec.PaymentRequest, nil, nil
}

// pinLost holds a payment whose status tells of another invoice than text, and whose pin is gone: the records were lost, and the invoice
// before may have been paid. Nothing else reads an identity from a status, which may be lost, too.
func pinLost(pay *v1alpha1.LightningPayment, text string) *payment.Obstacle {
	read, err := bolt11.Decode(text)
	if known := pay.Status.PaymentHash; err == nil && known != "" && known != read.PaymentHashHex() {
		return &payment.Obstacle{Reason: v1alpha1.ReasonJournalLost, Message: fmt.Sprintf(
			"the record of the invoice that it pays was lost, and %s now holds another one: whether the one before was paid nobody here knows; "+
				"look for payment hash %s at the service, and declare a new LightningPayment if it was not", sourceOf(pay.Spec.InvoiceFrom), known)}
	}
	return nil
}

// readInvoice reads what invoiceFrom names.
func (p *Payments) readInvoice(ctx context.Context, pay *v1alpha1.LightningPayment) (string, *payment.Obstacle, error) {
	missing := func(format string, arguments ...any) (string, *payment.Obstacle, error) {
		return "", &payment.Obstacle{
			Reason: v1alpha1.ReasonReferenceNotFound, Message: fmt.Sprintf(format, arguments...), RetryAfter: referencePoll,
		}, nil
	}
	from := pay.Spec.InvoiceFrom
	found := func(text, where string) (string, *payment.Obstacle, error) {
		// What is no invoice is neither pinned nor shown: it may be a placeholder, or another secret.
		text = strings.TrimSpace(text)
		if _, err := bolt11.Decode(text); err != nil {
			return missing("%s holds no BOLT11 that can be read; it is looked at again", where)
		}
		return text, nil, nil
	}
	switch {
	case from.LightningInvoiceRef != nil:
		var invoice v1alpha1.LightningInvoice
		err := p.Reader.Get(ctx, client.ObjectKey{Namespace: pay.Namespace, Name: from.LightningInvoiceRef.Name}, &invoice)
		if apierrors.IsNotFound(err) {
			return missing("LightningInvoice %s does not exist in this namespace; create it", from.LightningInvoiceRef.Name)
		}
		if err != nil {
			return "", nil, fmt.Errorf("reading LightningInvoice: %w", err)
		}
		return found(invoice.Status.PaymentRequest, sourceOf(from))
	case from.ConfigMapKeyRef != nil:
		var config corev1.ConfigMap
		err := p.Reader.Get(ctx, client.ObjectKey{Namespace: pay.Namespace, Name: from.ConfigMapKeyRef.Name}, &config)
		if apierrors.IsNotFound(err) {
			return missing("ConfigMap %s does not exist in this namespace; create it", from.ConfigMapKeyRef.Name)
		}
		if err != nil {
			return "", nil, fmt.Errorf("reading ConfigMap: %w", err)
		}
		return found(config.Data[from.ConfigMapKeyRef.Key], sourceOf(from))
	}
	data, obstacle, err := p.Connector.secret(ctx, pay.Namespace, from.SecretKeyRef.Name)
	if obstacle != nil {
		return missing("%s", obstacle.Message)
	}
	if err != nil {
		return "", nil, err
	}
	return found(string(data[from.SecretKeyRef.Key]), sourceOf(from))
}

// sourceOf names where an invoice is read.
func sourceOf(from *v1alpha1.InvoiceSource) string {
	switch {
	case from.LightningInvoiceRef != nil:
		return "LightningInvoice " + from.LightningInvoiceRef.Name
	case from.ConfigMapKeyRef != nil:
		return fmt.Sprintf("key %s of ConfigMap %s", from.ConfigMapKeyRef.Key, from.ConfigMapKeyRef.Name)
	}
	return fmt.Sprintf("key %s of Secret %s", from.SecretKeyRef.Key, from.SecretKeyRef.Name)
}

// referencePoll is how often a reference is looked at that does not exist yet.
const referencePoll = 5 * time.Second

// project writes the status.
func (l lightningPayable) project(order *payment.Order, record *v1alpha1.PaymentRecord, facts *payment.Facts, projection payment.Projection, now time.Time) {
	status := &l.Status
	was := status.Phase
	status.ObservedGeneration = l.Generation
	status.Phase = projection.Phase
	status.Conditions = paymentConditions(status.Conditions, l.Generation, projection.Summary, now)
	if order != nil {
		sats := int64(order.AmountSats)
		status.PaymentHash, status.Payee, status.AmountSats, status.Asset = order.PaymentHash, order.Destination, &sats, order.Asset
		if order.AmountSats == 0 {
			status.AmountSats = nil
		}
	}
	if facts.FeeEstimateSats != nil {
		status.FeeEstimateSats = facts.FeeEstimateSats
	}
	if !isOurs(order, record) {
		return
	}
	journal := record.Journal
	status.RecordRef = record.Name
	status.RequestID, status.FeeSats = journal.RequestID, journal.FeeSats
	if journal.FeeEstimateSats != nil {
		status.FeeEstimateSats = journal.FeeEstimateSats
	}
	status.Attempt = attemptOf(&journal)
	status.CompletedAt = completedAt(status.CompletedAt, was, status.Phase, &journal)
}

// paymentConditions are the conditions of a payment. Where it has no record any more, what was known of its outcome stays.
func paymentConditions(existing []metav1.Condition, generation int64, summary readiness.Summary, now time.Time) []metav1.Condition {
	was := meta.FindStatusCondition(existing, v1alpha1.ConditionOutcomeKnown)
	said := slices.ContainsFunc(summary.Also, func(c metav1.Condition) bool { return c.Type == v1alpha1.ConditionOutcomeKnown })
	if was != nil && !said {
		kept := *was
		if kept.Status == metav1.ConditionUnknown {
			kept.Reason, kept.Message = summary.Reason, summary.Message
		}
		summary.Also = append(slices.Clone(summary.Also), kept)
	}
	return readiness.Conditions(existing, generation, summary, now)
}

// modeOf is the mode that a spec means.
func modeOf(mode v1alpha1.PaymentMode) v1alpha1.PaymentMode {
	if mode == "" {
		return v1alpha1.ModeApply
	}
	return mode
}

// isOurs reports whether record is that of order, and not of another resource's or an earlier one's.
func isOurs(order *payment.Order, record *v1alpha1.PaymentRecord) bool {
	return order != nil && record != nil && payment.SameHolder(order.Holder, record.Journal.Holder) && payment.SameOrder(record, order)
}

// completedAt is when a payment came to its end. It does not move while the payment stays there: a record may be given up twice.
func completedAt(known *metav1.Time, was, is v1alpha1.PaymentPhase, journal *v1alpha1.PaymentJournal) *metav1.Time {
	if known != nil && was == is && journal.CompletedAt != nil {
		return known
	}
	return secondsOf(journal.CompletedAt)
}

func attemptOf(journal *v1alpha1.PaymentJournal) *v1alpha1.Attempt {
	if journal.Attempt == 0 {
		return nil
	}
	return &v1alpha1.Attempt{Number: journal.Attempt, StartedAt: secondsOf(journal.StartedAt)}
}

func secondsOf(instant *metav1.MicroTime) *metav1.Time {
	if instant == nil {
		return nil
	}
	seconds := metav1.NewTime(instant.Truncate(time.Second))
	return &seconds
}
