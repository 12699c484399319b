package controller

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/payment"
)

// maxSignatures is how many signatures of one attempt are looked at, the newest first: each takes time, and anybody who may create one may
// create many.
const maxSignatures = 16

// isAwaited reports whether people have to sign the payment of r now.
func (r *pass) isAwaited() bool {
	return r.facts.Record != nil && r.facts.Record.Journal.Phase == v1alpha1.RecordAwaitingSignature && isOurs(r.facts.Order, r.facts.Record)
}

// observeSignature looks, uncached, for the signature that the current attempt of the payment waits for.
func (r *pass) observeSignature(ctx context.Context) error {
	if r.session == nil || !r.facts.PeopleSign || !r.isAwaited() {
		return nil
	}
	record := r.facts.Record
	unsigned, err := r.toSign(ctx)
	if err != nil {
		return err
	}
	r.facts.Given = &payment.Given{Attempt: record.Journal.Attempt, Unpublished: unsigned == ""}
	if unsigned == "" {
		return nil
	}
	given, err := r.signatures(ctx)
	if err != nil {
		return err
	}
	for i := range given {
		problem := r.Spender.Objection(ctx, r.facts.Order, record, r.session, unsigned, given[i].Spec.PSBT)
		if problem == "" {
			r.facts.Given.Signature = given[i].Spec.PSBT
			return nil
		}
		if r.facts.Given.Problem == "" {
			r.facts.Given.Problem = fmt.Sprintf("PaymentSignature %s does not sign attempt %d: %s; nothing was sent, create another",
				given[i].Name, record.Journal.Attempt, problem)
		}
	}
	return nil
}

// signatures are the newest of those that are of this payment, its wallet and its current attempt, the newest first. They are read by the
// page, and no others: each may be large, and who may sign from another wallet may create as many as they like.
func (r *pass) signatures(ctx context.Context) (given []v1alpha1.PaymentSignature, err error) {
	holder := r.facts.Order.Holder
	paysFrom := walletKey(holder.Namespace, r.object.walletReference())
	selected := client.MatchingFields{
		referenceField: holder.UID, "spec.attempt": fmt.Sprint(r.facts.Record.Journal.Attempt), "spec.walletRef.name": paysFrom.Name,
	}
	for page := ""; ; {
		var list v1alpha1.PaymentSignatureList
		err := r.Reader.List(ctx, &list, client.InNamespace(holder.Namespace), selected, client.Limit(maxSignatures), client.Continue(page))
		if err != nil {
			return nil, fmt.Errorf("listing PaymentSignatures: %w", err)
		}
		for _, one := range list.Items {
			of := one.Spec.PaymentRef
			if of.Kind == holder.Kind && of.Name == holder.Name && of.UID == holder.UID && one.Spec.Attempt == r.facts.Record.Journal.Attempt &&
				walletKey(holder.Namespace, one.Spec.WalletRef) == paysFrom {
				given = append(given, one)
			}
		}
		slices.SortFunc(given, func(a, b v1alpha1.PaymentSignature) int {
			return cmp.Or(b.CreationTimestamp.Compare(a.CreationTimestamp.Time), strings.Compare(a.Name, b.Name))
		})
		given = slices.Clone(given[:min(len(given), maxSignatures)])
		if page = list.Continue; page == "" {
			return given, nil
		}
	}
}

// toSign is the PSBT that people have to sign now; empty where it is gone.
func (r *pass) toSign(ctx context.Context) (string, error) {
	record := r.facts.Record
	if r.unsignedAttempt == record.Journal.Attempt {
		return r.unsigned, nil
	}
	unsigned, err := r.Records.PSBT(ctx, record)
	if err == nil {
		r.unsigned, r.unsignedAttempt = unsigned, record.Journal.Attempt
	}
	return unsigned, err
}

// signing is what the status shows to people who have to sign; nil where there is nothing to sign.
func (r *pass) signing(ctx context.Context) (*v1alpha1.SigningRequest, error) {
	if !r.isAwaited() {
		return nil, nil
	}
	unsigned, err := r.toSign(ctx)
	if err != nil || unsigned == "" {
		return nil, err
	}
	journal := &r.facts.Record.Journal
	request := &v1alpha1.SigningRequest{Attempt: journal.Attempt, PSBT: unsigned, Txid: journal.Txid, ExpiresAt: secondsOf(journal.SignBefore)}
	if journal.Plan != nil {
		request.OutflowSats, request.FeeSats = journal.Plan.OutflowSats, journal.Plan.FeeSats
	}
	return request, nil
}

// freed lets others use the wallet once a payment that it was kept for is not signed any more.
func (r *pass) freed(ctx context.Context, before, after *v1alpha1.PaymentRecord) {
	if before.Journal.Phase != v1alpha1.RecordAwaitingSignature {
		return
	}
	switch after.Journal.Phase {
	case v1alpha1.RecordClaimed, v1alpha1.RecordFailed, v1alpha1.RecordCancelled:
		r.Spender.Free(ctx, before)
	}
}
