package manager_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/amount"
	"github.com/utexo/utexo-operator/internal/bolt11"
	"github.com/utexo/utexo-operator/internal/sandbox"
	"github.com/utexo/utexo-operator/internal/testkit"
	"github.com/utexo/utexo-operator/internal/walletlock"
)

// world is a namespace with wallets at one service. Worlds share the API server and the operator's namespace, and nothing else.
type world struct {
	t         *testing.T
	service   *service
	namespace string
	// quarantine is the --quarantine of the managers of this world.
	quarantine time.Duration
}

func newWorld(t *testing.T, service *service) *world {
	t.Helper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "team-"}}
	w := &world{t: t, service: service, quarantine: 3 * time.Second}
	w.create(namespace)
	w.namespace = namespace.Name
	return w
}

// start starts a manager that works in this world's namespace alone.
func (w *world) start(arguments ...string) *manager {
	w.t.Helper()
	return startManager(w.t, operator, append([]string{
		"--watch-namespaces=" + w.namespace, "--quarantine=" + w.quarantine.String(),
	}, arguments...)...)
}

func (w *world) create(object client.Object) {
	w.t.Helper()
	if err := api.Create(w.t.Context(), object); err != nil {
		w.t.Fatalf("creating %T: %v", object, err)
	}
}

// get reads object as it now is.
func (w *world) get(object client.Object) {
	w.t.Helper()
	if err := api.Get(w.t.Context(), client.ObjectKeyFromObject(object), object); err != nil {
		w.t.Fatalf("reading %T %s: %v", object, object.GetName(), err)
	}
}

// addWallet declares a Wallet, with keys of its own and a bearer token, that the operator is let read.
func (w *world) addWallet(name string) *v1alpha1.Wallet {
	w.t.Helper()
	w.grant(name)
	return w.addWalletWithoutGrant(name)
}

func (w *world) addWalletWithoutGrant(name string) *v1alpha1.Wallet {
	w.t.Helper()
	passphrase, token := "passphrase-"+rand.String(12), "token-"+rand.String(12)
	canary(passphrase)
	canary(token)
	w.create(&corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: name},
		StringData: map[string]string{"mnemonic": mnemonic, "passphrase": passphrase, "token": token},
	})
	wallet := testkit.MakeWallet(name).Namespace(w.namespace).URL(w.service.url).Token(name, "token").Obj()
	if w.service.Options().Profile == sandbox.Reference {
		wallet.Spec.Endpoint.Profile = v1alpha1.ProfileReference
	}
	w.create(wallet)
	return wallet
}

// grant lets the operator read Secrets of this namespace, with the Role that is shipped for that.
func (w *world) grant(secrets ...string) {
	w.t.Helper()
	w.grantAs("wallet-secrets-access", secrets[0], func(role *rbacv1.Role) { role.Rules[0].ResourceNames = secrets })
}

// grantDocuments lets the operator write ConfigMaps.
func (w *world) grantDocuments() {
	w.t.Helper()
	w.grantAs("invoice-targets-access", "documents", func(*rbacv1.Role) {})
}

// grantAs creates the role and binding of a component, under a name of their own.
func (w *world) grantAs(component, name string, change func(*rbacv1.Role)) {
	w.t.Helper()
	file, err := os.Open(filepath.Join(kubectl.Root, "config", component, "role.yaml"))
	if err != nil {
		w.t.Fatal(err)
	}
	defer file.Close()
	decoder := yaml.NewYAMLOrJSONDecoder(file, 4096)
	var role rbacv1.Role
	var binding rbacv1.RoleBinding
	for _, object := range []client.Object{&role, &binding} {
		if err := decoder.Decode(object); err != nil {
			w.t.Fatalf("reading %s: %v", file.Name(), err)
		}
		object.SetNamespace(w.namespace)
		object.SetName(object.GetName() + "-" + name)
	}
	change(&role)
	binding.RoleRef.Name = role.Name
	w.create(&role)
	w.create(&binding)
}

// ready returns an error until a Wallet is in sync.
func (w *world) ready(name string) error {
	w.t.Helper()
	return because(w.wallet(name).Status.Conditions, metav1.ConditionTrue, v1alpha1.ReasonSynced)
}

