// Package record keeps PaymentRecords: the operator's memory of what it pays. Creating a record is the test and set that makes its
// identity somebody's; every later change is a compare-and-swap on its resourceVersion. Reads never come from a cache.
package record

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/payment"
)

// Labels of a record, to find it by.
const (
	LabelKind = "payments.utexo.com/record-kind"
	// LabelFingerprint is the wallet's master fingerprint.
	LabelFingerprint = "payments.utexo.com/master-fingerprint"
	// LabelPaymentHash is the payment hash without its last digit: a label's value has 63 characters at most.
	LabelPaymentHash = "payments.utexo.com/payment-hash"
	// LabelSubmittedOn is, of a payment that was submitted, the day from which on a budget counts it, in UTC.
	LabelSubmittedOn = "payments.utexo.com/submitted-on"
	// LabelRecord is, of a claim, the record that it belongs to, cut to 63 characters.
	LabelRecord = "payments.utexo.com/record"
)

// Keys of an attempt's Secrets, one that holds the unsigned PSBT, and, where people signed it, one that holds the signed one.
const (
	psbtKey       = "unsignedPSBT"
	signedPSBTKey = "signedPSBT"
)

// Store reads and writes records in the operator's namespace.
type Store struct {
	Client client.Client
	// Reader reads from the API server, not from a cache.
	Reader    client.Reader
	Namespace string
}

// Get returns the record of that name, or nil where there is none.
func (s *Store) Get(ctx context.Context, name string) (*v1alpha1.PaymentRecord, error) {
	var record v1alpha1.PaymentRecord
	err := s.Reader.Get(ctx, client.ObjectKey{Namespace: s.Namespace, Name: name}, &record)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading payment record: %w", err)
	}
	return &record, nil
}

// Claim creates a record. Where one of that name exists it returns that one, and false.
func (s *Store) Claim(ctx context.Context, name string, spec v1alpha1.PaymentRecordSpec, journal v1alpha1.PaymentJournal,
) (*v1alpha1.PaymentRecord, bool, error) {
	record := &v1alpha1.PaymentRecord{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: name, Labels: labelsOf(spec)},
		Spec:       spec,
		Journal:    journal,
	}
	err := s.Client.Create(ctx, record)
	if err == nil {
		return record, true, nil
	}
	if !apierrors.IsAlreadyExists(err) {
		return nil, false, fmt.Errorf("creating payment record: %w", err)
	}
	existing, err := s.Get(ctx, name)
	if err != nil {
		return nil, false, err
	}
	if existing == nil {
		return nil, false, fmt.Errorf("payment record %s appeared and went away", name)
	}
	return existing, false, nil
}

func labelsOf(spec v1alpha1.PaymentRecordSpec) map[string]string {
	found := map[string]string{LabelKind: string(spec.Kind), LabelFingerprint: spec.Wallet.MasterFingerprint}
	if len(spec.PaymentHash) == 64 {
		found[LabelPaymentHash] = labelled(spec.PaymentHash)
	}
	if spec.RecordRef != "" {
		found[LabelRecord] = labelled(spec.RecordRef)
	}
	return found
}

// labelled is as much of text as a label's value can hold.
func labelled(text string) string { return text[:min(len(text), 63)] }

// Swap writes journal to record if nobody wrote to it since it was read, and returns the record as it then is. A conflict
// (apierrors.IsConflict) means that somebody knows more than the caller.
func (s *Store) Swap(ctx context.Context, record *v1alpha1.PaymentRecord, journal v1alpha1.PaymentJournal) (*v1alpha1.PaymentRecord, error) {
	next := record.DeepCopy()
	next.Journal = journal
	if from := payment.CountsFrom(&journal); from == nil {
		delete(next.Labels, LabelSubmittedOn)
	} else {
		metav1.SetMetaDataLabel(&next.ObjectMeta, LabelSubmittedOn, dayOf(from.Time))
	}
	return s.patch(ctx, record, next)
}

func dayOf(instant time.Time) string { return instant.UTC().Format(time.DateOnly) }

