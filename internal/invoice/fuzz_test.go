package invoice

import (
	"maps"
	"slices"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/bitcoin"
	"github.com/utexo/utexo-operator/internal/bolt11"
	"github.com/utexo/utexo-operator/internal/payment"
	"github.com/utexo/utexo-operator/internal/testkit"
)

// FuzzCheck holds that what is published is what was asked for.
func FuzzCheck(f *testing.F) {
	f.Add(encode(f), int64(5000), "", int64(0))
	f.Add(encode(f), int64(5001), "", int64(0))
	f.Add(encode(f, withAsset), int64(0), assetID, int64(10))
	f.Add(encode(f, withAsset), int64(5000), "", int64(0))
	f.Add(encode(f, func(i *bolt11.Invoice) { i.Prefix = "bc" }), int64(5000), "", int64(0))
	f.Add(encode(f, func(i *bolt11.Invoice) { i.Amount = nil }), int64(5000), "", int64(0))
	f.Add(encode(f, func(i *bolt11.Invoice) { i.Expiry = 0 }), int64(5000), "", int64(0))
	f.Fuzz(func(t *testing.T, text string, sats int64, asset string, units int64) {
		spec := &v1alpha1.LightningInvoiceSpec{AmountSats: &sats}
		if asset != "" {
			spec = &v1alpha1.LightningInvoiceSpec{Asset: &v1alpha1.AssetAmount{ID: asset, Amount: units}}
		}
		issued, err := Check(spec, bitcoin.Regtest, text, t0)
		if err != nil {
			return
		}
		got, _, err := issued.AmountSats()
		switch {
		case err != nil || issued.Prefix != "bcrt" || issued.Expired(t0):
			t.Fatalf("%q is published: %v", text, err)
		case asset == "" && (int64(got) != sats || issued.Asset != nil):
			t.Fatalf("%q is published for %d sat", text, sats)
		case asset != "" && (issued.Asset == nil || issued.Asset.ID != asset || int64(issued.Asset.Amount) != units):
			t.Fatalf("%q is published for %d of %s", text, units, asset)
		}
		record := RecordSpec(issued, text, "id", v1alpha1.RecordWallet{}, spec.Asset)
		if record.PaymentRequest != text || record.PaymentHash != issued.PaymentHashHex() || *record.AmountSats != int64(got) {
			t.Fatalf("%q is recorded as %+v", text, record)
		}
	})
}

