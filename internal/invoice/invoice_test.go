package invoice

import (
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/btcsuite/btcd/btcec/v2"
	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"pgregory.net/rapid"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/amount"
	"github.com/utexo/utexo-operator/internal/bitcoin"
	"github.com/utexo/utexo-operator/internal/bolt11"
	"github.com/utexo/utexo-operator/internal/payment"
	"github.com/utexo/utexo-operator/internal/testkit"
)

const (
	assetID      = "rgb:tpk3SgP4-mRdSCNI-Pu~EDie-eBjfn5P-4HQdIKi-SUtqbe8"
	otherAssetID = "rgb:CJkb4YZw-jRiz2sk-~PARPio-wtVYI1c-XAEYCqO-wTfvRZ8"
	invoiceUID   = "0f8fad5b-d9cb-469f-a165-70867728950e"
)

// The invoice of these tests is issued at t0, expires an hour later and is watched until over.
var (
	t0      = time.Date(2026, time.January, 1, 12, 0, 0, 0, time.UTC)
	expires = t0.Add(time.Hour)
	over    = expires.Add(2*time.Hour + 15*time.Minute)
	key, _  = btcec.PrivKeyFromBytes([]byte(strings.Repeat("k", 32)))
)

// encode returns a regtest invoice of 5,000 sat, made at t0 and an hour long, after change.
func encode(t testing.TB, change ...func(*bolt11.Invoice)) string {
	t.Helper()
	invoice := &bolt11.Invoice{
		Prefix: "bcrt", Amount: new(amount.MilliSat(5_000_000)), PaymentHash: [32]byte{1, 2, 3}, PaymentSecret: [32]byte{4},
		Timestamp: t0, Expiry: time.Hour, MinFinalCLTVExpiry: 18, Features: bolt11.Features{8, 14, 17},
	}
	for _, c := range change {
		c(invoice)
	}
	text, err := bolt11.Encode(invoice, key)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func withAsset(i *bolt11.Invoice) { i.Asset = &bolt11.Asset{ID: assetID, Amount: 10} }

// makeFacts returns the facts of an invoice in phase, published or not.
func makeFacts(t testing.TB, phase v1alpha1.InvoicePhase, published bool) Facts {
	object := testkit.MakeLightningInvoice("order").AmountSats(5000).Obj()
	object.UID, object.Generation, object.Status.Phase = invoiceUID, 3, phase
	facts := Facts{Invoice: object}
	if published {
		issued, err := bolt11.Decode(encode(t))
		if err != nil {
			t.Fatal(err)
		}
		facts.Record = &v1alpha1.PaymentRecord{
			ObjectMeta: metav1.ObjectMeta{Name: RecordName(invoiceUID), CreationTimestamp: metav1.NewTime(t0)},
			Spec:       RecordSpec(issued, encode(t), "request-1", v1alpha1.RecordWallet{Name: "main"}, nil),
		}
	}
	return facts
}

// outcome is what a case says of a Decision.
type outcome struct {
	Step     Step
	Phase    v1alpha1.InvoicePhase
	Ready    string
	Settled  string
	After    time.Duration
	Attempts int32
	Events   []string
}

func outcomeOf(d Decision) outcome {
	got := outcome{Step: d.Step, Phase: d.Status.Phase, After: d.RequeueAfter, Attempts: d.Status.IssueAttempts}
	for _, c := range d.Status.Conditions {
		switch c.Type {
		case v1alpha1.ConditionReady:
			got.Ready = string(c.Status) + " " + c.Reason
		case v1alpha1.ConditionSettled:
			got.Settled = string(c.Status) + " " + c.Reason
		}
	}
	for _, event := range d.Events {
		got.Events = append(got.Events, event.Reason)
	}
	return got
}

func TestDecide(t *testing.T) {
	const (
		pending = v1alpha1.InvoicePending
		isOpen  = v1alpha1.InvoiceOpen
		settled = v1alpha1.InvoiceSettled
		expired = v1alpha1.InvoiceExpired
		failed  = v1alpha1.InvoiceFailed
	)
	var (
		waiting = &payment.Obstacle{Reason: v1alpha1.ReasonWalletNotReady, Message: "the wallet is not ready", RetryAfter: 15 * time.Second}
		held    = &payment.Obstacle{Reason: v1alpha1.ReasonServiceUnavailable, Message: "no invoice yet: 502", RetryAfter: 5 * time.Second}
		refused = &payment.Obstacle{Reason: v1alpha1.ReasonRequestRefused, Message: "InvalidAmount", DeadEnd: true}

		isWaiting  = outcome{Phase: pending, Ready: "Unknown WalletNotReady", Settled: "Unknown WalletNotReady", After: 15 * time.Second}
		issues     = outcome{Step: Issue, Phase: pending, Ready: "Unknown Progressing", Settled: "Unknown Progressing", Attempts: 1}
		payable    = outcome{Phase: isOpen, Ready: "True Open", Settled: "Unknown Open", After: time.Minute}
		paid       = outcome{Phase: settled, Ready: "True Settled", Settled: "True Settled"}
		unpaid     = outcome{Phase: expired, Ready: "False InvoiceExpired", Settled: "False InvoiceExpired", After: time.Minute}
		impossible = outcome{Phase: failed, Ready: "False RequestRefused", Settled: "False RequestRefused"}
	)
	minutes := func(n int) time.Time { return t0.Add(time.Duration(n) * time.Minute) }
	seeing := func(seen Seen) func(*Facts) { return func(f *Facts) { f.Sighting = &seen } }
	with := func(o outcome, change func(*outcome)) outcome {
		change(&o)
		return o
	}
	for name, tc := range map[string]struct {
		phase     v1alpha1.InvoicePhase
		published bool
		change    func(*Facts)
		now       time.Time
		want      outcome
		mentions  []string
	}{
		// Not published.
		"a new invoice is asked for": {want: issues, mentions: []string{"asking the service"}},
		"an invoice whose attempt was lost is asked for again": {
			phase: pending, change: func(f *Facts) { f.Invoice.Status.IssueAttempts = 2 }, want: with(issues, func(o *outcome) { o.Attempts = 3 }),
		},
		"three lost answers are enough": {
			phase: pending, change: func(f *Facts) { f.Invoice.Status.IssueAttempts = 3 },
			want: with(impossible, func(o *outcome) { o.Attempts = 3 }), mentions: []string{"3 times", "nothing was published"},
		},
		"three lost answers are enough also while the wallet is missing": {
			phase: pending, change: func(f *Facts) { f.Invoice.Status.IssueAttempts, f.Waiting = 3, waiting },
			want: with(impossible, func(o *outcome) { o.Attempts = 3 }),
		},
		"a wallet that is not ready is waited for": {change: func(f *Facts) { f.Waiting = waiting }, want: isWaiting, mentions: []string{"not ready"}},
		"a lost answer is waited out": {
			phase: pending, change: func(f *Facts) { f.Invoice.Status.IssueAttempts, f.Held = 1, held },
			want: outcome{Phase: pending, Ready: "Unknown ServiceUnavailable", Settled: "Unknown ServiceUnavailable", After: 5 * time.Second, Attempts: 1},
		},
		"an attempt that provably issued nothing does not count": {
			phase: pending, change: func(f *Facts) { f.Invoice.Status.IssueAttempts, f.Held, f.NotIssued = 3, held, true },
			want: outcome{Phase: pending, Ready: "Unknown ServiceUnavailable", Settled: "Unknown ServiceUnavailable", After: 5 * time.Second, Attempts: 2},
		},
		"no attempt is taken back that was not made": {
			phase: pending, change: func(f *Facts) { f.Held, f.NotIssued = held, true },
			want: outcome{Phase: pending, Ready: "Unknown ServiceUnavailable", Settled: "Unknown ServiceUnavailable", After: 5 * time.Second},
		},
		"a refusal for good is a dead end": {
			phase: pending, change: func(f *Facts) { f.Invoice.Status.IssueAttempts, f.Held, f.NotIssued = 1, refused, true },
			want: impossible, mentions: []string{"InvalidAmount"},
		},
		"an invoice that is deleted is not asked for":   {change: func(f *Facts) { f.Deleting = true }, want: outcome{}},
		"an invoice that failed is not asked for again": {phase: failed, want: outcome{Phase: failed}},
		"an invoice that failed is not asked for again by a wallet that comes back": {
			phase: failed, change: func(f *Facts) { f.Waiting = waiting }, want: outcome{Phase: failed},
		},

		// Published.
		"a published invoice is looked at":                                           {phase: pending, published: true, want: outcome{Step: Observe, Phase: pending}},
		"a published invoice is never asked for again":                               {phase: pending, published: true, change: func(f *Facts) { f.Invoice.Status.IssueAttempts = 1 }, want: outcome{Step: Observe, Phase: pending, Attempts: 1}},
		"a published invoice whose status was lost is looked at":                     {published: true, want: outcome{Step: Observe}},
		"a published invoice whose status was lost is looked at although it is over": {published: true, now: over, want: outcome{Step: Observe}},
		"an open invoice is looked at":                                               {phase: isOpen, published: true, now: minutes(30), want: outcome{Step: Observe, Phase: isOpen}},
		"an open invoice is looked at once more although it is over": {
			phase: isOpen, published: true, now: over.Add(time.Hour), want: outcome{Step: Observe, Phase: isOpen},
		},
		"an invoice just published is looked at although it is over": {
			phase: pending, published: true, now: over.Add(time.Hour), want: outcome{Step: Observe, Phase: pending},
		},
		"an expired invoice is looked at until a payment under way cannot settle it": {
			phase: expired, published: true, now: over.Add(-1), want: outcome{Step: Observe, Phase: expired},
		},
		"an expired invoice is looked at no longer":   {phase: expired, published: true, now: over, want: outcome{Phase: expired}},
		"a failed invoice is looked at until then":    {phase: failed, published: true, now: over.Add(-1), want: outcome{Step: Observe, Phase: failed}},
		"a failed invoice is looked at no longer":     {phase: failed, published: true, now: over, want: outcome{Phase: failed}},
		"a settled invoice is not looked at":          {phase: settled, published: true, want: paid},
		"an invoice that is deleted is not looked at": {phase: isOpen, published: true, change: func(f *Facts) { f.Deleting = true }, want: outcome{Phase: isOpen}},
		"a wallet that is missing hides nothing":      {phase: isOpen, published: true, now: minutes(30), change: func(f *Facts) { f.Waiting = waiting }, want: payable, mentions: []string{"payable", "the wallet is not ready"}},
		"a service that is missing hides nothing":     {phase: isOpen, published: true, now: minutes(30), change: func(f *Facts) { f.Held = held }, want: payable, mentions: []string{"502"}},
		"a wallet that is missing is asked for as it wants": {
			phase: isOpen, published: true, now: minutes(30), change: func(f *Facts) { f.Waiting = &payment.Obstacle{Reason: "R", Message: "m", RetryAfter: time.Hour} },
			want: with(payable, func(o *outcome) { o.After = time.Hour }),
		},
		"without its wallet an open invoice expires":     {phase: isOpen, published: true, now: expires, change: func(f *Facts) { f.Waiting = waiting }, want: unpaid},
		"without its wallet an expired invoice stays so": {phase: expired, published: true, now: expires, change: func(f *Facts) { f.Waiting = waiting }, want: outcome{Phase: expired, After: time.Minute}},
		"without its wallet nobody knows what became of an invoice that is over": {
			phase: isOpen, published: true, now: over, change: func(f *Facts) { f.Waiting = waiting },
			want:     outcome{Phase: isOpen, Ready: "Unknown WalletNotReady", Settled: "Unknown WalletNotReady", After: time.Minute},
			mentions: []string{"whether it was paid is not known", "the wallet is not ready"},
		},
		"without an answer nobody knows what became of an invoice that is over": {
			published: true, now: over, change: seeing(NoAnswer),
			want:     outcome{Phase: isOpen, Ready: "Unknown ServiceUnavailable", Settled: "Unknown ServiceUnavailable", After: time.Minute},
			mentions: []string{"whether it was paid is not known"},
		},

		// What was seen.
		"open":                          {phase: pending, published: true, now: minutes(30), change: seeing(Open), want: payable, mentions: []string{"payable"}},
		"open, as the clock runs out":   {phase: isOpen, published: true, now: expires.Add(-10 * time.Second), change: seeing(Open), want: with(payable, func(o *outcome) { o.After = 11 * time.Second })},
		"open, right after it was made": {phase: pending, published: true, now: t0, change: seeing(Open), want: with(payable, func(o *outcome) { o.After = 2 * time.Second })},
		"open, for the service, and expired by the clock": {phase: isOpen, published: true, now: expires, change: seeing(Open), want: unpaid, mentions: []string{"expired unpaid"}},
		"open, and over": {phase: isOpen, published: true, now: over, change: seeing(Open), want: with(unpaid, func(o *outcome) { o.After = 0 })},
		"settled":        {phase: isOpen, published: true, now: minutes(30), change: seeing(Settled), want: paid, mentions: []string{"paid"}},
		"settled after it expired": {
			phase: expired, published: true, now: expires.Add(time.Hour), change: seeing(Settled), want: with(paid, func(o *outcome) { o.Events = []string{"SettledLate"} }),
		},
		"settled after it failed": {
			phase: failed, published: true, now: minutes(30), change: seeing(Settled), want: with(paid, func(o *outcome) { o.Events = []string{"SettledLate"} }),
		},
		"settled while nobody looked, after its time": {phase: isOpen, published: true, now: over.Add(time.Hour), change: seeing(Settled), want: paid},
		"expired, for the service":                    {phase: isOpen, published: true, now: minutes(30), change: seeing(Expired), want: unpaid},
		"failed, before it expired": {
			phase: isOpen, published: true, now: minutes(30), change: seeing(Failed),
			want: outcome{Phase: failed, Ready: "False PaymentFailed", Settled: "False PaymentFailed", After: time.Minute}, mentions: []string{"declare a new"},
		},
		"failed, as expired ones do": {phase: isOpen, published: true, now: expires, change: seeing(Failed), want: unpaid},
		"open again after it failed": {phase: failed, published: true, now: minutes(30), change: seeing(Open), want: payable},
		"lost": {
			phase: isOpen, published: true, now: minutes(30), change: seeing(Lost),
			want: with(payable, func(o *outcome) { o.Settled = "Unknown StatusSourceLost" }), mentions: []string{"no longer shows it"},
		},
		"lost, and expired by the clock": {
			phase: isOpen, published: true, now: expires, change: seeing(Lost),
			want: with(unpaid, func(o *outcome) { o.Settled = "Unknown StatusSourceLost" }), mentions: []string{"no longer shows whether it was paid"},
		},
		"lost after it expired unpaid":           {phase: expired, published: true, now: expires.Add(time.Hour), change: seeing(Lost), want: outcome{Phase: expired, After: time.Minute}},
		"lost after it failed":                   {phase: failed, published: true, now: minutes(30), change: seeing(Lost), want: outcome{Phase: failed, After: time.Minute}},
		"no answer while open":                   {phase: isOpen, published: true, now: minutes(30), change: seeing(NoAnswer), want: payable},
		"no answer right after it was published": {phase: pending, published: true, now: minutes(1), change: seeing(NoAnswer), want: payable},
		"no answer after it failed":              {phase: failed, published: true, now: minutes(30), change: seeing(NoAnswer), want: outcome{Phase: failed, After: time.Minute}},
		"no answer after the service said that it expired": {
			phase: expired, published: true, now: minutes(30), change: seeing(NoAnswer), want: outcome{Phase: expired, After: time.Minute},
		},
		"no answer as it expires": {phase: isOpen, published: true, now: expires, change: seeing(NoAnswer), want: unpaid},
	} {
		t.Run(name, func(t *testing.T) {
			facts := makeFacts(t, tc.phase, tc.published)
			if tc.change != nil {
				tc.change(&facts)
			}
			now := tc.now
			if now.IsZero() {
				now = minutes(5)
			}
			before := facts.Invoice.DeepCopy()
			decision := Decide(facts, now)
			if diff := cmp.Diff(tc.want, outcomeOf(decision)); diff != "" {
				t.Errorf("outcome (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(before, facts.Invoice); diff != "" {
				t.Errorf("Decide changed its facts (-before +after):\n%s", diff)
			}
			if ready := meta.FindStatusCondition(decision.Status.Conditions, v1alpha1.ConditionReady); ready != nil {
				for _, mention := range tc.mentions {
					if !strings.Contains(ready.Message, mention) {
						t.Errorf("%q does not mention %q", ready.Message, mention)
					}
				}
			}
			if decision.Step == Rest && !facts.Deleting && len(decision.Status.Conditions) > 0 {
				facts.Invoice.Status = decision.Status
				if err := testkit.CheckStatus(facts.Invoice); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

func TestDecidePublishesWhatIsRecorded(t *testing.T) {
	facts := makeFacts(t, v1alpha1.InvoicePending, true)
	seen := Open
	facts.Sighting = &seen
	got := Decide(facts, t0.Add(30*time.Minute)).Status
	created, expiry := metav1.NewTime(t0), metav1.NewTime(expires)
	want := v1alpha1.LightningInvoiceStatus{
		ObservedGeneration: 3, Phase: v1alpha1.InvoiceOpen, RequestID: "request-1", PaymentRequest: encode(t), PaymentHash: "010203" + strings.Repeat("0", 58),
		AmountSats: new(int64(5000)), CreatedAt: &created, ExpiresAt: &expiry, RecordRef: "in-" + invoiceUID, Conditions: got.Conditions,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("status (-want +got):\n%s", diff)
	}

	// A record that holds no invoice that can be read expires when it was made, unless something else is known.
	facts.Record.Spec.PaymentRequest = "lnbcrt1unreadable"
	if got := Decide(facts, t0).Status; !got.ExpiresAt.Time.Equal(t0) || got.Phase != v1alpha1.InvoiceExpired {
		t.Errorf("an unreadable invoice expires at %s, and is %s", got.ExpiresAt, got.Phase)
	}
	facts.Invoice.Status.ExpiresAt = &expiry
	if got := Decide(facts, t0).Status; !got.ExpiresAt.Equal(&expiry) || got.Phase != v1alpha1.InvoiceOpen {
		t.Errorf("an unreadable invoice expires at %s, and is %s", got.ExpiresAt, got.Phase)
	}
}

// TestSettledIsRecorded holds that a payment is told of once, and that it outlives the status.
func TestSettledIsRecorded(t *testing.T) {
	facts := makeFacts(t, v1alpha1.InvoiceExpired, true)
	facts.Record.Journal = v1alpha1.PaymentJournal{Phase: v1alpha1.RecordHeld, Holder: v1alpha1.RecordHolder{Kind: "LightningInvoice", Name: "order"}}
	facts.Sighting = new(Settled)
	first := Decide(facts, expires.Add(90*time.Minute+time.Millisecond))
	at, recorded := metav1.NewTime(expires.Add(90*time.Minute)), metav1.NewMicroTime(expires.Add(90*time.Minute))
	if first.Status.SettledAt == nil || !first.Status.SettledAt.Equal(&at) || len(first.Events) != 1 {
		t.Fatalf("settled at %s, with the events %v", first.Status.SettledAt, first.Events)
	}
	want := facts.Record.Journal
	want.Reason, want.CompletedAt = v1alpha1.ReasonSettled, &recorded
	if diff := cmp.Diff(&want, first.Journal); diff != "" {
		t.Errorf("journal (-want +got):\n%s", diff)
	}
	if facts.Record.Journal.CompletedAt != nil {
		t.Error("Decide changed the record that it was given")
	}
	facts.Invoice.Status, facts.Record.Journal = first.Status, *first.Journal
	again := Decide(facts, expires.Add(24*time.Hour))
	if diff := cmp.Diff(first.Status, again.Status); diff != "" || len(again.Events) > 0 || again.Journal != nil {
		t.Errorf("told again: %v, %v, %s", again.Events, again.Journal, diff)
	}
	facts.Invoice.Status, facts.Sighting = v1alpha1.LightningInvoiceStatus{}, nil
	if lost := Decide(facts, over.Add(time.Hour)); lost.Step != Rest || lost.Status.Phase != v1alpha1.InvoiceSettled || !lost.Status.SettledAt.Equal(&at) {
		t.Errorf("without its status a settled invoice is %+v", outcomeOf(lost))
	}
}

// TestNoHistoryPublishesTwice draws what may happen to an invoice: the service is asked at most three times more than it provably issued
// nothing, never once something is published; a settled invoice stays so; the late payment is told of once; and once the world is quiet
// the invoice comes to rest, for good.
func TestNoHistoryPublishesTwice(t *testing.T) {
	text := encode(t)
	issued, err := bolt11.Decode(text)
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		object := testkit.MakeLightningInvoice("order").AmountSats(5000).Obj()
		object.UID, object.Generation = invoiceUID, 1
		var record *v1alpha1.PaymentRecord
		now, quiet, asked, events, paidAt := t0, false, 0, 0, time.Time{}
		choose := func(n int, what string) int {
			if quiet {
				return 0
			}
			return rapid.IntRange(0, n-1).Draw(t, what)
		}
		pass := func() Decision {
			facts := Facts{Invoice: object, Record: record}
			if choose(6, "wallet") == 5 {
				facts.Waiting = &payment.Obstacle{Reason: v1alpha1.ReasonWalletNotReady, Message: "not yet", RetryAfter: 15 * time.Second}
			}
			for range 5 {
				d := Decide(facts, now)
				if d.Journal != nil {
					record = record.DeepCopy()
					record.Journal = *d.Journal
					facts.Record = record
				}
				if d.Step != Observe {
					if object.Status.Phase == v1alpha1.InvoiceSettled && d.Status.Phase != v1alpha1.InvoiceSettled {
						t.Fatalf("settled became %s", d.Status.Phase)
					}
					object.Status = d.Status
					events += len(d.Events)
				}
				switch d.Step {
				case Rest:
					if len(object.Status.Conditions) > 0 {
						if err := testkit.CheckStatus(object); err != nil {
							t.Fatal(err)
						}
					}
					return d
				case Issue:
					if record != nil || facts.Waiting != nil {
						t.Fatal("asks for an invoice that is published, or without a wallet")
					}
					facts.Held = &payment.Obstacle{Reason: v1alpha1.ReasonServiceUnavailable, Message: "502", RetryAfter: 5 * time.Second}
					switch choose(5, "answer") {
					case 0:
						record = &v1alpha1.PaymentRecord{
							ObjectMeta: metav1.ObjectMeta{Name: RecordName(invoiceUID), CreationTimestamp: metav1.NewTime(now)},
							Spec:       RecordSpec(issued, text, "request-1", v1alpha1.RecordWallet{}, nil),
						}
						facts.Held, facts.Record, facts.Sighting = nil, record, new(Open)
						asked++
					case 1: // lost
						asked++
					case 2: // refused for now
						facts.NotIssued = true
					case 3: // refused for good
						facts.NotIssued, facts.Held.DeadEnd = true, true
					case 4: // crashed
						asked++
						return Decision{}
					}
					if asked > MaxIssueAttempts {
						t.Fatalf("asked %d times", asked)
					}
				case Observe:
					if record == nil {
						t.Fatal("looks at an invoice that is not published")
					}
					truth := Open
					switch {
					case !paidAt.IsZero():
						truth = Settled
					case !now.Before(expires):
						truth = Expired
					}
					facts.Sighting = new([...]Seen{truth, NoAnswer, Lost}[choose(3, "look")])
				}
			}
			t.Fatal("no rest")
			return Decision{}
		}
		for range rapid.IntRange(0, 25).Draw(t, "events") {
			switch choose(6, "event") {
			case 0, 1, 2:
				pass()
			case 3:
				now = now.Add([]time.Duration{time.Second, time.Minute, 20 * time.Minute, time.Hour}[choose(4, "time")])
			case 4:
				if record != nil && paidAt.IsZero() && now.Before(expires.Add(2*time.Hour)) && choose(3, "pay") == 2 {
					paidAt = now
				}
			case 5:
				if choose(4, "status lost") == 3 && record != nil { // before, the attempts would be lost with it
					object.Status = v1alpha1.LightningInvoiceStatus{}
					events = 0 // and with it that it was told
				}
			}
		}
		quiet = true
		// A payment is missed only where it came after the invoice was given up and nobody looked while it was watched.
		mustSee := !paidAt.IsZero() && (now.Before(over) || !isGivenUp(object.Status.Phase))
		for range 50 {
			d := pass()
			if d.RequeueAfter == 0 {
				break
			}
			now = now.Add(max(d.RequeueAfter, 10*time.Minute))
		}
		final := object.Status.DeepCopy()
		for range 5 {
			now = now.Add(24 * time.Hour)
			if d := pass(); d.RequeueAfter != 0 || !cmp.Equal(&d.Status, final) {
				t.Fatalf("not at rest: %s", cmp.Diff(final, &d.Status))
			}
		}
		switch phase := object.Status.Phase; {
		case phase != v1alpha1.InvoiceSettled && phase != v1alpha1.InvoiceExpired && phase != v1alpha1.InvoiceFailed:
			t.Fatalf("the invoice ends %s", phase)
		case phase != v1alpha1.InvoiceSettled && mustSee:
			t.Fatalf("paid, and %s", phase)
		case phase == v1alpha1.InvoiceSettled && paidAt.IsZero():
			t.Fatal("settled, and nobody paid")
		case phase == v1alpha1.InvoiceFailed && record != nil:
			t.Fatal("failed, and published")
		case events > 1:
			t.Fatalf("told %d times of a late payment", events)
		}
	})
}

func TestCheck(t *testing.T) {
	sats := testkit.MakeLightningInvoice("order").AmountSats(5000).Obj()
	asset := testkit.MakeLightningInvoice("order").Asset(assetID, 10).Obj()
	for name, tc := range map[string]struct {
		declared *v1alpha1.LightningInvoice
		text     string
		network  bitcoin.Network
		now      time.Time
		mention  string
	}{
		"an amount of bitcoin":          {declared: sats, text: encode(t)},
		"an amount of an asset":         {declared: asset, text: encode(t, withAsset)},
		"in the last moment":            {declared: sats, text: encode(t), now: expires.Add(-1)},
		"a text that is no invoice":     {declared: sats, text: "lnbcrt1", mention: "cannot be read"},
		"nothing":                       {declared: sats, text: "", mention: "cannot be read"},
		"another network":               {declared: sats, text: encode(t), network: bitcoin.Mainnet, mention: "lnbcrt"},
		"a network of no wallet":        {declared: sats, text: encode(t, func(i *bolt11.Invoice) { i.Prefix = "sb" }), mention: "lnsb"},
		"expired":                       {declared: sats, text: encode(t), now: expires, mention: "expired already"},
		"no amount":                     {declared: sats, text: encode(t, func(i *bolt11.Invoice) { i.Amount = nil }), mention: "without an amount"},
		"a fraction of a satoshi":       {declared: sats, text: encode(t, func(i *bolt11.Invoice) { i.Amount = new(amount.MilliSat(5_000_001)) }), mention: "whole sat"},
		"less than was asked for":       {declared: sats, text: encode(t, func(i *bolt11.Invoice) { i.Amount = new(amount.MilliSat(4_999_000)) }), mention: "4999 sat instead of 5000"},
		"more than was asked for":       {declared: sats, text: encode(t, func(i *bolt11.Invoice) { i.Amount = new(amount.MilliSat(5_001_000)) }), mention: "5001 sat instead of 5000"},
		"an asset besides":              {declared: sats, text: encode(t, withAsset), mention: "an asset that was not asked for"},
		"no asset":                      {declared: asset, text: encode(t), mention: "another asset or amount"},
		"another asset":                 {declared: asset, text: encode(t, func(i *bolt11.Invoice) { i.Asset = &bolt11.Asset{ID: otherAssetID, Amount: 10} }), mention: "another asset or amount"},
		"another amount of the asset":   {declared: asset, text: encode(t, func(i *bolt11.Invoice) { i.Asset = &bolt11.Asset{ID: assetID, Amount: 11} }), mention: "another asset or amount"},
		"the asset, without any amount": {declared: asset, text: encode(t, withAsset, func(i *bolt11.Invoice) { i.Amount = nil }), mention: "without an amount"},
	} {
		t.Run(name, func(t *testing.T) {
			network, now := tc.network, tc.now
			if network == "" {
				network = bitcoin.Regtest
			}
			if now.IsZero() {
				now = t0
			}
			issued, err := Check(&tc.declared.Spec, network, tc.text, now)
			if tc.mention == "" {
				if err != nil || issued.PaymentHashHex() != "010203"+strings.Repeat("0", 58) {
					t.Errorf("refused: %v", err)
				}
				return
			}
			if err == nil || issued != nil || !strings.Contains(err.Error(), tc.mention) || !strings.HasPrefix(err.Error(), "the service issued an invoice") {
				t.Errorf("refused as %v, want a mention of %q", err, tc.mention)
			}
		})
	}
}

func TestRecordSpec(t *testing.T) {
	text := encode(t, withAsset)
	issued, err := bolt11.Decode(text)
	if err != nil {
		t.Fatal(err)
	}
	asset := &v1alpha1.AssetAmount{ID: assetID, Amount: 10}
	want := v1alpha1.PaymentRecordSpec{
		Kind: v1alpha1.RecordLightningInvoice, Wallet: v1alpha1.RecordWallet{Name: "main"}, PaymentRequest: text, RequestID: "request-1",
		PaymentHash: "010203" + strings.Repeat("0", 58), Destination: hex.EncodeToString(key.PubKey().SerializeCompressed()),
		AmountSats: new(int64(5000)), Asset: asset,
	}
	if diff := cmp.Diff(want, RecordSpec(issued, text, "request-1", v1alpha1.RecordWallet{Name: "main"}, asset)); diff != "" {
		t.Errorf("spec (-want +got):\n%s", diff)
	}
	if wrong := validation.IsDNS1123Subdomain(RecordName(invoiceUID)); len(wrong) > 0 || RecordName("a") == RecordName("b") {
		t.Errorf("the name of its record is none: %v", wrong)
	}
}

// TestLooksAtAnInvoice counts looks: soon while it is young, once a minute later, never once it is over.
func TestLooksAtAnInvoice(t *testing.T) {
	facts := makeFacts(t, v1alpha1.InvoicePending, true)
	looks := map[string]int{}
	for now := t0; ; {
		facts.Sighting = nil
		if d := Decide(facts, now); d.Step == Observe {
			looks[fmt.Sprintf("%d h", int(now.Sub(t0).Hours()))]++
			facts.Sighting = new(Open)
		}
		d := Decide(facts, now)
		facts.Invoice.Status = d.Status
		if d.RequeueAfter == 0 {
			if late := now.Sub(over); late < 0 || late > time.Minute {
				t.Errorf("looked at a last time %s after it is over", late)
			}
			break
		}
		now = now.Add(d.RequeueAfter)
	}
	if looks["0 h"] < 60 || looks["0 h"] > 75 || looks["1 h"] > 61 || looks["2 h"] > 61 || looks["3 h"] > 17 {
		t.Errorf("looks, by the hour: %v", looks)
	}
}