// Submitted returns the records of the payments that a wallet submitted on the day of now, the one before or the one after, by any
// Wallet with its keys: more than 24 hours, also where the clock was set back.
func (s *Store) Submitted(ctx context.Context, wallet v1alpha1.RecordWallet, now time.Time) ([]v1alpha1.PaymentRecord, error) {
	const day = 24 * time.Hour
	selector := labels.NewSelector()
	for key, values := range map[string][]string{
		LabelKind:        {string(v1alpha1.RecordLightningPayment), string(v1alpha1.RecordOnchainSend)},
		LabelFingerprint: {wallet.MasterFingerprint},
		LabelSubmittedOn: {dayOf(now.Add(-day)), dayOf(now), dayOf(now.Add(day))},
	} {
		requirement, err := labels.NewRequirement(key, selection.In, values)
		if err != nil {
			return nil, fmt.Errorf("selecting payment records: %w", err)
		}
		selector = selector.Add(*requirement)
	}
	var found []v1alpha1.PaymentRecord
	err := s.each(ctx, client.MatchingLabelsSelector{Selector: selector}, func(record *v1alpha1.PaymentRecord) error {
		if record.Spec.Wallet.XpubVanilla == wallet.XpubVanilla {
			found = append(found, *record)
		}
		return nil
	})
	return found, err
}

// Reclaim gives a record, that was given up before anything was sent, to a new order of the same identity. Attempts go on counting.
func (s *Store) Reclaim(ctx context.Context, record *v1alpha1.PaymentRecord, spec v1alpha1.PaymentRecordSpec,
	journal v1alpha1.PaymentJournal,
) (*v1alpha1.PaymentRecord, error) {
	next := record.DeepCopy()
	next.Spec = spec
	next.Labels = labelsOf(spec)
	journal.Attempt = record.Journal.Attempt
	next.Journal = journal
	return s.patch(ctx, record, next)
}

func (s *Store) patch(ctx context.Context, record, next *v1alpha1.PaymentRecord) (*v1alpha1.PaymentRecord, error) {
	patch := client.MergeFromWithOptions(record, client.MergeFromWithOptimisticLock{})
	if err := s.Client.Patch(ctx, next, patch); err != nil {
		return nil, fmt.Errorf("writing payment record %s: %w", record.Name, err)
	}
	return next, nil
}

// Delete deletes a record if nobody wrote to it since it was read. One that somebody wrote to stays, and one that is gone is.
func (s *Store) Delete(ctx context.Context, record *v1alpha1.PaymentRecord) error {
	uid, version := record.UID, record.ResourceVersion
	err := s.Client.Delete(ctx, record, client.Preconditions{UID: &uid, ResourceVersion: &version})
	if err == nil || apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	return fmt.Errorf("deleting payment record %s: %w", record.Name, err)
}

// PublishedInvoice returns a record of a LightningInvoice that a wallet issued with a payment hash, or nil. What other wallets of its service
// issued may be of other nodes.
func (s *Store) PublishedInvoice(ctx context.Context, paymentHash string, wallet v1alpha1.RecordWallet) (*v1alpha1.PaymentRecord, error) {
	records, err := s.list(ctx, client.MatchingLabels{
		LabelKind: string(v1alpha1.RecordLightningInvoice), LabelPaymentHash: labelled(paymentHash),
	}, 0)
	if err != nil {
		return nil, err
	}
	for i := range records {
		if records[i].Spec.PaymentHash == paymentHash && payment.SameWallet(records[i].Spec.Wallet, wallet) {
			return &records[i], nil
		}
	}
	return nil, nil
}

// AnyPublishedInvoice returns a record of some LightningInvoice that a wallet issued, or nil.
func (s *Store) AnyPublishedInvoice(ctx context.Context, wallet v1alpha1.RecordWallet) (*v1alpha1.PaymentRecord, error) {
	records, err := s.list(ctx, client.MatchingLabels{
		LabelKind: string(v1alpha1.RecordLightningInvoice), LabelFingerprint: wallet.MasterFingerprint,
	}, 10)
	if err != nil {
		return nil, err
	}
	for i := range records {
		if payment.SameWallet(records[i].Spec.Wallet, wallet) {
			return &records[i], nil
		}
	}
	return nil, nil
}

