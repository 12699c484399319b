package controller

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/bitcoin"
	"github.com/utexo/utexo-operator/internal/payment"
	"github.com/utexo/utexo-operator/internal/readiness"
	"github.com/utexo/utexo-operator/internal/record"
	"github.com/utexo/utexo-operator/internal/remotesigner"
	"github.com/utexo/utexo-operator/internal/settlement"
	"github.com/utexo/utexo-operator/internal/signer"
	"github.com/utexo/utexo-operator/internal/unmanaged"
	"github.com/utexo/utexo-operator/internal/utexo"
)

// WalletReconciler makes wallets known to their services and shows what they hold.
type WalletReconciler struct {
	Client    client.Client
	Clock     clock.Clock
	Status    *StatusWriter
	Records   *record.Store
	Connector *Connector
	Budgets   *Budgets
	// Count counts the payments that name a Wallet, from a cache; nil where there is none.
	Count func(ctx context.Context, wallet client.ObjectKey) (*v1alpha1.PaymentCounts, error)
	// SyncInterval is how often the balance is read.
	SyncInterval time.Duration

	mutex sync.Mutex
	// verified holds the wallets, as they are connected, that this process registered and whose network it saw at the service.
	verified map[types.NamespacedName]verified
	// watches holds what is remembered of the payments that the services list.
	watches map[types.NamespacedName]*walletWatch
}

// verified is a Wallet as it was connected when its service was seen to know it.
type verified struct {
	uid    types.UID
	wallet v1alpha1.RecordWallet
}

// +kubebuilder:rbac:groups=payments.utexo.com,resources=wallets,verbs=get;list;watch
// +kubebuilder:rbac:groups=payments.utexo.com,resources=wallets/status,verbs=patch
// +kubebuilder:rbac:groups=payments.utexo.com,resources=settlements,verbs=create

// Reconcile brings the status of one Wallet up to what its service says.
func (r *WalletReconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	var wallet v1alpha1.Wallet
	err := r.Client.Get(ctx, request.NamespacedName, &wallet)
	if apierrors.IsNotFound(err) || (err == nil && !wallet.DeletionTimestamp.IsZero()) {
		r.forget(request.NamespacedName)
		return ctrl.Result{}, nil
	}
	if err != nil {
		return ctrl.Result{}, fmt.Errorf("reading Wallet: %w", err)
	}
	before := wallet.DeepCopy()
	signing, obstacle, err := r.sync(ctx, &wallet)
	if err != nil {
		return resultFor(err)
	}
	if err := r.account(ctx, &wallet); err != nil {
		return resultFor(err)
	}
	wallet.Status.ObservedGeneration = wallet.Generation
	summary := readiness.Summary{
		Outcome: readiness.Done, Reason: v1alpha1.ReasonSynced, Message: "the service knows the wallet, and balance and assets are fresh",
		Also: []metav1.Condition{
			signing,
			{Type: v1alpha1.ConditionRegistered, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonRegistered, Message: "the service knows the wallet"},
			{Type: v1alpha1.ConditionSynced, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonSynced, Message: "balance and assets are fresh"},
		},
	}
	after := r.SyncInterval
	if obstacle != nil {
		summary, after = r.troubled(signing, obstacle), min(max(obstacle.RetryAfter, time.Second), r.SyncInterval)
	}
	wallet.Status.Conditions = readiness.Conditions(wallet.Status.Conditions, wallet.Generation, summary, r.Clock.Now())
	if err := r.Status.Write(ctx, before, &wallet); err != nil {
		return resultFor(err)
	}
	r.announceUnmanaged(before, &wallet)
	if obstacle == nil {
		if err := r.settle(ctx, &wallet); err != nil {
			return resultFor(err)
		}
	}
	return ctrl.Result{RequeueAfter: after}, nil
}