// awaitReady waits until Wallets are in sync.
func (w *world) awaitReady(names ...string) {
	w.t.Helper()
	for _, name := range names {
		await(w.t, "Wallet "+name+" is in sync", func() error { return w.ready(name) })
	}
}

// unready returns an error until a Wallet is not ready for reason.
func (w *world) unready(name, reason string) error {
	w.t.Helper()
	return because(w.wallet(name).Status.Conditions, metav1.ConditionFalse, reason)
}

func (w *world) wallet(name string) *v1alpha1.Wallet {
	w.t.Helper()
	wallet := &v1alpha1.Wallet{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: name}}
	w.get(wallet)
	return wallet
}

// because returns an error until Ready has a status and a reason.
func because(conditions []metav1.Condition, status metav1.ConditionStatus, reason string) error {
	ready := meta.FindStatusCondition(conditions, v1alpha1.ConditionReady)
	if ready == nil || ready.Status != status || ready.Reason != reason {
		return fmt.Errorf("Ready is %+v, want %s %s", ready, status, reason)
	}
	return nil
}

// order is a payment that was declared.
type order struct {
	object client.Object
	// key is what the ledger knows it by.
	key string
}

// pay declares a LightningPayment of a new invoice of somebody else's.
func (w *world) pay(wallet, name string, sats int64) order {
	w.t.Helper()
	text, key := w.supplierInvoice(sats)
	object := testkit.MakeLightningPayment(name).Namespace(w.namespace).Wallet(wallet).Invoice(text).MaxFeeSats(1000).Obj()
	w.create(object)
	return order{object, key}
}

func (w *world) supplierInvoice(sats int64) (text, paymentHash string) {
	w.t.Helper()
	text, err := w.service.IssueInvoice(sandbox.NewInvoice{AmountSats: amount.Sat(sats), Expiry: 6 * time.Hour})
	if err != nil {
		w.t.Fatal(err)
	}
	invoice, err := bolt11.Decode(text)
	if err != nil {
		w.t.Fatal(err)
	}
	return text, invoice.PaymentHashHex()
}

// send declares an OnchainSend to a new address.
func (w *world) send(wallet, name string, sats int64) order {
	w.t.Helper()
	address, err := w.service.NewAddress()
	if err != nil {
		w.t.Fatal(err)
	}
	object := testkit.MakeOnchainSend(name).Namespace(w.namespace).Wallet(wallet).Address(address).AmountSats(sats).MaxFeeSats(5000).
		ValidUntil(time.Now().Add(24 * time.Hour)).Obj()
	w.create(object)
	return order{object, sandbox.OrderKey(address, amount.Sat(sats), "", 0, amount.SatPerVByte(object.Spec.FeeRate))}
}

// phase reads how far a payment is, and why it is no further.
func (w *world) phase(o order) (v1alpha1.PaymentPhase, string) {
	w.t.Helper()
	w.get(o.object)
	var phase v1alpha1.PaymentPhase
	var conditions []metav1.Condition
	switch object := o.object.(type) {
	case *v1alpha1.LightningPayment:
		phase, conditions = object.Status.Phase, object.Status.Conditions
	case *v1alpha1.OnchainSend:
		phase, conditions = object.Status.Phase, object.Status.Conditions
	}
	if ready := meta.FindStatusCondition(conditions, v1alpha1.ConditionReady); ready != nil {
		return phase, ready.Reason + ": " + ready.Message
	}
	return phase, ""
}

// settled returns an error until no order is under way any more.
func (w *world) settled(orders []order) error {
	open := 0
	last := ""
	for _, o := range orders {
		switch phase, why := w.phase(o); phase {
		case v1alpha1.PaymentSucceeded, v1alpha1.PaymentFailed, v1alpha1.PaymentUnknown:
		default:
			open++
			last = fmt.Sprintf("%s is %s, %s", o.object.GetName(), phase, why)
		}
	}
	if open > 0 {
		return fmt.Errorf("%d of %d payments are under way: %s", open, len(orders), last)
	}
	return nil
}