// PublishedInvoices returns the names of the records of LightningInvoices that are wanted, of wallets with a master fingerprint or, where
// that is empty, of all. There may be very many: they are read by the page.
func (s *Store) PublishedInvoices(ctx context.Context, fingerprint string, wanted func(*v1alpha1.PaymentRecord) bool) ([]string, error) {
	selected := client.MatchingLabels{LabelKind: string(v1alpha1.RecordLightningInvoice)}
	if fingerprint != "" {
		selected[LabelFingerprint] = fingerprint
	}
	var names []string
	err := s.each(ctx, selected, func(record *v1alpha1.PaymentRecord) error {
		if wanted(record) {
			names = append(names, record.Name)
		}
		return nil
	})
	return names, err
}

// Each calls visit with every record of a kind, read a page at a time, until it returns an error, which Each then does. It may delete what
// it is given.
func (s *Store) Each(ctx context.Context, kind v1alpha1.RecordKind, visit func(*v1alpha1.PaymentRecord) error) error {
	return s.each(ctx, client.MatchingLabels{LabelKind: string(kind)}, visit)
}

// EachOf is Each of the records of wallets with a master fingerprint.
func (s *Store) EachOf(ctx context.Context, kind v1alpha1.RecordKind, fingerprint string, visit func(*v1alpha1.PaymentRecord) error) error {
	return s.each(ctx, client.MatchingLabels{LabelKind: string(kind), LabelFingerprint: fingerprint}, visit)
}

// EachOther is Each of the records that EachOf leaves out.
func (s *Store) EachOther(ctx context.Context, kind v1alpha1.RecordKind, fingerprint string, visit func(*v1alpha1.PaymentRecord) error) error {
	other, err := labels.NewRequirement(LabelFingerprint, selection.NotEquals, []string{fingerprint})
	if err != nil {
		return fmt.Errorf("selecting payment records: %w", err)
	}
	selector := labels.SelectorFromSet(labels.Set{LabelKind: string(kind)}).Add(*other)
	return s.each(ctx, client.MatchingLabelsSelector{Selector: selector}, visit)
}

// each calls visit with every record that is selected. A list is new for each page: what was decoded is not overwritten. Of what changes
// while pages are visited, those to come may tell: the API server remembers a list for some minutes only.
func (s *Store) each(ctx context.Context, selected client.ListOption, visit func(*v1alpha1.PaymentRecord) error) error {
	for page := ""; ; {
		var list v1alpha1.PaymentRecordList
		err := s.Reader.List(ctx, &list, client.InNamespace(s.Namespace), selected, client.Limit(500), client.Continue(page))
		if next := afterExpiry(err); next != "" && next != page {
			page = next
			continue
		}
		if err != nil {
			return fmt.Errorf("listing payment records: %w", err)
		}
		for i := range list.Items {
			if err := visit(&list.Items[i]); err != nil {
				return err
			}
		}
		if page = list.Continue; page == "" {
			return nil
		}
	}
}

// afterExpiry is where a list goes on whose pages the API server does not remember any more: behind the last one, with what is there now.
// It is empty where err tells of something else.
func afterExpiry(err error) string {
	if status, ok := errors.AsType[*apierrors.StatusError](err); ok && apierrors.IsResourceExpired(err) {
		return status.ErrStatus.Continue
	}
	return ""
}

// ClaimedSend returns the send id with which a service answered a submission of a record, as it was claimed; empty where none was.
func (s *Store) ClaimedSend(ctx context.Context, record *v1alpha1.PaymentRecord) (string, error) {
	claims, err := s.list(ctx, client.MatchingLabels{
		LabelKind: string(v1alpha1.RecordSendClaim), LabelRecord: labelled(record.Name),
	}, 0)
	if err != nil {
		return "", err
	}
	for i := range claims {
		if payment.Answers(&claims[i], record) {
			return claims[i].Spec.RequestID, nil
		}
	}
	return "", nil
}

