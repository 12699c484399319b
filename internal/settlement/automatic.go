package settlement

import (
	"strconv"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/utexo/utexo-operator/api/v1alpha1"
)

// LabelWallet is, of a Settlement that the operator declared, the name of the Wallet, cut to 63 characters.
const LabelWallet = "payments.utexo.com/settles"

// What a Wallet's spec.settlement leaves open.
const (
	defaultInterval = time.Hour
	// kept is how long, in seconds, an automatic Settlement stays after it finished: a week.
	kept = int32(7 * 24 * 3600)
)

// Due returns the Settlement that a Wallet wants declared now, or nil. Its name is made from the interval that now is in, so that creating
// it is the test and set that lets an interval have one, whoever creates it and however often.
func Due(wallet *v1alpha1.Wallet, now time.Time) *v1alpha1.Settlement {
	want := wallet.Spec.Settlement
	if want == nil || want.Mode != v1alpha1.SettleAutomatic || wallet.Spec.Suspend || wallet.Status.Balance == nil ||
		wallet.Status.Balance.Vanilla.SpendableSats < want.MinimumSats || wallet.Status.Balance.Vanilla.SpendableSats == 0 {
		return nil
	}
	interval := defaultInterval
	if want.Interval != nil {
		interval = want.Interval.Duration
	}
	ttl, yes := kept, true
	labels := map[string]string{LabelWallet: WalletLabel(wallet.Name)}
	if shard, labelled := wallet.Labels[v1alpha1.ShardLabel]; labelled {
		labels[v1alpha1.ShardLabel] = shard
	}
	return &v1alpha1.Settlement{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: wallet.Namespace,
			Name:      wallet.Name[:min(len(wallet.Name), 230)] + "-" + strconv.FormatInt(now.Truncate(interval).Unix(), 10),
			Labels:    labels,
			OwnerReferences: []metav1.OwnerReference{{
				APIVersion: v1alpha1.GroupVersion.String(), Kind: "Wallet", Name: wallet.Name, UID: wallet.UID, Controller: &yes,
			}},
		},
		Spec: v1alpha1.SettlementSpec{WalletRef: v1alpha1.WalletReference{Name: wallet.Name}, TTLSecondsAfterFinished: &ttl},
	}
}

// WalletLabel is the name of a Wallet as a label's value can hold it.
func WalletLabel(name string) string { return name[:min(len(name), 63)] }