// awaitPaid waits until orders have come to an end, which must be that each was paid, once, and is shown as paid.
func (w *world) awaitPaid(orders ...order) {
	w.t.Helper()
	await(w.t, "all payments came to an end", func() error { return w.settled(orders) })
	for _, o := range orders {
		phase, why := w.phase(o)
		if err := w.service.paidOnce(o.key); err != nil || phase != v1alpha1.PaymentSucceeded {
			w.t.Errorf("%s is %s (%s); ledger: %v", o.object.GetName(), phase, why, err)
		}
		if err := testkit.CheckStatus(o.object); err != nil {
			w.t.Error(err)
		}
	}
}

// record reads the record of a payment.
func (w *world) record(o order) *v1alpha1.PaymentRecord {
	w.t.Helper()
	var records v1alpha1.PaymentRecordList
	if err := api.List(w.t.Context(), &records, client.InNamespace(testkit.OperatorNamespace)); err != nil {
		w.t.Fatal(err)
	}
	for i, r := range records.Items {
		if r.Journal.Holder.Namespace == w.namespace && r.Journal.Holder.Name == o.object.GetName() &&
			(r.Spec.Kind == v1alpha1.RecordLightningPayment || r.Spec.Kind == v1alpha1.RecordOnchainSend) {
			return &records.Items[i]
		}
	}
	w.t.Fatalf("%s has no record", o.object.GetName())
	return nil
}

// lease reads what a wallet's Lease says is in flight; nil for nothing.
func (w *world) lease(wallet string) (*coordinationv1.Lease, *walletlock.Inflight) {
	w.t.Helper()
	lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{
		Namespace: testkit.OperatorNamespace, Name: walletlock.LeaseName(w.wallet(wallet).Status.XpubVanilla),
	}}
	err := api.Get(w.t.Context(), client.ObjectKeyFromObject(lease), lease)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		w.t.Fatal(err)
	}
	text, ok := lease.Annotations[walletlock.InflightAnnotation]
	if !ok {
		return lease, nil
	}
	inflight := &walletlock.Inflight{}
	if err := json.Unmarshal([]byte(text), inflight); err != nil {
		w.t.Fatal(err)
	}
	return lease, inflight
}

// outlast makes the instants that a call of a dead, or suspended, process left behind look so much older that the wallet need not be
// waited for, here a minute each time. The end of an on-chain send is left young enough for nobody else to begin before it is repeated.
//
// It reports whether there was such a call. What somebody else writes at the same time stays as they wrote it.
func (w *world) outlast(wallet string) bool {
	w.t.Helper()
	lease, inflight := w.lease(wallet)
	if inflight == nil {
		return false
	}
	record := &v1alpha1.PaymentRecord{ObjectMeta: metav1.ObjectMeta{Namespace: testkit.OperatorNamespace, Name: inflight.Record}}
	w.get(record)
	by := time.Until(inflight.NotAfter.Add(w.quarantine))
	if record.Spec.Kind == v1alpha1.RecordOnchainSend && record.Journal.Phase == v1alpha1.RecordSubmitting {
		by = 0
	}
	if held := ptr.Deref(lease.Spec.HolderIdentity, ""); held != "" {
		by = max(by, time.Until(lease.Spec.RenewTime.Add(walletlock.LeaseDuration)))
	}
	if by <= 0 {
		return true
	}
	by += 100 * time.Millisecond
	older := func(instant *metav1.MicroTime) {
		if instant != nil {
			instant.Time = instant.Add(-by)
		}
	}
	older(&inflight.NotAfter)
	older(lease.Spec.RenewTime)
	text, err := json.Marshal(inflight)
	if err != nil {
		w.t.Fatal(err)
	}
	lease.Annotations[walletlock.InflightAnnotation] = string(text)
	if err := api.Update(w.t.Context(), lease); ignoreConflict(err) != nil {
		w.t.Fatalf("making a Lease older: %v", err)
	}
	older(record.Journal.NotAfter)
	if err := api.Update(w.t.Context(), record); ignoreConflict(err) != nil {
		w.t.Fatalf("making a record older: %v", err)
	}
	return true
}

func ignoreConflict(err error) error {
	if apierrors.IsConflict(err) {
		return nil
	}
	return err
}