// FuzzDecide asks what to do on any facts: what is published is never issued again nor shown in another way, no more are issued than
// may be, and what was paid stays so.
func FuzzDecide(f *testing.F) {
	for n := range byte(48) {
		f.Add([]byte{n % 2, n % 6, n % 5, 0, 0, 0, 0, n % 8, n % 9, 0})
		f.Add([]byte{n % 2, n % 6, 3, n % 4, n % 3, n % 2, n % 7, n % 8, n % 9, 1})
		f.Add([]byte{1, n % 7, n % 4, 0, 0, 0, 0, n % 7, n % 8, 0, 1, 1 + n%3, n % 8, n % 2, n % 6, n % 7, 1, n % 5, n % 8, 0, 3, 0})
	}
	phases := []v1alpha1.InvoicePhase{
		"", v1alpha1.InvoicePending, v1alpha1.InvoiceOpen, v1alpha1.InvoiceSettled, v1alpha1.InvoiceExpired, v1alpha1.InvoiceFailed, v1alpha1.InvoiceRenewing,
	}
	moments := []time.Time{t0, t0.Add(time.Second), expires.Add(-time.Second), expires, over.Add(-time.Second), over, over.AddDate(1, 0, 0), t0.Add(-time.Hour)}
	text := encode(f)
	issued, err := bolt11.Decode(text)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, input []byte) {
		choose := func(n int) int {
			if len(input) == 0 {
				return 0
			}
			chosen := int(input[0]) % n
			input = input[1:]
			return chosen
		}
		object := testkit.MakeLightningInvoice("order").AmountSats(5000).Obj()
		object.UID, object.Generation = invoiceUID, 3
		facts := Facts{Invoice: object}
		if choose(2) == 1 {
			facts.Record = &v1alpha1.PaymentRecord{
				ObjectMeta: metav1.ObjectMeta{Name: RecordName(invoiceUID), CreationTimestamp: metav1.NewTime(t0)},
				Spec:       RecordSpec(issued, text, "request-1", v1alpha1.RecordWallet{Name: "main"}, nil),
			}
		}
		object.Status.Phase, object.Status.IssueAttempts = phases[choose(len(phases))], int32(choose(6))
		obstacles := []*payment.Obstacle{nil, {Reason: v1alpha1.ReasonWalletNotReady, RetryAfter: time.Minute}, {Reason: v1alpha1.ReasonRequestRefused, DeadEnd: true}}
		facts.Waiting, facts.Held = obstacles[choose(3)], obstacles[choose(3)]
		facts.NotIssued, facts.Deleting = choose(2) == 1, choose(4) == 3
		if n := choose(8); n < 7 {
			seen := Seen(n)
			facts.Sighting = &seen
		}
		now := moments[choose(len(moments))]
		paid := facts.Record != nil && choose(3) == 2
		if paid {
			settled := metav1.NewMicroTime(t0)
			facts.Record.Journal.Reason, facts.Record.Journal.CompletedAt = v1alpha1.ReasonSettled, &settled
		}
		// The same of one that renews, of what was renewed, and of what was seen of that.
		renewing := choose(2) == 1
		if renewing {
			object.Spec.Renewal = v1alpha1.RenewOnExpiry
		}
		if facts.Record != nil {
			facts.Renewal = int32(choose(4))
			object.Status.Renewals = facts.Renewal
			if facts.Sighting != nil {
				facts.Earlier = map[int32]Seen{}
			}
			for n := range facts.Renewal {
				past := v1alpha1.InvoiceGeneration{Renewal: n, Outcome: v1alpha1.OutcomeWatched, ExpiresAt: &metav1.Time{Time: moments[choose(len(moments))]}}
				if choose(2) == 1 {
					object.Status.History = append(object.Status.History, past)
				} else {
					facts.Past = append(facts.Past, past)
				}
				if facts.Earlier != nil {
					facts.Earlier[n] = Seen(choose(6))
				}
			}
			facts.NoIssuing = obstacles[choose(2)]
		}
		paidBefore := slices.ContainsFunc(slices.Collect(maps.Values(facts.Earlier)), func(s Seen) bool { return s == Settled })
		before := object.DeepCopy()
		d := Decide(facts, now)
		if object.Status.Phase != before.Status.Phase || object.Status.IssueAttempts != before.Status.IssueAttempts {
			t.Fatal("Decide changed the resource")
		}
		if d.RequeueAfter < 0 {
			t.Fatalf("again after %v", d.RequeueAfter)
		}
		if facts.Deleting {
			if d.Step != Rest {
				t.Fatalf("step %d of what is being deleted", d.Step)
			}
			return
		}
		switch d.Step {
		case Issue:
			first := facts.Record == nil && facts.Waiting == nil && object.Status.Phase != v1alpha1.InvoiceFailed
			expired := facts.Sighting != nil && !slices.Contains([]Seen{NoAnswer, Lost, Settled}, *facts.Sighting) &&
				(*facts.Sighting == Expired || !now.Before(expires))
			next := facts.Record != nil && renewing && expired && facts.NoIssuing == nil && !paid && !paidBefore
			if !first && !next || facts.Held != nil || d.Status.IssueAttempts < 1 || d.Status.IssueAttempts > MaxIssueAttempts {
				t.Fatalf("issued: %+v of %+v", d, facts)
			}
		case Observe:
			if facts.Record == nil || facts.Sighting != nil {
				t.Fatalf("observed: %+v", facts)
			}
		}
		if facts.Record == nil {
			if d.Status.PaymentRequest != "" || d.Journal != nil || d.Status.Phase == v1alpha1.InvoiceOpen && object.Status.Phase != v1alpha1.InvoiceOpen {
				t.Fatalf("nothing is published, and the status is %+v", d.Status)
			}
			return
		}
		if d.Status.PaymentRequest != text || d.Status.RequestID != "request-1" || d.Status.PaymentHash != issued.PaymentHashHex() {
			t.Fatalf("published is %s, shown %+v", text, d.Status)
		}
		if len(d.Status.History) != int(facts.Renewal) || d.Status.Renewals != facts.Renewal {
			t.Fatalf("after %d renewals it tells of %d, and of %+v", facts.Renewal, d.Status.Renewals, d.Status.History)
		}
		if d.PaidEarlier != nil && (facts.Earlier[d.PaidEarlier.Renewal] != Settled || d.Status.Phase != v1alpha1.InvoiceSettled) {
			t.Fatalf("paid is %+v of %+v", d.PaidEarlier, facts.Earlier)
		}
		settled := paid || object.Status.Phase == v1alpha1.InvoiceSettled
		if settled && (d.Step != Rest || d.Status.Phase != v1alpha1.InvoiceSettled) {
			t.Fatalf("what was paid is %s", d.Status.Phase)
		}
		if !settled && d.Step == Rest && d.Status.Phase == v1alpha1.InvoiceSettled && (facts.Sighting == nil || *facts.Sighting != Settled) && !paidBefore {
			t.Fatalf("settled by %+v", facts)
		}
	})
}