// settle declares the Settlement that the wallet wants now, unless the last one is still under way.
func (r *WalletReconciler) settle(ctx context.Context, wallet *v1alpha1.Wallet) error {
	due := settlement.Due(wallet, r.Clock.Now())
	if due == nil {
		return nil
	}
	var earlier v1alpha1.SettlementList
	ours := client.MatchingLabels{settlement.LabelWallet: settlement.WalletLabel(wallet.Name)}
	if err := r.Client.List(ctx, &earlier, client.InNamespace(wallet.Namespace), ours); err != nil {
		return fmt.Errorf("listing Settlements: %w", err)
	}
	for i := range earlier.Items {
		one := &earlier.Items[i]
		if one.Name == due.Name || one.Spec.WalletRef.Name == wallet.Name && !isOver(one.Status.Phase) {
			return nil
		}
	}
	if err := r.Client.Create(ctx, due); err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("declaring a Settlement: %w", err)
	}
	return nil
}

// account shows how far the wallet's payments are, and what its budget leaves.
func (r *WalletReconciler) account(ctx context.Context, wallet *v1alpha1.Wallet) (err error) {
	if r.Count != nil {
		unmanaged := unmanagedOf(wallet)
		if wallet.Status.Payments, err = r.Count(ctx, client.ObjectKeyFromObject(wallet)); err != nil {
			return err
		}
		showUnmanaged(wallet, unmanaged)
	}
	limits, status := wallet.Spec.Limits, &wallet.Status
	// Xpubs are public: whoever declares them learns what their owner spent no sooner than a service took the Wallet for one of its own.
	if limits == nil || limits.DailySats == nil || !r.isVerified(wallet) {
		status.Budget = nil
		return nil
	}
	known := v1alpha1.RecordWallet{MasterFingerprint: status.MasterFingerprint, XpubVanilla: status.XpubVanilla}
	standing, err := r.Budgets.Standing(ctx, known, *limits.DailySats)
	if err == nil {
		status.Budget = &v1alpha1.Budget{SpentSats24h: int64(standing.SpentSats), RemainingSats: int64(standing.RemainingSats)}
	}
	return err
}

// forget drops what is kept of a wallet that is gone.
func (r *WalletReconciler) forget(name types.NamespacedName) {
	r.Connector.Forget(name)
	r.mutex.Lock()
	defer r.mutex.Unlock()
	delete(r.verified, name)
	delete(r.watches, name)
}

// signerCondition says whether the wallet's payments can be signed. It asks a remote signer, whose keys it has.
func signerCondition(ctx context.Context, connection *Connection) metav1.Condition {
	condition := metav1.Condition{Type: v1alpha1.ConditionSignerReady, Status: metav1.ConditionFalse}
	if unsigned := connection.Unsigned; unsigned != nil {
		condition.Reason, condition.Message = unsigned.Reason, unsigned.Message
		return condition
	}
	if _, people := connection.Signer.(*signer.Manual); people {
		condition.Status, condition.Reason = metav1.ConditionTrue, v1alpha1.ReasonSignedByPeople
		condition.Message = "people sign: each payment waits for its PaymentSignature"
		return condition
	}
	remote, ok := connection.Signer.(interface{ Check(context.Context) error })
	if !ok {
		condition.Status, condition.Reason, condition.Message = metav1.ConditionTrue, v1alpha1.ReasonKeysLoaded, "the keys can sign"
		return condition
	}
	err := remote.Check(ctx)
	if mismatch, ok := errors.AsType[*remotesigner.MismatchError](err); ok {
		condition.Reason = v1alpha1.ReasonSignerMismatch
		condition.Message = mismatch.Error() + ": point spec.signer.remote to the signer of this wallet"
		return condition
	}
	if err == nil {
		condition.Status, condition.Reason = metav1.ConditionTrue, v1alpha1.ReasonSignerAnswered
		condition.Message = "the remote signer answers, and has the wallet's keys"
		return condition
	}
	condition.Reason, condition.Message = v1alpha1.ReasonSignerNotAvailable, err.Error()
	return condition
}

// troubled is the summary of a wallet that is not in sync. What only a person can mend is a dead end, although it is looked at again.
func (r *WalletReconciler) troubled(signing metav1.Condition, obstacle *payment.Obstacle) readiness.Summary {
	summary := readiness.Summary{Outcome: readiness.InProgress, Reason: obstacle.Reason, Message: obstacle.Message, NotReady: true}
	not := func(kind string) metav1.Condition {
		return metav1.Condition{Type: kind, Status: metav1.ConditionFalse, Reason: obstacle.Reason, Message: obstacle.Message}
	}
	summary.Also = []metav1.Condition{not(v1alpha1.ConditionSynced), signing}
	switch obstacle.Reason {
	case v1alpha1.ReasonInvalidKeys, v1alpha1.ReasonNetworkMismatch, v1alpha1.ReasonInvalidEndpoint:
		summary.Outcome = readiness.DeadEnd
	}
	if obstacle.Reason == v1alpha1.ReasonNotRegistered {
		summary.Also = append(summary.Also, not(v1alpha1.ConditionRegistered))
	}
	return summary
}

