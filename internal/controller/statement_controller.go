package controller

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/payment"
	"github.com/utexo/utexo-operator/internal/record"
	"github.com/utexo/utexo-operator/internal/statement"
)

// StatementReconciler writes documents of what wallets received and paid, one at a time. It reads from the service, outside of any wallet's
// critical section, and moves no money.
type StatementReconciler struct {
	// Client creates ConfigMaps; Reader reads from the API server, not from a cache.
	Client    client.Client
	Reader    client.Reader
	Clock     clock.PassiveClock
	Status    *StatusWriter
	Records   *record.Store
	Connector *Connector
	// MaxPart is how many bytes of data a ConfigMap holds at most; statement.MaxPart where it is 0.
	MaxPart int
}

// +kubebuilder:rbac:groups=payments.utexo.com,resources=statements,verbs=list;watch
// +kubebuilder:rbac:groups=payments.utexo.com,resources=statements/status,verbs=patch
// +kubebuilder:rbac:groups="",resources=configmaps,verbs=get

const (
	// listRetry is how often a service is asked whose lists give no complete document.
	listRetry = time.Hour
	// statementRetry is how long a Statement is left alone at least that something keeps from being written. A look at one asks for all that
	// the service lists.
	statementRetry = 3 * time.Minute
	// listingTime is how long a service may take for all that it lists. Statements are written one at a time, and others wait.
	listingTime = 5 * time.Minute
)

// Reconcile writes the next document of one Statement, if its period is over.
func (r *StatementReconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	var object v1alpha1.Statement
	if err := r.Client.Get(ctx, request.NamespacedName, &object); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if !object.DeletionTimestamp.IsZero() {
		return ctrl.Result{}, nil
	}
	facts := statement.Facts{Statement: &object}
	for range maxSteps {
		decision := statement.Decide(facts, r.Clock.Now())
		if decision.Close == nil {
			before := object.DeepCopy()
			object.Status = decision.Status
			if err := r.Status.Write(ctx, before, &object); err != nil {
				return resultFor(err)
			}
			return ctrl.Result{RequeueAfter: decision.RequeueAfter}, nil
		}
		var err error
		if facts.Closed, facts.Held, err = r.close(ctx, &object, *decision.Close); err != nil {
			return resultFor(err)
		}
	}
	return ctrl.Result{}, reconcile.TerminalError(errors.New("a statement was decided on without coming to rest"))
}

// close returns the document of a period: the one that is there, else one that it writes; or what keeps it from being written.
func (r *StatementReconciler) close(ctx context.Context, object *v1alpha1.Statement, period statement.Period,
) (*statement.Summary, *payment.Obstacle, error) {
	written, held, err := r.written(ctx, object, period)
	if written != nil || held != nil || err != nil {
		return written, held, err
	}
	if held, err = r.mayWrite(ctx, object, period); held != nil || err != nil {
		return nil, held, err
	}
	gathered, held, err := r.gather(ctx, object, period)
	if held != nil && held.RetryAfter > 0 {
		held.RetryAfter = max(held.RetryAfter, statementRetry)
	}
	if held != nil || err != nil {
		return nil, held, err
	}
	entries, err := gathered.Entries(gathered.resources)
	if err != nil {
		return nil, notComplete(err), nil
	}
	limit := r.MaxPart
	if limit == 0 {
		limit = statement.MaxPart
	}
	parts, summary, err := statement.Compose(object, period, gathered.wallet, entries, limit)
	if err != nil {
		return nil, notComplete(err), nil
	}
	// The first names the others, and is the document: what was written of one that came to nothing belongs to none.
	for i := len(parts) - 1; i >= 0; i-- {
		err := r.Client.Create(ctx, configMapOf(object, parts[i]))
		switch {
		case apierrors.IsAlreadyExists(err) && i == 0:
			return r.written(ctx, object, period) // somebody was faster, and a document never changes
		case apierrors.IsForbidden(err):
			return nil, targetForbidden(object), nil
		case err != nil && !apierrors.IsAlreadyExists(err):
			return nil, nil, fmt.Errorf("writing a document: %w", err)
		}
	}
	r.Status.Emit(object, []payment.Event{{Reason: v1alpha1.EventDocumentWritten, Message: fmt.Sprintf(
		"ConfigMap %s: %d entries %s, SHA-256 %s", parts[0].Name, summary.Entries, period, summary.SHA256)}})
	return summary, nil, nil
}

