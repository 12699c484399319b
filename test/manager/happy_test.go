package manager_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/sandbox"
	"github.com/utexo/utexo-operator/internal/testkit"
)

// leaderLease is the one Lease of all managers that take the lead, here as in a cluster: cases that need it take turns.
var leaderLease sync.Mutex

func takeTurns(t *testing.T) {
	leaderLease.Lock()
	t.Cleanup(leaderLease.Unlock)
}

// TestHappyPath lets a manager that takes the lead do all that one can be asked for, with the rights that are shipped, and holds what
// it asked of the API server against these rights.
func TestHappyPath(t *testing.T) {
	t.Parallel()
	takeTurns(t)
	documented := newWorld(t, newService(t, sandbox.Documented, func(o *sandbox.Options) { o.Timing.AutoPay = 2 * time.Second }))
	reference := newWorld(t, newService(t, sandbox.Reference))
	server := newAPIServer(t, operator)
	metrics := freeAddress(t)
	manager := startManager(t, server.config, "--leader-elect=true", "--metrics-bind-address="+metrics,
		"--watch-namespaces="+documented.namespace+","+reference.namespace, "--quarantine=3s")

	documented.addWallet("main")
	reference.addWallet("main")
	documented.create(testkit.MakeLightningInvoice("shop").Namespace(documented.namespace).AmountSats(5000).Obj())
	reference.create(testkit.MakeLightningInvoice("own").Namespace(reference.namespace).AmountSats(5000).Obj())
	orders := []order{documented.pay("main", "direct", 1001), documented.send("main", "payroll", 20_000)}
	text, hash := documented.supplierInvoice(1002)
	documented.create(&corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: documented.namespace, Name: "supplier"}, Data: map[string]string{"invoice": text},
	})
	pinned := testkit.MakeLightningPayment("pinned").Namespace(documented.namespace).InvoiceFromConfigMap("supplier", "invoice").
		MaxFeeSats(1000).Obj()
	documented.create(pinned)
	orders = append(orders, order{pinned, hash})
	documented.awaitPaid(orders...)
	paid := []order{reference.pay("main", "direct", 1003)}
	reference.awaitPaid(paid...)
	sent := reference.send("main", "payroll", 30_000)
	reference.awaitPaid(sent)

	await(t, "the invoice is settled", func() error {
		invoice := v1alpha1.LightningInvoice{ObjectMeta: metav1.ObjectMeta{Namespace: documented.namespace, Name: "shop"}}
		documented.get(&invoice)
		if invoice.Status.Phase != v1alpha1.InvoiceSettled {
			return fmt.Errorf("it is %s: %+v", invoice.Status.Phase, invoice.Status.Conditions)
		}
		return testkit.CheckStatus(&invoice)
	})
	own := testkit.MakeLightningPayment("own").Namespace(reference.namespace).InvoiceFromLightningInvoice("own").Obj()
	reference.create(own)
	await(t, "the payment to ourselves is refused", func() error {
		reference.get(own)
		return because(own.Status.Conditions, metav1.ConditionFalse, v1alpha1.ReasonOwnInvoice)
	})

	documented.payShared(reference.namespace)
	documented.payByHand()

	deposit, settlement := testkit.MakeDepositAddress(reference.namespace, "till"), testkit.MakeSettlement(reference.namespace, "monday")
	reference.create(deposit)
	reference.create(settlement)
	await(t, "there is an address, and the balance is settled", func() error {
		reference.get(deposit)
		reference.get(settlement)
		return errors.Join(because(deposit.Status.Conditions, metav1.ConditionTrue, v1alpha1.ReasonAddressIssued),
			because(settlement.Status.Conditions, metav1.ConditionTrue, v1alpha1.ReasonSettlementDone))
	})
	documented.grantDocuments()
	books := testkit.MakeStatement(documented.namespace, "books")
	books.Spec.Period = &v1alpha1.StatementPeriod{From: metav1.NewTime(time.Now().Add(-48 * time.Hour)), To: metav1.NewTime(time.Now().Add(-24 * time.Hour))}
	documented.create(books)
	await(t, "the books of yesterday are written", func() error {
		documented.get(books)
		return because(books.Status.Conditions, metav1.ConditionTrue, v1alpha1.ReasonStatementWritten)
	})
	documented.expire(&v1alpha1.LightningInvoice{ObjectMeta: metav1.ObjectMeta{Namespace: documented.namespace, Name: "shop"}})
	leftover := testkit.MakePaymentSignature(v1alpha1.PaymentReference{
		Kind: "LightningPayment", Name: paid[0].object.GetName(), UID: string(paid[0].object.GetUID()),
	}, 1, strings.Repeat("A", 40))
	leftover.Namespace = reference.namespace
	reference.create(leftover)
	await(t, "a signature of a payment that is over is gone", func() error {
		err := api.Get(t.Context(), client.ObjectKeyFromObject(leftover), leftover)
		if apierrors.IsNotFound(err) {
			return nil
		}
		return errors.Join(errors.New("it is there"), err)
	})
	for _, object := range []client.Object{paid[0].object, sent.object, settlement} {
		reference.expire(object)
	}

	// What is not seen every day, and yet needs rights: a send whose answer is lost, and a reader of metrics.
	reference.service.fault(t, sandbox.Fault{Kind: sandbox.FaultDropAnswer, Operation: sandbox.OnchainEnd})
	reference.awaitPaid(reference.send("main", "bonus", 40_000))
	reader := reference.addAccount("prometheus", "utexo-metrics-reader")
	await(t, "the metrics are served", func() error {
		return answers(t.Context(), "https://"+metrics+"/metrics", reader.BearerToken, http.StatusOK, "utexo_operator_payments")
	})

	manager.stop()
	calls, refused := server.noted()
	if len(refused) > 0 {
		t.Errorf("the API server refused %v", refused)
	}
	checkRights(t, calls)
	if documented.service.unauthorized() || reference.service.unauthorized() {
		t.Error("the services were called without the bearer tokens")
	}
	var lease coordinationv1.Lease
	if err := api.Get(t.Context(), client.ObjectKey{Namespace: testkit.OperatorNamespace, Name: "utexo-operator"}, &lease); err != nil {
		t.Fatal(err)
	}
	if held := ptr.Deref(lease.Spec.HolderIdentity, ""); held != "" {
		t.Errorf("the leader's Lease is still held, by %s, so that the next leader has to wait", held)
	}
	checkNoSecretShown(t, documented.namespace, reference.namespace, testkit.OperatorNamespace)
}