func (s *Store) list(ctx context.Context, matching client.MatchingLabels, limit int64) ([]v1alpha1.PaymentRecord, error) {
	var list v1alpha1.PaymentRecordList
	if err := s.Reader.List(ctx, &list, client.InNamespace(s.Namespace), matching, client.Limit(limit)); err != nil {
		return nil, fmt.Errorf("listing payment records: %w", err)
	}
	return list.Items, nil
}

// KeepPSBT keeps the unsigned PSBT of the record's current attempt in a Secret that the record owns, so that the attempt can be
// signed and submitted again. An attempt has one PSBT: keeping another is an error.
func (s *Store) KeepPSBT(ctx context.Context, record *v1alpha1.PaymentRecord, unsignedPSBT string) error {
	return s.keep(ctx, record, psbtName(record.Name, record.Journal.Attempt), psbtKey, unsignedPSBT)
}

// KeepSignedPSBT keeps the signed PSBT of the record's current attempt as KeepPSBT keeps the unsigned one, where it cannot be signed again.
func (s *Store) KeepSignedPSBT(ctx context.Context, record *v1alpha1.PaymentRecord, signedPSBT string) error {
	return s.keep(ctx, record, signedName(record.Name, record.Journal.Attempt), signedPSBTKey, signedPSBT)
}

func (s *Store) keep(ctx context.Context, record *v1alpha1.PaymentRecord, name, key, text string) error {
	immutable := true
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: s.Namespace, Name: name,
			OwnerReferences: []metav1.OwnerReference{{
				APIVersion: v1alpha1.GroupVersion.String(), Kind: "PaymentRecord", Name: record.Name, UID: record.UID,
			}},
		},
		Immutable:  &immutable,
		StringData: map[string]string{key: text},
	}
	err := s.Client.Create(ctx, secret)
	if apierrors.IsAlreadyExists(err) {
		kept, getErr := s.kept(ctx, name, key)
		if getErr != nil {
			return getErr
		}
		if kept != text {
			return fmt.Errorf("attempt %d of %s already has another PSBT", record.Journal.Attempt, record.Name)
		}
		return nil
	}
	if err != nil {
		return fmt.Errorf("keeping the PSBT: %w", err)
	}
	return nil
}

// PSBT returns the unsigned PSBT of the record's current attempt; empty where none is kept.
func (s *Store) PSBT(ctx context.Context, record *v1alpha1.PaymentRecord) (string, error) {
	return s.kept(ctx, psbtName(record.Name, record.Journal.Attempt), psbtKey)
}

// SignedPSBT returns the signed PSBT of the record's current attempt; empty where none is kept.
func (s *Store) SignedPSBT(ctx context.Context, record *v1alpha1.PaymentRecord) (string, error) {
	return s.kept(ctx, signedName(record.Name, record.Journal.Attempt), signedPSBTKey)
}

func (s *Store) kept(ctx context.Context, name, key string) (string, error) {
	var secret corev1.Secret
	err := s.Reader.Get(ctx, client.ObjectKey{Namespace: s.Namespace, Name: name}, &secret)
	if apierrors.IsNotFound(err) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("reading the kept PSBT: %w", err)
	}
	return string(secret.Data[key]), nil
}

// DropPSBTs removes the PSBTs of all the record's attempts, once its outcome is known. signed tells that there may be signed ones.
func (s *Store) DropPSBTs(ctx context.Context, record *v1alpha1.PaymentRecord, signed bool) error {
	for attempt := int32(1); attempt <= record.Journal.Attempt; attempt++ {
		names := []string{psbtName(record.Name, attempt)}
		if signed {
			names = append(names, signedName(record.Name, attempt))
		}
		for _, name := range names {
			secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: name}}
			if err := client.IgnoreNotFound(s.Client.Delete(ctx, secret)); err != nil {
				return fmt.Errorf("removing a kept PSBT: %w", err)
			}
		}
	}
	return nil
}

func psbtName(record string, attempt int32) string { return fmt.Sprintf("%s-psbt-%d", record, attempt) }

func signedName(record string, attempt int32) string {
	return fmt.Sprintf("%s-signed-%d", record, attempt)
}