// sync connects, asks who signs, registers once, and reads the balance into the status. What keeps the wallet from being used is an
// obstacle.
func (r *WalletReconciler) sync(ctx context.Context, wallet *v1alpha1.Wallet,
) (signing metav1.Condition, obstacle *payment.Obstacle, err error) {
	connection, obstacle, err := r.Connector.Connect(ctx, wallet)
	if err != nil {
		return signing, nil, err
	}
	if connection == nil {
		return metav1.Condition{
			Type: v1alpha1.ConditionSignerReady, Status: metav1.ConditionFalse, Reason: obstacle.Reason, Message: obstacle.Message,
		}, obstacle, nil
	}
	signing = signerCondition(ctx, connection)
	if obstacle == nil {
		obstacle, err = r.observe(ctx, wallet, connection)
	}
	return signing, obstacle, err
}

// observe reads what the service knows of a connected wallet into its status.
func (r *WalletReconciler) observe(ctx context.Context, wallet *v1alpha1.Wallet, connection *Connection) (*payment.Obstacle, error) {
	status := &wallet.Status
	sameKeys := status.XpubVanilla == "" || status.XpubVanilla == connection.Public.XpubVanilla
	status.MasterFingerprint, status.XpubVanilla, status.XpubColored = connection.Public.MasterFingerprint, connection.Public.XpubVanilla,
		connection.Public.XpubColored
	if obstacle := r.verify(ctx, wallet, connection); obstacle != nil {
		return obstacle, nil
	}
	balances, err := connection.Client.Balance(ctx)
	if err != nil {
		return unavailable("the balance cannot be read", err), nil
	}
	r.show(status, balances)
	// One list serves all that looks at payments in this pass.
	list := sync.OnceValues(func() ([]unmanaged.Payment, error) { return outgoing(ctx, connection.Client) })
	epoch, obstacle, err := r.journal(ctx, wallet, connection, &history{connection.Client, balances, list}, sameKeys)
	if obstacle != nil || err != nil {
		return obstacle, err
	}
	return nil, r.watch(ctx, wallet, connection, epoch, list)
}

// verify registers the wallet and compares the network of the address that the service answers with the declared one. It is done once a
// process for the wallet as it is.
func (r *WalletReconciler) verify(ctx context.Context, wallet *v1alpha1.Wallet, connection *Connection) *payment.Obstacle {
	name, now := client.ObjectKeyFromObject(wallet), verified{wallet.UID, connection.Record}
	r.mutex.Lock()
	done := r.verified[name] == now
	r.mutex.Unlock()
	if done {
		return nil
	}
	registration, err := connection.Client.Register(ctx)
	if err != nil {
		obstacle := unavailable("the wallet cannot be registered", err)
		if failed, ok := errors.AsType[*utexo.Error](err); ok && failed.Effect == utexo.EffectRefused && !failed.Temporary() {
			obstacle.Reason = v1alpha1.ReasonNotRegistered
		}
		return obstacle
	}
	address := registration.Address
	if address == "" {
		deposit, err := connection.Client.OnchainReceive(ctx)
		if err != nil {
			return unavailable("the service's network cannot be seen", err)
		}
		address = deposit.Address
	}
	network := bitcoin.Network(wallet.Spec.Network)
	if _, err := bitcoin.ParseAddress(address, network); err != nil {
		message := "the service answers with an address that is none of any network"
		if networks, err := bitcoin.AddressNetworks(address); err == nil {
			message = fmt.Sprintf("the service is on %v, the Wallet declares %s: use the service of that network", networks, network)
		}
		return &payment.Obstacle{Reason: v1alpha1.ReasonNetworkMismatch, Message: message, RetryAfter: r.SyncInterval}
	}
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if r.verified == nil {
		r.verified = map[types.NamespacedName]verified{}
	}
	r.verified[name] = now
	return nil
}