// mayWrite says what keeps a document from being written, whatever it will say. It is asked before anything is read for it.
func (r *StatementReconciler) mayWrite(ctx context.Context, object *v1alpha1.Statement, period statement.Period) (*payment.Obstacle, error) {
	first := configMapOf(object, statement.ConfigMap{Name: statement.DocumentName(object.Name, period)})
	err := r.Client.Create(ctx, first, client.DryRunAll)
	switch {
	case apierrors.IsForbidden(err):
		return targetForbidden(object), nil
	case err != nil && !apierrors.IsAlreadyExists(err): // somebody is faster, which is seen when it is written
		return nil, fmt.Errorf("trying to write a document: %w", err)
	}
	return nil, nil
}

// targetForbidden waits for a grant, of which nobody tells.
func targetForbidden(object *v1alpha1.Statement) *payment.Obstacle {
	obstacle := unusable(v1alpha1.ReasonTargetForbidden,
		"the operator may not create ConfigMaps; grant its service account this verb by a Role and RoleBinding in namespace %s", object.Namespace)
	obstacle.RetryAfter = statementRetry
	return obstacle
}

// notComplete is the dead end of a document that cannot be made of what there is.
func notComplete(err error) *payment.Obstacle {
	obstacle := &payment.Obstacle{Reason: v1alpha1.ReasonListIncomplete, Message: err.Error(), DeadEnd: true, RetryAfter: listRetry}
	if errors.Is(err, statement.ErrTooLarge) {
		obstacle.Reason = v1alpha1.ReasonInvalidSpec
	}
	return obstacle
}

// written returns the document of a period that is there already; nil where there is none.
func (r *StatementReconciler) written(ctx context.Context, object *v1alpha1.Statement, period statement.Period,
) (*statement.Summary, *payment.Obstacle, error) {
	name := statement.DocumentName(object.Name, period)
	var first corev1.ConfigMap
	err := r.Reader.Get(ctx, client.ObjectKey{Namespace: object.Namespace, Name: name}, &first)
	if apierrors.IsNotFound(err) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("reading a document: %w", err)
	}
	if metav1.IsControlledBy(&first, object) {
		summary, err := statement.ReadSummary(first.Data)
		if err == nil && summary.From.Equal(period.From) && summary.To.Equal(period.To) {
			return summary, nil, nil
		}
	}
	return nil, &payment.Obstacle{
		Reason:  v1alpha1.ReasonDocumentNameTaken,
		Message: fmt.Sprintf("ConfigMap %s is there and is no document of this Statement and period; delete it, or declare another Statement", name),
		// A Statement that was deleted leaves its documents to be collected.
		RetryAfter: secretPoll,
	}, nil
}

// gathered is everything that a document is made of.
type gathered struct {
	*statement.Collector
	wallet    v1alpha1.RecordWallet
	resources map[statement.Resource]statement.Declared
}

// gather reads everything that a document is made of.
func (r *StatementReconciler) gather(ctx context.Context, object *v1alpha1.Statement, period statement.Period,
) (*gathered, *payment.Obstacle, error) {
	used, err := r.Connector.UseOwn(ctx, object, object.Spec.WalletRef)
	switch {
	case err != nil:
		return nil, nil, err
	case used.unusable != nil:
		return nil, used.unusable, nil
	case used.notReady != nil && object.Spec.Source != v1alpha1.SourceRecords:
		return nil, used.notReady, nil // the service may be of another network
	}
	wallet := used.connection.Record
	all := &gathered{
		Collector: statement.NewCollector(period, statement.Wallet{Namespace: object.Namespace, RecordWallet: wallet}, object.Spec.AssetIDs),
		wallet:    wallet,
	}
	asked := object.Spec.Source != v1alpha1.SourceRecords
	if asked {
		held, err := r.listed(ctx, used.connection, object.Spec.AssetIDs, all.Collector)
		if held != nil || err != nil {
			return nil, held, err
		}
	}
	if err := r.recorded(ctx, wallet.MasterFingerprint, asked, all.Collector); err != nil {
		return nil, nil, err
	}
	all.resources, err = r.resources(ctx, object.Namespace)
	return all, nil, err
}

