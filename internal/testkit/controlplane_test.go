package testkit

import (
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/utexo/utexo-operator/api/v1alpha1"
)

func TestStartControlPlane(t *testing.T) {
	cfg, c, stop, err := StartControlPlane()
	if err != nil {
		t.Fatal(err)
	}
	if _, _, _, err := StartControlPlane(); err == nil {
		t.Error("a test binary got two control planes")
	}
	for _, list := range []client.ObjectList{
		&v1alpha1.WalletList{}, &v1alpha1.LightningInvoiceList{}, &v1alpha1.LightningPaymentList{}, &v1alpha1.OnchainSendList{}, &v1alpha1.PaymentRecordList{},
	} {
		if err := c.List(t.Context(), list); err != nil || meta.LenList(list) != 0 {
			t.Errorf("listing %T: %d items, %v, want none and no error", list, meta.LenList(list), err)
		}
	}
	for name, obj := range map[string]client.Object{
		"wallet":            MakeWallet("main").Obj(),
		"lightning invoice": MakeLightningInvoice("shop").Wallet("main").AmountSats(1000).Obj(),
		"lightning payment": MakeLightningPayment("rent").Wallet("main").InvoiceFromLightningInvoice("shop").Obj(),
		"on-chain send":     MakeOnchainSend("payroll").Wallet("main").Address("bcrt1peasutyryerxx0chunqagkymygcgzpj5sv52tp33gyt26f5xqjt4sfj4zk0").AmountSats(1000).Obj(),
		"payment record":    MakePaymentRecord("ln-1").Obj(),
	} {
		if err := c.Create(t.Context(), obj); err != nil {
			t.Errorf("the API server refuses the %s that a builder makes: %v", name, err)
		}
	}

	if err := stop(); err != nil {
		t.Fatal(err)
	}
	// A new client, which holds no connection.
	after, err := client.New(cfg, client.Options{Scheme: Scheme()})
	if err == nil {
		err = after.List(t.Context(), &v1alpha1.WalletList{})
	}
	if err == nil {
		t.Error("the API server answers after stop")
	}
}