// isVerified reports whether verify passed in this process for a Wallet as it is, with the keys that its status shows.
func (r *WalletReconciler) isVerified(wallet *v1alpha1.Wallet) bool {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	return r.verified[client.ObjectKeyFromObject(wallet)] == verified{wallet.UID, v1alpha1.RecordWallet{
		Name: wallet.Name, MasterFingerprint: wallet.Status.MasterFingerprint, XpubVanilla: wallet.Status.XpubVanilla,
		Server: serverOf(wallet.Spec.Endpoint.URL),
	}}
}

// show writes balances into the status, and when they changed.
func (r *WalletReconciler) show(status *v1alpha1.WalletStatus, balances utexo.Balances) {
	onchain := func(b utexo.Balance) v1alpha1.Balance {
		return v1alpha1.Balance{SettledSats: b.Settled, FutureSats: b.Future, SpendableSats: b.Spendable}
	}
	balance := &v1alpha1.WalletBalance{Vanilla: onchain(balances.Vanilla), Colored: onchain(balances.Colored)}
	if balances.OffchainTotal != nil {
		balance.Offchain = &v1alpha1.OffchainBalance{TotalSats: *balances.OffchainTotal}
	}
	var assets []v1alpha1.AssetBalance
	shown := map[string]bool{}
	for _, asset := range balances.Assets {
		// An id comes once and has a bound in the status; what breaks that cannot be an asset that anybody pays with.
		if shown[asset.AssetID] || asset.AssetID == "" || len(asset.AssetID) > 128 || len(assets) == maxAssets {
			continue
		}
		shown[asset.AssetID] = true
		assets = append(assets, v1alpha1.AssetBalance{
			AssetID: asset.AssetID, Ticker: payment.Limit(asset.Ticker, 64), Precision: asset.Precision, Settled: asset.Settled, Future: asset.Future,
			Spendable: asset.Spendable, OffchainOutbound: asset.OffchainOutbound,
		})
	}
	if status.LastSyncTime != nil && equality.Semantic.DeepEqual(status.Balance, balance) && equality.Semantic.DeepEqual(status.Assets, assets) {
		return
	}
	now := metav1.NewTime(r.Clock.Now().Truncate(time.Second))
	status.Balance, status.Assets, status.LastSyncTime = balance, assets, &now
}

// maxAssets is how many assets a status shows.
const maxAssets = 1000

// journal sees to it that the wallet's records have an epoch. Where the Wallet names another one than there is, or where its service shows
// earlier payments before there was any that asked this service, records were lost, or never were, and on-chain sends wait for a person.
// sameKeys tells that the epoch which the Wallet names is of the keys that it has now.
func (r *WalletReconciler) journal(ctx context.Context, wallet *v1alpha1.Wallet, connection *Connection, paid *history, sameKeys bool,
) (*v1alpha1.PaymentRecord, *payment.Obstacle, error) {
	epoch, err := r.Records.Get(ctx, payment.EpochName(connection.Public.XpubVanilla))
	if err != nil {
		return nil, nil, err
	}
	lost := wallet.Status.JournalEpoch != ""
	if epoch == nil {
		if !lost {
			if lost, err = paid.before(ctx); err != nil {
				return nil, unavailable("earlier payments cannot be looked for", err), nil
			}
		}
		// One that is there all the same, by another Wallet or by a read that was late, is looked at as if it had been read.
		if epoch, err = r.makeEpoch(ctx, wallet, connection, lost); err != nil {
			return nil, nil, err
		}
	}
	remembered := wallet.Status.JournalEpoch
	if !sameKeys {
		remembered = ""
	}
	// Another Wallet with these keys may have made it, at a service of its own.
	switch {
	case remembered == epoch.Spec.Epoch, epoch.Journal.Reason == v1alpha1.ReasonJournalLost,
		remembered == "" && epoch.Spec.Wallet.Server == connection.Record.Server:
		lost = false
	case remembered != "":
		lost = true
	default:
		if lost, err = paid.before(ctx); err != nil {
			return nil, unavailable("earlier payments cannot be looked for", err), nil
		}
	}
	if lost {
		if epoch, err = r.Records.Swap(ctx, epoch, lostJournal(*epoch.Journal.DeepCopy())); err != nil {
			return nil, nil, err
		}
	}
	if epoch.Spec.Epoch != wallet.Status.JournalEpoch && epoch.Journal.Reason == v1alpha1.ReasonJournalLost {
		r.Status.Emit(wallet, []payment.Event{{Warning: true, Reason: v1alpha1.ReasonJournalLost, Message: epoch.Journal.Message}})
	}
	wallet.Status.JournalEpoch = epoch.Spec.Epoch
	return epoch, nil, nil
}