// listed tells a document of all that the service lists, and of the assets that are on record.
func (r *StatementReconciler) listed(ctx context.Context, connection *Connection, stated []string, into *statement.Collector) (*payment.Obstacle, error) {
	asking, cancel := context.WithTimeout(ctx, listingTime)
	defer cancel()
	if held := listedPayments(asking, connection.Client, into); held != nil {
		return held, nil
	}
	if len(stated) == 0 {
		assets, held := listedAssets(asking, connection.Client)
		if held != nil {
			return held, nil
		}
		for _, kind := range []v1alpha1.RecordKind{v1alpha1.RecordLightningPayment, v1alpha1.RecordOnchainSend} {
			err := r.Records.EachOf(ctx, kind, connection.Record.MasterFingerprint, func(found *v1alpha1.PaymentRecord) error {
				into.Moves(found)
				return nil
			})
			if err != nil {
				return nil, err
			}
		}
		stated = append(assets, into.Moved()...)
	}
	return listedTransfers(asking, connection.Client, stated, into), nil
}

// recorded tells a document of the records of a wallet and, where the service was asked and listed what none of them is of, of all others.
// They are visited, and not kept: there may be very many.
func (r *StatementReconciler) recorded(ctx context.Context, fingerprint string, asked bool, into *statement.Collector) error {
	visit := func(found *v1alpha1.PaymentRecord) error {
		into.Record(found)
		return nil
	}
	kinds := []v1alpha1.RecordKind{v1alpha1.RecordLightningPayment, v1alpha1.RecordOnchainSend, v1alpha1.RecordLightningInvoice}
	for _, kind := range kinds {
		if err := r.Records.EachOf(ctx, kind, fingerprint, visit); err != nil {
			return err
		}
	}
	if !asked || !into.IsOpen() {
		return nil
	}
	for _, kind := range kinds {
		if err := r.Records.EachOther(ctx, kind, fingerprint, visit); err != nil {
			return err
		}
	}
	return nil
}

// resources are the payments and invoices of a namespace, with the revisions that they are annotated with: of all shards, since one of them
// may not have followed its Wallet yet, and a document never changes.
func (r *StatementReconciler) resources(ctx context.Context, namespace string) (map[statement.Resource]statement.Declared, error) {
	found := map[statement.Resource]statement.Declared{}
	for _, kind := range []string{"LightningPayment", "OnchainSend", "LightningInvoice"} {
		for page := ""; ; {
			var list metav1.PartialObjectMetadataList
			list.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(kind + "List"))
			if err := r.Reader.List(ctx, &list, client.InNamespace(namespace), client.Limit(500), client.Continue(page)); err != nil {
				return nil, fmt.Errorf("listing what is declared: %w", err)
			}
			for i := range list.Items {
				o := &list.Items[i]
				found[statement.Resource{Kind: kind, Namespace: namespace, Name: o.Name}] = statement.Declared{
					UID: string(o.UID), Revision: o.Annotations[v1alpha1.RevisionAnnotation],
				}
			}
			if page = list.Continue; page == "" {
				break
			}
		}
	}
	return found, nil
}

// labelStatement, on a document, is the name of its Statement, cut to 63 characters.
const labelStatement = "payments.utexo.com/statement"

// configMapOf is a part of a document as the API server is given it. It goes with its Statement.
func configMapOf(object *v1alpha1.Statement, part statement.ConfigMap) *corev1.ConfigMap {
	return &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: object.Namespace, Name: part.Name,
			Labels: map[string]string{labelStatement: strings.TrimRight(object.Name[:min(len(object.Name), 63)], "-.")},
			// Without blockOwnerDeletion, which takes a right to the Statement's finalizers.
			OwnerReferences: []metav1.OwnerReference{{
				APIVersion: v1alpha1.GroupVersion.String(), Kind: "Statement", Name: object.Name, UID: object.UID, Controller: new(true),
			}},
		},
		Immutable: new(true),
		Data:      part.Data,
	}
}
