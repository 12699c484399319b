package controller

import (
	"context"
	"fmt"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/payment"
	"github.com/utexo/utexo-operator/internal/unmanaged"
	"github.com/utexo/utexo-operator/internal/utexo"
)

// walletWatch is the watch of a wallet, as it is connected.
type walletWatch struct {
	verified
	unmanaged.Watch
}

// watchOf returns what is remembered of a wallet. It is used by one pass at a time: no two work on one Wallet.
func (r *WalletReconciler) watchOf(wallet *v1alpha1.Wallet, connection *Connection) *walletWatch {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	name, is := client.ObjectKeyFromObject(wallet), verified{wallet.UID, connection.Record}
	if kept := r.watches[name]; kept != nil && kept.verified == is {
		return kept
	}
	if r.watches == nil {
		r.watches = map[client.ObjectKey]*walletWatch{}
	}
	r.watches[name] = &walletWatch{verified: is}
	return r.watches[name]
}

// watch looks, where it is time, for payments that no record knows, and counts them in the status. Where there are any the records of the
// wallet are not complete, whoever made them, and its on-chain sends wait for a person, as after a loss.
func (r *WalletReconciler) watch(ctx context.Context, wallet *v1alpha1.Wallet, connection *Connection, epoch *v1alpha1.PaymentRecord,
	list func() ([]unmanaged.Payment, error),
) error {
	watch := r.watchOf(wallet, connection)
	if now := r.Clock.Now(); watch.Due(now) {
		listed, err := list()
		switch {
		case err != nil && listMissing(err):
			watch.Blind(now)
		case err != nil:
			watch.Later(now)
		default:
			if err := r.look(ctx, &watch.Watch, listed, wallet, epoch); err != nil {
				return err
			}
		}
	}
	count, looked := watch.Count()
	if !looked {
		return nil
	}
	showUnmanaged(wallet, count)
	if count == nil || *count == 0 || epoch.Journal.Reason == v1alpha1.ReasonJournalLost {
		return nil
	}
	_, err := r.Records.Swap(ctx, epoch, lostJournal(*epoch.Journal.DeepCopy()))
	return err
}

// look looks for the records of listed payments, which were listed before: the record of a payment precedes the call that makes it.
func (r *WalletReconciler) look(ctx context.Context, watch *unmanaged.Watch, listed []unmanaged.Payment, wallet *v1alpha1.Wallet,
	epoch *v1alpha1.PaymentRecord,
) error {
	now, since, recorded := r.Clock.Now(), epoch.CreationTimestamp.Time, map[string]bool{}
	for _, hash := range watch.Ask(listed, since, now) {
		record, err := r.Records.Get(ctx, payment.LightningRecordName(hash))
		if err != nil {
			return err
		}
		recorded[hash] = record != nil
	}
	watch.Take(listed, recorded, unmanagedOf(wallet), since, now)
	return nil
}

// outgoing lists the outgoing payments of a service, of which no more is kept than is needed: there may be very many.
func outgoing(ctx context.Context, service PaymentLister) ([]unmanaged.Payment, error) {
	var out []unmanaged.Payment
	err := service.EachPayment(ctx, func(one utexo.Payment) {
		if !one.Inbound {
			out = append(out, unmanaged.Payment{Hash: one.PaymentHash, CreatedAt: one.CreatedAt})
		}
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// unmanagedOf is the number of payments without a record that the status shows; nil for none.
func unmanagedOf(wallet *v1alpha1.Wallet) *int64 {
	if wallet.Status.Payments == nil {
		return nil
	}
	return wallet.Status.Payments.Unmanaged
}

func showUnmanaged(wallet *v1alpha1.Wallet, count *int64) {
	if wallet.Status.Payments == nil && count != nil {
		wallet.Status.Payments = &v1alpha1.PaymentCounts{}
	}
	if wallet.Status.Payments != nil {
		wallet.Status.Payments.Unmanaged = count
	}
}

// announceUnmanaged tells of payments without a record that were not there before.
func (r *WalletReconciler) announceUnmanaged(before, after *v1alpha1.Wallet) {
	was, is := unmanagedOf(before), unmanagedOf(after)
	if is == nil || *is == 0 || was != nil && *was >= *is {
		return
	}
	r.mutex.Lock()
	watch := r.watches[client.ObjectKeyFromObject(after)]
	r.mutex.Unlock()
	if watch == nil {
		return
	}
	message := watch.Describe() + " from this wallet, or from the node behind its service, that no record knows: another client or another cluster " +
		"pays from it, which is not supported, or records were lost. Find out who it is"
	if epoch := after.Status.JournalEpoch; after.Spec.AcknowledgedEpoch != epoch {
		message += fmt.Sprintf("; until spec.acknowledgedEpoch is %s, on-chain sends wait", epoch)
	}
	r.Status.Emit(after, []payment.Event{{Warning: true, Reason: v1alpha1.EventForeignWriter, Message: message}})
}