// makeEpoch creates the epoch of a wallet's records, or returns the one that is there.
func (r *WalletReconciler) makeEpoch(ctx context.Context, wallet *v1alpha1.Wallet, connection *Connection, lost bool) (*v1alpha1.PaymentRecord, error) {
	journal := v1alpha1.PaymentJournal{
		Phase:  v1alpha1.RecordHeld,
		Holder: v1alpha1.RecordHolder{Kind: "Wallet", Namespace: wallet.Namespace, Name: wallet.Name, UID: string(wallet.UID)},
	}
	if lost {
		journal = lostJournal(journal)
	}
	spec := v1alpha1.PaymentRecordSpec{Kind: v1alpha1.RecordWalletEpoch, Wallet: connection.Record, Epoch: string(uuid.NewUUID())}
	epoch, _, err := r.Records.Claim(ctx, payment.EpochName(connection.Public.XpubVanilla), spec, journal)
	return epoch, err
}

// lostJournal is the journal of an epoch before which records were lost.
func lostJournal(journal v1alpha1.PaymentJournal) v1alpha1.PaymentJournal {
	journal.Reason = v1alpha1.ReasonJournalLost
	journal.Message = "records of earlier payments are missing; on-chain sends wait until the Wallet's spec.acknowledgedEpoch names this epoch"
	return journal
}

// history is what a service can show of earlier payments.
type history struct {
	service  *utexo.Client
	balances utexo.Balances
	// payments lists the outgoing Lightning payments.
	payments func() ([]unmanaged.Payment, error)
}

// before reports whether the service shows payments that the wallet, or its node, made: over Lightning, of an asset, or of bitcoin.
// Lists that it does not offer show none.
func (h *history) before(ctx context.Context) (bool, error) {
	payments, err := h.payments()
	if err != nil && !listMissing(err) {
		return false, err
	}
	if len(payments) > 0 {
		return true, nil
	}
	transactions, err := h.service.ListTransactions(ctx)
	if err != nil && !listMissing(err) {
		return false, err
	}
	for _, one := range transactions {
		if one.Outflow() > 0 {
			return true, nil
		}
	}
	assets := []string{""}
	for _, asset := range h.balances.Assets {
		assets = append(assets, asset.AssetID)
	}
	for _, asset := range assets {
		transfers, err := h.service.ListTransfers(ctx, asset)
		if err != nil && !listMissing(err) {
			return false, err
		}
		for _, one := range transfers {
			if one.Kind == "3" || strings.EqualFold(one.Kind, "Send") {
				return true, nil
			}
		}
	}
	return false, nil
}

// listMissing reports whether a service does not offer a list, as opposed to not answering now.
func listMissing(err error) bool {
	failed, ok := errors.AsType[*utexo.Error](err)
	return errors.Is(err, utexo.ErrNotAvailable) || (ok && failed.Effect == utexo.EffectRefused && !failed.Temporary())
}

// unavailable is the obstacle of a service that does not answer as it should.
func unavailable(what string, err error) *payment.Obstacle {
	obstacle := &payment.Obstacle{
		Reason: v1alpha1.ReasonServiceUnavailable, Message: fmt.Sprintf("%s: %s", what, serviceMessage(err)), RetryAfter: serviceRetry,
	}
	if failed, ok := errors.AsType[*utexo.Error](err); ok {
		obstacle.RetryAfter = max(obstacle.RetryAfter, failed.RetryAfter)
	}
	return obstacle
}

// serviceRetry is how long a service is left alone that did not answer.
const serviceRetry = 10 * time.Second