// payShared pays from another namespace, which the wallet allows by a label, after somebody approved the plan.
func (w *world) payShared(namespace string) {
	w.t.Helper()
	label := client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"labels":{"spends-from":"`+w.namespace+`"}}}`))
	share := client.RawPatch(types.MergePatchType, []byte(`{"spec":{"settlement":{"mode":"Automatic"},"limits":{"dailySats":1000000,"requireApprovalAboveSats":50000},
		"allowedNamespaces":{"from":"Selector","selector":{"matchLabels":{"spends-from":"`+w.namespace+`"}}}}}`))
	wallet := &v1alpha1.Wallet{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "main"}}
	if err := errors.Join(api.Patch(w.t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}, label),
		api.Patch(w.t.Context(), wallet, share)); err != nil {
		w.t.Fatal(err)
	}
	text, hash := w.supplierInvoice(60_000)
	shared := testkit.MakeLightningPayment("shared").Namespace(namespace).Invoice(text).MaxFeeSats(1000).Annotation(v1alpha1.AuthorAnnotation, "author").Obj()
	shared.Spec.WalletRef.Namespace = w.namespace
	w.createAs("author", shared)
	await(w.t, "the payment waits for an approval", func() error {
		w.get(shared)
		return because(shared.Status.Conditions, metav1.ConditionUnknown, v1alpha1.ReasonAwaitingApproval)
	})
	approval := testkit.MakePaymentApproval("alice", v1alpha1.PaymentReference{Kind: "LightningPayment", Name: "shared", UID: string(shared.UID)},
		"main", shared.Status.Plan.Hash, time.Now().Add(time.Hour))
	approval.Namespace, approval.Spec.WalletRef.Namespace = namespace, w.namespace
	w.createAs("alice", approval)
	w.awaitPaid(order{shared, hash})
	await(w.t, "the wallet counts it", func() error {
		w.get(wallet)
		if budget, payments := wallet.Status.Budget, wallet.Status.Payments; budget == nil || budget.SpentSats24h < 60_000 || payments.Succeeded < 3 {
			return fmt.Errorf("it shows the budget %+v and the payments %+v", budget, payments)
		}
		return nil
	})
}

// createAs creates an object as somebody else with the administrator's rights: the admission policies hold their names against it.
func (w *world) createAs(user string, object client.Object) {
	w.t.Helper()
	config := rest.CopyConfig(admin)
	config.Impersonate = rest.ImpersonationConfig{UserName: user, Groups: []string{"system:masters"}}
	theirs, err := client.New(config, client.Options{Scheme: testkit.Scheme()})
	if err != nil {
		w.t.Fatal(err)
	}
	if err := theirs.Create(w.t.Context(), object); err != nil {
		w.t.Fatalf("creating %T as %s: %v", object, user, err)
	}
}

// expire lets a finished resource go, by its own time to live.
func (w *world) expire(object client.Object) {
	w.t.Helper()
	patch := client.RawPatch(types.MergePatchType, []byte(`{"spec":{"ttlSecondsAfterFinished":0}}`))
	if err := api.Patch(w.t.Context(), object, patch); err != nil {
		w.t.Fatalf("giving %s a time to live: %v", object.GetName(), err)
	}
	await(w.t, object.GetName()+" is gone", func() error {
		err := api.Get(w.t.Context(), client.ObjectKeyFromObject(object), object)
		if apierrors.IsNotFound(err) {
			return nil
		}
		return errors.Join(errors.New("it is there"), err)
	})
}

// checkNoSecretShown looks through everything but Secrets that namespaces hold.
func checkNoSecretShown(t *testing.T, namespaces ...string) {
	t.Helper()
	for _, namespace := range namespaces {
		shown, err := kubectl.Run(t.Context(), nil, "get", "-n", namespace, "-o", "yaml",
			"wallets,lightninginvoices,lightningpayments,onchainsends,depositaddresses,settlements,statements,paymentrecords,leases,events,configmaps")
		if err != nil {
			t.Fatal(err)
		}
		for _, problem := range leaks(shown, canaries()) {
			t.Errorf("namespace %s %s", namespace, problem)
		}
	}
}
